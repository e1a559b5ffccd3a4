//! What somebody who wants to break it tries: what is another's, bodies that are none, crowds, a disk that is full. What
//! must hold is always the same: the fake's ledger shows nobody with another's account, nothing runs twice, nothing is
//! answered with a fault of ours, and afterwards everything works.

mod clock;
mod crowds;
mod foreign;
mod full;
mod malformed;
mod mixed_up;

use reqwest::Method;
use serde_json::{Value, json};

use crate::connect::{House, key};
use crate::fake::Fake;

const WHO: &str = "GITHUB_GET_THE_AUTHENTICATED_USER";
const MULTI: &str = "COMPOSIO_MULTI_EXECUTE_TOOL";

/// Nobody ran anything with another's account.
fn nobody_crossed(fake: &Fake) {
    for one in fake.executions() {
        let owner = one.account_user_id.as_deref();
        assert!(owner.is_none_or(|owner| owner == one.user_id), "{one:?}");
    }
}

/// A request of the modern era with these headers, which name who asks.
fn modern(house: &House, path: &str, method: &str, mut params: Value) -> reqwest::RequestBuilder {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let named = params["name"].as_str().unwrap_or_default().to_owned();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
    post(house, path)
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method)
        .header("mcp-name", named)
        .body(body.to_string())
}

fn post(house: &House, path: &str) -> reqwest::RequestBuilder {
    house
        .http
        .request(Method::POST, format!("{}{path}", house.url))
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
}

/// Status and text.
async fn told(request: reqwest::RequestBuilder) -> (u16, String) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.text().await.unwrap())
}

fn as_user(user: &str) -> String {
    format!("Bearer {}", key(user))
}
