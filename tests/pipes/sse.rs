//! Gateways over HTTP+SSE (2024-11-05) against a fake whose streams the test holds.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::people::Person;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use toolgate::config::Secret;
use toolgate::exchange::{CallError, Event};
use toolgate::ids::GatewayId;
use toolgate::protocol::json::Raw;
use toolgate::supervisor::Supervisor;
use toolgate::upstream::http::HttpSettings;
use toolgate::upstream::sse;
use toolgate::upstream::transport::Transport;

/// What a stream carries; `None` ends it.
type Line = Option<String>;

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    streams: Vec<mpsc::Sender<Line>>,
    /// (session, message), in order.
    posted: Vec<(usize, Value)>,
    secrets: Vec<String>,
    /// What the `endpoint` event says instead of the right thing.
    endpoint: Option<String>,
    /// The status of every POST of a call.
    refuses: Option<u16>,
}

impl Fake {
    fn say(&self, session: usize, message: &Value) {
        self.send(session, Some(format!("event: message\ndata: {message}\n\n")));
    }

    fn send(&self, session: usize, line: Line) {
        let stream = self.0.lock().unwrap().streams[session].clone();
        stream.try_send(line).unwrap();
    }

    fn posted(&self, method: &str) -> Vec<(usize, Value)> {
        let state = self.0.lock().unwrap();
        let of_method = |(_, message): &&(usize, Value)| message["method"] == method;
        state.posted.iter().filter(of_method).cloned().collect()
    }

    async fn waits_for(&self, method: &str, count: usize) -> Vec<(usize, Value)> {
        let of_method = |(_, message): &&(usize, Value)| message["method"] == method;
        self.waits_until(|posted| posted.iter().filter(of_method).count() >= count)
            .await;
        self.posted(method)
    }

    async fn waits_until(&self, holds: impl Fn(&[(usize, Value)]) -> bool) {
        for _ in 0..1000 {
            if holds(&self.0.lock().unwrap().posted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it never came: {:?}", self.0.lock().unwrap().posted)
    }
}

async fn stream(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    let (sender, receiver) = mpsc::channel(64);
    let mut state = fake.0.lock().unwrap();
    let session = state.streams.len();
    state.secrets.push(text(&headers, "authorization"));
    let endpoint = state.endpoint.clone();
    let endpoint = endpoint.unwrap_or_else(|| format!("/message?session={session}"));
    sender
        .try_send(Some(format!(": hello\n\nevent: endpoint\ndata: {endpoint}\n\n")))
        .unwrap();
    state.streams.push(sender);
    let lines = lines_of(receiver).map(Ok::<_, Infallible>);
    (
        [(header::CONTENT_TYPE, "text/event-stream")],
        Body::from_stream(lines),
    )
        .into_response()
}

fn lines_of(receiver: mpsc::Receiver<Line>) -> impl futures_util::Stream<Item = String> {
    futures_util::stream::unfold(receiver, |mut receiver| async {
        let line = receiver.recv().await??;
        Some((line, receiver))
    })
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

async fn message(
    State(fake): State<Fake>,
    Query(query): Query<HashMap<String, usize>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let session = query["session"];
    let message: Value = serde_json::from_slice(&body).unwrap();
    let refuses = {
        let mut state = fake.0.lock().unwrap();
        state.secrets.push(text(&headers, "authorization"));
        state.posted.push((session, message.clone()));
        state.refuses
    };
    if message["method"] == "tools/call"
        && let Some(status) = refuses
    {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    let result = match message["method"].as_str() {
        Some("initialize") => json!({"protocolVersion": "2024-11-05", "capabilities": {"tools": {}}}),
        Some("tools/list") => json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}}]}),
        _ => Value::Null,
    };
    if !result.is_null() {
        fake.say(
            session,
            &json!({"jsonrpc": "2.0", "id": message["id"], "result": result}),
        );
    }
    // Field: some answer with text, some with 200.
    (StatusCode::OK, "ok").into_response()
}

struct Bench {
    fake: Fake,
    supervisor: Supervisor,
    origin: String,
}

impl Bench {
    async fn new() -> Self {
        let fake = Fake::default();
        let router = Router::new()
            .route("/sse", get(stream))
            .route("/message", post(message))
            .route("/html", get(async || axum::response::Html("<p>hello</p>")))
            .route("/moved", get(async || Redirect::temporary("/sse")))
            .route("/locked", get(async || StatusCode::UNAUTHORIZED))
            .with_state(fake.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let supervisor = Supervisor::new();
        supervisor.spawn("fake", async move {
            axum::serve(listener, router).await.unwrap();
        });
        Self {
            fake,
            supervisor,
            origin,
        }
    }

    fn gateway(&self, path: &str) -> Arc<dyn Transport> {
        let settings = HttpSettings {
            gateway: GatewayId::new("fake"),
            url: format!("{}{path}", self.origin).parse().unwrap(),
            headers: vec![("Authorization".to_owned(), Secret::new("Bearer s3".to_owned()))],
            era: toolgate::config::EraChoice::Auto,
            call_timeout: Duration::from_secs(20),
            result_bytes_max: 1 << 20,
            question_timeout: Duration::from_secs(10),
        };
        sse::transport(settings, &self.supervisor).unwrap()
    }
}

fn done(call: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": call["id"], "result": {"content": []}})
}

#[tokio::test]
async fn lists_and_calls_go_over_the_announced_endpoint_with_the_operators_headers() {
    let bench = Bench::new().await;
    let gateway = bench.gateway("/sse");
    assert_eq!(gateway.list().await.unwrap().tools.len(), 1);
    let (route, call, mut heard) = Person::legacy("alice").call("t", &json!({"a": 1}));
    let answering = async {
        let calls = bench.fake.waits_for("tools/call", 1).await;
        let (session, call) = &calls[0];
        let token = &call["params"]["_meta"]["progressToken"];
        let params = json!({"progressToken": token, "progress": 1});
        bench.fake.say(
            *session,
            &json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}),
        );
        bench.fake.send(
            *session,
            Some("event: message\ndata: no message\n\ndata:\n\n".to_owned()),
        );
        bench.fake.say(*session, &done(call));
    };
    let (answer, ()) = tokio::join!(gateway.call(&route, call), answering);
    answer.unwrap();
    let Ok(Event::Notification(progress)) = heard.try_recv() else {
        panic!("no progress")
    };
    let progress: Value = serde_json::from_slice(&progress.raw).unwrap();
    assert_eq!(progress["params"]["progressToken"], "mine");
    let state = bench.fake.0.lock().unwrap();
    assert!(state.secrets.len() > 4 && state.secrets.iter().all(|secret| secret == "Bearer s3"));
}

#[tokio::test]
async fn each_conversation_has_a_connection_of_its_own_and_its_questions_stay_there() {
    let bench = Bench::new().await;
    let gateway = bench.gateway("/sse");
    let (alice, bob) = (Person::legacy("alice"), Person::legacy("bob"));
    let (route, first, mut alice_heard) = alice.call("t", &json!({"who": "alice"}));
    let (_, second, mut bob_heard) = bob.call("t", &json!({"who": "bob"}));
    let driving = async {
        let calls = bench.fake.waits_for("tools/call", 2).await;
        let of = |who: &str| {
            let call = calls
                .iter()
                .find(|(_, call)| call["params"]["arguments"]["who"] == who);
            call.cloned().unwrap()
        };
        let ((hers, her_call), (his, his_call)) = (of("alice"), of("bob"));
        assert_ne!(hers, his);
        let opened = bench.fake.waits_for("initialize", 2).await;
        assert!(
            opened
                .iter()
                .all(|(_, told)| told["params"]["capabilities"] == json!({"elicitation": {}}))
        );
        // Nobody but the session's own client can be meant, whoever else is calling.
        let params = json!({"message": "?", "requestedSchema": {"type": "object"}});
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params});
        bench.fake.say(hers, &asked);
        let Some(Event::Question(question)) = alice_heard.recv().await else {
            panic!("no question")
        };
        let reply = Raw::literal(r#"{"action":"decline"}"#);
        question.reply.send(Ok(reply)).unwrap();
        bench
            .fake
            .waits_until(|posted| {
                posted.iter().any(|(session, message)| {
                    *session == hers && message["result"] == json!({"action": "decline"})
                })
            })
            .await;
        assert!(bob_heard.try_recv().is_err());
        bench.fake.say(hers, &done(&her_call));
        bench.fake.say(his, &done(&his_call));
    };
    let (one, two, ()) = tokio::join!(gateway.call(&route, first), gateway.call(&route, second), driving);
    one.unwrap();
    two.unwrap();
}

#[tokio::test]
async fn a_lost_stream_fails_its_calls_and_the_connection_comes_back() {
    let bench = Bench::new().await;
    let gateway = bench.gateway("/sse");
    let alice = Person::legacy("alice");
    let (route, call, _heard) = alice.call("t", &json!({}));
    let losing = async {
        let calls = bench.fake.waits_for("tools/call", 1).await;
        bench.fake.send(calls[0].0, None);
    };
    let (lost, ()) = tokio::join!(gateway.call(&route, call), losing);
    let Err(CallError::Failed {
        reason, sent: true, ..
    }) = lost
    else {
        panic!("{lost:?}")
    };
    assert_eq!(reason, "it closed its event stream");
    let (route, call, _heard) = alice.call("t", &json!({}));
    let refused = gateway.call(&route, call).await;
    assert!(
        matches!(refused, Err(CallError::Unavailable { .. })),
        "{refused:?}"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (route, call, _heard) = alice.call("t", &json!({}));
    let answering = async {
        let calls = bench.fake.waits_for("tools/call", 2).await;
        assert_ne!(calls[0].0, calls[1].0, "another connection");
        bench.fake.say(calls[1].0, &done(&calls[1].1));
    };
    let (answer, ()) = tokio::join!(gateway.call(&route, call), answering);
    answer.unwrap();
}

#[tokio::test]
async fn a_refused_message_fails_its_call_at_once() {
    let bench = Bench::new().await;
    let gateway = bench.gateway("/sse");
    for (status, reason, sent) in [
        (413, "it answered HTTP 413 Payload Too Large", false),
        (500, "it answered HTTP 500 Internal Server Error", true),
        (403, "it refused our credentials (HTTP 403 Forbidden)", false),
    ] {
        bench.fake.0.lock().unwrap().refuses = Some(status);
        let (route, call, _heard) = Person::legacy("alice").call("t", &json!({}));
        let error = gateway.call(&route, call).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(
            matches!(error, CallError::Failed { sent: was, .. } if was == sent),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_such_stream_is_said_to_be_none() {
    let bench = Bench::new().await;
    for (path, said) in [
        ("/html", "content type"),
        ("/moved", "redirects"),
        ("/locked", "refused our credentials"),
        ("/absent", "404"),
    ] {
        let error = bench.gateway(path).list().await.unwrap_err().0;
        assert!(error.contains(said), "{path}: {error}");
    }
    for endpoint in ["http://127.0.0.1:9/m", "//example.com/m", "file:///etc/passwd"] {
        bench.fake.0.lock().unwrap().endpoint = Some(endpoint.to_owned());
        let error = bench.gateway("/sse").list().await.unwrap_err().0;
        assert!(error.contains("of another origin"), "{endpoint}: {error}");
    }
    assert!(bench.fake.posted("initialize").is_empty());
}
