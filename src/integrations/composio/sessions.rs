//! Sessions of Composio's Tool Router: create, look, delete. There is no way to list them, so one that was made without
//! our hearing of it stays there, unknown to us, until Composio removes it. It holds no connection.

use std::fmt;

use http::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use super::request::Ask;
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
    fn new(id: String) -> Option<Self> {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=COMPOSIO_SESSION_ID_BYTES_MAX).contains(&id.len());
        (fits && id.bytes().all(right)).then_some(Self(id))
    }
}

/// The body of a create.
#[derive(Serialize)]
struct NewSession<'a> {
    user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    toolkits: Option<Enabled<'a>>,
    manage_connections: On,
}

#[derive(Serialize)]
struct Enabled<'a> {
    enable: &'a [String],
}

#[derive(Serialize)]
struct On {
    enable: bool,
}

/// What we read of a session; whatever else there is may be anything.
#[derive(Deserialize)]
struct Described {
    session_id: String,
    mcp: Endpoint,
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
    /// Makes a session for a user. Each call makes another one.
    ///
    /// # Errors
    /// [`ApiError`], by cause. After `Timeout`, `Broken` and a status of 500 or more there may be a session that
    /// nobody knows; the same when the future is dropped.
    pub async fn create_session(
        &self,
        user: &UserId,
        toolkits: Option<&[String]>,
    ) -> Result<Session, ApiError> {
        if user.as_str() == NOBODY {
            return Err(ApiError::Nobody);
        }
        let body = NewSession {
            user_id: user.as_str(),
            toolkits: toolkits.map(|enable| Enabled { enable }),
            // What Composio's own SDKs send when nothing is said.
            manage_connections: On { enable: true },
        };
        let answer = self
            .ask(Ask::change(Method::POST, &["tool_router", "session"]).json(&body)?)
            .await?;
        match self.session_of(&answer) {
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

    /// Looks at a session.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when it was deleted, or never was.
    pub async fn session(&self, id: &SessionId) -> Result<Session, ApiError> {
        let path = ["tool_router", "session", &id.0];
        let answer = self.ask(Ask::get(&path).about("session", &id.0)).await?;
        let session = self.session_of(&answer).map_err(|unread| unread.error)?;
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

    fn session_of(&self, answer: &[u8]) -> Result<Session, Unread> {
        let unread = |known: Option<&SessionId>, why| Unread {
            known: known.cloned(),
            error: ApiError::NotASession(why),
        };
        let described: Described =
            serde_json::from_slice(answer).map_err(|_| unread(None, "what came describes no session"))?;
        let id = SessionId::new(described.session_id)
            .ok_or_else(|| unread(None, "its id is of another form than any known"))?;
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
