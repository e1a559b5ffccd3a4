//! Sessions of Composio's Tool Router: create, look, change, delete. There is no way to list them, so one that was made without
//! our hearing of it stays there, unknown to us, until Composio removes it. It holds no connection.

use std::fmt;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use super::request::Ask;
use super::session_options::SessionOptions;
use super::{ApiError, Composio};
use crate::ids::UserId;
use crate::limits::COMPOSIO_SESSION_ID_BYTES_MAX;

/// To Composio this is nobody in particular, and it refuses some of its flows.
const NOBODY: &str = "default";

/// A Tool Router session. Its id and URL are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Session {
    /// Names it in the API.
    pub id: SessionId,
    /// Its MCP endpoint, on the API's own origin.
    pub mcp_url: Url,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(***)")
    }
}

/// The id of a session: safe in a path, never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(***)")
    }
}

impl SessionId {
    /// Reads an id: 1 to [`COMPOSIO_SESSION_ID_BYTES_MAX`] of letters, digits, `_` and `-`.
    #[must_use]
    pub fn new(id: String) -> Option<Self> {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=COMPOSIO_SESSION_ID_BYTES_MAX).contains(&id.len());
        (fits && id.bytes().all(right)).then_some(Self(id))
    }

    /// Returns the id, for the store alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What we read of a session; whatever else there is may be anything.
#[derive(Deserialize)]
struct Described {
    session_id: String,
    mcp: Endpoint,
    #[serde(default)]
    config: Value,
}

#[derive(Deserialize)]
struct Endpoint {
    url: String,
}

/// An answer that describes no session that can be used.
struct Unread {
    known: Option<SessionId>,
    error: ApiError,
}

impl Composio {
    /// Reads what a session's MCP endpoint says beside a status, its headers and its body; `None` where that is no error
    /// of Composio's.
    #[must_use]
    pub fn refusal_at(
        &self,
        session: &Session,
        status: StatusCode,
        retry_after: &str,
        body: &[u8],
    ) -> Option<ApiError> {
        let key = self.key.to_str().unwrap_or_default();
        let secrets = [key, session.mcp_url.as_str(), session.id.expose()];
        ApiError::at_endpoint(status, retry_after, body, &secrets)
    }

    /// Makes a session for a user. Each call makes another one. `request_id` goes with the request, for Composio's
    /// support.
    ///
    /// # Errors
    /// [`ApiError`], by cause; where [`ApiError::may_have_made`] is true there may be a session that nobody knows, and
    /// the same when the future is dropped.
    pub async fn create_session(
        &self,
        user: &UserId,
        options: &SessionOptions,
        request_id: &str,
    ) -> Result<Session, ApiError> {
        if user.as_str() == NOBODY {
            return Err(ApiError::Nobody);
        }
        let ask = Ask::change(Method::POST, &["tool_router", "session"]).named(request_id);
        let answer = self.ask(ask.json(&options.body(user))?).await?;
        match self.session_of(&answer, Some(user)) {
            Ok(session) => Ok(session),
            Err(Unread { known, error }) => {
                if let Some(id) = known {
                    // Best effort: what went wrong is said, and the orphan is one that we know of.
                    let _ = self.delete_session(&id).await;
                }
                Err(error)
            }
        }
    }

    /// Changes what a session may use, in place. Never with `expected_config_version`: Composio's own SDKs found that it
    /// refuses that.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when it was deleted; nothing was changed after a refusal.
    pub async fn update_session(
        &self,
        id: &SessionId,
        changes: &Map<String, Value>,
    ) -> Result<Session, ApiError> {
        let path = ["tool_router", "session", &id.0];
        let ask = Ask::change(Method::PATCH, &path)
            .about("session", &id.0)
            .repeatable();
        let answer = self.ask(ask.json(changes)?).await?;
        self.session_of(&answer, None).map_err(|unread| unread.error)
    }

    /// Looks at a session.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when it was deleted, or never was.
    pub async fn session(&self, id: &SessionId) -> Result<Session, ApiError> {
        let path = ["tool_router", "session", &id.0];
        let answer = self.ask(Ask::get(&path).about("session", &id.0)).await?;
        let session = self.session_of(&answer, None).map_err(|unread| unread.error)?;
        if session.id != *id {
            return Err(ApiError::NotASession("it describes another session"));
        }
        Ok(session)
    }

    /// Deletes a session. Its user's connections stay.
    ///
    /// # Errors
    /// [`ApiError`], by cause; that it is not there is none.
    pub async fn delete_session(&self, id: &SessionId) -> Result<(), ApiError> {
        let path = ["tool_router", "session", &id.0];
        match self.ask(Ask::delete(&path).about("session", &id.0)).await {
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads a session; of another user than `made_for` it is none that we may use, or delete.
    fn session_of(&self, answer: &[u8], made_for: Option<&UserId>) -> Result<Session, Unread> {
        let unread = |known: Option<&SessionId>, why| Unread {
            known: known.cloned(),
            error: ApiError::NotASession(why),
        };
        let described: Described =
            serde_json::from_slice(answer).map_err(|_| unread(None, "what came describes no session"))?;
        let id = SessionId::new(described.session_id)
            .ok_or_else(|| unread(None, "its id is of another form than any known"))?;
        let its_user = described.config.get("user_id").and_then(Value::as_str);
        if let (Some(wanted), Some(its)) = (made_for, its_user)
            && wanted.as_str() != its
        {
            return Err(unread(None, "it is another user's"));
        }
        let mcp_url =
            Url::parse(&described.mcp.url).map_err(|_| unread(Some(&id), "its MCP endpoint is no URL"))?;
        let bare = mcp_url.username().is_empty() && mcp_url.password().is_none();
        if mcp_url.origin() != self.base_url.origin() || !bare {
            let why = "its MCP endpoint is on another host, where the key does not go";
            return Err(unread(Some(&id), why));
        }
        Ok(Session { id, mcp_url })
    }
}
