use std::sync::Mutex;

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::exchange::{Event, Question, Reply};
use crate::limits::{TEST_EVENTS_BYTES_MAX, TEST_EVENTS_MAX};
use crate::protocol::message::{Message, Notification};
use crate::upstream::fake::error_answer;

fn progress(text: &str) -> Event {
    let text = format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progress":1e0,"message":"{text}"}}}}"#
    );
    Event::Notification(notification(text))
}

fn notification(text: String) -> Notification {
    match Message::parse(Bytes::from(text)).unwrap() {
        Message::Notification(notification) => notification,
        other => panic!("no notification: {other:?}"),
    }
}

async fn failing(make: fn() -> CallError) -> Rig {
    rig(move |_| Box::pin(ready(Err(make())))).await
}

#[tokio::test]
async fn a_tool_is_called_with_the_arguments_as_they_stand() {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen_there = seen.clone();
    let rig = rig(move |call| {
        let params = call.request.params.as_ref().unwrap();
        let text = |key| params.get(key).unwrap().as_str().to_owned();
        seen_there
            .lock()
            .unwrap()
            .push(format!("{} {}", text("name"), text("arguments")));
        assert!(call.client.capabilities.as_str() == "{}" && call.client.outbox.is_none());
        Box::pin(async { Ok(came(r#"{"content":[],"n":1.50e+3,"isError":false}"#)) })
    })
    .await;
    let got = rig
        .post("alice", "/tools/b__echo/test", r#"{ "n" : 1e999, "a":"ä" }"#)
        .await;
    assert_eq!(got.status, 200);
    assert!(
        got.text
            .contains(r#""result":{"content":[],"n":1.50e+3,"isError":false}"#),
        "{}",
        got.text
    );
    let tested = got.json();
    assert_eq!(
        (&tested["gateway"], &tested["isError"]),
        (&"b".into(), &false.into())
    );
    assert!(tested["durationMs"].as_f64().unwrap() >= 0.0);
    let nothing = Request::post("/tools/echo/test").body(Body::empty()).unwrap();
    assert_eq!(rig.send("alice", nothing).await.status, 200);
    assert_eq!(
        *seen.lock().unwrap(),
        [r#""b__echo" { "n" : 1e999, "a":"ä" }"#, r#""echo" {}"#]
    );
}

#[tokio::test]
async fn what_the_tool_or_the_gateway_answers_is_an_answer_errors_included() {
    let rig = rig(|call| {
        let name = call
            .request
            .params
            .as_ref()
            .and_then(|params| params.string("name"));
        Box::pin(ready(Ok(match name.as_deref() {
            Some("echo") => came(r#"{"content":[],"isError":true}"#),
            _ => error_answer(-32_602),
        })))
    })
    .await;
    let tested = rig.post("alice", "/tools/echo/test", "{}").await.json();
    assert_eq!(
        (&tested["isError"], &tested["result"]["isError"]),
        (&true.into(), &true.into())
    );
    let tested = rig.post("alice", "/tools/b_only/test", "{}").await.json();
    assert_eq!(
        (&tested["isError"], &tested["error"]["code"]),
        (&true.into(), &(-32_602).into())
    );
    assert!(tested.get("result").is_none());
}

#[tokio::test]
async fn what_is_said_before_the_answer_is_kept_up_to_a_bound() {
    let rig = rig(|call| {
        Box::pin(async move {
            let large = "x".repeat(TEST_EVENTS_BYTES_MAX);
            call.events.send(progress(&large)).await.unwrap();
            for n in 0..=TEST_EVENTS_MAX {
                call.events.send(progress(&n.to_string())).await.unwrap();
            }
            Ok(came(r#"{"content":[]}"#))
        })
    })
    .await;
    let got = rig.post("alice", "/tools/echo/test", "{}").await;
    let tested = got.json();
    let events = tested["events"].as_array().unwrap();
    assert_eq!(
        (events.len(), &tested["eventsDropped"]),
        (TEST_EVENTS_MAX, &2.into())
    );
    assert_eq!(events[0]["method"], "notifications/progress");
    assert!(
        got.text.contains(r#""params":{"progress":1e0,"message":"0"}"#),
        "{}",
        got.text
    );
}

#[tokio::test]
async fn a_question_is_answered_by_nobody() {
    let rig = rig(|call| {
        Box::pin(async move {
            let text = r#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{}}"#;
            let Ok(Message::Request(request)) = Message::parse(Bytes::from_static(text.as_bytes())) else {
                panic!("no request")
            };
            assert!(!call.client.can_answer(request.method, request.params.as_ref()));
            let (reply, replied) = oneshot::channel::<Reply>();
            call.events
                .send(Event::Question(Question {
                    request: request.into(),
                    reply,
                }))
                .await
                .unwrap();
            assert!(replied.await.is_err(), "nobody answers");
            Ok(came(r#"{"content":[]}"#))
        })
    })
    .await;
    let tested = rig.post("alice", "/tools/echo/test", "{}").await.json();
    assert_eq!(tested["events"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn refused_and_unknown_are_the_same_404() {
    let rig = quiet().await;
    let of = async |key: &str, name: &str| {
        let got = rig.post(key, &format!("/tools/{name}/test"), "{}").await;
        got.problem(404).replace(name, "X")
    };
    let unknown = of("alice", "nothing").await;
    assert!(unknown.contains("GET /api/tools"));
    assert_eq!(
        of("alice", "secret").await,
        unknown,
        "denied by its gateway's rules"
    );
    assert_eq!(of("narrow", "b_only").await, unknown, "not on the key");
    assert_eq!(of("alice", "last_only").await, unknown, "not named yet");
    assert_eq!(of("alice", "odd").await, unknown, "known by another name");
}

#[tokio::test]
async fn bad_arguments_are_refused_before_anybody_is_called() {
    let rig = rig(|_| unreachable!("called")).await;
    for (body, named) in [
        ("[1]", "JSON object"),
        ("\"x\"", "JSON object"),
        ("{", "not valid JSON"),
        ("{} {}", "not valid JSON"),
    ] {
        let got = rig.post("alice", "/tools/echo/test", body).await;
        assert!(got.problem(400).contains(named), "{body}: {}", got.text);
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(600), "]".repeat(600));
    assert!(
        rig.post("alice", "/tools/echo/test", &deep)
            .await
            .problem(400)
            .contains("deeper")
    );
    let large = format!(
        "{{\"a\":\"{}\"}}",
        "x".repeat(rig.parts.limits.request_body_bytes_max)
    );
    rig.post("alice", "/tools/echo/test", &large).await.problem(413);
    let form = Request::post("/tools/echo/test").header("content-type", "application/x-www-form-urlencoded");
    let got = rig.send("alice", form.body("{}".into()).unwrap()).await;
    assert!(got.problem(415).contains("application/json"));
}

#[tokio::test]
async fn a_gateway_that_fails_is_named_with_what_to_do() {
    type Row = (fn() -> CallError, u16, Option<&'static str>, &'static str);
    let rows: [Row; 7] = [
        (
            || CallError::Refused {
                gateway: GatewayId::new("a"),
                error: crate::protocol::error::RpcError::new(-32_600, "sampling was not answered"),
            },
            502,
            None,
            "sampling was not answered",
        ),
        (
            || CallError::Busy {
                gateway: GatewayId::new("a"),
            },
            503,
            Some("1"),
            "try again",
        ),
        (
            || CallError::Unavailable {
                gateway: GatewayId::new("a"),
                reason: "refused".to_owned(),
            },
            503,
            Some("1"),
            "GET /api/gateways",
        ),
        (
            || CallError::Timeout {
                gateway: GatewayId::new("a"),
                timeout_ms: 7,
            },
            504,
            None,
            "within 7 ms",
        ),
        (
            || CallError::Stale {
                gateway: GatewayId::new("a"),
            },
            502,
            Some("1"),
            "try again",
        ),
        (
            || CallError::Failed {
                gateway: GatewayId::new("a"),
                reason: "reset".to_owned(),
                sent: true,
            },
            502,
            None,
            "may have acted",
        ),
        (
            || CallError::Failed {
                gateway: GatewayId::new("a"),
                reason: "reset".to_owned(),
                sent: false,
            },
            502,
            None,
            "did not reach it",
        ),
    ];
    for (make, status, retry_after, says) in rows {
        let got = failing(make).await.post("alice", "/tools/echo/test", "{}").await;
        let detail = got.problem(status);
        assert!(detail.contains("gateway a") && detail.contains(says), "{detail}");
        assert_eq!(
            got.headers
                .get("retry-after")
                .map(|after| after.to_str().unwrap()),
            retry_after,
            "{detail}"
        );
    }
}

#[tokio::test]
async fn an_open_breaker_says_when_to_try_again() {
    let rig = failing(|| CallError::Failed {
        gateway: GatewayId::new("a"),
        reason: "reset".to_owned(),
        sent: false,
    })
    .await;
    for _ in 0..crate::limits::BREAKER_FAULTS {
        rig.post("alice", "/tools/echo/test", "{}").await.problem(502);
    }
    let got = rig.post("alice", "/tools/echo/test", "{}").await;
    assert!(
        got.problem(503).contains("gateway a is not available"),
        "{}",
        got.text
    );
    let after: u64 = got.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=2).contains(&after), "{after}");
    assert_eq!(
        rig.post("alice", "/tools/b_only/test", "{}").await.status,
        502,
        "b has its own breaker"
    );
}

#[tokio::test]
async fn a_user_has_so_many_places_for_all_doors() {
    let rig = quiet().await;
    let alice = crate::ids::UserId::new("alice");
    let places = rig.parts.proxy.places().clone();
    let held = [places.take(&alice, 2), places.take(&alice, 2)];
    let got = rig.post("alice", "/tools/echo/test", "{}").await;
    assert!(got.problem(429).contains("at most 2 calls"));
    assert_eq!(got.headers["retry-after"], "1");
    assert_eq!(rig.post("bob", "/tools/echo/test", "{}").await.status, 200);
    drop(held);
    assert_eq!(rig.post("alice", "/tools/echo/test", "{}").await.status, 200);
    assert_eq!(places.taken(&alice), 0);
}

#[tokio::test]
async fn whoever_hangs_up_cancels_the_call() {
    let (tell, mut begun) = mpsc::channel(1);
    let rig = rig(move |call| {
        let tell = tell.clone();
        Box::pin(async move {
            tell.send(call.cancel.clone()).await.unwrap();
            std::future::pending().await
        })
    })
    .await;
    let cancel = tokio::select! {
        _ = rig.post("alice", "/tools/echo/test", "{}") => panic!("nobody answers"),
        cancel = begun.recv() => cancel.unwrap(),
    };
    assert!(cancel.is_cancelled());
    assert_eq!(
        rig.parts.proxy.places().taken(&crate::ids::UserId::new("alice")),
        0
    );
}
