//! JSON-RPC error codes and the errors that we write (2026-07-28, Basic, "Error Codes").

use bytes::Bytes;

use super::json::Raw;

/// The text is not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, but no request.
pub const INVALID_REQUEST: i64 = -32600;
/// No such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// Parameters that do not fit: unknown tool, bad cursor and their like.
pub const INVALID_PARAMS: i64 = -32602;
/// Our own or the upstream's fault.
pub const INTERNAL_ERROR: i64 = -32603;
/// Legacy only: no such resource.
pub const RESOURCE_NOT_FOUND_LEGACY: i64 = -32002;
/// What SDK servers of the legacy era send for a bad request.
pub const BAD_REQUEST_LEGACY: i64 = -32000;
/// What SDK servers of the legacy era send for a session that is not there.
pub const SESSION_NOT_FOUND_LEGACY: i64 = -32001;
/// 2025-11-25 only: the call needs a url elicitation first.
pub const URL_ELICITATION_REQUIRED: i64 = -32042;
/// Modern: a header is missing, malformed, or differs from the body.
pub const HEADER_MISMATCH: i64 = -32020;
/// Modern: the call needs a capability that the client did not declare.
pub const MISSING_CAPABILITY: i64 = -32021;
/// Modern: a revision that the server does not speak.
pub const UNSUPPORTED_VERSION: i64 = -32022;

/// The `error` member of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcError {
    /// JSON-RPC code.
    pub code: i64,
    /// One sentence for whoever reads the log.
    pub message: String,
    /// Structured detail.
    pub data: Option<Raw>,
}

impl RpcError {
    /// Makes an error without data.
    #[must_use]
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: None,
        }
    }

    /// Adds data.
    #[must_use]
    pub fn with_data(mut self, data: &impl serde::Serialize) -> Self {
        self.data = Some(Raw::of(data));
        self
    }

    /// Writes the `error` member.
    #[must_use]
    pub fn to_raw(&self) -> Raw {
        let message = Raw::from(self.message.as_str());
        let mut text = format!(r#"{{"code":{},"message":{}"#, self.code, message.as_str());
        if let Some(data) = &self.data {
            text.push_str(",\"data\":");
            text.push_str(data.as_str());
        }
        text.push('}');
        Raw::parse(&Bytes::from(text)).unwrap_or_else(|_| Raw::literal(r#"{"code":-32603,"message":""}"#))
    }
}
