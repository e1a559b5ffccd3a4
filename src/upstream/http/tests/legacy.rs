use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::fake::{Fake, SECRET, SESSION};
use super::text;
use crate::exchange::{CallError, Event, Scope};
use crate::ids::SessionId;
use crate::protocol::json::Raw;
use crate::protocol::version::Era;
use crate::upstream::fixture::{call_of, client, tool_route};
use crate::upstream::transport::Transport;

#[tokio::test]
async fn a_call_opens_a_session_that_declares_what_the_client_declared() {
    let fake = Fake::legacy(json!({"tools": {}}), |seen, mut conn| async move {
        conn.result(&seen, json!({"content": []})).await;
    })
    .await;
    let transport = fake.transport();
    let mut caller = client(r#"{"roots":{},"x":1e2}"#);
    caller.info = Some(Raw::literal(r#"{"name":"c","version":"9"}"#));
    let (call, _events) = call_of(caller, 8);
    let answer = transport.call(&tool_route("t", "own"), call).await.unwrap();
    assert_eq!(answer.era, Era::Legacy);
    assert_eq!(transport.era(), Some(Era::Legacy));
    assert_eq!(
        fake.titles(),
        [
            "POST server/discover",
            "POST initialize",
            "POST notifications/initialized",
            "POST tools/call"
        ]
    );
    let mut seen = fake.all();
    seen.retain(|seen| seen.verb == "POST");
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization") == Some(SECRET))
    );
    assert!(
        seen.iter()
            .all(|seen| seen.header("accept-encoding") == Some("identity"))
    );
    assert!(seen[1].body.contains(r#""protocolVersion":"2025-11-25","capabilities":{"roots":{},"x":1e2},"clientInfo":{"name":"c","version":"9"}"#));
    assert_eq!(
        (seen[1].header(SESSION), seen[1].header("mcp-protocol-version")),
        (None, None)
    );
    for later in &seen[2..] {
        assert!(later.header(SESSION).unwrap().starts_with("s-toolgate-"));
        assert_eq!(later.header("mcp-protocol-version"), Some("2025-11-25"));
    }
    assert_eq!(seen[3].message["params"]["name"], "own");
}

#[tokio::test]
async fn an_answer_comes_as_the_bytes_that_the_upstream_sent() {
    const RESULT: &str = r#"{ "content" : [], "x":1.0e5,"\u0061":[12345678901234567890123] }"#;
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        let body = format!(r#"{{"result":{RESULT},"id":{},"jsonrpc":"2.0"}}"#, seen.id());
        conn.status(200, "content-type: application/json; charset=utf-8\r\n", &body)
            .await;
    })
    .await;
    let (call, _events) = call_of(client("{}"), 8);
    let answer = fake.transport().call(&tool_route("t", "t"), call).await.unwrap();
    assert!(text(&answer).starts_with(&format!(r#"{{"result":{RESULT},"id":"#)));
}

#[tokio::test]
async fn stateless_calls_share_a_session_and_map_ids_and_progress_tokens() {
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        conn.events().await;
        let token = &seen.message["params"]["_meta"]["progressToken"];
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}});
        conn.event(&progress).await;
        conn.event(&json!({"jsonrpc": "2.0", "id": seen.id(), "result": {}})).await;
    })
    .await;
    let transport = fake.transport();
    let route = tool_route("t", "t");
    let ((one, mut one_events), (two, mut two_events)) = (call_of(client("{}"), 8), call_of(client("{}"), 8));
    let (one, two) = tokio::join!(transport.call(&route, one), transport.call(&route, two));
    assert!(one.is_ok() && two.is_ok());
    for events in [&mut one_events, &mut two_events] {
        let Some(Event::Notification(progress)) = events.recv().await else {
            panic!("no progress")
        };
        assert_eq!(progress.params.unwrap().string("progressToken").unwrap(), "mine");
    }
    assert_eq!(fake.of("POST initialize").len(), 1, "one handshake for both");
    let calls = fake.of("POST tools/call");
    assert_ne!(calls[0].id(), calls[1].id());
    assert_ne!(
        calls[0].message["params"]["_meta"]["progressToken"],
        calls[1].message["params"]["_meta"]["progressToken"]
    );
    let (other, _events) = call_of(client(r#"{"roots":{}}"#), 8);
    transport.call(&route, other).await.unwrap();
    assert_eq!(
        fake.of("POST initialize").len(),
        2,
        "other capabilities, another session"
    );
}

#[tokio::test]
async fn each_client_session_has_its_own_and_keeps_its_ids() {
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        conn.result(&seen, json!({})).await;
    })
    .await;
    let transport = fake.transport();
    for id in ["a", "b", "a"] {
        let mut caller = client("{}");
        caller.scope = Scope::Session(SessionId::new(id));
        let (call, _events) = call_of(caller, 8);
        transport.call(&tool_route("t", "t"), call).await.unwrap();
    }
    let calls = fake.of("POST tools/call");
    assert_eq!(fake.of("POST initialize").len(), 2);
    assert_eq!(calls[0].header(SESSION), calls[2].header(SESSION));
    assert_ne!(calls[0].header(SESSION), calls[1].header(SESSION));
    for call in calls {
        assert_eq!(call.id(), "c1");
        assert_eq!(call.message["params"]["_meta"]["progressToken"], "mine");
    }
}

#[tokio::test]
async fn a_forgotten_session_is_reopened_once_and_the_call_sent_once_more() {
    for (status, code) in [(404, -32001), (400, -32000), (503, 0), (404, -32600)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let fake = Fake::legacy(json!({}), move |seen, mut conn| {
            let number = counted.fetch_add(1, Ordering::SeqCst);
            async move {
                match number {
                    1 if code == 0 => conn.status(status, "content-type: text/html\r\n", "<p>").await,
                    1 => conn.error(status, &seen, code).await,
                    _ => conn.result(&seen, json!({})).await,
                }
            }
        })
        .await;
        let transport = fake.transport();
        for _ in 0..2 {
            let (call, _events) = call_of(client("{}"), 8);
            transport.call(&tool_route("t", "t"), call).await.unwrap();
        }
        assert_eq!(fake.of("POST initialize").len(), 2, "{status}");
        let calls = fake.of("POST tools/call");
        assert_eq!(calls.len(), 3, "{status}");
        assert_ne!(calls[1].header(SESSION), calls[2].header(SESSION), "{status}");
    }
}

#[tokio::test]
async fn an_upstream_that_forgets_every_session_gets_no_third_try() {
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        conn.error(404, &seen, -32001).await;
    })
    .await;
    let (call, _events) = call_of(client("{}"), 8);
    let error = fake
        .transport()
        .call(&tool_route("t", "t"), call)
        .await
        .unwrap_err();
    assert!(matches!(error, CallError::Failed { sent: false, .. }), "{error}");
    assert_eq!(fake.of("POST tools/call").len(), 2);
}

#[tokio::test]
async fn an_error_about_the_request_is_the_answer_whatever_its_status() {
    for (status, code) in [
        (400, -32602),
        (404, -32601),
        (400, -32042),
        (200, -32000),
        (500, -32603),
        (429, 7),
    ] {
        let fake = Fake::legacy(json!({}), move |seen, mut conn| async move {
            conn.error(status, &seen, code).await;
        })
        .await;
        let (call, _events) = call_of(client("{}"), 8);
        let answer = fake.transport().call(&tool_route("t", "t"), call).await.unwrap();
        assert!(
            text(&answer).contains(&format!("\"code\":{code}")),
            "{status} {code}"
        );
        assert_eq!(fake.of("POST initialize").len(), 1, "{status} {code}");
    }
}
