//! All sessions of legacy clients. An id belongs to the principal that it was made for; to any other it is as unknown
//! as one that never was.

use std::sync::{Arc, Weak};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dashmap::DashMap;

use super::session::Session;
use super::{Endpoint, Parts};
use crate::catalog::Changes;
use crate::clock::{self, Instant};
use crate::exchange::{Client, Outbox, Scope};
use crate::identity::Principal;
use crate::ids::{SessionId, UserId};
use crate::limits::STREAM_QUEUE_EVENTS_MAX;
use crate::protocol::json::Raw;
use crate::protocol::version::ProtocolVersion;
use crate::seal::Purpose;
use crate::store::Forgotten;

/// How often idle sessions are looked for,
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);
/// and so often within the time that a question waits: one that nobody answers outlives it by no more than that.
const SWEEPS_PER_QUESTION: u32 = 4;
const ID_BYTES: usize = 16;

/// Why there is no new session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OpenError {
    /// As many sessions as may be are open, and none of this user's can go.
    #[error("too many sessions are open; end some with DELETE, or try again later")]
    TooMany,
    /// The id could not be made.
    #[error("no session id could be made")]
    Unsealed,
}

/// Maps a session id to its session.
#[derive(Debug)]
pub(super) struct Sessions {
    pub(super) parts: Parts,
    open: DashMap<SessionId, Arc<Session>>,
    by_user: DashMap<UserId, Vec<SessionId>>,
}

impl Sessions {
    pub(super) fn new(parts: &Parts) -> Self {
        Self {
            parts: parts.clone(),
            open: DashMap::new(),
            by_user: DashMap::new(),
        }
    }

    /// Opens a session for a client that has initialized; returns once it is written down.
    pub(super) async fn open(
        &self,
        principal: &Arc<Principal>,
        version: ProtocolVersion,
        capabilities: Raw,
        info: Option<Raw>,
    ) -> Result<Arc<Session>, OpenError> {
        self.make_room(principal)?;
        let id = self.new_id(principal)?;
        let client = |outbox| Client {
            principal: principal.clone(),
            scope: Scope::Session(id.clone()),
            version,
            capabilities,
            info,
            outbox: Some(outbox),
        };
        let told = *self.parts.catalog.changes().borrow();
        let session = self.insert(&id, client, told, clock::now());
        self.keep(&session).await;
        Ok(session)
    }

    /// Sees that there may be one session more. A user with too many loses the one that idles longest.
    pub(super) fn make_room(&self, principal: &Principal) -> Result<(), OpenError> {
        let limits = &self.parts.limits;
        let mine = self
            .by_user
            .get(principal.user())
            .map(|ids| ids.clone())
            .unwrap_or_default();
        if mine.len() >= limits.sessions_per_user_max {
            let idle = |id: &&SessionId| self.open.get(*id).map_or(Duration::MAX, |session| session.idle());
            let victim = mine.iter().max_by_key(idle).filter(|id| !idle(id).is_zero());
            self.parts.metrics.limit_hit("sessions_per_user");
            self.end(victim.ok_or(OpenError::TooMany)?);
        }
        if self.open.len() >= limits.sessions_max {
            self.parts.metrics.limit_hit("sessions");
            return Err(OpenError::TooMany);
        }
        Ok(())
    }

    /// Takes a session in; of two with the same id the first one stays.
    pub(super) fn insert(
        &self,
        id: &SessionId,
        client: impl FnOnce(Outbox) -> Client,
        told: Changes,
        born: Instant,
    ) -> Arc<Session> {
        let vacant = match self.open.entry(id.clone()) {
            dashmap::Entry::Occupied(there) => return there.get().clone(),
            dashmap::Entry::Vacant(vacant) => vacant,
        };
        let (outbox, inbox) = Outbox::new(STREAM_QUEUE_EVENTS_MAX);
        let client = Arc::new(client(outbox));
        let user = client.principal.user().clone();
        let counted = self.parts.metrics.session_opened();
        let session = Arc::new(Session::new(id.clone(), client, inbox, told, counted, born));
        vacant.insert(session.clone());
        self.by_user.entry(user).or_default().push(id.clone());
        session
    }

    /// Finds a session of a principal.
    pub(super) fn get(&self, principal: &Principal, id: &str) -> Option<Arc<Session>> {
        let session = self.open.get(id).map(|session| session.clone())?;
        if *session.client.principal != *principal {
            return None;
        }
        session.touch();
        Some(session)
    }

    /// Ends a session: what is in flight is cancelled, upstreams forget it.
    pub(super) fn end(&self, id: &SessionId) -> Option<Forgotten> {
        let (_, session) = self.open.remove(id)?;
        let user = session.client.principal.user();
        if let Some(mut ids) = self.by_user.get_mut(user) {
            ids.retain(|other| other != id);
        }
        self.by_user.remove_if(user, |_, ids| ids.is_empty());
        session.close();
        let forgotten = self.forget(id);
        self.parts
            .metrics
            .server_session_ended(session.client.version.as_str(), session.born.elapsed());
        let gateways = self.parts.proxy.gateways().clone();
        self.parts.supervisor.spawn("session end", async move {
            gateways.scope_ended(&session.client).await;
        });
        Some(forgotten)
    }

    fn new_id(&self, principal: &Principal) -> Result<SessionId, OpenError> {
        let expires = clock::unix_s() + self.parts.limits.session_age_max.as_secs();
        let secret: [u8; ID_BYTES] = clock::random();
        let id = self
            .parts
            .sealer
            .seal(Purpose::Session, &principal.binding(), &secret, expires);
        id.map(|id| SessionId::new(&id)).map_err(|_| OpenError::Unsealed)
    }

    fn sweep(&self) {
        let limits = &self.parts.limits;
        let asked_before = clock::now().checked_sub(limits.question_timeout);
        let mut over = Vec::new();
        for session in &self.open {
            session.questions.expire(asked_before);
            session.replays.sweep();
            self.note_use(&session);
            if session.idle() > limits.session_idle_max || session.born.elapsed() > limits.session_age_max {
                over.push(session.id.clone());
            }
        }
        for id in over {
            self.end(&id);
        }
    }
}

/// Makes an id for a scope that no client knows: a listen stream's.
pub(super) fn scope_id() -> SessionId {
    let random: [u8; ID_BYTES] = clock::random();
    SessionId::new(&format!("listen-{}", URL_SAFE_NO_PAD.encode(random)))
}

/// Ends idle and old sessions, gives up unanswered questions; while the endpoint lives.
pub(super) async fn sweep(endpoint: Weak<Endpoint>) {
    let mut interval = Duration::ZERO;
    loop {
        tokio::time::sleep(interval).await;
        let Some(endpoint) = endpoint.upgrade() else {
            return;
        };
        let question_timeout = endpoint.parts.limits.question_timeout;
        endpoint.sessions.sweep();
        endpoint.parked.sweep(question_timeout);
        interval = SWEEP_INTERVAL.min(question_timeout / SWEEPS_PER_QUESTION);
    }
}
