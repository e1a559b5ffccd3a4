//! Errors as clients of each era read them: the one table of JSON-RPC codes and HTTP statuses of the endpoint
//! (2026-07-28, Basic, "Error Codes"; 2025-11-25 for legacy).

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::era::Spoken;
use crate::exchange::CallError;
use crate::ids::RequestId;
use crate::protocol::error::{
    BAD_REQUEST_LEGACY, HEADER_MISMATCH, INTERNAL_ERROR, INVALID_PARAMS, INVALID_REQUEST, METHOD_NOT_FOUND,
    MISSING_CAPABILITY, RESOURCE_NOT_FOUND_LEGACY, RpcError, SESSION_NOT_FOUND_LEGACY, UNSUPPORTED_VERSION,
};
use crate::protocol::version::ProtocolVersion;
use crate::proxy::ProxyError;

/// An error of ours, before it has the id of its request in its `data`.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    code: i64,
    message: String,
    data: Map<String, Value>,
    status: Option<StatusCode>,
}

impl Fault {
    fn new(code: i64, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            data: Map::new(),
            status: None,
        }
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.data.insert(key.to_owned(), value.into());
        self
    }

    /// Not a request.
    pub(super) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(INVALID_REQUEST, message)
    }

    /// Parameters that do not fit.
    pub(super) fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(INVALID_PARAMS, message)
    }

    /// A modern request without what each must carry.
    pub(super) fn missing_meta(what: &str) -> Self {
        let fault = Self::new(
            INVALID_PARAMS,
            format!("Invalid params: `_meta` must have {what}"),
        );
        Self {
            status: Some(StatusCode::BAD_REQUEST),
            ..fault
        }
    }

    /// A method that we do not have.
    pub(super) fn method_not_found(name: &str) -> Self {
        Self::new(METHOD_NOT_FOUND, format!("Method not found: {name}"))
    }

    /// A header that says other than the body.
    pub(super) fn header_mismatch(what: &str) -> Self {
        Self::new(HEADER_MISMATCH, format!("Header mismatch: {what}"))
    }

    /// A revision that we do not serve statelessly.
    pub(super) fn unsupported_version(requested: &str) -> Self {
        Self::new(
            UNSUPPORTED_VERSION,
            format!("Unsupported protocol version: {requested}"),
        )
        .with("supported", json!([ProtocolVersion::MODERN_LATEST.as_str()]))
        .with("requested", requested)
    }

    /// The call needs what the client did not declare: a `ClientCapabilities` object.
    pub(super) fn missing_capability(required: Value) -> Self {
        Self::new(
            MISSING_CAPABILITY,
            "The gateway asks for what the client did not declare",
        )
        .with("requiredCapabilities", required)
    }

    /// The client will not have a URL visited that its call needs.
    pub(super) fn not_visited() -> Self {
        Self::new(
            INTERNAL_ERROR,
            "The gateway wants a URL visited before this call, and that was declined",
        )
    }

    /// A legacy request that needs a session and names none.
    pub(super) fn no_session() -> Self {
        let fault = Self::new(
            BAD_REQUEST_LEGACY,
            "Bad request: an Mcp-Session-Id is required; initialize first",
        );
        Self {
            status: Some(StatusCode::BAD_REQUEST),
            ..fault
        }
    }

    /// A session that is not there, or not this caller's.
    pub(super) fn session_not_found() -> Self {
        Self::new(
            SESSION_NOT_FOUND_LEGACY,
            "Session not found: initialize again without Mcp-Session-Id",
        )
    }

    /// As many calls of this user as may be are being answered.
    pub(super) fn too_many_calls(at_most: usize) -> Self {
        Self::new(
            INTERNAL_ERROR,
            format!("Too many calls at once: at most {at_most} for one user; try again"),
        )
    }

    /// As many listen streams of this user as may be are open.
    pub(super) fn too_many_streams(at_most: usize) -> Self {
        Self::new(
            INTERNAL_ERROR,
            format!("Too many streams at once: at most {at_most} for one user; close some"),
        )
    }

    /// Our own mistake.
    pub(super) fn internal(message: &str) -> Self {
        Self::new(INTERNAL_ERROR, message)
    }

    /// The table: what a client of an era reads of a request that no upstream answered.
    pub(super) fn of(error: &ProxyError, spoken: Spoken) -> Self {
        match error {
            ProxyError::UnknownTool(name) => Self::new(INVALID_PARAMS, format!("Unknown tool: {name}")),
            ProxyError::UnknownToolkit(name) => Self::new(INVALID_PARAMS, format!("Unknown toolkit: {name}")),
            ProxyError::UnknownPrompt(name) => Self::new(INVALID_PARAMS, format!("Unknown prompt: {name}")),
            ProxyError::UnknownResource(uri) => {
                let code = if spoken == Spoken::Modern {
                    INVALID_PARAMS
                } else {
                    RESOURCE_NOT_FOUND_LEGACY
                };
                Self::new(code, format!("Resource not found: {uri}")).with("uri", uri.as_str())
            }
            ProxyError::UnknownTask => Self::new(INVALID_PARAMS, "Unknown task"),
            ProxyError::InvalidParams(reason) => {
                Self::new(INVALID_PARAMS, format!("Invalid params: {reason}"))
            }
            ProxyError::UnknownMethod => Self::new(METHOD_NOT_FOUND, "Method not found"),
            ProxyError::Lost => Self::internal(&error.to_string()),
            ProxyError::NotRecorded => {
                Self::internal("The call was not sent: it could not be recorded, and must be; try again")
            }
            ProxyError::Call(CallError::Cancelled) => Self::new(INTERNAL_ERROR, "Cancelled"),
            ProxyError::Call(error) => {
                let fault = Self::new(INTERNAL_ERROR, error.to_string());
                match error {
                    CallError::Unavailable { gateway, .. }
                    | CallError::Busy { gateway }
                    | CallError::Timeout { gateway, .. }
                    | CallError::Stale { gateway }
                    | CallError::Failed { gateway, .. } => fault.with("gateway", gateway.as_str()),
                    CallError::Refused {
                        gateway,
                        error: refusal,
                    } => {
                        let code = translated(refusal, spoken, None).map_or(refusal.code, |error| error.code);
                        Self::new(code, error.to_string()).with("gateway", gateway.as_str())
                    }
                    CallError::Cancelled => fault,
                }
            }
        }
    }

    /// Returns its JSON-RPC code.
    pub(super) fn code(&self) -> i64 {
        self.code
    }

    /// Returns what the client reads.
    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// Returns the HTTP status that goes with the code.
    pub(super) fn status(&self, spoken: Spoken) -> StatusCode {
        self.status.unwrap_or_else(|| status_of(self.code, spoken))
    }

    /// Writes the error with the id of its request.
    pub(super) fn named(mut self, request_id: &RequestId) -> RpcError {
        self.data
            .insert("requestId".to_owned(), request_id.as_str().into());
        RpcError::new(self.code, self.message).with_data(&self.data)
    }
}

impl From<RpcError> for Fault {
    fn from(error: RpcError) -> Self {
        let data = error.data.and_then(|data| data.read()).unwrap_or_default();
        Self {
            code: error.code,
            message: error.message,
            data,
            status: None,
        }
    }
}

/// Returns the HTTP status of a JSON-RPC error. Legacy answers are 200 once a request was understood.
pub(super) fn status_of(code: i64, spoken: Spoken) -> StatusCode {
    match (spoken, code) {
        (Spoken::Modern, METHOD_NOT_FOUND) => StatusCode::NOT_FOUND,
        (Spoken::Modern, HEADER_MISMATCH | MISSING_CAPABILITY | UNSUPPORTED_VERSION) => {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::OK,
    }
}

/// Translates an error that an upstream gave into the client's era; `None` where it may stay as it is.
pub(super) fn translated(error: &RpcError, spoken: Spoken, uri: Option<&str>) -> Option<RpcError> {
    let code = match (spoken, error.code) {
        (Spoken::Modern, RESOURCE_NOT_FOUND_LEGACY) | (Spoken::Legacy, MISSING_CAPABILITY) => INVALID_PARAMS,
        (Spoken::Legacy, INVALID_PARAMS) if uri.is_some() && error.data.is_some() => {
            RESOURCE_NOT_FOUND_LEGACY
        }
        (Spoken::Legacy, HEADER_MISMATCH | UNSUPPORTED_VERSION) => INTERNAL_ERROR,
        _ => return None,
    };
    let data = match (&error.data, uri) {
        (None, Some(uri)) if spoken == Spoken::Modern => {
            Some(crate::protocol::json::Raw::of(&json!({ "uri": uri })))
        }
        (data, _) => data.clone(),
    };
    Some(RpcError {
        code,
        message: error.message.clone(),
        data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GatewayId;

    #[test]
    fn every_cause_has_its_code_in_each_era() {
        let gateway = GatewayId::new("brave");
        let call = |error| ProxyError::Call(error);
        let rows = [
            (ProxyError::UnknownTool("t".into()), -32602, 200, -32602, 200),
            (ProxyError::UnknownToolkit("t".into()), -32602, 200, -32602, 200),
            (ProxyError::UnknownPrompt("p".into()), -32602, 200, -32602, 200),
            (
                ProxyError::UnknownResource("u://x".into()),
                -32002,
                200,
                -32602,
                200,
            ),
            (ProxyError::UnknownTask, -32602, 200, -32602, 200),
            (ProxyError::InvalidParams("no"), -32602, 200, -32602, 200),
            (ProxyError::UnknownMethod, -32601, 200, -32601, 404),
            (ProxyError::Lost, -32603, 200, -32603, 200),
            (ProxyError::NotRecorded, -32603, 200, -32603, 200),
            (call(CallError::Cancelled), -32603, 200, -32603, 200),
            (
                call(CallError::Busy {
                    gateway: gateway.clone(),
                }),
                -32603,
                200,
                -32603,
                200,
            ),
            (
                call(CallError::Timeout {
                    gateway: gateway.clone(),
                    timeout_ms: 5,
                }),
                -32603,
                200,
                -32603,
                200,
            ),
            (
                call(CallError::Unavailable {
                    gateway: gateway.clone(),
                    reason: "r".into(),
                }),
                -32603,
                200,
                -32603,
                200,
            ),
            (
                call(CallError::Refused {
                    gateway: gateway.clone(),
                    error: RpcError::new(-32002, "unknown"),
                }),
                -32002,
                200,
                -32602,
                200,
            ),
            (
                call(CallError::Failed {
                    gateway,
                    reason: "r".into(),
                    sent: true,
                }),
                -32603,
                200,
                -32603,
                200,
            ),
        ];
        for (error, legacy, legacy_status, modern, modern_status) in rows {
            for (spoken, code, status) in [
                (Spoken::Legacy, legacy, legacy_status),
                (Spoken::Modern, modern, modern_status),
            ] {
                let fault = Fault::of(&error, spoken);
                assert_eq!(
                    (fault.code, fault.status(spoken).as_u16()),
                    (code, status),
                    "{error} {spoken:?}"
                );
            }
        }
    }

    #[test]
    fn an_error_names_its_request_and_its_gateway() {
        let error = CallError::Unavailable {
            gateway: GatewayId::new("brave"),
            reason: "connection refused".into(),
        };
        let rpc = Fault::of(&error.into(), Spoken::Legacy).named(&RequestId::new("r-1"));
        assert_eq!(rpc.message, "gateway brave is not available: connection refused");
        assert_eq!(
            rpc.data.unwrap().as_str(),
            r#"{"gateway":"brave","requestId":"r-1"}"#
        );
    }
}
