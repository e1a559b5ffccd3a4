//! Which upstream session a call uses. Never another principal's, never another client session's, never one that
//! declared something else. Bounded: the least recently used makes room, unless calls are running on it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::fault::Fault;
use super::flight::Flight;
use super::session::Session;
use super::talk::Running;
use crate::clock;
use crate::exchange::{Client, Outbox, Scope};
use crate::ids::UserId;
use crate::limits::UPSTREAM_SESSIONS_MAX;
use crate::protocol::json::{Object, Raw};
use crate::protocol::meta::LogLevel;
use crate::upstream::lease::{self, Place, Usage};
use crate::upstream::outgoing;
use crate::upstream::watches::Watches;

/// Whose a session or listen stream is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// Ours: lists and their changes.
    Ourselves,
    /// One scope of one user, and what it declared.
    Of {
        user: UserId,
        scope: Scope,
        declared: Bytes,
    },
}

impl Key {
    pub(super) fn of(client: &Client) -> Self {
        Self::Of {
            user: client.principal.user().clone(),
            scope: client.scope.clone(),
            declared: client.capabilities.as_bytes().clone(),
        }
    }

    /// Returns the key apart from the message that it came in, whose bytes are held no longer.
    fn detached(mut self) -> Self {
        if let Self::Of { declared, .. } = &mut self {
            *declared = Bytes::copy_from_slice(declared);
        }
        self
    }

    /// Tells whether this belongs to a client's own session.
    pub(super) fn within(&self, client: &Client) -> bool {
        matches!(self, Self::Of { user, scope: Scope::Session(id), .. }
            if user == client.principal.user() && client.scope == Scope::Session(id.clone()))
    }
}

/// One entry: the session may be opened, reopened and forgotten, the entry stays.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) key: Key,
    /// The client that it was made for; `None` for our own.
    pub(super) client: Option<Arc<Client>>,
    pub(super) session: Flight<Arc<Session>>,
    pub(super) watches: Watches,
    /// What the client's last call wanted of the log.
    pub(super) level: Mutex<Option<LogLevel>>,
    /// The calls that run on it.
    pub(super) running: Running,
    usage: Usage,
}

impl Slot {
    fn new(key: Key, client: Option<Arc<Client>>) -> Self {
        Self {
            key,
            client,
            session: Flight::default(),
            watches: Watches::default(),
            level: Mutex::new(None),
            running: Running::default(),
            usage: Usage::default(),
        }
    }

    /// What the session declares: what its client declared, never more.
    pub(super) fn capabilities(&self) -> Raw {
        let declared = self.client.as_ref().map(|client| client.capabilities.clone());
        declared.unwrap_or_else(|| Raw::literal("{}"))
    }

    /// Who the session says it is.
    pub(super) fn info(&self) -> Raw {
        let info = self.client.as_ref().and_then(|client| client.info.clone());
        info.unwrap_or_else(outgoing::implementation)
    }

    /// Tells whether the client declared that it answers questions.
    pub(super) fn can_be_asked(&self) -> bool {
        let declared = self.capabilities().object();
        let declared = declared.unwrap_or_else(|_| Object::empty());
        ["elicitation", "sampling", "roots"]
            .iter()
            .any(|capability| declared.has(capability))
    }

    /// Tells whether the session is one client session's own.
    pub(super) fn is_one_clients(&self) -> bool {
        self.client
            .as_ref()
            .is_some_and(|client| matches!(client.scope, Scope::Session(_)))
    }

    /// Returns where messages outside of calls go: to the one client whose session this is.
    pub(super) fn outbox(&self) -> Option<&Outbox> {
        let client = self.client.as_ref().filter(|_| self.is_one_clients())?;
        client.outbox.as_ref()
    }
}

/// A slot in use: it stays in the pool while this lives.
pub(super) type Lease = lease::Lease<Slot>;

impl Place for Slot {
    fn usage(&self) -> &Usage {
        &self.usage
    }
}

#[derive(Debug, Default)]
pub(super) struct Pool(Mutex<HashMap<Key, Arc<Slot>, RandomState>>);

impl Pool {
    /// Takes the slot of a client, or our own. Returns with it the slot that had to make room.
    pub(super) fn lease(&self, client: Option<&Arc<Client>>) -> Result<(Lease, Option<Arc<Slot>>), Fault> {
        let key = client.map_or(Key::Ourselves, |client| Key::of(client));
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(&key) {
            return Ok((Lease::new(slot), None));
        }
        let mut evicted = None;
        if slots.len() >= UPSTREAM_SESSIONS_MAX {
            let oldest = slots
                .values()
                .filter(|slot| slot.key != Key::Ourselves && !slot.usage.is_busy())
                .min_by_key(|slot| slot.usage.used())
                .map(|slot| slot.key.clone());
            evicted = slots.remove(&oldest.ok_or(Fault::Crowded)?);
        }
        let key = key.detached();
        let slot = Arc::new(Slot::new(key.clone(), client.cloned()));
        let lease = Lease::new(&slot);
        slots.insert(key, slot);
        Ok((lease, evicted))
    }

    /// Takes out what nobody used for a while. A watched resource counts as use.
    pub(super) fn take_idle(&self, idle_max: Duration) -> Vec<Arc<Slot>> {
        let now = clock::now();
        self.take(|slot| {
            slot.key != Key::Ourselves
                && !slot.usage.is_busy()
                && now.duration_since(slot.usage.used()) >= idle_max
                && slot.watches.is_empty()
        })
    }

    /// Takes out what belongs to a client's session.
    pub(super) fn take_scope(&self, client: &Client) -> Vec<Arc<Slot>> {
        self.take(|slot| slot.key.within(client))
    }

    /// Takes out everything.
    pub(super) fn take_all(&self) -> Vec<Arc<Slot>> {
        self.take(|_| true)
    }

    /// Returns what belongs to a client's session.
    pub(super) fn of_scope(&self, client: &Client) -> Vec<Arc<Slot>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots
            .values()
            .filter(|slot| slot.key.within(client))
            .cloned()
            .collect()
    }

    fn take(&self, doomed: impl Fn(&Slot) -> bool) -> Vec<Arc<Slot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = Vec::new();
        slots.retain(|_, slot| {
            let doomed = doomed(slot);
            if doomed {
                taken.push(Arc::clone(slot));
            }
            !doomed
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::SessionId;
    use crate::upstream::fixture::client;

    fn of_session(id: &str) -> Arc<Client> {
        let mut client = client("{}");
        client.scope = Scope::Session(SessionId::new(id));
        Arc::new(client)
    }

    #[test]
    fn scopes_and_declared_capabilities_keep_slots_apart() {
        let pool = Pool::default();
        let clients = [
            of_session("a"),
            of_session("b"),
            Arc::new(client("{}")),
            Arc::new(client(r#"{"roots":{}}"#)),
        ];
        let slots: Vec<Lease> = clients
            .iter()
            .map(|client| pool.lease(Some(client)).unwrap().0)
            .collect();
        for (index, client) in clients.iter().enumerate() {
            let again = pool.lease(Some(client)).unwrap().0;
            let same: Vec<bool> = slots
                .iter()
                .map(|slot| Arc::ptr_eq(slot.slot(), again.slot()))
                .collect();
            let only: Vec<bool> = (0..slots.len()).map(|other| other == index).collect();
            assert_eq!(same, only);
        }
        assert_eq!(pool.take_scope(&clients[0]).len(), 1);
        assert_eq!(pool.take_scope(&clients[2]).len(), 0, "no session, no end of one");
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_recently_used_makes_room_and_what_is_in_use_stays() {
        let pool = Pool::default();
        let first = of_session("first");
        let busy = pool.lease(Some(&first)).unwrap().0;
        for n in 0..UPSTREAM_SESSIONS_MAX - 1 {
            tokio::time::advance(Duration::from_millis(1)).await;
            drop(pool.lease(Some(&of_session(&n.to_string()))).unwrap());
        }
        let (_lease, evicted) = pool.lease(Some(&of_session("one more"))).unwrap();
        assert_eq!(evicted.unwrap().key, Key::of(&of_session("0")));
        tokio::time::advance(Duration::from_hours(1)).await;
        drop(pool.lease(Some(&of_session("9"))).unwrap());
        let idle = pool.take_idle(Duration::from_mins(30));
        assert_eq!(
            idle.len(),
            UPSTREAM_SESSIONS_MAX - 3,
            "busy, leased and touched stay"
        );
        drop(busy);
    }
}
