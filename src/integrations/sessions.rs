//! Which Tool Router session a user has: made on first use, found again after a restart, made anew when Composio has
//! deleted it, changed in place when the configuration changed. One user's sessions are seen to one after the other, so
//! that none is made twice; a piece of work goes on when whoever asked for it goes away. Never logs an id of Composio's.

mod error;
mod making;
mod pins;
mod telling;
mod turns;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::stream::{self, StreamExt};
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

pub use self::error::SessionError;
pub(super) use self::turns::Turns;
use super::composio::{Composio, Session, SessionId, SessionOptions};
use crate::clock;
use crate::config;
use crate::ids::{GatewayId, UserId};
use crate::limits::COMPOSIO_SESSIONS_PER_USER_MAX;
use crate::store::Store;
use crate::store::composio_sessions::{SessionPlace, SessionRow, Theirs};
use crate::supervisor::Supervisor;

/// Sessions that are deleted at the same time.
const ENDS_AT_ONCE: usize = 16;

/// Which of a user's sessions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Which {
    /// The one with the toolkits of the configuration; made when there is none.
    Configured,
    /// The one with this id of ours; never made, only made anew.
    Made(Arc<str>),
}

/// A session that can be spoken to.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Our own id.
    pub id: Arc<str>,
    /// Composio's.
    pub session: Session,
}

/// The sessions of one project.
#[derive(Clone, Debug)]
pub struct Sessions(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    gateway: GatewayId,
    options: config::Composio,
    api: Arc<Composio>,
    store: Store,
    supervisor: Supervisor,
    turns: Arc<Turns>,
    /// Sessions whose endpoint refused the key although it had taken it before.
    degraded: Mutex<HashSet<Arc<str>>>,
}

impl Sessions {
    pub(super) fn new(
        gateway: &GatewayId,
        options: &config::Composio,
        api: Arc<Composio>,
        store: Store,
        supervisor: Supervisor,
        turns: Arc<Turns>,
    ) -> Self {
        Self(Arc::new(Inner {
            gateway: gateway.clone(),
            options: options.clone(),
            api,
            store,
            supervisor,
            turns,
            degraded: Mutex::default(),
        }))
    }

    /// Returns a session, looked at: made when it is the configuration's and there is none, made anew when Composio does
    /// not have it, told what changed in the configuration.
    ///
    /// # Errors
    /// [`SessionError`], by cause.
    pub async fn open(&self, user: &UserId, which: &Which) -> Result<Opened, SessionError> {
        let (inner, which) = (Arc::clone(&self.0), which.clone());
        self.in_turn(user, move |user| async move {
            let row = match which {
                Which::Configured => match inner
                    .store
                    .composio_sessions()
                    .at(&inner.place(&user, None))
                    .await?
                {
                    Some(row) => row,
                    None => return inner.make(inner.place(&user, None)).await,
                },
                Which::Made(id) => inner.row(&user, &id).await?,
            };
            inner.look(row).await
        })
        .await
    }

    /// Returns the session of a user with these toolkits, making it when there is none; none: those of the
    /// configuration.
    ///
    /// # Errors
    /// [`SessionError`], by cause.
    pub async fn create(&self, user: &UserId, toolkits: &[&str]) -> Result<SessionRow, SessionError> {
        let toolkits = self.0.set_of(toolkits)?;
        let inner = Arc::clone(&self.0);
        self.in_turn(user, move |user| async move {
            let place = inner.place(&user, toolkits);
            let sessions = inner.store.composio_sessions();
            let opened = match sessions.at(&place).await? {
                Some(row) => inner.look(row).await?,
                None if sessions.count(&inner.gateway, &user).await? >= COMPOSIO_SESSIONS_PER_USER_MAX => {
                    return Err(SessionError::TooMany);
                }
                None => inner.make(place).await?,
            };
            inner.row(&user, &opened.id).await
        })
        .await
    }

    /// Gives a session of a user other toolkits, in place.
    ///
    /// # Errors
    /// [`SessionError`], by cause; nothing was changed then.
    pub async fn change(
        &self,
        user: &UserId,
        id: &str,
        toolkits: &[&str],
    ) -> Result<SessionRow, SessionError> {
        let toolkits = self.0.set_of(toolkits)?;
        let (inner, id) = (Arc::clone(&self.0), id.to_owned());
        self.in_turn(user, move |user| async move {
            inner.change(&user, &id, toolkits).await?;
            inner.row(&user, &id).await
        })
        .await
    }

    /// Deletes a session of a user, at Composio and here: its tokens open nothing any more. Connections stay.
    ///
    /// # Errors
    /// [`SessionError`], by cause; it is still there then.
    pub async fn delete(&self, user: &UserId, id: &str) -> Result<(), SessionError> {
        let (inner, id) = (Arc::clone(&self.0), id.to_owned());
        self.in_turn(user, move |user| async move {
            let row = inner.row(&user, &id).await?;
            if let Some(theirs) = row.theirs.as_ref().and_then(session_id) {
                inner.api.delete_session(&theirs).await?;
            }
            inner.store.composio_sessions().remove(&id).await?;
            inner.set_degraded(&id, false);
            tracing::info!(gateway.id = %inner.gateway, session.id = id, "a Composio session was deleted");
            Ok(())
        })
        .await
    }

    /// Finds a session of a user by our own id; another's is unknown. Asks nobody else.
    ///
    /// # Errors
    /// [`SessionError::Unknown`], [`SessionError::Store`].
    pub async fn find(&self, user: &UserId, id: &str) -> Result<SessionRow, SessionError> {
        self.0.row(user, id).await
    }

    /// Makes a token that opens a session's own URL and nothing else. It is kept nowhere.
    ///
    /// # Errors
    /// [`SessionError::Store`].
    pub async fn token(&self, id: &str) -> Result<String, SessionError> {
        let token = hex(&clock::random::<32>());
        let sha256: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let sessions = self.0.store.composio_sessions();
        sessions.add_token(id, &sha256, clock::unix_s()).await?;
        Ok(token)
    }

    /// Notes whether a session's endpoint refuses the key that it took before.
    pub fn set_degraded(&self, id: &str, degraded: bool) {
        self.0.set_degraded(id, degraded);
    }

    /// Tells whether a session's endpoint refused the key when it was last spoken to, having taken it before.
    #[must_use]
    pub fn is_degraded(&self, id: &str) -> bool {
        self.0
            .degraded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(id)
    }

    /// Deletes every session at Composio, for a store that ends with us.
    pub async fn end_all(&self) {
        let rows = match self.0.store.composio_sessions().of_gateway(&self.0.gateway).await {
            Ok(rows) => rows,
            Err(error) => return tracing::error!(%error, "the Composio sessions to delete could not be read"),
        };
        let ids = rows.iter().filter_map(|row| session_id(row.theirs.as_ref()?));
        stream::iter(ids)
            .for_each_concurrent(ENDS_AT_ONCE, |id| async move {
                if let Err(error) = self.0.api.delete_session(&id).await {
                    tracing::warn!(gateway.id = %self.0.gateway, reason = %error, "a Composio session was not deleted");
                }
            })
            .await;
    }

    pub(super) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.0.turns)
    }

    /// Does a piece of work when the user's others are done, to its end even when nobody waits for it any more.
    async fn in_turn<T, F>(
        &self,
        user: &UserId,
        work: impl FnOnce(UserId) -> F + Send + 'static,
    ) -> Result<T, SessionError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, SessionError>> + Send + 'static,
    {
        let (done, outcome) = oneshot::channel();
        let (inner, user) = (Arc::clone(&self.0), user.clone());
        self.0.supervisor.spawn("Composio session", async move {
            let turn = inner.turns.take(&user);
            let held = turn.lock().await;
            let came = work(user.clone()).await;
            drop(held);
            drop(turn);
            inner.turns.end(&user);
            let _ = done.send(came);
        });
        outcome.await.unwrap_or(Err(SessionError::ShutDown))
    }
}

impl Inner {
    fn set_degraded(&self, id: &str, degraded: bool) {
        let mut all = self.degraded.lock().unwrap_or_else(PoisonError::into_inner);
        if degraded {
            all.insert(Arc::from(id));
        } else {
            all.remove(id);
        }
    }

    fn place(&self, user: &UserId, toolkits: Option<Vec<String>>) -> SessionPlace {
        SessionPlace {
            gateway: self.gateway.clone(),
            user: user.clone(),
            toolkits,
        }
    }

    /// Puts toolkits in order. None of them, and just those of the configuration, are the configuration's.
    fn set_of(&self, toolkits: &[&str]) -> Result<Option<Vec<String>>, SessionError> {
        let mut set: Vec<String> = toolkits.iter().map(|slug| (*slug).to_owned()).collect();
        set.sort_unstable();
        set.dedup();
        let Some(configured) = &self.options.toolkits else {
            return Ok((!set.is_empty()).then_some(set));
        };
        if let Some(foreign) = set.iter().find(|slug| !configured.contains(slug)) {
            return Err(SessionError::Toolkit(foreign.clone()));
        }
        Ok((!set.is_empty() && set.len() < configured.len()).then_some(set))
    }

    /// Finds a session of a user; another's is unknown.
    async fn row(&self, user: &UserId, id: &str) -> Result<SessionRow, SessionError> {
        let row = self.store.composio_sessions().by_id(id).await?;
        row.filter(|row| row.place.user == *user && row.place.gateway == self.gateway)
            .ok_or(SessionError::Unknown)
    }

    /// What Composio is told of a session. Of its toolkits, those that the configuration has (still).
    fn options(&self, toolkits: Option<&[String]>) -> Result<SessionOptions, SessionError> {
        let Some(set) = toolkits else {
            return Ok(SessionOptions::of(&self.options, None));
        };
        let configured = self.options.toolkits.as_deref();
        let has = |slug: &&String| configured.is_none_or(|configured| configured.contains(slug));
        let some: Vec<String> = set.iter().filter(has).cloned().collect();
        match set.first() {
            Some(first) if some.is_empty() => Err(SessionError::Toolkit(first.clone())),
            _ => Ok(SessionOptions::of(&self.options, Some(&some))),
        }
    }
}

fn session_id(theirs: &Theirs) -> Option<SessionId> {
    SessionId::new(theirs.session_id.clone())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
