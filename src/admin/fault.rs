//! Why a call gave no answer, as REST says it: the one table of statuses.

use std::time::Duration;

use http::StatusCode;

use super::Parts;
use crate::exchange::CallError;
use crate::proxy::ProxyError;
use crate::upstream::gateways::GatewayStatus;
use crate::web::Problem;

/// What a busy place is worth waiting for.
const SOON_S: u64 = 1;

/// A tool that is not there, or that the policy hides: the same.
pub(super) fn no_such_tool(name: &str) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!("there is no tool {name:?}; GET /api/tools lists those that there are"),
    )
}

/// As many calls of this user as may be are being answered.
pub(super) fn too_many_calls(at_most: usize) -> Problem {
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        format!("at most {at_most} calls of one user are answered at a time, /mcp included; try again"),
    )
    .retry_after_s(SOON_S)
}

/// The store cannot be read or written: the one answer to that, whatever was asked for. The log has why.
pub(super) fn store() -> Problem {
    let detail = "the store failed; try again, and see the log for why (a full disk, say)";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_s(SOON_S)
}

/// The table.
pub(super) fn problem(parts: &Parts, error: &ProxyError) -> Problem {
    match error {
        ProxyError::UnknownTool(name) => no_such_tool(name),
        ProxyError::UnknownToolkit(_)
        | ProxyError::UnknownPrompt(_)
        | ProxyError::UnknownTask
        | ProxyError::UnknownResource(_)
        | ProxyError::InvalidParams(_)
        | ProxyError::UnknownMethod => Problem::new(StatusCode::BAD_REQUEST, error.to_string()),
        ProxyError::NotRecorded => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            format!("{error}, and executions.audit requires one; try again"),
        )
        .retry_after_s(SOON_S),
        ProxyError::Lost => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        ProxyError::Call(error) => of_call(error, || {
            let statuses = parts.proxy.gateways().statuses();
            let its = |status: &&GatewayStatus| error.gateway() == Some(&status.name);
            statuses.iter().find(its)?.retry_in
        }),
    }
}

fn of_call(error: &CallError, retry_in: impl FnOnce() -> Option<Duration>) -> Problem {
    match error {
        CallError::Cancelled => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the call was cancelled"),
        CallError::Unavailable { .. } => {
            let seconds = retry_in().map_or(SOON_S, |wait| wait.as_secs() + 1);
            let detail = format!("{error}; GET /api/gateways shows how it is");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_s(seconds)
        }
        CallError::Busy { .. } => {
            let detail = format!("{error}: as many calls as it may have are in flight; try again");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail).retry_after_s(SOON_S)
        }
        CallError::Timeout { .. } => Problem::new(
            StatusCode::GATEWAY_TIMEOUT,
            format!("{error}; it may have acted all the same, so look before you repeat the call"),
        ),
        CallError::Stale { .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            format!("{error}; its lists are being read again, try again then"),
        )
        .retry_after_s(SOON_S),
        CallError::Refused { .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            format!("{error}; if it has to ask its user something, it needs a client of /mcp"),
        ),
        CallError::Failed { sent: true, .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            format!("{error}; it may have acted all the same, so look before you repeat the call"),
        ),
        CallError::Failed { sent: false, .. } => Problem::new(
            StatusCode::BAD_GATEWAY,
            format!("{error}; the call did not reach it, try again"),
        ),
    }
}
