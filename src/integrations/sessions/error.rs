//! Why there is no session, or why it was not changed.

use std::sync::Arc;

use crate::integrations::composio::ApiError;
use crate::limits::COMPOSIO_SESSIONS_PER_USER_MAX;
use crate::store::StoreError;

/// Why there is no session.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SessionError {
    /// Composio's API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The store.
    #[error("the store failed; the log says more")]
    Store(Arc<StoreError>),
    /// There is no session of ours with this id.
    #[error("there is no such session")]
    Unknown,
    /// The user has another session with these toolkits.
    #[error("the user has a session with these toolkits already")]
    Taken,
    /// The session is the configuration's, whose toolkits are the configuration's.
    #[error("the session has the toolkits of the configuration, which do not change here")]
    Fixed,
    /// A toolkit that the configuration does not have.
    #[error("the toolkit {0} is not among the gateway's `toolkits`")]
    Toolkit(String),
    /// The user has as many as may be.
    #[error("the user has {COMPOSIO_SESSIONS_PER_USER_MAX} sessions; delete one first")]
    TooMany,
    /// Nothing was done: we are at the end.
    #[error("we are shutting down")]
    ShutDown,
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %error, source = ?std::error::Error::source(&error), "the store failed");
        Self::Store(Arc::new(error))
    }
}
