//! As much of Composio's API as a gateway of kind `composio` needs before its first call: each session that is asked for
//! is made, and has the first mock upstream as its MCP endpoint. What Composio itself costs is not measured.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::pieces::Pieces;
use crate::upstream::with_body;

const SESSIONS: &str = "/api/v3.1/tool_router/session";

/// Tells whether a path is the API's.
pub(crate) fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

/// Answers a request to the API.
pub(crate) fn answer(head: &Parts, body: &[u8], made: &AtomicU64) -> Response<Pieces> {
    let path = head.uri.path();
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let (status, id) = match (&head.method, path.strip_prefix(SESSIONS)) {
        (&Method::POST, Some("")) => {
            let number = made.fetch_add(1, Ordering::Relaxed);
            (StatusCode::CREATED, format!("trs_bench{number}"))
        }
        (&Method::GET | &Method::PATCH, Some(id)) => (StatusCode::OK, id.trim_matches('/').to_owned()),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    let text = if status == StatusCode::NOT_FOUND {
        json!({"error": {"message": "Not found", "code": 404, "slug": "NotFound", "status": 404}})
    } else {
        let url = format!("http://{}/0/mcp", host.unwrap_or_default());
        json!({"session_id": id, "mcp": {"type": "http", "url": url}, "tool_router_tools": [],
            "config": {"user_id": said["user_id"], "toolkits": {"enable": []}}})
    };
    let mut response = with_body(
        "application/json",
        Pieces::known(vec![Bytes::from(text.to_string())]),
    );
    *response.status_mut() = status;
    response
}
