//! The routes of connections in front of a Composio of a few lines: enough for every field of their answers. What they
//! do is tested against the whole fake in `tests/composio`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::IntoResponse;
use http::Method;
use tokio::net::TcpListener;

use super::*;

/// Composio with one toolkit, whose account of alice becomes active when it is told to.
#[derive(Clone, Default)]
struct Api(Arc<AtomicBool>);

async fn api(State(Api(active)): State<Api>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let origin = request.headers()["host"].to_str().unwrap().to_owned();
    let account = serde_json::json!({ "id": "ca_1", "user_id": "alice", "status": "ACTIVE", "toolkit": { "slug": "gmail" } });
    let answer = match (request.method(), path.trim_start_matches("/api/v3.1/")) {
        (&Method::GET, "tool_router/session/trs_1/toolkits") => {
            let account = active.load(Ordering::Relaxed).then_some(&account);
            let item = serde_json::json!({ "slug": "gmail", "name": "Gmail", "meta": { "logo": "https://l.example" },
                "connected_account": account });
            serde_json::json!({ "items": [item], "next_cursor": "more" })
        }
        (&Method::POST, "tool_router/session/trs_1/link") => serde_json::json!({
            "redirect_url": "https://c.example/l", "connected_account_id": "ca_1" }),
        (&Method::GET, "connected_accounts/ca_1") => account,
        (&Method::POST, "tool_router/session") | (&Method::GET, _) => {
            serde_json::json!({ "session_id": "trs_1",
            "mcp": { "type": "http", "url": format!("http://{origin}/tool_router/trs_1/mcp") } })
        }
        _ => serde_json::json!({ "success": true }),
    };
    ([("content-type", "application/json")], answer.to_string()).into_response()
}

async fn integrated() -> (Rig, Api) {
    let (listener, api_state) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), Api::default());
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().fallback(api).with_state(api_state.clone());
    Supervisor::new().spawn("Composio", async move {
        let _ = axum::serve(listener, routes).await;
    });
    let more = format!(
        "[gateways.composio]\nkind = 'composio'\napi_key = 'ak_1'\nbase_url = '{origin}'\ntoolkits = ['gmail']\n"
    );
    let lacks = r#"{"content":[{"type":"text","text":"{\"successful\":false,\"data\":{},\"error\":\"no\"}"}],"_meta":{"toolgate/connect":[{"toolkit":"gmail","url":"https://c.example/l"}]}}"#;
    let rig = rig_of(&more, move |_| Box::pin(ready(Ok(came(lacks))))).await;
    // Names are given once all before have had their chance.
    rig.all_looked();
    (rig, api_state)
}

/// Answers that together have every field.
pub(super) async fn samples() -> Vec<(&'static str, &'static str, Got)> {
    let (rig, api) = integrated().await;
    let (one, connect) = ("/integrations/{toolkit}", "/integrations/{toolkit}/connect");
    let complete = "/integrations/{toolkit}/complete";
    let mut all = vec![
        ("/integrations", "get", rig.get("alice", "/integrations").await),
        (
            "/integrations",
            "get",
            rig.get("alice", "/integrations?limit=x").await,
        ),
        (
            connect,
            "post",
            rig.post("alice", "/integrations/gmail/connect", "{}").await,
        ),
        (
            connect,
            "post",
            rig.post("alice", "/integrations/none/connect", "{}").await,
        ),
    ];
    api.0.store(true, Ordering::Relaxed);
    all.push((
        complete,
        "post",
        rig.post("alice", "/integrations/gmail/complete", "{}").await,
    ));
    all.push((
        connect,
        "post",
        rig.post("alice", "/integrations/gmail/connect", "{}").await,
    ));
    all.push(("/integrations", "get", rig.get("alice", "/integrations").await));
    let path = "/integrations/gmail/tools/GMAIL_SEND";
    all.push((
        "/integrations/{toolkit}/tools/{tool}",
        "post",
        rig.post("alice", path, "{}").await,
    ));
    let delete = Request::delete("/integrations/gmail")
        .body(Body::empty())
        .unwrap();
    all.push((one, "delete", rig.send("alice", delete).await));
    let change = r#"{"userId":"bob","enabled":false}"#;
    let changing = Request::patch("/integrations/gmail").header("content-type", "application/json");
    all.push((
        one,
        "patch",
        rig.send("alice", changing.body(change.into()).unwrap()).await,
    ));
    all
}

#[tokio::test]
async fn a_toolkit_is_connected_and_disconnected_over_rest() {
    let got: Vec<(u16, Value)> = samples()
        .await
        .into_iter()
        .map(|(_, _, got)| (got.status, got.json()))
        .collect();
    let statuses: Vec<u16> = got.iter().map(|(status, _)| *status).collect();
    assert_eq!(
        statuses,
        [200, 400, 200, 404, 200, 200, 200, 200, 200, 403],
        "{got:#?}"
    );
    assert_eq!(got[2].1["authUrl"], "https://c.example/l");
    assert_eq!(got[4].1["status"], "ACTIVE");
    assert_eq!(
        got[5].1,
        serde_json::json!({ "connected": true, "needsAuth": false })
    );
    assert_eq!(got[7].1["authUrl"], "https://c.example/l");
}

#[tokio::test]
async fn a_store_that_fails_is_one_answer_whatever_was_asked_for() {
    let (rig, _) = integrated().await;
    rig.store.close().await;
    let execution = format!("/executions/{}", crate::ids::ExecutionId::first_of(1));
    let mut told = BTreeSet::new();
    for (method, path, body) in [
        ("GET", "/integrations", ""),
        ("POST", "/integrations/gmail/connect", "{}"),
        ("POST", "/integrations/gmail/complete", "{}"),
        ("PATCH", "/integrations/gmail", r#"{"enabled":true}"#),
        ("DELETE", "/integrations/gmail", ""),
        ("POST", "/tool-router/create-session", r#"{"userId":"alice"}"#),
        ("GET", "/tool-router/sessions", ""),
        ("GET", "/tool-router/sessions/cs_1", ""),
        ("PATCH", "/tool-router/sessions/cs_1", r#"{"toolkits":["gmail"]}"#),
        ("DELETE", "/tool-router/sessions/cs_1", ""),
        ("GET", "/executions", ""),
        ("GET", &execution, ""),
        ("GET", "/stats", ""),
    ] {
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/json");
        let request = request.header("host", "h.example");
        let got = rig.send("alice", request.body(body.into()).unwrap()).await;
        let detail = got.problem(503);
        assert!(got.headers.contains_key("retry-after"), "{method} {path}");
        told.insert(detail);
    }
    assert_eq!(told.len(), 1, "{told:?}");
    // A browser gets a page that says the same in its own way.
    let state = "A".repeat(43);
    let back = Request::get(format!("/integrations/callback?state={state}")).body(Body::empty());
    let response = rig.router.clone().oneshot(back.unwrap()).await.unwrap();
    assert_eq!(response.status(), 503);
}

#[tokio::test]
async fn what_needs_no_key_answers_without_a_caller() {
    let rig = quiet().await;
    for (request, status) in [
        (
            Request::get("/integrations/callback?state=x").body(Body::empty()),
            400,
        ),
        (Request::post("/webhooks/composio").body(Body::empty()), 400),
        (Request::get("/integrations").body(Body::empty()), 401),
    ] {
        let response = rig.router.clone().oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), status);
    }
}
