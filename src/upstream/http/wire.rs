//! One HTTP request to one upstream and the head of what comes back. Knows bounds, content types and statuses;
//! knows nothing of eras or sessions. Never follows a redirect, never unpacks a body, never goes through a proxy.

mod template;

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use url::Url;

use self::template::{Method, Template};
use super::client::{Body, Client, Head, SendError, Target, root_cause};
use super::fault::Fault;
use super::large::Large;
use super::stream::EventStream;
use crate::config::Secret;
use crate::limits::{CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, LARGE_ANSWER_BYTES, SSE_IDLE_TIMEOUT};
use crate::protocol::message::{Message, Outcome, Response};
use crate::supervisor::Supervisor;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Why a gateway's HTTP settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A header's name or value cannot be sent.
    #[error("header {0:?} cannot be sent: its name or value has characters that HTTP does not allow")]
    Header(String),
    /// The URL cannot be asked for.
    #[error("its URL has characters that HTTP does not allow")]
    Url,
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Sends requests to one upstream.
pub(in crate::upstream) struct Wire {
    client: Client,
    url: Url,
    /// `None` when HTTP cannot ask for the URL.
    template: Option<Template>,
    /// The operator's headers, and what we say with every request.
    headers: HeaderMap,
    result_bytes_max: usize,
    /// The URL is one user's, and is shown to nobody: what is said there passes through this.
    private: Option<Words>,
}

/// What came beside a status of 400 or more.
pub(in crate::upstream) struct Said<'a> {
    pub(in crate::upstream) status: StatusCode,
    pub(in crate::upstream) retry_after: &'a str,
    /// Empty unless it is JSON.
    pub(in crate::upstream) body: &'a [u8],
}

/// Puts what an upstream says in a form of its own into words that may be shown; `None`: it is not in that form.
pub(in crate::upstream) type Words = Arc<dyn Fn(&Said<'_>) -> Option<String> + Send + Sync>;

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its URL and headers may be secrets.
        f.debug_struct("Wire")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

/// What came back.
#[derive(Debug)]
pub(in crate::upstream) enum Reply {
    /// Taken, and there is nothing to say.
    Accepted,
    /// One JSON body.
    Json(Bytes),
    /// One JSON body that has not been read; only for who can pass it on.
    Large(Large),
    /// A stream of events.
    Events(Box<EventStream>),
    /// A status of 400 or more.
    Refused(Refusal),
}

/// A status of 400 or more, authorization aside.
#[derive(Debug)]
pub(in crate::upstream) struct Refusal {
    pub(in crate::upstream) status: StatusCode,
    pub(super) content_type: String,
    /// The JSON-RPC error in its body.
    pub(super) error: Option<Response>,
    /// What it says may name a URL that is shown to nobody.
    pub(super) private: bool,
    /// What it says in a form of its own, and may be shown.
    pub(super) words: Option<String>,
}

impl Refusal {
    /// Tells whether it was said by whoever knows the session, about the request or the account, and to be passed on.
    pub(super) fn has_words(&self) -> bool {
        let of_session = matches!(self.status, StatusCode::NOT_FOUND | StatusCode::GONE);
        self.words.is_some() && !of_session
    }

    /// Returns what it says in a form of its own.
    pub(super) fn worded(&self) -> Option<Fault> {
        let words = self.words.clone().filter(|_| self.has_words());
        words.map(|words| Fault::Worded {
            status: self.status,
            words,
        })
    }

    /// Returns the code of the JSON-RPC error.
    pub(super) fn code(&self) -> Option<i64> {
        match &self.error.as_ref()?.outcome {
            Outcome::Error(error) => Some(error.code),
            Outcome::Result(_) => None,
        }
    }

    /// Says what came beside the status.
    pub(super) fn detail(&self) -> String {
        match self.error.as_ref().map(|error| &error.outcome) {
            Some(Outcome::Error(error)) if self.private => format!(" (code {})", error.code),
            Some(Outcome::Error(error)) => format!(": {} (code {})", error.message, error.code),
            _ if self.content_type.is_empty() => String::new(),
            _ => format!(" with content type {:?}", self.content_type),
        }
    }

    pub(in crate::upstream) fn into_fault(self) -> Fault {
        self.worded().unwrap_or_else(|| Fault::Status {
            status: self.status,
            detail: self.detail(),
        })
    }
}

impl Wire {
    pub(in crate::upstream) fn new(
        url: Url,
        headers: &[(String, Secret)],
        result_bytes_max: usize,
        supervisor: &Supervisor,
    ) -> Result<Self, SettingsError> {
        // Whoever installed a provider before us has the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(url.scheme() == "https", supervisor);
        let headers = base_headers(headers)?;
        let target = Target::of(&url).ok_or(SettingsError::Url)?;
        Ok(Self {
            client: client.map_err(|error| SettingsError::Tls(root_cause(&error)))?,
            template: Some(Template::new(target, headers.clone())),
            url,
            headers,
            result_bytes_max,
            private: None,
        })
    }

    /// Returns a wire to another URL of the same upstream, over the same connections.
    pub(in crate::upstream) fn at(&self, url: Url) -> Self {
        let before = self.template.as_ref();
        let target = before.and_then(|template| template.target.beside(&url));
        Self {
            client: self.client.clone(),
            template: target.map(|target| Template::new(target, self.headers.clone())),
            url,
            headers: self.headers.clone(),
            result_bytes_max: self.result_bytes_max,
            private: self.private.clone(),
        }
    }

    /// Returns a wire to the URL of one user's session at the same upstream: it is shown to nobody, and of what is
    /// refused there what `words` make of it.
    pub(in crate::upstream) fn private_at(&self, url: Url, words: Words) -> Self {
        Self {
            private: Some(words),
            ..self.at(url)
        }
    }

    /// Tells whether the URL is shown to nobody.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Returns where it leads.
    pub(in crate::upstream) fn url(&self) -> &Url {
        &self.url
    }

    /// Posts a call, whose answer may be too large to be held, and whose caller knows how long to wait.
    pub(super) async fn post_call(&self, body: Bytes, headers: &HeaderMap) -> Result<Reply, Fault> {
        let template = self.template()?;
        let request = template.request(Method::Post, headers, body);
        let (head, body) = sent(self.client.send(&template.target.origin, request).await)?;
        self.read_head(&head, body, None, LARGE_ANSWER_BYTES).await
    }

    /// Posts a message. `patience` is how long the head of the answer may take, and each silence in a body behind it:
    /// some servers send the head at once and work then.
    pub(in crate::upstream) async fn post(
        &self,
        body: Bytes,
        headers: &HeaderMap,
        patience: Duration,
    ) -> Result<(Reply, Head), Fault> {
        self.send(Method::Post, headers, body, patience).await
    }

    /// Opens an event stream.
    pub(in crate::upstream) async fn get(&self, headers: &HeaderMap) -> Result<Reply, Fault> {
        let sent = self.send(Method::Get, headers, Bytes::new(), FIRST_BYTE_TIMEOUT);
        let (reply, _) = sent.await?;
        Ok(reply)
    }

    /// Ends a session; what is said to that is of no interest.
    pub(super) async fn delete(&self, headers: &HeaderMap) {
        let sent = self.send(Method::Delete, headers, Bytes::new(), CONNECT_TIMEOUT);
        if let Err(fault) = sent.await {
            tracing::debug!(reason = %fault, "an upstream session was not ended");
        }
    }

    async fn send(
        &self,
        method: Method,
        headers: &HeaderMap,
        body: Bytes,
        patience: Duration,
    ) -> Result<(Reply, Head), Fault> {
        let template = self.template()?;
        let request = template.request(method, headers, body);
        let asked = tokio::time::timeout(patience, self.client.send(&template.target.origin, request));
        let (head, body) = sent(asked.await.map_err(|_| Fault::Timeout(patience))?)?;
        let reply = self.read_head(&head, body, Some(patience), usize::MAX).await?;
        Ok((reply, head))
    }

    fn template(&self) -> Result<&Template, Fault> {
        let cannot = || Fault::Unreachable("HTTP cannot ask for its URL".to_owned());
        self.template.as_ref().ok_or_else(cannot)
    }

    async fn read_head(
        &self,
        head: &Head,
        body: Body,
        patience: Option<Duration>,
        held_max: usize,
    ) -> Result<Reply, Fault> {
        let status = head.status;
        if status.is_redirection() {
            let target = self.redirect_target(head);
            return Err(Fault::Redirect { status, target });
        }
        // What a session may not do is not always a matter of the key: whoever is behind its URL may say what it is.
        let forbidden = status == StatusCode::FORBIDDEN;
        if status == StatusCode::UNAUTHORIZED || (forbidden && !self.is_private()) {
            return Err(Fault::Unauthorized(status));
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(Reply::Accepted);
        }
        let encoding = head.text(&header::CONTENT_ENCODING);
        if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
            return Err(Fault::Encoding(shortened(encoding)));
        }
        let content_type = head.text(&header::CONTENT_TYPE);
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is_json = essence.eq_ignore_ascii_case(JSON);
        if !status.is_success() {
            let body = if is_json {
                read_body(body, self.result_bytes_max, patience).await
            } else {
                Ok(Bytes::new())
            };
            let refusal = self.refusal(head, body.unwrap_or_default());
            if forbidden && !refusal.has_words() {
                return Err(Fault::Unauthorized(status));
            }
            return Ok(Reply::Refused(refusal));
        }
        if essence.eq_ignore_ascii_case(EVENTS) {
            let stream = EventStream::new(body, SSE_IDLE_TIMEOUT, self.result_bytes_max);
            return Ok(Reply::Events(Box::new(stream)));
        }
        if body.length() == Some(0) {
            return Ok(Reply::Accepted);
        }
        if !(is_json || essence.is_empty()) {
            let content_type = shortened(content_type);
            return Err(Fault::ContentType { status, content_type });
        }
        if let Some(length) = body.length().and_then(|length| usize::try_from(length).ok())
            && length > held_max
            && length <= self.result_bytes_max
        {
            return Ok(Reply::Large(Large::new(body, length)));
        }
        let body = read_body(body, self.result_bytes_max, patience).await?;
        Ok(if body.is_empty() {
            Reply::Accepted
        } else {
            Reply::Json(body)
        })
    }

    /// Reads what came beside a status of 400 or more; `body`: empty unless it is JSON.
    fn refusal(&self, head: &Head, body: Bytes) -> Refusal {
        let said = Said {
            status: head.status,
            retry_after: head.text(&header::RETRY_AFTER),
            body: &body,
        };
        let words = self.private.as_ref().and_then(|words| words(&said));
        let error = match Message::parse(body) {
            Ok(Message::Response(response)) if matches!(response.outcome, Outcome::Error(_)) => {
                Some(response)
            }
            _ => None,
        };
        // An error of the protocol's own is passed on as it is; it has no place for when to try again.
        let own = error.is_some() && head.status != StatusCode::TOO_MANY_REQUESTS;
        Refusal {
            status: head.status,
            content_type: shortened(head.text(&header::CONTENT_TYPE)),
            error,
            private: self.is_private(),
            words: words.filter(|_| !own),
        }
    }

    /// Names where a redirect leads, without what may be a secret in it.
    fn redirect_target(&self, head: &Head) -> String {
        let Some(location) = head.get(&header::LOCATION).map(|_| head.text(&header::LOCATION)) else {
            return "nowhere".to_owned();
        };
        let Ok(mut target) = self.url.join(location) else {
            return "nowhere".to_owned();
        };
        if self.is_private() {
            target.set_path("");
        }
        target.set_query(None);
        target.set_fragment(None);
        let _ = target.set_username("");
        let _ = target.set_password(None);
        shortened(target.as_str())
    }
}

fn sent(outcome: Result<(Head, Body), SendError>) -> Result<(Head, Body), Fault> {
    outcome.map_err(|error| match error {
        SendError::Unreachable(reason) => Fault::Unreachable(reason),
        SendError::Broken(reason) => Fault::Broken(reason),
    })
}

/// Reads a body. Without patience of its own it waits as long as its caller does.
async fn read_body(mut body: Body, bytes_max: usize, patience: Option<Duration>) -> Result<Bytes, Fault> {
    let length = body.length();
    if length.is_some_and(|length| length > bytes_max as u64) {
        return Err(Fault::TooLarge(bytes_max));
    }
    let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
    loop {
        let read = match body.ready_chunk() {
            // What came together with the head needs no clock.
            Poll::Ready(read) => read,
            Poll::Pending => match patience {
                None => body.chunk().await,
                Some(patience) => tokio::time::timeout(patience, body.chunk())
                    .await
                    .map_err(|_| Fault::Timeout(patience))?,
            },
        };
        let chunk = read.map_err(|error| Fault::Broken(root_cause(&error)))?;
        let Some(chunk) = chunk else {
            // What came in one piece is not copied.
            return Ok(if rest.is_empty() { first } else { rest.freeze() });
        };
        if first.len().max(rest.len()) + chunk.len() > bytes_max {
            return Err(Fault::TooLarge(bytes_max));
        }
        if first.is_empty() {
            first = chunk;
            continue;
        }
        if rest.is_empty() {
            let whole = length.and_then(|length| usize::try_from(length).ok());
            rest.reserve(whole.unwrap_or(first.len() + chunk.len()));
            rest.extend_from_slice(&first);
        }
        rest.extend_from_slice(&chunk);
    }
}

/// Makes what every request carries: the operator's headers and ours, which win.
fn base_headers(headers: &[(String, Secret)]) -> Result<HeaderMap, SettingsError> {
    let mut all = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        let refused = || SettingsError::Header(name.clone());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        all.append(name, value);
    }
    let agent = concat!("toolgate/", env!("CARGO_PKG_VERSION"));
    all.entry(header::USER_AGENT)
        .or_insert(HeaderValue::from_static(agent));
    all.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    Ok(all)
}

/// Cuts a text of an upstream to what fits into a sentence.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}
