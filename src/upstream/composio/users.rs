//! The users of one Composio gateway, each with links to the sessions that are theirs. Bounded: the one who was away longest
//! makes room, unless calls are running.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;

use super::Held;
use crate::clock;
use crate::exchange::Client;
use crate::ids::UserId;
use crate::integrations::composio::LISTING_USER;
use crate::integrations::sessions::{SessionError, Which};
use crate::limits::UPSTREAM_SESSIONS_MAX;
use crate::upstream::http::flight::Flight;
use crate::upstream::lease::{self, Place, Usage};

/// Whose session, and which of theirs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    pub(super) user: UserId,
    pub(super) which: Which,
}

impl Whose {
    /// Says whose session a client's calls go through.
    pub(super) fn of(client: &Client) -> Self {
        let made = client
            .principal
            .session()
            .filter(|session| session.toolkits.is_some());
        Self {
            user: client.principal.user().clone(),
            which: made.map_or(Which::Configured, |session| Which::Made(Arc::clone(&session.id))),
        }
    }

    /// The session that lists.
    pub(super) fn listing() -> Self {
        Self {
            user: UserId::new(LISTING_USER),
            which: Which::Configured,
        }
    }
}

/// One session's place. The link in it may be made, forgotten and made again.
pub(super) struct Slot {
    pub(super) whose: Whose,
    pub(super) held: Flight<Arc<Held>, SessionError>,
    usage: Usage,
}

impl Slot {
    fn new(whose: &Whose) -> Self {
        Self {
            whose: whose.clone(),
            held: Flight::default(),
            usage: Usage::default(),
        }
    }
}

/// A place in use.
pub(super) type Lease = lease::Lease<Slot>;

impl Place for Slot {
    fn usage(&self) -> &Usage {
        &self.usage
    }
}

#[derive(Default)]
pub(super) struct Users(Mutex<HashMap<Whose, Arc<Slot>, RandomState>>);

impl Users {
    /// Takes a place, and returns with it the one that had to make room; `None` when every place is in use.
    pub(super) fn lease(&self, whose: &Whose) -> Option<(Lease, Option<Arc<Slot>>)> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(whose) {
            return Some((Lease::new(slot), None));
        }
        let mut evicted = None;
        if slots.len() >= UPSTREAM_SESSIONS_MAX {
            let oldest = slots
                .values()
                .filter(|slot| !slot.usage.is_busy())
                .min_by_key(|slot| slot.usage.used())
                .map(|slot| slot.whose.clone());
            evicted = slots.remove(&oldest?);
        }
        let slot = Arc::new(Slot::new(whose));
        let lease = Lease::new(&slot);
        slots.insert(whose.clone(), slot);
        Some((lease, evicted))
    }

    /// Returns what there is at this moment.
    pub(super) fn held(&self, whose: &Whose) -> Option<Arc<Held>> {
        let slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slots.get(whose)?.held.kept()
    }

    /// Takes out those who were away for so long.
    pub(super) fn take_idle(&self, idle_max: Duration) -> Vec<Arc<Slot>> {
        let now = clock::now();
        self.take(|slot| !slot.usage.is_busy() && now.duration_since(slot.usage.used()) >= idle_max)
    }

    /// Takes out everybody.
    pub(super) fn take_all(&self) -> Vec<Arc<Slot>> {
        self.take(|_| true)
    }

    fn take(&self, doomed: impl Fn(&Slot) -> bool) -> Vec<Arc<Slot>> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = slots.extract_if(|_, slot| doomed(slot));
        gone.map(|(_, slot)| slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(name: &str) -> Whose {
        Whose {
            user: UserId::new(name),
            which: Which::Configured,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_who_was_away_longest_makes_room_unless_calls_run() {
        let users = Users::default();
        let lease = |name: &str| users.lease(&whose(name));
        let (busy, _) = lease("busy").unwrap();
        for number in 1..UPSTREAM_SESSIONS_MAX {
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(lease(&number.to_string()).unwrap().1.is_none());
        }
        let (_, evicted) = lease("new").unwrap();
        assert_eq!(evicted.unwrap().whose.user.as_str(), "1");
        assert!(lease("busy").unwrap().1.is_none(), "it is still there");
        drop(busy);
    }

    #[tokio::test(start_paused = true)]
    async fn when_every_place_is_in_use_nobody_new_gets_one() {
        let users = Users::default();
        let lease = |number: usize| users.lease(&whose(&number.to_string()));
        let held: Vec<_> = (0..UPSTREAM_SESSIONS_MAX)
            .map(|number| lease(number).unwrap())
            .collect();
        assert!(lease(UPSTREAM_SESSIONS_MAX).is_none());
        drop(held);
        assert!(lease(UPSTREAM_SESSIONS_MAX).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn only_those_who_were_away_long_enough_are_taken_out() {
        let users = Users::default();
        let lease = |name: &str| users.lease(&whose(name)).unwrap().0;
        drop(lease("idle"));
        let busy = lease("busy");
        tokio::time::advance(Duration::from_secs(9)).await;
        drop(lease("recent"));
        tokio::time::advance(Duration::from_secs(1)).await;
        let names = |taken: Vec<Arc<Slot>>| -> Vec<String> {
            taken.iter().map(|slot| slot.whose.user.to_string()).collect()
        };
        assert_eq!(names(users.take_idle(Duration::from_secs(10))), ["idle"]);
        drop(busy);
        assert_eq!(users.take_all().len(), 2);
    }
}
