//! From the token in the URL of a Composio session to a principal that may use this session and nothing else. Known by
//! its SHA-256 alone; it ends with its session. Asked of the store each time, so that what was taken back is at once.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::principal::SessionGrant;
use super::{AuthError, KeyLabel, Principal};
use crate::limits::KEY_BYTES_MAX;
use crate::store::Store;

/// Knows whose session a token opens.
#[derive(Clone, Debug)]
pub struct SessionTokens(Store);

impl SessionTokens {
    /// Makes it over a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// Finds out whose session a token opens.
    ///
    /// # Errors
    /// [`AuthError::Unknown`], also for one that was taken back; [`AuthError::Unavailable`].
    pub async fn authenticate(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        if token.is_empty() || token.len() > KEY_BYTES_MAX {
            return Err(AuthError::Unknown);
        }
        let sha256: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        let found = self.0.composio_sessions().by_token(&sha256).await;
        let row = found.map_err(|error| {
            tracing::error!(%error, "a session's token could not be looked up");
            AuthError::Unavailable
        })?;
        let row = row.ok_or(AuthError::Unknown)?;
        let session = SessionGrant {
            id: row.id.into(),
            gateway: row.place.gateway,
            toolkits: row.place.toolkits,
        };
        Ok(Arc::new(Principal::of_session(
            row.place.user,
            KeyLabel::of(&sha256),
            session,
        )))
    }
}
