//! One HTTP request to one upstream and the head of what comes back. Knows bounds, content types and statuses;
//! knows nothing of eras or sessions. Never follows a redirect, never unpacks a body, never goes through a proxy.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::fault::Fault;
use super::stream::EventStream;
use crate::config::Secret;
use crate::limits::{
    CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, IN_FLIGHT_PER_GATEWAY_MAX, SSE_IDLE_TIMEOUT, UPSTREAM_POOL_IDLE_MAX,
};
use crate::protocol::message::{Message, Outcome, Response};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// Why a gateway's HTTP settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A header's name or value cannot be sent.
    #[error("header {0:?} cannot be sent: its name or value has characters that HTTP does not allow")]
    Header(String),
    /// TLS could not be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// Sends requests to one upstream.
#[derive(Debug)]
pub(in crate::upstream) struct Wire {
    client: reqwest::Client,
    url: Url,
    /// The operator's headers; ours win.
    headers: HeaderMap,
    result_bytes_max: usize,
    /// The URL is shown to nobody.
    private: bool,
}

/// What came back.
#[derive(Debug)]
pub(in crate::upstream) enum Reply {
    /// Taken, and there is nothing to say.
    Accepted,
    /// One JSON body.
    Json(Bytes),
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
}

impl Refusal {
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
        Fault::Status {
            status: self.status,
            detail: self.detail(),
        }
    }
}

impl Wire {
    pub(in crate::upstream) fn new(
        url: Url,
        headers: &[(String, Secret)],
        result_bytes_max: usize,
    ) -> Result<Self, SettingsError> {
        // Whoever installed a provider before us has the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .http1_only()
            .tcp_nodelay(true)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(UPSTREAM_POOL_IDLE_MAX)
            .pool_max_idle_per_host(IN_FLIGHT_PER_GATEWAY_MAX)
            .user_agent(concat!("toolgate/", env!("CARGO_PKG_VERSION")));
        if url.scheme() == "http" {
            // Nothing will be verified: an image without certificates is no reason to refuse.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        let client = builder
            .build()
            .map_err(|error| SettingsError::Tls(root_cause(&error)))?;
        Ok(Self {
            client,
            url,
            headers: operator_headers(headers)?,
            result_bytes_max,
            private: false,
        })
    }

    /// Returns a wire to another URL of the same upstream, over the same connections.
    pub(in crate::upstream) fn at(&self, url: Url) -> Self {
        Self {
            client: self.client.clone(),
            url,
            headers: self.headers.clone(),
            result_bytes_max: self.result_bytes_max,
            private: self.private,
        }
    }

    /// Returns a wire to the URL of one user's session at the same upstream: it is shown to nobody.
    pub(in crate::upstream) fn private_at(&self, url: Url) -> Self {
        Self {
            private: true,
            ..self.at(url)
        }
    }

    /// Tells whether the URL is shown to nobody.
    pub(super) fn is_private(&self) -> bool {
        self.private
    }

    /// Returns where it leads.
    pub(in crate::upstream) fn url(&self) -> &Url {
        &self.url
    }

    /// Posts a message. `patience` is how long the head of the answer may take.
    pub(in crate::upstream) async fn post(
        &self,
        body: Bytes,
        headers: &HeaderMap,
        patience: Duration,
    ) -> Result<(Reply, HeaderMap), Fault> {
        let mut all = self.headers_with(headers);
        all.insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
        all.insert(
            header::ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        let request = self.client.request(Method::POST, self.url.clone());
        self.send(request.headers(all).body(body), patience).await
    }

    /// Opens an event stream.
    pub(in crate::upstream) async fn get(&self, headers: &HeaderMap) -> Result<Reply, Fault> {
        let mut all = self.headers_with(headers);
        all.insert(header::ACCEPT, HeaderValue::from_static(EVENTS));
        let request = self.client.request(Method::GET, self.url.clone());
        let (reply, _) = self.send(request.headers(all), FIRST_BYTE_TIMEOUT).await?;
        Ok(reply)
    }

    /// Ends a session; what is said to that is of no interest.
    pub(super) async fn delete(&self, headers: &HeaderMap) {
        let request = self.client.request(Method::DELETE, self.url.clone());
        let request = request.headers(self.headers_with(headers));
        if let Err(fault) = self.send(request, CONNECT_TIMEOUT).await {
            tracing::debug!(reason = %fault, "an upstream session was not ended");
        }
    }

    fn headers_with(&self, headers: &HeaderMap) -> HeaderMap {
        let mut all = self.headers.clone();
        all.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in headers {
            all.insert(name.clone(), value.clone());
        }
        all
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        patience: Duration,
    ) -> Result<(Reply, HeaderMap), Fault> {
        let response = match tokio::time::timeout(patience, request.send()).await {
            Err(_) => return Err(Fault::Timeout(patience)),
            Ok(Err(error)) if error.is_connect() || error.is_builder() => {
                return Err(Fault::Unreachable(root_cause(&error)));
            }
            Ok(Err(error)) => return Err(Fault::Broken(root_cause(&error))),
            Ok(Ok(response)) => response,
        };
        let headers = response.headers().clone();
        Ok((self.read_head(response).await?, headers))
    }

    async fn read_head(&self, response: reqwest::Response) -> Result<Reply, Fault> {
        let status = response.status();
        if status.is_redirection() {
            let target = self.redirect_target(response.headers());
            return Err(Fault::Redirect { status, target });
        }
        if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(Fault::Unauthorized(status));
        }
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(Reply::Accepted);
        }
        let text = |name: HeaderName| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let encoding = text(header::CONTENT_ENCODING);
        if !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity")) {
            return Err(Fault::Encoding(shortened(&encoding)));
        }
        let content_type = text(header::CONTENT_TYPE);
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let is_json = essence.eq_ignore_ascii_case(JSON);
        if !status.is_success() {
            let error = if is_json {
                self.read_error(response).await
            } else {
                None
            };
            return Ok(Reply::Refused(Refusal {
                status,
                content_type: shortened(&content_type),
                error,
                private: self.private,
            }));
        }
        if essence.eq_ignore_ascii_case(EVENTS) {
            let stream = EventStream::new(response, SSE_IDLE_TIMEOUT, self.result_bytes_max);
            return Ok(Reply::Events(Box::new(stream)));
        }
        if response.content_length() == Some(0) {
            return Ok(Reply::Accepted);
        }
        if !(is_json || essence.is_empty()) {
            let content_type = shortened(&content_type);
            return Err(Fault::ContentType { status, content_type });
        }
        let body = read_body(response, self.result_bytes_max).await?;
        Ok(if body.is_empty() {
            Reply::Accepted
        } else {
            Reply::Json(body)
        })
    }

    async fn read_error(&self, response: reqwest::Response) -> Option<Response> {
        let body = read_body(response, self.result_bytes_max).await.ok()?;
        match Message::parse(body) {
            Ok(Message::Response(response)) if matches!(response.outcome, Outcome::Error(_)) => {
                Some(response)
            }
            _ => None,
        }
    }

    /// Names where a redirect leads, without what may be a secret in it.
    fn redirect_target(&self, headers: &HeaderMap) -> String {
        let location = headers
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok());
        let Some(Ok(mut target)) = location.map(|location| self.url.join(location)) else {
            return "nowhere".to_owned();
        };
        if self.private {
            target.set_path("");
        }
        target.set_query(None);
        target.set_fragment(None);
        let _ = target.set_username("");
        let _ = target.set_password(None);
        shortened(target.as_str())
    }
}

async fn read_body(mut response: reqwest::Response, bytes_max: usize) -> Result<Bytes, Fault> {
    if response
        .content_length()
        .is_some_and(|length| length > bytes_max as u64)
    {
        return Err(Fault::TooLarge(bytes_max));
    }
    let mut body = BytesMut::new();
    loop {
        match tokio::time::timeout(FIRST_BYTE_TIMEOUT, response.chunk()).await {
            Err(_) => return Err(Fault::Timeout(FIRST_BYTE_TIMEOUT)),
            Ok(Err(error)) => return Err(Fault::Broken(root_cause(&error))),
            Ok(Ok(None)) => return Ok(body.freeze()),
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() > bytes_max => {
                return Err(Fault::TooLarge(bytes_max));
            }
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
        }
    }
}

fn operator_headers(headers: &[(String, Secret)]) -> Result<HeaderMap, SettingsError> {
    let mut all = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let refused = || SettingsError::Header(name.clone());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose()).map_err(|_| refused())?;
        value.set_sensitive(true);
        all.append(name, value);
    }
    Ok(all)
}

/// Returns the innermost reason, which never holds the URL.
pub(super) fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if std::ptr::addr_eq(cause, std::ptr::from_ref(error)) {
        return "the request failed".to_owned();
    }
    shortened(&cause.to_string())
}

/// Cuts a text of an upstream to what fits into a sentence.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(160).collect()
}
