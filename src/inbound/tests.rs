//! The endpoint as a client meets it, in front of a gateway whose other end is the test.

mod hostile;
mod seen;

use std::future::Future;
use std::sync::Mutex;
use std::time::Duration;

use bytes::BytesMut;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tower::Service;

use super::*;
use crate::catalog::Naming;
use crate::catalog::listing::{Item, Kind, Listing};
use crate::config;
use crate::exchange::{Answer, Call, CallError, Event, Question};
use crate::identity::Identity;
use crate::policy::{Policy, Rules};
use crate::protocol::json::Raw;
use crate::protocol::sse::Framer;
use crate::protocol::version::Era;
use crate::upstream::fake::{Fake, answer};
use crate::upstream::gateways::Gateways;

const FILE: &str = r#"
[server]
listen = "127.0.0.1:0"
[auth]
keys = [
  { user = "alice", key = "alice-key-0123456789" },
  { user = "bob", key = "bob-key-0123456789" },
  { user = "alice", key = "narrow-key-0123456789", tools = ["other"] },
]
[limits]
page_items_max = 2
in_flight_per_user_max = 3
sessions_per_user_max = 3
[gateways.g]
url = "http://127.0.0.1:9/mcp"
"#;

struct Rig {
    service: McpService,
    identity: Identity,
    draining: CancellationToken,
    catalog: Arc<Catalog>,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    extensions: http::Extensions,
    body: Body,
}

impl Got {
    async fn text(self) -> String {
        String::from_utf8(self.body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text:?}"))
    }

    fn kind(&self) -> &str {
        self.headers
            .get(CONTENT_TYPE)
            .map_or("", |value| value.to_str().unwrap())
    }

    fn events(self) -> Events {
        assert_eq!(self.kind(), "text/event-stream");
        assert_eq!(self.headers.get("x-accel-buffering").unwrap(), "no");
        Events {
            body: self.body,
            framer: Framer::new(),
            last_id: None,
            primed: false,
        }
    }
}

struct Events {
    body: Body,
    framer: Framer,
    last_id: Option<String>,
    primed: bool,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(event) = self.framer.next_event().unwrap() {
                self.last_id = event.id.or(self.last_id.take());
                if event.data.is_empty() {
                    self.primed = true;
                    continue;
                }
                return Some(serde_json::from_slice(&event.data).unwrap());
            }
            let frame = self.body.frame().await?.unwrap();
            self.framer.push(&frame.into_data().unwrap());
        }
    }
}

fn item(kind: Kind, name: &str, extra: &str) -> Item {
    let name = if kind == Kind::Resource {
        format!(r#""uri":"{name}","name":"r""#)
    } else {
        format!(r#""name":"{name}""#)
    };
    let text = format!(r#"{{{name},"inputSchema":{{"type":"object"{extra}}}}}"#);
    Item::read(kind, Raw::parse(&Bytes::from(text)).unwrap()).unwrap()
}

fn listing() -> Listing {
    let mirrored = r#","properties":{"region":{"type":"string","x-mcp-header":"Region"}}"#;
    Listing {
        tools: vec![
            item(Kind::Tool, "echo", ""),
            item(Kind::Tool, "other", ""),
            item(Kind::Tool, "far", mirrored),
        ],
        prompts: vec![item(Kind::Prompt, "hello", "")],
        resources: vec![item(Kind::Resource, "test://a", "")],
        has_resources: true,
        completions: true,
        ..Listing::default()
    }
}

async fn rig<F>(on_call: impl Fn(Call) -> F + Send + Sync + 'static) -> Rig
where
    F: Future<Output = Result<Answer, CallError>> + Send + 'static,
{
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text: FILE.to_owned(),
    };
    let sources = config::Sources::new(
        Some(file),
        std::collections::BTreeMap::new(),
        config::Flags::default(),
    );
    let config = config::load(&sources).unwrap().config;
    let fake = Arc::new(
        Fake::new()
            .on_call(on_call)
            .on_list(|_| std::future::ready(Ok(listing()))),
    );
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    let policy = Arc::new(Policy::new(catalog.clone(), Rules::of(&config).unwrap()));
    let (supervisor, metrics) = (Supervisor::new(), Arc::new(Metrics::new()));
    let make =
        Box::new(move |_: &config::Gateway| fake.clone() as Arc<dyn crate::upstream::transport::Transport>);
    let gateways = Arc::new(Gateways::new(
        make,
        catalog.clone(),
        supervisor.clone(),
        metrics.clone(),
    ));
    let mut changes = catalog.changes();
    gateways.apply(&config.gateways);
    changes.wait_for(|now| now.tools > 0).await.unwrap();
    let draining = CancellationToken::new();
    let service = McpService::new(Parts {
        proxy: Arc::new(Proxy::new(policy, gateways)),
        catalog: catalog.clone(),
        sealer: Arc::new(Sealer::random()),
        metrics,
        supervisor,
        limits: config.limits,
        draining: draining.clone(),
    });
    Rig {
        service,
        identity: Identity::new(config.auth.as_ref()).unwrap(),
        draining,
        catalog,
    }
}

impl Rig {
    async fn send(&self, method: &str, key: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        let mut credentials = HeaderMap::new();
        credentials.insert("x-api-key", format!("{key}-key-0123456789").parse().unwrap());
        request
            .extensions_mut()
            .insert(self.identity.authenticate(&credentials).unwrap());
        request.extensions_mut().insert(RequestId::new("rq"));
        let response = self.service.clone().call(request).await.unwrap();
        let (head, body) = response.into_parts();
        Got {
            status: head.status.as_u16(),
            headers: head.headers,
            extensions: head.extensions,
            body,
        }
    }

    async fn legacy(&self, key: &str, session: Option<&str>, message: Value) -> Got {
        let headers: Vec<(&str, &str)> = session.map(|id| ("mcp-session-id", id)).into_iter().collect();
        self.send("POST", key, &headers, message.to_string()).await
    }

    async fn initialize(&self, key: &str) -> String {
        let got = self.legacy(key, None, initialize("2025-11-25")).await;
        got.headers
            .get("mcp-session-id")
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    async fn modern(&self, key: &str, message: Value) -> Got {
        let (method, name) = (message["method"].as_str().unwrap().to_owned(), name_of(&message));
        let mut headers = vec![("mcp-protocol-version", "2026-07-28"), ("mcp-method", &method)];
        headers.extend(name.as_deref().map(|name| ("mcp-name", name)));
        self.send("POST", key, &headers, message.to_string()).await
    }
}

fn name_of(message: &Value) -> Option<String> {
    let named = ["name", "uri", "taskId"]
        .iter()
        .find_map(|key| message["params"][key].as_str());
    named.map(ToOwned::to_owned)
}

fn initialize(version: &str) -> Value {
    let params = json!({
        "protocolVersion": version,
        "capabilities": {"elicitation": {}, "sampling": {}, "roots": {}},
        "clientInfo": {"name": "t", "version": "1"},
    });
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params})
}

fn request(id: impl Into<Value>, method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id.into(), "method": method, "params": params})
}

fn stateless(id: impl Into<Value>, method: &str, mut params: Value) -> Value {
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
    });
    request(id, method, params)
}

fn echo(call: &Call) -> Answer {
    let arguments = call
        .request
        .params
        .as_ref()
        .and_then(|params| params.get("arguments"));
    let text = format!(
        r#"{{"resultType":"complete","content":[],"x":{}}}"#,
        arguments.map_or("null".into(), |raw| raw.as_str().to_owned())
    );
    answer(&text)
}

fn question(id: u64) -> (Event, oneshot::Receiver<crate::exchange::Reply>) {
    let text = request(
        id,
        "elicitation/create",
        json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}),
    );
    let Ok(Message::Request(request)) = Message::parse(Bytes::from(text.to_string())) else {
        panic!("no request")
    };
    let (reply, answered) = oneshot::channel();
    (Event::Question(Question { request, reply }), answered)
}

/// A legacy upstream that asks in the middle of a call and answers with what it was told.
async fn asking(call: Call) -> Result<Answer, CallError> {
    let (event, answered) = question(7);
    call.events.send(event).await.unwrap();
    let told = match answered.await {
        Ok(Ok(result)) => result.as_str().to_owned(),
        Ok(Err(error)) => format!("{{\"refused\":{}}}", error.code),
        Err(_) => r#""nobody""#.to_owned(),
    };
    let mut answer = answer(&format!(r#"{{"content":[],"told":{told}}}"#));
    answer.era = Era::Legacy;
    Ok(answer)
}

#[tokio::test]
async fn initialize_offers_the_nearest_version_and_opens_a_session() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    for (asked, given) in [
        ("2025-06-18", "2025-06-18"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let got = rig.legacy("alice", None, initialize(asked)).await;
        assert_eq!(got.status, 200);
        assert!(
            got.headers
                .get("mcp-session-id")
                .unwrap()
                .to_str()
                .unwrap()
                .bytes()
                .all(|b| b.is_ascii_graphic())
        );
        let result = &got.json().await["result"];
        assert_eq!(result["protocolVersion"], given);
        assert_eq!(result["capabilities"]["tools"]["listChanged"], true);
        assert_eq!(result["serverInfo"]["name"], "toolgate");
    }
}

#[tokio::test]
async fn a_session_belongs_to_its_user_alone() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let ping = || request(1, "ping", json!({}));
    assert_eq!(rig.legacy("alice", Some(&session), ping()).await.status, 200);
    let foreign = rig.legacy("bob", Some(&session), ping()).await;
    let unknown = rig.legacy("bob", Some("nope"), ping()).await;
    assert_eq!((foreign.status, unknown.status), (404, 404));
    assert_eq!(foreign.text().await, unknown.text().await);
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    assert_eq!(rig.send("GET", "bob", &accept, "").await.status, 404);
    assert_eq!(rig.send("DELETE", "bob", &accept, "").await.status, 404);
    assert_eq!(rig.send("DELETE", "alice", &accept, "").await.status, 204);
    assert_eq!(rig.legacy("alice", Some(&session), ping()).await.status, 404);
}

#[tokio::test]
async fn a_plain_call_is_answered_with_json_under_its_own_id_without_a_session() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let message = r#"{"jsonrpc":"2.0","id":"q-1","method":"tools/call","params":{"name":"echo","arguments":{"n":1e999}}}"#;
    let got = rig.send("POST", "alice", &[], message).await;
    assert_eq!((got.status, got.kind()), (200, "application/json"));
    assert_eq!(
        got.text().await,
        r#"{"jsonrpc":"2.0","id":"q-1","result":{"content":[],"x":{"n":1e999}}}"#
    );
}

#[tokio::test]
async fn lists_come_in_pages_with_cursors_of_ones_own() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let list = |cursor: Option<&str>| {
        let params = cursor.map_or(json!({}), |cursor| json!({"cursor": cursor}));
        request(1, "tools/list", params)
    };
    let first = rig.legacy("alice", None, list(None)).await.json().await;
    assert_eq!(first["result"]["tools"].as_array().unwrap().len(), 2);
    let cursor = first["result"]["nextCursor"].as_str().unwrap().to_owned();
    let second = rig.legacy("alice", None, list(Some(&cursor))).await.json().await;
    assert_eq!(second["result"]["tools"][0]["name"], "far");
    assert!(second["result"].get("nextCursor").is_none());
    for (key, cursor) in [("bob", &*cursor), ("alice", "rubbish"), ("alice", "")] {
        let refused = rig.legacy(key, None, list(Some(cursor))).await.json().await;
        assert_eq!(refused["error"]["code"], -32602, "{key} {cursor}");
    }
    let other = request(1, "prompts/list", json!({"cursor": cursor}));
    assert_eq!(
        rig.legacy("alice", None, other).await.json().await["error"]["code"],
        -32602
    );
}

#[tokio::test]
async fn refused_and_unknown_look_alike() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let call = |name: &str| request(1, "tools/call", json!({"name": name}));
    let refused = rig.legacy("narrow", None, call("echo")).await.text().await;
    let unknown = rig.legacy("narrow", None, call("ochi")).await.text().await;
    assert_eq!(refused.replace("echo", "ochi"), unknown);
    let list = rig
        .legacy("narrow", None, request(1, "tools/list", json!({})))
        .await
        .json()
        .await;
    assert_eq!(list["result"]["tools"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn events_come_before_the_answer_on_one_stream() {
    let rig = rig(|call| async move {
        for n in 0..100 {
            let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":{n}}}}}"#);
            let Ok(Message::Notification(notification)) = Message::parse(Bytes::from(text)) else { panic!() };
            call.events.send(Event::Notification(notification)).await.unwrap();
        }
        Ok(echo(&call))
    })
    .await;
    let mut events = rig
        .legacy("alice", None, request(5, "tools/call", json!({"name": "echo"})))
        .await
        .events();
    for n in 0..100 {
        assert_eq!(events.next().await.unwrap()["params"]["progress"], n);
    }
    assert_eq!(events.next().await.unwrap()["id"], 5);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_legacy_client_is_asked_on_its_stream_and_answers_by_post() {
    let rig = rig(asking).await;
    let session = rig.initialize("alice").await;
    let call = request(5, "tools/call", json!({"name": "echo"}));
    let mut events = rig.legacy("alice", Some(&session), call).await.events();
    let asked = events.next().await.unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    assert_eq!(asked["params"]["message"], "who?");
    let foreign = rig.initialize("bob").await;
    let reply =
        json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept", "content": {"n": 1}}});
    rig.legacy("bob", Some(&foreign), reply.clone()).await;
    assert_eq!(rig.legacy("alice", Some(&session), reply).await.status, 202);
    assert_eq!(events.next().await.unwrap()["result"]["told"]["content"]["n"], 1);
}

#[tokio::test]
async fn a_stream_of_a_session_is_taken_up_where_it_broke_off() {
    let rig = rig(|call| async move {
        for _ in 0..3 {
            call.events.send(progress()).await.unwrap();
        }
        tokio::task::yield_now().await;
        Ok(echo(&call))
    })
    .await;
    let session = rig.initialize("alice").await;
    let call = request(5, "tools/call", json!({"name": "echo"}));
    let mut events = rig.legacy("alice", Some(&session), call).await.events();
    assert_eq!(events.next().await.unwrap()["method"], "notifications/progress");
    assert!(events.primed);
    let last = events.last_id.clone().unwrap();
    drop(events);
    let accept = [
        ("mcp-session-id", &*session),
        ("accept", "text/event-stream"),
        ("last-event-id", &*last),
    ];
    let mut rest = rig.send("GET", "alice", &accept, "").await.events();
    for _ in 0..2 {
        assert_eq!(rest.next().await.unwrap()["method"], "notifications/progress");
    }
    assert_eq!(rest.next().await.unwrap()["id"], 5);
    assert!(rest.next().await.is_none());
    let foreign = rig.initialize("bob").await;
    let stolen = [
        ("mcp-session-id", &*foreign),
        ("accept", "text/event-stream"),
        ("last-event-id", &*last),
    ];
    rig.draining.cancel();
    let mut nothing = rig.send("GET", "bob", &stolen, "").await.events();
    assert!(
        nothing.next().await.is_none(),
        "an event id is good in its own session only"
    );
}

#[tokio::test]
async fn a_question_without_a_session_is_answered_by_nobody() {
    let rig = rig(asking).await;
    let got = rig
        .legacy("alice", None, request(5, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    assert_eq!(got["result"]["told"], "nobody");
}

#[tokio::test]
async fn a_modern_client_is_asked_by_input_required_and_retries() {
    let rig = rig(asking).await;
    let params = || json!({"name": "echo", "arguments": {"b": 1, "a": 2}});
    let first = rig
        .modern("alice", stateless(1, "tools/call", params()))
        .await
        .json()
        .await;
    assert_eq!(first["result"]["resultType"], "input_required");
    let (key, asked) = first["result"]["inputRequests"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert_eq!(asked["method"], "elicitation/create");
    let state = first["result"]["requestState"].as_str().unwrap();
    let retry = |arguments: Value, state: &str, answers: Value| {
        let params =
            json!({"name": "echo", "arguments": arguments, "requestState": state, "inputResponses": answers});
        stateless(2, "tools/call", params)
    };
    let answers = json!({key.as_str(): {"action": "decline"}});
    let same = json!({"a": 2, "b": 1});
    let refused = [
        rig.modern("bob", retry(same.clone(), state, answers.clone()))
            .await,
        rig.modern("alice", retry(json!({"a": 3, "b": 1}), state, answers.clone()))
            .await,
        rig.modern(
            "alice",
            retry(same.clone(), &format!("{state}x"), answers.clone()),
        )
        .await,
    ];
    for got in refused {
        assert_eq!(got.json().await["error"]["code"], -32602);
    }
    let again = rig
        .modern("alice", retry(same.clone(), state, json!({})))
        .await
        .json()
        .await;
    assert_eq!(
        again["result"]["resultType"], "input_required",
        "asked again when an answer is missing"
    );
    let state = again["result"]["requestState"].as_str().unwrap();
    let done = rig
        .modern("alice", retry(same.clone(), state, answers.clone()))
        .await
        .json()
        .await;
    assert_eq!(done["id"], 2);
    assert_eq!(done["result"]["told"]["action"], "decline");
    assert_eq!(done["result"]["resultType"], "complete");
    let twice = rig
        .modern("alice", retry(same, state, answers))
        .await
        .json()
        .await;
    assert_eq!(twice["error"]["code"], -32602, "answered twice");
}

#[tokio::test(start_paused = true)]
async fn a_parked_call_whose_client_never_returns_is_cancelled() {
    let ended = Arc::new(Mutex::new(Vec::new()));
    let seen = ended.clone();
    let rig = rig(move |call| {
        let seen = seen.clone();
        async move {
            let cancel = call.cancel.clone();
            let (event, answered) = question(1);
            call.events.send(event).await.unwrap();
            tokio::select! {
                _ = answered => {}
                () = cancel.cancelled() => {}
            }
            seen.lock().unwrap().push(cancel.is_cancelled());
            Err(CallError::Cancelled)
        }
    })
    .await;
    let first = rig
        .modern("alice", stateless(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    assert_eq!(first["result"]["resultType"], "input_required");
    assert_eq!(
        rig.service
            .0
            .parts
            .proxy
            .places()
            .taken(&crate::ids::UserId::new("alice")),
        1
    );
    tokio::time::sleep(crate::limits::QUESTION_TIMEOUT + Duration::from_secs(30)).await;
    assert_eq!(
        rig.service
            .0
            .parts
            .proxy
            .places()
            .taken(&crate::ids::UserId::new("alice")),
        0,
        "everything is free again"
    );
}

#[tokio::test]
async fn a_modern_upstreams_state_comes_back_to_it_unsealed() {
    let rig = rig(|call| async move {
        Ok(match &call.request_state {
            None => answer(r#"{"resultType":"input_required","inputRequests":{"k":{"method":"roots/list","params":{}}},"requestState":"up-1"}"#),
            Some(state) => answer(&format!(r#"{{"resultType":"complete","content":[],"state":{}}}"#, state.as_str())),
        })
    })
    .await;
    let first = rig
        .modern("alice", stateless(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    let state = first["result"]["requestState"].as_str().unwrap();
    assert_ne!(state, "up-1");
    let retry = stateless(
        2,
        "tools/call",
        json!({"name": "echo", "requestState": state, "inputResponses": {"k": {"roots": []}}}),
    );
    assert_eq!(
        rig.modern("bob", retry.clone()).await.json().await["error"]["code"],
        -32602
    );
    assert_eq!(
        rig.modern("alice", retry).await.json().await["result"]["state"],
        "up-1"
    );
}

#[tokio::test]
async fn a_task_is_reached_by_its_own_user_alone() {
    let rig = rig(|call| async move {
        Ok(match call.request.method {
            crate::protocol::method::Method::ToolsCall => {
                answer(r#"{"resultType":"task","taskId":"up-7","status":"working"}"#)
            }
            _ => {
                let task = call.task.unwrap();
                let id = call.request.params.unwrap().get("taskId").unwrap();
                answer(&format!(
                    r#"{{"resultType":"complete","taskId":"{}","asked":{},"status":"completed"}}"#,
                    task.own,
                    id.as_str()
                ))
            }
        })
    })
    .await;
    let first = rig
        .modern("alice", stateless(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    let id = first["result"]["taskId"].as_str().unwrap().to_owned();
    assert_ne!(id, "up-7");
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let got = rig
            .modern("alice", stateless(2, method, json!({"taskId": id})))
            .await
            .json()
            .await;
        assert_eq!(got["result"]["taskId"], *id, "{got}");
        for (key, id) in [("bob", &*id), ("narrow", &*id), ("alice", "up-7")] {
            let refused = rig
                .modern(key, stateless(2, method, json!({"taskId": id})))
                .await
                .json()
                .await;
            assert_eq!(
                (&refused["error"]["code"], &refused["error"]["message"]),
                (&json!(-32602), &json!("Unknown task"))
            );
        }
    }
}

#[tokio::test]
async fn modern_requests_are_held_to_their_metadata() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let good = stateless(1, "tools/call", json!({"name": "echo"}));
    let bare = request(1, "tools/call", json!({"name": "echo"}));
    let version = ("mcp-protocol-version", "2026-07-28");
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "echo"));
    let rows: [(&str, Value, &[(&str, &str)], u16, i64); 9] = [
        (
            "version header missing",
            good.clone(),
            &[method, name],
            400,
            -32020,
        ),
        (
            "version header differs",
            good.clone(),
            &[("mcp-protocol-version", "2025-11-25"), method, name],
            400,
            -32020,
        ),
        (
            "method header missing",
            good.clone(),
            &[version, name],
            400,
            -32020,
        ),
        (
            "method header differs",
            good.clone(),
            &[version, ("mcp-method", "tools/List"), name],
            400,
            -32020,
        ),
        (
            "name header missing",
            good.clone(),
            &[version, method],
            400,
            -32020,
        ),
        (
            "name header differs",
            good.clone(),
            &[version, method, ("mcp-name", "Echo")],
            400,
            -32020,
        ),
        (
            "name header twice",
            good.clone(),
            &[version, method, name, name],
            400,
            -32020,
        ),
        ("no metadata", bare.clone(), &[version, method, name], 400, -32602),
        (
            "unknown version",
            bare,
            &[("mcp-protocol-version", "2099-01-01"), method, name],
            400,
            -32022,
        ),
    ];
    for (what, message, headers, status, code) in rows {
        let got = rig.send("POST", "alice", headers, message.to_string()).await;
        let got_status = got.status;
        let body = got.json().await;
        assert_eq!(
            (got_status, &body["error"]["code"]),
            (status, &json!(code)),
            "{what}: {body}"
        );
        assert_eq!(body["id"], 1, "{what}");
    }
    let encoded = [version, method, ("mcp-name", " =?base64?ZWNobw==?= ")];
    assert_eq!(
        rig.send("POST", "alice", &encoded, good.to_string()).await.status,
        200
    );
    for gone in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "nope",
    ] {
        let got = rig.modern("alice", stateless(1, gone, json!({}))).await;
        assert_eq!(got.status, 404, "{gone}");
        assert_eq!(got.json().await["error"]["code"], -32601, "{gone}");
    }
    let get = rig
        .send("GET", "alice", &[version, ("accept", "text/event-stream")], "")
        .await;
    assert_eq!(
        (get.status, get.headers.get("allow").unwrap().to_str().unwrap()),
        (405, "POST")
    );
}

#[tokio::test]
async fn mirrored_arguments_must_agree_with_their_headers() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let message = stateless(
        1,
        "tools/call",
        json!({"name": "far", "arguments": {"region": "eu"}}),
    )
    .to_string();
    let headers = [
        ("mcp-protocol-version", "2026-07-28"),
        ("mcp-method", "tools/call"),
        ("mcp-name", "far"),
    ];
    let with = |value| [&headers[..], &[("mcp-param-region", value)]].concat();
    assert_eq!(
        rig.send("POST", "alice", &headers, message.clone())
            .await
            .json()
            .await["error"]["code"],
        -32020
    );
    assert_eq!(
        rig.send("POST", "alice", &with("us"), message.clone())
            .await
            .json()
            .await["error"]["code"],
        -32020
    );
    assert_eq!(rig.send("POST", "alice", &with("eu"), message).await.status, 200);
}

#[tokio::test]
async fn discover_and_lists_carry_what_modern_results_must() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    for (method, member) in [
        ("server/discover", "supportedVersions"),
        ("tools/list", "tools"),
        ("resources/list", "resources"),
    ] {
        let result = rig
            .modern("alice", stateless(1, method, json!({})))
            .await
            .json()
            .await["result"]
            .take();
        assert!(result.get(member).is_some(), "{method}");
        assert_eq!(result["resultType"], "complete");
        assert_eq!(result["cacheScope"], "private");
        assert!(result["ttlMs"].is_u64());
        assert_eq!(
            result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"],
            "toolgate"
        );
    }
}

#[tokio::test]
async fn a_modern_client_that_goes_away_cancels_and_a_legacy_one_does_not() {
    let (told, mut heard) = mpsc_pair();
    let rig = rig(move |call| {
        let told = told.clone();
        async move {
            let _ = call.events.send(progress()).await;
            let cancelled = tokio::time::timeout(Duration::from_millis(300), call.cancel.cancelled())
                .await
                .is_ok();
            told.send(cancelled).await.unwrap();
            Ok(echo(&call))
        }
    })
    .await;
    let mut params = json!({"name": "echo"});
    drop(
        rig.legacy("alice", None, request(1, "tools/call", params.clone()))
            .await,
    );
    assert!(!heard.recv().await.unwrap(), "legacy: the call goes on");
    params["_meta"] = json!({"progressToken": "t"});
    let mut message = stateless(1, "tools/call", params);
    message["params"]["_meta"]["progressToken"] = json!("t");
    drop(rig.modern("alice", message).await);
    // The gateway ends the call itself: its future is dropped before it can tell.
    assert!(
        tokio::time::timeout(Duration::from_millis(600), heard.recv())
            .await
            .is_err()
    );
}

fn progress() -> Event {
    let text =
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"t","progress":1}}"#;
    let Ok(Message::Notification(notification)) = Message::parse(Bytes::from_static(text.as_bytes())) else {
        panic!()
    };
    Event::Notification(notification)
}

fn mpsc_pair() -> (tokio::sync::mpsc::Sender<bool>, tokio::sync::mpsc::Receiver<bool>) {
    tokio::sync::mpsc::channel(4)
}

#[tokio::test]
async fn a_legacy_client_cancels_by_notification() {
    let rig = rig(|call| async move {
        let _ = call.events.send(progress()).await;
        call.cancel.cancelled().await;
        Err(CallError::Cancelled)
    })
    .await;
    let session = rig.initialize("alice").await;
    let mut events = rig
        .legacy(
            "alice",
            Some(&session),
            request("x", "tools/call", json!({"name": "echo"})),
        )
        .await
        .events();
    events.next().await.unwrap();
    let again = rig
        .legacy(
            "alice",
            Some(&session),
            request("x", "tools/call", json!({"name": "echo"})),
        )
        .await
        .json()
        .await;
    assert_eq!(again["error"]["code"], -32600, "an id in use");
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x"}});
    assert_eq!(rig.legacy("alice", Some(&session), cancel).await.status, 202);
    assert!(events.next().await.is_none(), "no answer follows a cancellation");
}

#[tokio::test]
async fn one_user_cannot_take_every_place() {
    let rig = rig(|call| async move {
        let _ = call.events.send(progress()).await;
        std::future::pending().await
    })
    .await;
    let call = |id: u64| request(id, "tools/call", json!({"name": "echo"}));
    let mut open = Vec::new();
    for id in 0..3 {
        open.push(rig.legacy("alice", None, call(id)).await);
    }
    let refused = rig.legacy("alice", None, call(4)).await.json().await;
    assert!(
        refused["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Too many calls"),
        "{refused}"
    );
    assert_eq!(rig.legacy("bob", None, call(1)).await.kind(), "text/event-stream");
}

#[tokio::test]
async fn clients_hear_of_changed_lists_on_get_and_listen_streams() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let mut get = rig.send("GET", "alice", &accept, "").await.events();
    let filter =
        json!({"notifications": {"toolsListChanged": true, "promptsListChanged": false, "unknown": true}});
    let mut listen = rig
        .modern("alice", stateless("L", "subscriptions/listen", filter))
        .await
        .events();
    let first = listen.next().await.unwrap();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(
        first["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    let tag = "io.modelcontextprotocol/subscriptionId";
    assert_eq!(first["params"]["_meta"][tag], "L");
    let more = Listing {
        tools: vec![item(Kind::Tool, "new", "")],
        ..Listing::default()
    };
    rig.catalog.publish(&crate::ids::GatewayId::new("g"), more);
    let mut heard = vec![
        get.next().await.unwrap(),
        get.next().await.unwrap(),
        get.next().await.unwrap(),
    ];
    heard.sort_by_key(|message| message["method"].to_string());
    let methods: Vec<&str> = heard
        .iter()
        .map(|message| message["method"].as_str().unwrap())
        .collect();
    assert_eq!(
        methods,
        [
            "notifications/prompts/list_changed",
            "notifications/resources/list_changed",
            "notifications/tools/list_changed"
        ]
    );
    let changed = listen.next().await.unwrap();
    assert_eq!(
        (&changed["method"], &changed["params"]["_meta"][tag]),
        (&json!("notifications/tools/list_changed"), &json!("L"))
    );
    rig.draining.cancel();
    assert!(get.next().await.is_none());
    let end = listen.next().await.unwrap();
    assert_eq!(
        (&end["id"], &end["result"]["_meta"][tag]),
        (&json!("L"), &json!("L"))
    );
    assert!(listen.next().await.is_none());
}

#[tokio::test]
async fn a_newer_get_stream_takes_over() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let session = rig.initialize("alice").await;
    let accept = [("mcp-session-id", &*session), ("accept", "text/event-stream")];
    let mut first = rig.send("GET", "alice", &accept, "").await.events();
    let mut second = rig.send("GET", "alice", &accept, "").await.events();
    assert!(first.next().await.is_none());
    rig.catalog
        .publish(&crate::ids::GatewayId::new("g"), Listing::default());
    assert!(
        second.next().await.unwrap()["method"]
            .as_str()
            .unwrap()
            .ends_with("list_changed")
    );
}

#[tokio::test]
async fn batches_are_for_the_one_revision_that_has_them() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let batch = json!([
        request(1, "ping", json!({})),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        request(2, "tools/call", json!({"name": "echo"})),
        {"jsonrpc": "2.0", "id": 3},
    ]);
    let answers = rig.legacy("alice", None, batch.clone()).await.json().await;
    let ids: Vec<&Value> = answers
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["id"])
        .collect();
    assert_eq!(ids, [&json!(1), &json!(2), &json!(3)]);
    assert_eq!(answers[2]["error"]["code"], -32600);
    let session = rig.initialize("alice").await;
    let refused = rig.legacy("alice", Some(&session), batch).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json().await["error"]["code"], -32600);
    assert_eq!(rig.legacy("alice", None, json!([])).await.status, 400);
}

#[tokio::test]
async fn bad_bodies_get_their_status_and_code() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let rows: [(&str, u16, Option<i64>); 5] = [
        ("{", 400, Some(-32700)),
        ("\u{feff}{}", 400, Some(-32700)),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"ping"}"#,
            400,
            Some(-32600),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#,
            400,
            Some(-32600),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"method":"nope"}"#, 200, Some(-32601)),
    ];
    for (text, status, code) in rows {
        let got = rig.send("POST", "alice", &[], text).await;
        assert_eq!(got.status, status, "{text}");
        let body = got.json().await;
        assert_eq!(body["error"]["code"].as_i64(), code, "{text}");
        assert_eq!(body["error"]["data"]["requestId"], "rq", "{text}");
    }
    let large = "x".repeat(rig.service.0.parts.limits.request_body_bytes_max + 1);
    assert_eq!(rig.send("POST", "alice", &[], large).await.status, 413);
    assert_eq!(
        rig.send("POST", "alice", &[("accept", "text/html")], "{}")
            .await
            .status,
        406
    );
    assert_eq!(rig.send("PUT", "alice", &[], "").await.status, 405);
}

#[tokio::test]
async fn a_gateway_that_fails_is_named() {
    let rig = rig(|_| async move {
        Err(CallError::Unavailable {
            gateway: crate::ids::GatewayId::new("g"),
            reason: "connection refused".to_owned(),
        })
    })
    .await;
    let got = rig
        .legacy("alice", None, request(1, "tools/call", json!({"name": "echo"})))
        .await
        .json()
        .await;
    assert_eq!(
        got["error"]["message"],
        "gateway g is not available: connection refused"
    );
    assert_eq!(got["error"]["data"], json!({"gateway": "g", "requestId": "rq"}));
}

#[tokio::test]
async fn too_many_sessions_end_the_one_that_idles_longest() {
    let rig = rig(|call| async move { Ok(echo(&call)) }).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(rig.initialize("alice").await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ping = || request(1, "ping", json!({}));
    rig.legacy("alice", Some(&ids[0]), ping()).await;
    rig.initialize("alice").await;
    let mut alive = Vec::new();
    for id in &ids {
        alive.push(rig.legacy("alice", Some(id), ping()).await.status);
    }
    assert_eq!(alive, [200, 404, 200]);
}

#[test]
fn the_buffer_of_a_stream_is_what_was_written() {
    let mut out = BytesMut::new();
    crate::protocol::sse::write_event(&mut out, None, b"{}");
    assert_eq!(&out[..], b"event: message\ndata: {}\n\n");
}
