//! Callback identity verification (facts: OAuth connect flow): where a project has a page of its own for browsers that come
//! back, Composio waits to be told whose browser it was before the account works.

use http::Method;
use serde::Deserialize;

use super::accounts::ProviderId;
use super::request::Ask;
use super::{ApiError, Composio};
use crate::ids::UserId;

/// To Composio this is nobody in particular.
const NOBODY: &str = "default";

#[derive(Deserialize)]
struct Verified {
    connected_account_id: String,
    toolkit_slug: String,
}

impl Composio {
    /// Says whose browser arrived with a `session_uri` at the project's `oauth_callback_verifier_url`. Returns the account,
    /// which is active then, and its toolkit. The URI is a secret, good once and for ten minutes.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] for one that is not good; a 400 when the link was another user's, whose account has failed
    /// for good then.
    pub async fn complete_auth(
        &self,
        session_uri: &str,
        user: &UserId,
    ) -> Result<(ProviderId, String), ApiError> {
        if user.as_str() == NOBODY {
            return Err(ApiError::Nobody);
        }
        let path = ["connected_accounts", "complete_auth"];
        let body = serde_json::json!({ "session_uri": session_uri, "user_id": user.as_str() });
        let ask = Ask::change(Method::POST, &path)
            .json(&body)?
            .about("authorization", session_uri);
        let verified: Verified = self.read(ask, "verified account").await?;
        let id = ProviderId::new(&verified.connected_account_id);
        let id = id.ok_or(ApiError::Unread("verified account"))?;
        Ok((id, verified.toolkit_slug.to_lowercase()))
    }
}
