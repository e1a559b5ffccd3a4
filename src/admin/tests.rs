//! REST as a caller meets it, in front of gateways whose other end is the test.

mod calls;
mod executions;
mod explanations;
mod gateways;
mod integrations;
mod openapi;
mod tools;

use std::collections::BTreeMap;
use std::future::ready;

use axum::extract::Request;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::catalog::listing::{Item, Kind, Listing};
use crate::catalog::{Catalog, Naming};
use crate::config;
use crate::exchange::{Answer, Call, CallError};
use crate::identity::Identity;
use crate::ids::GatewayId;
use crate::integrations::Projects;
use crate::policy::{Policy, Rules};
use crate::protocol::json::Raw;
use crate::store::Store;
use crate::supervisor::Supervisor;
use crate::upstream::fake::{Fake, answer as came, listing};
use crate::upstream::gateways::Gateways;
use crate::upstream::transport::{ListError, Transport};

const FILE: &str = r#"
[auth]
keys = [
  { user = "alice", key = "alice-key-0123456789" },
  { user = "bob", key = "bob-key-0123456789" },
  { user = "backend", key = "backend-key-0123456789", acts_for_users = true },
  { user = "alice", key = "narrow-key-0123456789", tools = ["echo", "secret", "nope"] },
]
[limits]
page_items_max = 11
in_flight_per_user_max = 2
[executions]
arguments = true
results = true
[gateways.a]
url = "http://127.0.0.1:9/mcp?key=s3cret"
deny = ["secret"]
required = true
rename = { odd = "even" }
[gateways.b]
command = ["server", "--token", "s3cret"]
[gateways.late]
url = "http://127.0.0.1:9/mcp"
[gateways.last]
url = "http://127.0.0.1:9/mcp"
prefix = "never"
"#;

type Called = BoxFuture<'static, Result<Answer, CallError>>;

struct Rig {
    router: Router,
    identity: Identity,
    parts: Parts,
    catalog: Arc<Catalog>,
    store: Store,
}

struct Got {
    status: u16,
    headers: HeaderMap,
    text: String,
}

impl Got {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {:?}", self.text))
    }

    /// The detail of a problem with this status.
    fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.headers.get(CONTENT_TYPE).unwrap(),
            "application/problem+json"
        );
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// What each gateway lists; `late` has not answered.
fn lists(gateway: &str) -> Option<Listing> {
    match gateway {
        "a" => {
            let text = r#"{"name":"rich","title":"Rich Tool","description":"Finds\u0020needles","inputSchema":{ "type":"object", "x": 1.50e+3 },"annotations":{"readOnlyHint":true},"_meta":{"z":1}}"#;
            let rich = Item::read(
                Kind::Tool,
                Raw::parse(&Bytes::from_static(text.as_bytes())).unwrap(),
            );
            let mut listing = listing(&["echo", "secret", "odd"]);
            listing.tools.push(rich.unwrap());
            Some(listing)
        }
        "b" => Some(listing(&["echo", "b_only"])),
        "last" => Some(listing(&["echo", "last_only"])),
        "composio" => Some(listing(&["COMPOSIO_MULTI_EXECUTE_TOOL"])),
        _ => None,
    }
}

/// Every gateway answers calls with `on_call`.
async fn rig(on_call: impl Fn(Call) -> Called + Clone + Send + Sync + 'static) -> Rig {
    rig_of("", on_call).await
}

/// The same with more gateways.
async fn rig_of(more: &str, on_call: impl Fn(Call) -> Called + Clone + Send + Sync + 'static) -> Rig {
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text: format!("{FILE}{more}"),
    };
    let sources = config::Sources::new(Some(file), BTreeMap::new(), config::Flags::default());
    let config = config::load(&sources).unwrap().config;
    let catalog = Arc::new(Catalog::new(Naming::of(&config)));
    let policy = Arc::new(Policy::new(catalog.clone(), Rules::of(&config).unwrap()));
    let (supervisor, metrics) = (Supervisor::new(), Arc::new(Metrics::new()));
    let make = move |gateway: &config::Gateway| {
        let name = gateway.name.clone();
        let refused = || ListError("connection refused".to_owned());
        let list = move |_| ready(lists(name.as_str()).ok_or_else(refused));
        Arc::new(Fake::new().on_call(on_call.clone()).on_list(list)) as Arc<dyn Transport>
    };
    let gateways = Gateways::new(
        Box::new(make),
        catalog.clone(),
        supervisor.clone(),
        metrics.clone(),
    );
    let gateways = Arc::new(gateways);
    let mut changes = catalog.changes();
    gateways.apply(&config.gateways);
    let answering = config
        .gateways
        .iter()
        .filter(|gateway| gateway.name.as_str() != "late");
    let answering = answering.count();
    let known = |catalog: &Catalog| catalog.snapshot().parts().len() == answering;
    while !known(&catalog) {
        changes.changed().await.unwrap();
    }
    let store = Store::in_memory().await.unwrap();
    let projects = Arc::new(Projects::new(&config.gateways, store.clone(), Supervisor::new()));
    let public_url = "https://tools.example/base".parse().unwrap();
    let connections = Connections::new(store.clone(), Arc::clone(&projects), &public_url);
    let recorder = Recorder::start(&config.executions, &store, &metrics, &supervisor).await;
    let recorder = recorder.unwrap();
    let parts = Parts {
        proxy: Arc::new(Proxy::new(policy, gateways).recording(recorder.clone())),
        connections: Arc::new(connections),
        sealer: Arc::new(Sealer::random()),
        metrics,
        projects,
        public_url: None,
        limits: config.limits,
        executions: store.executions(),
        recorder,
    };
    Rig {
        router: router(parts.clone()).merge(routed(&OPEN_ROUTES, "", parts.clone())),
        identity: Identity::new(config.auth.as_ref()).unwrap(),
        parts,
        catalog,
        store,
    }
}

async fn quiet() -> Rig {
    rig(|_| Box::pin(ready(Ok(came(r#"{"content":[]}"#))))).await
}

impl Rig {
    async fn send(&self, key: &str, mut request: Request) -> Got {
        let mut credentials = HeaderMap::new();
        credentials.insert("x-api-key", format!("{key}-key-0123456789").parse().unwrap());
        let principal = self.identity.authenticate(&credentials).unwrap();
        request.extensions_mut().insert(principal);
        request.extensions_mut().insert(RequestId::new("rq-1"));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = crate::web::name(response, &RequestId::new("rq")).into_parts();
        let text = body.collect().await.unwrap().to_bytes().to_vec();
        Got {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(text).unwrap(),
        }
    }

    async fn get(&self, key: &str, path: &str) -> Got {
        self.send(key, Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    async fn post(&self, key: &str, path: &str, body: &str) -> Got {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(key, request.body(body.to_owned().into()).unwrap())
            .await
    }

    /// Gives every gateway that has not answered its chance.
    fn all_looked(&self) {
        self.catalog.looked(&GatewayId::new("late"));
    }
}

#[tokio::test]
async fn without_a_caller_nothing_is_told() {
    let rig = quiet().await;
    let request = Request::get("/tools").body(Body::empty()).unwrap();
    let response = rig.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 401);
}
