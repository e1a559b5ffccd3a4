//! What the caller of a Composio gateway is told when a session cannot be opened or spoken to: Composio's own words where
//! there are any, and what to do where there are none. What is wrong with one user's session is no fault of the gateway,
//! whose breaker would shut all others out.

use http::StatusCode;

use crate::exchange::{Answer, Call, CallError};
use crate::ids::GatewayId;
use crate::integrations::composio::ApiError;
use crate::integrations::sessions::SessionError;
use crate::protocol::error::{INTERNAL_ERROR, INVALID_PARAMS, RpcError};
use crate::protocol::message::{self, Message};
use crate::protocol::version::Era;
use crate::upstream::http::Failed;
use crate::upstream::http::fault::Fault;

/// Says why there is no session.
pub(super) fn not_opened(gateway: &GatewayId, error: &SessionError) -> CallError {
    match error {
        // Nothing is wrong with the gateway.
        SessionError::Api(ApiError::Nobody) | SessionError::Unknown | SessionError::Toolkit(_) => {
            refused(gateway, INVALID_PARAMS, error.to_string())
        }
        // Of this session, not of the gateway: another user's may be as good as ever.
        SessionError::Api(ApiError::Status { status, .. }) if is_about_the_session(*status) => {
            refused(gateway, INTERNAL_ERROR, error.to_string())
        }
        error => unavailable(gateway, error.to_string()),
    }
}

/// Says what became of a call at a session's endpoint.
pub(super) fn told(gateway: &GatewayId, failed: Failed) -> CallError {
    match failed.fault {
        // At a session's endpoint even a 403 or a 409 is said of what this user asked for.
        Fault::Worded { status, words }
            if is_about_the_session(status)
                || matches!(status, StatusCode::FORBIDDEN | StatusCode::CONFLICT) =>
        {
            refused(gateway, INTERNAL_ERROR, words)
        }
        Fault::Worded { status, words } if status.is_client_error() => unavailable(gateway, words),
        Fault::Worded { words, .. } => CallError::Failed {
            gateway: gateway.clone(),
            reason: words,
            sent: true,
        },
        _ => match text_of(&failed.fault) {
            Some(reason) => unavailable(gateway, reason),
            None => failed.into_call_error(gateway),
        },
    }
}

/// Returns what was refused in words of Composio's own, without being processed, in the form of an error of the tool.
pub(super) fn as_answer(failed: &Failed, call: &Call, era: Option<Era>) -> Option<Answer> {
    let Fault::Worded { status, words } = &failed.fault else {
        return None;
    };
    let error = RpcError::new(INTERNAL_ERROR, words.clone());
    let text = message::error_response(Some(&call.request.id), &error);
    match Message::parse(text) {
        Ok(Message::Response(response)) if status.is_client_error() => Some(Answer {
            response,
            era: era.unwrap_or(Era::Legacy),
        }),
        _ => None,
    }
}

fn refused(gateway: &GatewayId, code: i64, words: String) -> CallError {
    CallError::Refused {
        gateway: gateway.clone(),
        error: RpcError::new(code, words),
    }
}

fn unavailable(gateway: &GatewayId, reason: String) -> CallError {
    CallError::Unavailable {
        gateway: gateway.clone(),
        reason,
    }
}

/// Tells whether a status is said of one request and its session, and not of Composio or the key.
fn is_about_the_session(status: StatusCode) -> bool {
    let of_all = matches!(
        status,
        StatusCode::UNAUTHORIZED
            | StatusCode::FORBIDDEN
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::TOO_MANY_REQUESTS
    );
    status.is_client_error() && !of_all
}

/// Says what the operator of this kind of gateway can do about a fault; `None`: what is said of any gateway is right.
pub(super) fn text_of(fault: &Fault) -> Option<String> {
    match fault {
        Fault::Unauthorized(status) => Some(format!(
            "Composio refused the key at the session's MCP endpoint (HTTP {}); set COMPOSIO_API_KEY, or the gateway's \
             `api_key`, to the key of a project (ak_…) that may execute tools",
            status.as_u16()
        )),
        Fault::Redirect { status, .. } => Some(format!(
            "the MCP endpoint of the Composio session redirects (HTTP {}), and the key goes nowhere else",
            status.as_u16()
        )),
        Fault::Gone(status) => Some(format!(
            "Composio has the session, but its MCP endpoint says that it is gone (HTTP {})",
            status.as_u16()
        )),
        _ => None,
    }
}
