//! Whatever an upstream sends: a clear error or the right answer, within bounds.

use std::time::Duration;

use serde_json::json;

use super::fake::{Conn, Fake, Seen};
use super::text;
use crate::exchange::{Answer, CallError};
use crate::limits::{ANSWERS_AT_ONCE_MAX, QUESTIONS_PER_CALL_MAX};
use crate::upstream::fixture::{call_of, client, tool_route};
use crate::upstream::http::HttpTransport;
use crate::upstream::transport::Transport;

/// Calls a legacy upstream whose answer to the call is written by hand.
async fn answered<F, A>(answer: F) -> (Result<Answer, CallError>, HttpTransport)
where
    F: Fn(Seen, Conn) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let fake = Fake::legacy(json!({}), answer).await;
    let mut settings = fake.settings();
    settings.result_bytes_max = 4096;
    let transport = HttpTransport::new(settings, &fake.supervisor).unwrap();
    let (call, _events) = call_of(client("{}"), 64);
    let answer = transport.call(&tool_route("t", "t"), call).await;
    (answer, transport)
}

fn result(seen: &Seen) -> String {
    json!({"jsonrpc": "2.0", "id": seen.id(), "result": {"n": 1}}).to_string()
}

#[tokio::test]
async fn what_is_no_answer_is_a_clear_error() {
    for (head, body, said) in [
        (
            "200 OK\r\ncontent-type: text/html",
            "<html>",
            "answered HTTP 200 OK with content type \"text/html\"",
        ),
        (
            "500 X\r\ncontent-type: text/html; charset=utf-8",
            "<html>",
            "answered HTTP 500 Internal Server Error with content type",
        ),
        (
            "200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip",
            "xxxx",
            "content encoding \"gzip\", which was not asked for",
        ),
        (
            "302 Found\r\nlocation: /login?next=secret",
            "",
            "redirects (HTTP 302 Found) to http://127.0.0.1:",
        ),
        (
            "401 Unauthorized",
            "",
            "refused our credentials (HTTP 401 Unauthorized)",
        ),
        (
            "200 OK\r\ncontent-type: application/json",
            "<html>",
            "no JSON-RPC message: not valid JSON at byte 0",
        ),
        (
            "200 OK\r\ncontent-type: application/json",
            "[]",
            "batches are not accepted",
        ),
        (
            "200 OK\r\ncontent-type: application/json",
            "",
            "nothing came back",
        ),
        ("202 Accepted", "", "nothing came back"),
        (
            "200 OK\r\ncontent-type: application/json",
            "\u{feff}{}",
            "no JSON-RPC message",
        ),
        (
            "200 OK\r\ncontent-type: text/event-stream",
            "data: {\n\n",
            "one of its events is no JSON-RPC message",
        ),
        (
            "200 OK\r\ncontent-type: text/event-stream",
            "data: \u{1}\n\ndata",
            "ended its stream without an answer",
        ),
    ] {
        let (answer, _) = answered(move |_, mut conn| async move {
            let length = body.len();
            conn.raw(format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
                .await;
        })
        .await;
        let error = answer.map(|_| ()).expect_err(head).to_string();
        assert!(
            error.starts_with("gateway g failed: it ") && error.contains(said),
            "{head}: {error}"
        );
        assert!(!error.contains("secret") && !error.contains("hidden"), "{error}");
    }
}

#[tokio::test]
async fn too_much_is_refused_while_it_is_read() {
    for head in [
        "content-type: application/json\r\ncontent-length: 1000000000",
        "content-type: application/json",
        "content-type: text/event-stream",
    ] {
        let (answer, _) = answered(move |_, mut conn| async move {
            conn.raw(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\ndata: \"").as_bytes())
                .await;
            if head.contains("event-stream") {
                let line = format!("{}\"\n\n", "x".repeat(5000));
                conn.raw(line.as_bytes()).await;
            } else if !head.contains("length") {
                // As much as it takes: an endless body is cut at the bound.
                for _ in 0..64 {
                    conn.raw(&[b'x'; 1024]).await;
                }
            }
            conn.hung_up().await;
        })
        .await;
        let error = answer.map(|_| ()).expect_err(head).to_string();
        assert!(error.contains("it sent more than 4096 bytes"), "{head}: {error}");
    }
}

#[tokio::test]
async fn an_endless_event_is_refused() {
    let (answer, _) = answered(|_, mut conn| async move {
        conn.events().await;
        for _ in 0..=crate::limits::SSE_EVENT_LINES_MAX {
            conn.raw(b"data: x\n").await;
        }
        conn.hung_up().await;
    })
    .await;
    let error = answer.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("an event has more than 1000 lines"), "{error}");
}

#[tokio::test]
async fn odd_but_valid_streams_are_read() {
    for write in [
        (|answer| format!("\u{feff}data: {answer}\n\n")) as fn(String) -> String,
        |answer| format!("id: 1\rdata: \r\rdata: {answer}\r\r"),
        |answer| format!(": comment\r\n\r\nevent: message\r\ndata:{answer}\r\n\r\n"),
        |answer| format!("data: not json\n\nevent: ping\ndata: {{}}\n\ndata: {answer}\n\n"),
        |answer| format!("data: {}\n\n", answer.replace(',', ",\ndata: ")),
    ] {
        let (answer, _) = answered(move |seen, mut conn| async move {
            conn.events().await;
            for byte in write(result(&seen)).as_bytes() {
                conn.raw(&[*byte]).await;
            }
        })
        .await;
        assert!(text(&answer.unwrap()).contains(r#""n":1"#));
    }
}

#[tokio::test]
async fn the_first_answer_counts_and_answers_to_others_are_dropped_and_counted() {
    let (answer, transport) = answered(|seen, mut conn| async move {
        conn.events().await;
        let other = json!({"jsonrpc": "2.0", "id": "someone-elses", "result": {"secret": 1}});
        conn.event(&other).await;
        conn.raw(format!("data: {}\n\n", result(&seen)).as_bytes()).await;
        conn.raw(format!("data: {}\n\n", result(&seen).replace('1', "2")).as_bytes())
            .await;
    })
    .await;
    assert!(text(&answer.unwrap()).contains(r#""n":1"#));
    assert_eq!(transport.strays(), 1);
    let (answer, transport) = answered(|_, mut conn| async move {
        let other = json!({"jsonrpc": "2.0", "id": "someone-elses", "result": {}});
        conn.json(200, &other).await;
    })
    .await;
    assert!(answer.is_err());
    assert_eq!(transport.strays(), 1);
}

#[tokio::test]
async fn an_upstream_that_says_nothing_is_told_when_the_call_is_given_up() {
    let fake = Fake::legacy(json!({}), |_, mut conn| async move { conn.hung_up().await }).await;
    let transport = HttpTransport::new(fake.settings(), &fake.supervisor).unwrap();
    let (call, _events) = call_of(client("{}"), 1);
    let route = tool_route("t", "t");
    // The gateway's clock ends a call by dropping it.
    let called = tokio::time::timeout(Duration::from_millis(50), transport.call(&route, call));
    assert!(called.await.is_err());
    fake.wait("POST notifications/cancelled", 1).await;
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_refused_without_its_value() {
    let fake = Fake::legacy(json!({}), |_, _| async {}).await;
    let mut settings = fake.settings();
    settings.headers = vec![("X-Key".to_owned(), crate::config::Secret::new("a\nb".to_owned()))];
    let error = HttpTransport::new(settings, &fake.supervisor)
        .unwrap_err()
        .to_string();
    assert!(error.contains("X-Key") && !error.contains('\n'), "{error}");
}

#[tokio::test]
async fn a_flood_of_pings_is_not_answered_without_bound() {
    let (release, released) = tokio::sync::watch::channel(false);
    let fake = Fake::legacy(json!({}), move |seen, mut conn| {
        let mut released = released.clone();
        async move {
            if seen.method().is_empty() {
                // An answer that is not taken holds its place.
                return conn.hung_up().await;
            }
            conn.events().await;
            for n in 0..500 {
                conn.event(&json!({"jsonrpc": "2.0", "id": n, "method": "ping"}))
                    .await;
            }
            released.wait_for(|released| *released).await.unwrap();
            conn.raw(format!("data: {}\n\n", result(&seen)).as_bytes()).await;
        }
    })
    .await;
    let transport = fake.transport();
    let (call, _events) = call_of(client("{}"), 8);
    let route = tool_route("t", "t");
    let bound = ANSWERS_AT_ONCE_MAX + QUESTIONS_PER_CALL_MAX;
    let script = async {
        fake.wait("POST (response)", bound).await;
        release.send_replace(true);
    };
    let (answer, ()) = tokio::join!(transport.call(&route, call), script);
    assert!(answer.is_ok());
    assert_eq!(fake.of("POST (response)").len(), bound);
}

/// Answers the head and the beginning at once, and the rest after a silence, in time that does not pass. `None`: the
/// clock of a gateway that allows four minutes ended the call.
async fn answered_after(silence: Duration) -> Option<Result<Answer, CallError>> {
    let fake = Fake::legacy(json!({}), move |seen, mut conn| async move {
        let body = result(&seen);
        let (first, rest) = body.split_at(9);
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{first}",
            body.len()
        );
        conn.raw(head.as_bytes()).await;
        tokio::time::pause();
        tokio::time::sleep(silence).await;
        conn.raw(rest.as_bytes()).await;
        tokio::time::resume();
    })
    .await;
    let transport = HttpTransport::new(fake.settings(), &fake.supervisor).unwrap();
    let (call, _events) = call_of(client("{}"), 64);
    let route = tool_route("t", "t");
    tokio::time::timeout(Duration::from_mins(4), transport.call(&route, call))
        .await
        .ok()
}

#[tokio::test]
async fn a_body_may_be_silent_behind_its_head_for_as_long_as_a_call_may_take() {
    let answer = answered_after(Duration::from_secs(200)).await.unwrap().unwrap();
    assert!(text(&answer).contains(r#""n":1"#), "{}", text(&answer));
    assert!(answered_after(Duration::from_secs(241)).await.is_none());
}
