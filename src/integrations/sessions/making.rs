//! A session is made: noted before Composio is asked, kept once it answered, bound to the accounts that
//! its user chose.

use super::{Inner, Opened, SessionError, hex};
use crate::clock;
use crate::integrations::composio::SessionOptions;
use crate::store::composio_sessions::{SessionPlace, Theirs};

impl Inner {
    /// Has a session made for a place that has none.
    pub(super) async fn make(&self, place: SessionPlace) -> Result<Opened, SessionError> {
        let options = self.options(place.toolkits.as_deref())?;
        let pins = self.pins(&place, None).await?;
        let pinned = options.clone().with_accounts(pins.clone());
        match self.make_with(&place, &pinned).await {
            // An account that was chosen is gone: that is no reason to have no session.
            Err(SessionError::Api(error)) if !pins.is_empty() && error.names_dead_accounts() => {
                let living = self.living_pins(&place, None, &pins).await?;
                self.make_with(&place, &options.with_accounts(living)).await
            }
            other => other,
        }
    }

    async fn make_with(
        &self,
        place: &SessionPlace,
        options: &SessionOptions,
    ) -> Result<Opened, SessionError> {
        let sessions = self.store.composio_sessions();
        let request_id = request_id();
        let id = format!("cs_{}", hex(&clock::random::<12>()));
        let id = sessions.begin(place, &id, &request_id, clock::unix_s()).await?;
        let session = match self.api.create_session(&place.user, options, &request_id).await {
            Ok(session) => session,
            Err(error) if error.may_have_made() => {
                tracing::warn!(
                    gateway.id = %self.gateway, request.id = request_id, reason = %error,
                    "a Composio session may have been made that nobody knows"
                );
                return Err(error.into());
            }
            Err(error) => {
                sessions.not_made(&request_id).await?;
                return Err(error.into());
            }
        };
        let theirs = Theirs {
            session_id: session.id.expose().to_owned(),
            mcp_url: session.mcp_url.to_string(),
        };
        let kept = sessions.made(&request_id, &id, &theirs, &options.text()).await;
        if !matches!(kept, Ok(true)) {
            // Nobody would find it again.
            let _ = self.api.delete_session(&session.id).await;
            return Err(kept.map_or_else(SessionError::from, |_| SessionError::Unknown));
        }
        tracing::info!(gateway.id = %self.gateway, session.id = id, "a Composio session was made");
        Ok(Opened {
            id: id.into(),
            session,
        })
    }
}

/// A random UUID (RFC 9562, version 4), as Composio's own SDKs name their requests.
fn request_id() -> String {
    let mut bytes = clock::random::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let text = hex(&bytes);
    let part = |range| text.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}
