//! A small MCP client for `tools` and `call`, of the modern era (2026-07-28, Basic, "Transports"): one POST for each
//! request, answered as JSON or as an event stream. What comes back stays the bytes that came.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use crate::config::Secret;
use crate::limits;
use crate::protocol::json::{Object, Raw};
use crate::protocol::sse::Framer;
use crate::protocol::version::ProtocolVersion;
use crate::protocol::{headers, meta};

/// Talks to one endpoint.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    url: Url,
    key: Option<Secret>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// Nothing listens there.
    #[error("nothing answers at {0}")]
    NobodyThere(Url),
    /// The key is missing or wrong.
    #[error("the key was refused; set TOOLGATE_KEY to a key of this Toolgate")]
    Unauthorized,
    /// The request failed on its way.
    #[error("{0}")]
    Http(String),
    /// The answer is not one of MCP.
    #[error("{url} does not answer as an MCP endpoint does: {reason}")]
    Protocol {
        /// Who answered.
        url: Url,
        /// What was wrong.
        reason: String,
    },
    /// The answer is an error of JSON-RPC.
    #[error("{message} (code {code})")]
    Rpc {
        /// Its code.
        code: i64,
        /// Its message.
        message: String,
    },
}

impl Client {
    /// Makes a client.
    pub(super) fn new(url: Url, key: Option<Secret>) -> Result<Self, ClientError> {
        let http = http_client().read_timeout(limits::SSE_IDLE_TIMEOUT).build();
        Ok(Self {
            http: http.map_err(|error| ClientError::Http(text_of(&error)))?,
            url,
            key,
        })
    }

    /// Sends a request and returns its result. `params` are the members of params, without braces.
    pub(super) async fn request(
        &self,
        method: &'static str,
        name: Option<&str>,
        params: &str,
        extra: &HeaderMap,
    ) -> Result<Object, ClientError> {
        let mut request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream")
            .header(headers::PROTOCOL_VERSION, ProtocolVersion::MODERN_LATEST.as_str())
            .header(headers::METHOD, method)
            .headers(extra.clone());
        if let Some(name) = name {
            request = request.header(headers::NAME, headers::encode_value(name));
        }
        if let Some(key) = &self.key {
            let value = HeaderValue::try_from(format!("Bearer {}", key.expose()))
                .map_err(|_| ClientError::Unauthorized)?;
            request = request.header(AUTHORIZATION, value);
        }
        let answer = request
            .body(body(method, params))
            .send()
            .await
            .map_err(|error| self.failed(&error))?;
        if matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(ClientError::Unauthorized);
        }
        let message = self.message(answer).await?;
        self.result(&message)
    }

    fn failed(&self, error: &reqwest::Error) -> ClientError {
        if error.is_connect() {
            ClientError::NobodyThere(self.url.clone())
        } else {
            ClientError::Http(text_of(error))
        }
    }

    fn wrong(&self, reason: impl Into<String>) -> ClientError {
        ClientError::Protocol {
            url: self.url.clone(),
            reason: reason.into(),
        }
    }

    /// Reads the answer's one message that is a response.
    async fn message(&self, answer: reqwest::Response) -> Result<Object, ClientError> {
        let status = answer.status();
        let kind = answer
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let streams = kind.is_some_and(|kind| kind.starts_with("text/event-stream"));
        let mut chunks = answer.bytes_stream();
        let mut framer = Framer::new();
        let mut whole = BytesMut::new();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| self.failed(&error))?;
            if streams {
                framer.push(chunk);
                while let Some(event) = framer
                    .next_event()
                    .map_err(|error| self.wrong(error.to_string()))?
                {
                    if let Some(message) = response(&event.data) {
                        return Ok(message);
                    }
                }
                continue;
            }
            if whole.len() + chunk.len() > limits::UPSTREAM_RESULT_BYTES_MAX {
                return Err(self.wrong(format!("more than {} bytes", limits::UPSTREAM_RESULT_BYTES_MAX)));
            }
            whole.extend_from_slice(&chunk);
        }
        if streams {
            return Err(self.wrong("the stream ended without an answer"));
        }
        response(&whole.freeze()).ok_or_else(|| self.wrong(format!("status {status}")))
    }

    fn result(&self, message: &Object) -> Result<Object, ClientError> {
        if let Some(error) = message.object("error") {
            let code = error.get("code").and_then(|code| code.read::<i64>());
            return Err(ClientError::Rpc {
                code: code.unwrap_or_default(),
                message: error.string("message").unwrap_or_default(),
            });
        }
        message
            .object("result")
            .ok_or_else(|| self.wrong("the result is no object"))
    }
}

/// Begins a client for one command: no redirects, no waiting for a connection.
pub(super) fn http_client() -> reqwest::ClientBuilder {
    // A second installation changes nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .connect_timeout(limits::CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
}

/// Returns an error with its causes: the outermost one alone says little.
pub(super) fn text_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn response(text: &Bytes) -> Option<Object> {
    let message = Raw::parse(text).ok()?.object().ok()?;
    (message.has("result") || message.has("error")).then_some(message)
}

fn body(method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    let version = ProtocolVersion::MODERN_LATEST.as_str();
    let (key_version, key_info, key_capabilities) = (
        meta::PROTOCOL_VERSION,
        meta::CLIENT_INFO,
        meta::CLIENT_CAPABILITIES,
    );
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{comma}"_meta":{{"{key_version}":"{version}","{key_info}":{{"name":"toolgate-cli","version":"{}"}},"{key_capabilities}":{{}}}}}}}}"#,
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_json_with_or_without_params() {
        for params in ["", r#""name":"x","arguments":{"a":1}"#] {
            let body: serde_json::Value = serde_json::from_str(&body("tools/call", params)).unwrap();
            assert_eq!(
                body["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
                "2026-07-28"
            );
            assert_eq!(
                body["params"]["name"],
                if params.is_empty() {
                    serde_json::Value::Null
                } else {
                    "x".into()
                }
            );
        }
    }
}
