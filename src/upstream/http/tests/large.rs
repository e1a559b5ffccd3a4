//! Answers that are too large to be held: what goes on as it comes, and what is read as a whole.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::fake::{Conn, Fake, Seen};
use crate::exchange::{Answer, CallError, Event, Flow, queue};
use crate::limits::LARGE_ANSWER_BYTES;
use crate::telemetry::ErrorType;
use crate::upstream::fixture::{call_of, client, tool_route};
use crate::upstream::transport::Transport;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";

fn large(seen: &Seen, members: &str) -> String {
    let text = "é\\\"".repeat(LARGE_ANSWER_BYTES);
    let id = seen.id();
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{text}"}}]{members}}}}}"#
    )
}

async fn begin(conn: &mut Conn, text: &str) {
    conn.raw(format!("{HEAD}content-length: {}\r\n\r\n", text.len()).as_bytes())
        .await;
}

/// Calls an upstream for somebody who takes a large answer as it comes.
async fn called(fake: &Fake, repeatable: bool) -> (Result<Answer, CallError>, Option<Option<Bytes>>) {
    let (mut call, mut events) = call_of(client("{}"), 64);
    call.streams = true;
    let mut route = tool_route("t", "t");
    route.repeatable = repeatable;
    let transport = fake.transport();
    let reading = async {
        match events.recv().await {
            Some(Event::Answer(flow)) => Some(flow.whole().await),
            Some(other) => panic!("no answer begins but {other:?}"),
            None => None,
        }
    };
    tokio::join!(transport.call(&route, call), reading)
}

async fn flow(events: &mut queue::Receiver<Event>) -> Flow {
    match events.recv().await {
        Some(Event::Answer(flow)) => flow,
        other => panic!("no answer begins but {other:?}"),
    }
}

#[tokio::test]
async fn a_large_answer_goes_on_before_its_end_has_come_and_under_the_clients_id() {
    let go_on = Arc::new(Notify::new());
    let told = Arc::clone(&go_on);
    let fake = Fake::legacy(json!({}), move |seen, mut conn| {
        let told = Arc::clone(&told);
        async move {
            let text = large(&seen, r#","isError":true,"x":1e400"#);
            let (front, rest) = text.as_bytes().split_at(text.len() / 2);
            begin(&mut conn, &text).await;
            conn.raw(front).await;
            told.notified().await;
            conn.raw(rest).await;
        }
    })
    .await;
    let (mut call, mut events) = call_of(client("{}"), 64);
    call.streams = true;
    let (transport, route) = (fake.transport(), tool_route("t", "t"));
    let reading = async {
        let mut flow = flow(&mut events).await;
        let (length, mut text) = (flow.length() as usize, Vec::new());
        while let Some(piece) = flow.next().await {
            text.extend_from_slice(&piece);
            // Half of it is there, so what follows waits for us.
            if text.len() >= length / 2 - 64 {
                go_on.notify_one();
            }
        }
        assert_eq!(text.len(), length);
        String::from_utf8(text).unwrap()
    };
    let (answer, text) = tokio::join!(transport.call(&route, call), reading);
    let sent = &fake.of("POST tools/call")[0];
    assert_ne!(sent.id(), "c1", "the link has ids of its own");
    let expected = large(sent, r#","isError":true,"x":1e400"#);
    assert_eq!(text, expected.replace(&sent.id().to_string(), r#""c1""#));
    let answer = answer.unwrap();
    assert_eq!(answer.response.passed, Some(text.len() as u64));
    assert_eq!(answer.error_type(), Some(ErrorType::ToolError));
}

#[tokio::test]
async fn an_answer_that_broke_off_behind_its_beginning_is_not_asked_for_again() {
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        let text = large(&seen, "");
        begin(&mut conn, &text).await;
        conn.raw(&text.as_bytes()[..text.len() / 2]).await;
    })
    .await;
    let (answer, passed) = called(&fake, true).await;
    assert!(
        matches!(&answer, Err(CallError::Failed { sent: true, reason, .. }) if reason.contains("broke off")),
        "{answer:?}"
    );
    assert_eq!(passed, Some(None), "it began, and did not come to its end");
    assert_eq!(fake.of("POST tools/call").len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_none_at_its_end_fails() {
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        let text = large(&seen, "").replace("}]}}", "}]},\"id\":7}");
        begin(&mut conn, &text).await;
        conn.raw(text.as_bytes()).await;
    })
    .await;
    let (answer, passed) = called(&fake, true).await;
    assert!(passed.is_some(), "it began");
    assert!(
        matches!(&answer, Err(CallError::Failed { sent: true, .. })),
        "{answer:?}"
    );
    assert_eq!(fake.of("POST tools/call").len(), 1);
}

#[tokio::test]
async fn an_answer_whose_id_comes_last_is_read_as_a_whole() {
    let fake = Fake::legacy(json!({}), |seen, mut conn| async move {
        let answer: Value = serde_json::from_str(&large(&seen, "")).unwrap();
        let text = format!(
            r#"{{"result":{},"jsonrpc":"2.0","id":{}}}"#,
            answer["result"],
            seen.id()
        );
        begin(&mut conn, &text).await;
        conn.raw(text.as_bytes()).await;
    })
    .await;
    let (answer, passed) = called(&fake, false).await;
    let answer = answer.unwrap();
    assert_eq!(answer.response.passed, None);
    assert!(answer.response.raw.len() > LARGE_ANSWER_BYTES);
    assert_eq!(passed, None);
}

#[tokio::test]
async fn the_answer_to_another_request_is_no_answer_however_large() {
    let fake = Fake::legacy(json!({}), |mut seen, mut conn| async move {
        seen.message["id"] = json!(4_711);
        let text = large(&seen, "");
        begin(&mut conn, &text).await;
        conn.raw(text.as_bytes()).await;
    })
    .await;
    let (answer, passed) = called(&fake, false).await;
    assert!(matches!(answer, Err(CallError::Failed { .. })), "{answer:?}");
    assert_eq!(passed, None);
}
