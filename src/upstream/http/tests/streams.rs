use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use serde_json::{Value, json};

use super::fake::{Conn, Fake, SESSION, Seen};
use super::text;
use crate::exchange::{CallError, Event, Scope};
use crate::ids::SessionId;
use crate::protocol::json::Raw;
use crate::upstream::fixture::{call_of, client, tool_route};
use crate::upstream::transport::Transport;

fn answer_to(seen: &Seen) -> Value {
    json!({"jsonrpc": "2.0", "id": seen.id(), "result": {"ok": true}})
}

/// Counts what it is asked.
fn counter() -> (Arc<AtomicUsize>, impl Fn() -> usize + Send + Sync + Clone) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    (count, move || counted.fetch_add(1, Ordering::SeqCst))
}

#[tokio::test]
async fn a_broken_stream_is_resumed_from_its_last_event() {
    let first = Arc::new(std::sync::Mutex::new(None));
    let fake = Fake::legacy(json!({}), move |seen, mut conn| {
        let first = Arc::clone(&first);
        async move {
            conn.events().await;
            if seen.verb == "POST" {
                conn.raw(b"id: e1\nretry: 50\ndata: \n\n").await;
                *first.lock().unwrap() = Some(answer_to(&seen));
            } else if seen.header("last-event-id") == Some("e1") {
                conn.raw(b"id: e2\ndata: \n\n").await;
            } else {
                let answer = first.lock().unwrap().take().unwrap();
                conn.event(&answer).await;
            }
        }
    })
    .await;
    let (call, _events) = call_of(client("{}"), 8);
    let answer = fake.transport().call(&tool_route("t", "t"), call).await.unwrap();
    assert!(text(&answer).contains(r#""ok":true"#));
    let mut gets = fake.of("GET");
    gets.retain(|seen| seen.header("last-event-id").is_some());
    assert_eq!(gets.len(), 2);
    assert_eq!(gets[1].header("last-event-id"), Some("e2"));
    assert_eq!(
        gets[1].header(SESSION),
        fake.of("POST tools/call")[0].header(SESSION)
    );
    assert_eq!(fake.of("POST tools/call").len(), 1, "never sent twice");
}

#[tokio::test]
async fn a_stream_that_cannot_be_resumed_fails_the_call_which_may_have_run() {
    for with_id in [true, false] {
        let fake = Fake::legacy(json!({}), move |seen, mut conn| async move {
            if seen.verb == "GET" {
                return conn.status(405, "", "").await;
            }
            conn.events().await;
            let id: &[u8] = if with_id {
                b"id: e1\nretry: 50\ndata: \n\n"
            } else {
                b": hi\n\n"
            };
            conn.raw(id).await;
        })
        .await;
        let (call, _events) = call_of(client("{}"), 8);
        let error = fake
            .transport()
            .call(&tool_route("t", "t"), call)
            .await
            .unwrap_err();
        assert!(matches!(error, CallError::Failed { sent: true, .. }), "{error}");
        fake.wait("POST notifications/cancelled", 1).await;
        assert_eq!(fake.of("POST tools/call").len(), 1);
    }
}

#[tokio::test]
async fn a_call_that_may_have_run_is_repeated_only_where_that_does_no_harm() {
    for repeatable in [false, true] {
        let (_, next) = counter();
        let fake = Fake::legacy(json!({}), move |seen, mut conn| {
            let number = next();
            async move {
                if number == 0 {
                    conn.reset();
                } else {
                    conn.json(200, &answer_to(&seen)).await;
                }
            }
        })
        .await;
        let (call, _events) = call_of(client("{}"), 8);
        let mut route = tool_route("t", "t");
        route.repeatable = repeatable;
        let outcome = fake.transport().call(&route, call).await;
        assert_eq!(outcome.is_ok(), repeatable);
        assert_eq!(fake.of("POST tools/call").len(), 1 + usize::from(repeatable));
    }
}

#[tokio::test]
async fn a_question_on_the_stream_is_answered_by_a_post() {
    let (answered, got_answer) = tokio::sync::watch::channel(Value::Null);
    let fake = Fake::legacy(json!({}), move |seen, mut conn| {
        let (answered, mut got_answer) = (answered.clone(), got_answer.clone());
        async move {
            if seen.method().is_empty() {
                answered.send_replace(seen.message);
                return conn.status(202, "", "").await;
            }
            conn.events().await;
            conn.event(&json!({"jsonrpc": "2.0", "id": 5, "method": "sampling/createMessage", "params": {}})).await;
            conn.event(&json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "?"}})).await;
            got_answer.wait_for(|answer| answer["id"] == "q").await.unwrap();
            conn.event(&answer_to(&seen)).await;
        }
    })
    .await;
    let transport = fake.transport();
    let (call, mut events) = call_of(client(r#"{"elicitation":{}}"#), 8);
    let client = async {
        let Some(Event::Question(question)) = events.recv().await else {
            panic!("no question")
        };
        let answer = Raw::literal(r#"{"action":"accept","content":{"x":1.50}}"#);
        question.reply.send(Ok(answer)).unwrap();
    };
    let route = tool_route("t", "t");
    let (answer, ()) = tokio::join!(transport.call(&route, call), client);
    assert!(answer.is_ok());
    let posted: Vec<String> = fake
        .of("POST (response)")
        .into_iter()
        .map(|seen| seen.body)
        .collect();
    assert!(posted.contains(
        &r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept","content":{"x":1.50}}}"#.to_owned()
    ));
    assert!(
        posted
            .iter()
            .any(|body| body.contains(r#""id":5,"error":{"code":-32601"#)),
        "{posted:?}"
    );
}

#[tokio::test]
async fn cancelling_and_dropping_a_call_tell_the_upstream() {
    for dropped in [false, true] {
        let fake = Fake::legacy(json!({}), |_, mut conn| async move {
            conn.events().await;
            conn.hung_up().await;
        })
        .await;
        let transport = fake.transport();
        let mut caller = client("{}");
        caller.scope = Scope::Session(SessionId::new("s"));
        let (call, _events) = call_of(caller, 8);
        let cancel = call.cancel.clone();
        let route = tool_route("t", "t");
        {
            let mut running = std::pin::pin!(transport.call(&route, call));
            tokio::select! {
                _ = &mut running => panic!("it cannot end"),
                _ = fake.wait("POST tools/call", 1) => {}
            }
            if !dropped {
                cancel.cancel();
                assert!(matches!(running.await, Err(CallError::Cancelled)));
            }
        }
        let told = fake.wait("POST notifications/cancelled", 1).await;
        assert_eq!(told[0].message["params"]["requestId"], "c1");
        assert!(told[0].message["params"]["reason"].is_string());
    }
}

#[tokio::test]
async fn a_slow_client_holds_its_upstream_back_and_loses_nothing() {
    let fake = Fake::legacy(json!({}), |seen, mut conn: Conn| async move {
        conn.events().await;
        for n in 0..64 {
            conn.event(&json!({"jsonrpc": "2.0", "method": "notifications/vendor", "params": {"n": n}}))
                .await;
        }
        conn.event(&answer_to(&seen)).await;
    })
    .await;
    let transport = fake.transport();
    let (call, mut events) = call_of(client("{}"), 1);
    let route = tool_route("t", "t");
    let reader = async {
        for n in 0..64 {
            let Some(Event::Notification(told)) = events.recv().await else {
                panic!("no notification {n}")
            };
            assert_eq!(told.params.unwrap().get("n").unwrap().u64(), Some(n));
        }
    };
    let (answer, ()) = tokio::join!(transport.call(&route, call), reader);
    assert!(answer.is_ok());
    assert!(events.recv().now_or_never().flatten().is_none());
}

#[tokio::test]
async fn the_log_level_is_set_once_and_lowered_for_who_shares_a_session() {
    use crate::protocol::meta::LogLevel;
    let fake = Fake::legacy(json!({"logging": {}}), |seen, mut conn| async move {
        conn.result(&seen, json!({})).await;
    })
    .await;
    let transport = fake.transport();
    for level in [
        None,
        Some(LogLevel::Error),
        Some(LogLevel::Debug),
        Some(LogLevel::Critical),
    ] {
        let (mut call, _events) = call_of(client("{}"), 8);
        call.log_level = level;
        transport.call(&tool_route("t", "t"), call).await.unwrap();
    }
    let levels: Vec<Value> = fake
        .of("POST logging/setLevel")
        .iter()
        .map(|seen| seen.message["params"]["level"].clone())
        .collect();
    assert_eq!(levels, ["error", "debug"]);
}
