//! The endpoint as a client meets it, in front of a gateway whose other end is the test.

mod bounds;
mod hostile;
mod legacy;
mod modern;
mod seen;
mod streams;

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
    fake: Arc<Fake>,
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
            self.framer.push(frame.into_data().unwrap());
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
    let fake = Fake::new()
        .on_call(on_call)
        .on_list(|_| std::future::ready(Ok(listing())));
    rig_of(FILE, fake).await
}

fn config_of(text: &str) -> config::Config {
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text: text.to_owned(),
    };
    let sources = config::Sources::new(
        Some(file),
        std::collections::BTreeMap::new(),
        config::Flags::default(),
    );
    config::load(&sources).unwrap().config
}

async fn rig_of(file: &str, fake: Fake) -> Rig {
    let (config, fake) = (config_of(file), Arc::new(fake));
    let link = fake.clone();
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    let policy = Arc::new(Policy::new(catalog.clone(), Rules::of(&config).unwrap()));
    let (supervisor, metrics) = (Supervisor::new(), Arc::new(Metrics::new()));
    let make =
        Box::new(move |_: &config::Gateway| link.clone() as Arc<dyn crate::upstream::transport::Transport>);
    let gateways = Arc::new(Gateways::new(
        make,
        catalog.clone(),
        supervisor.clone(),
        metrics.clone(),
    ));
    let mut changes = catalog.changes();
    gateways.apply(&config.gateways);
    while catalog.snapshot().parts().len() < config.gateways.len() {
        changes.changed().await.unwrap();
    }
    let draining = CancellationToken::new();
    let service = McpService::new(Parts {
        kept: ClientSessions::forgetful(),
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
        fake,
    }
}

impl Rig {
    fn principal(&self, key: &str) -> Arc<Principal> {
        let mut credentials = HeaderMap::new();
        credentials.insert("x-api-key", format!("{key}-key-0123456789").parse().unwrap());
        self.identity.authenticate(&credentials).unwrap()
    }

    async fn send(&self, method: &str, key: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Got {
        let mut request = Request::builder()
            .method(method)
            .uri("/mcp")
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(self.principal(key));
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

#[expect(clippy::needless_pass_by_value, reason = "called with json! literals")]
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
    (
        Event::Question(Question {
            request: request.into(),
            reply,
        }),
        answered,
    )
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
