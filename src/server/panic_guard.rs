//! A panic ends its own request with an answer, and nobody else's.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use crate::ids::RequestId;
use crate::telemetry::Metrics;
use crate::web::Problem;

/// Answers, or says in the words of the path that it could not: a JSON-RPC error on the MCP endpoint, a problem
/// elsewhere.
pub(super) async fn guarded(
    answer: impl Future<Output = Response>,
    path_is_mcp: bool,
    id: &RequestId,
    metrics: &Metrics,
) -> Response {
    match AssertUnwindSafe(answer).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            metrics.panicked();
            tracing::error!(panic = text(&*panic), "a request panicked");
            if path_is_mcp { json_rpc(id) } else { problem() }
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind")
}

fn problem() -> Response {
    let detail = "something is wrong here; the log has the request's id";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
}

/// JSON-RPC 2.0 §5.1, Internal error. Without an id: the request's own may never have been read.
fn json_rpc(id: &RequestId) -> Response {
    let error = serde_json::json!({
        "jsonrpc": "2.0",
        "error": {
            "code": -32603,
            "message": "Internal error",
            "data": { "requestId": id.as_str() },
        },
    });
    let mut response = Response::new(error.to_string().into());
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
