//! Composio's API as far as sessions of its Tool Router need it (v3.1): create, look, delete.
//! The key goes to the configured origin and nowhere else: no redirect is followed, no proxy is used. A create may be
//! sent again only when the one before was certainly not processed: there is no way to list sessions, so one that was
//! made without our hearing of it stays there, unknown to us, until Composio removes it. It holds no connection.
//! Never logs or shows a session's id or URL: whoever has them and a key acts as its user.

mod error;

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde::{Deserialize, Serialize};
use url::Url;

pub use self::error::ApiError;
use self::error::root_cause;
use crate::config::Secret;
use crate::ids::UserId;
use crate::limits::{
    COMPOSIO_API_ANSWER_BYTES_MAX, COMPOSIO_API_ATTEMPTS_MAX, COMPOSIO_API_RETRY_WAIT_MAX,
    COMPOSIO_API_TIMEOUT, COMPOSIO_SESSION_ID_BYTES_MAX, CONNECT_TIMEOUT, UPSTREAM_POOL_IDLE_MAX,
};

/// Carries the project's key, towards the API and towards a session's MCP endpoint.
pub const KEY_HEADER: &str = "x-api-key";
/// For whom lists are asked for. It has no connections; a session's tools depend on its toolkits, not on its user.
pub const LISTING_USER: &str = "toolgate-listing";
/// To Composio this is nobody in particular, and it refuses some of its flows.
const NOBODY: &str = "default";
/// The first wait before a request is sent again; doubled each time.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// The API under one project's key.
#[derive(Debug)]
pub struct Composio {
    client: reqwest::Client,
    base_url: Url,
    key: HeaderValue,
}

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

/// When a request may be sent again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Only when it was certainly not processed.
    Unprocessed,
    /// Whenever it failed: it changes nothing, or nothing more.
    Always,
}

impl Composio {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// [`ApiError::Unusable`]: a key that no header can carry, TLS that cannot be set up.
    pub fn new(base_url: &Url, api_key: &Secret) -> Result<Self, ApiError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(UPSTREAM_POOL_IDLE_MAX)
            .user_agent(concat!("toolgate/", env!("CARGO_PKG_VERSION")));
        if base_url.scheme() == "http" {
            // Nothing will be verified: an image without certificates is no reason to refuse.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        let client = builder
            .build()
            .map_err(|error| ApiError::Unusable(format!("TLS cannot be set up: {}", root_cause(&error))))?;
        let mut key = HeaderValue::from_str(api_key.expose())
            .map_err(|_| ApiError::Unusable("the key holds characters that no header carries".to_owned()))?;
        key.set_sensitive(true);
        Ok(Self {
            client,
            base_url: base_url.clone(),
            key,
        })
    }

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
        let body = serde_json::to_vec(&body).map_err(|error| ApiError::Unusable(error.to_string()))?;
        let answer = self
            .ask(Method::POST, None, Some(Bytes::from(body)), Again::Unprocessed)
            .await?;
        match self.read(&answer) {
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
        let answer = self.ask(Method::GET, Some(id), None, Again::Always).await?;
        let session = self.read(&answer).map_err(|unread| unread.error)?;
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
        match self.ask(Method::DELETE, Some(id), None, Again::Always).await {
            Ok(_) | Err(ApiError::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&self, answer: &[u8]) -> Result<Session, Unread> {
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

    /// Sends a request until it is answered or may not be sent again.
    async fn ask(
        &self,
        method: Method,
        id: Option<&SessionId>,
        body: Option<Bytes>,
        again: Again,
    ) -> Result<Bytes, ApiError> {
        let mut attempt = 1;
        loop {
            let error = match self.ask_once(&method, id, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may = error.unprocessed() || (again == Again::Always && error.passing());
            if !may || attempt >= COMPOSIO_API_ATTEMPTS_MAX {
                return Err(error);
            }
            let wait = error.retry_after().unwrap_or(RETRY_WAIT * 2_u32.pow(attempt - 1));
            if wait > COMPOSIO_API_RETRY_WAIT_MAX {
                return Err(error);
            }
            tracing::debug!(http.method = %method, reason = %error, "a request of Composio's API is sent again");
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    async fn ask_once(
        &self,
        method: &Method,
        id: Option<&SessionId>,
        body: Option<Bytes>,
    ) -> Result<Bytes, ApiError> {
        match tokio::time::timeout(COMPOSIO_API_TIMEOUT, self.exchange(method, id, body)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ApiError::Timeout),
        }
    }

    async fn exchange(
        &self,
        method: &Method,
        id: Option<&SessionId>,
        body: Option<Bytes>,
    ) -> Result<Bytes, ApiError> {
        let mut headers = HeaderMap::with_capacity(3);
        headers.insert(HeaderName::from_static(KEY_HEADER), self.key.clone());
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let request = self.client.request(method.clone(), self.url(id)).headers(headers);
        let request = match body {
            Some(body) => request.body(body),
            None => request,
        };
        let response = request.send().await.map_err(|error| ApiError::of(&error))?;
        self.note_deprecation(response.headers());
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            return Err(ApiError::Redirect(status));
        }
        let answer = read_body(response).await;
        if status.is_success() {
            return answer;
        }
        // A status says enough where its body does not come.
        let answer = answer.unwrap_or_default();
        let mut secrets = vec![self.key.to_str().unwrap_or_default()];
        secrets.extend(id.map(|id| id.0.as_str()));
        Err(ApiError::of_status(
            status,
            &headers,
            &answer,
            id.is_some(),
            &secrets,
        ))
    }

    /// Returns where sessions are, or one of them.
    fn url(&self, id: Option<&SessionId>) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(["api", "v3.1", "tool_router", "session"]);
            path.extend(id.map(|id| &id.0));
        }
        url
    }

    /// Composio announces by headers what it will take away.
    fn note_deprecation(&self, headers: &HeaderMap) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if let Some(deprecation) = text("deprecation") {
            let sunset = text("sunset").unwrap_or_default();
            tracing::warn!(
                server.address = self.base_url.host_str(),
                deprecation,
                sunset,
                "Composio will take this part of its API away"
            );
        }
    }
}

async fn read_body(mut response: reqwest::Response) -> Result<Bytes, ApiError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ApiError::of(&error))? {
        if body.len() + chunk.len() > COMPOSIO_API_ANSWER_BYTES_MAX {
            return Err(ApiError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}
