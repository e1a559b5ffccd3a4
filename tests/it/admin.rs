//! REST over a real listener, in front of a gateway over HTTP that the test plays and one that is not there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use toolgate::app::{App, Options};
use toolgate::config;

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells of what happens to the tool `slow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    Called,
    Abandoned,
}

struct Guard(mpsc::Sender<Slow>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.try_send(Slow::Abandoned);
    }
}

/// A gateway of 2026-07-28 with the tools `echo` and `slow`.
pub(super) async fn upstream() -> (SocketAddr, mpsc::Receiver<Slow>) {
    let (tell, told) = mpsc::channel(8);
    let answer = move |body: Bytes| {
        let tell = tell.clone();
        async move { answer(&body, tell).await }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().route("/mcp", post(answer));
    let server = async move {
        let _ = axum::serve(listener, router).await;
    };
    toolgate::supervisor::Supervisor::new().spawn_until_done("upstream", server);
    (address, told)
}

async fn answer(body: &Bytes, tell: mpsc::Sender<Slow>) -> Response {
    let request: Value = serde_json::from_slice(body).unwrap();
    let result = match request["method"].as_str().unwrap() {
        "server/discover" => json!({
            "resultType": "complete",
            "supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}},
        }),
        "tools/list" => {
            let tool = |name: &str| json!({"name": name, "description": "Says it", "inputSchema": {"type": "object"}});
            json!({"resultType": "complete", "tools": [tool("echo"), tool("slow")]})
        }
        "tools/call" if request["params"]["name"] == "slow" => {
            tell.send(Slow::Called).await.unwrap();
            let _guard = Guard(tell);
            std::future::pending().await
        }
        "tools/call" => json!({
            "resultType": "complete",
            "content": [{"type": "text", "text": request["params"]["arguments"].to_string()}],
        }),
        _ => return http::StatusCode::NOT_FOUND.into_response(),
    };
    let message = json!({"jsonrpc": "2.0", "id": request["id"], "result": result});
    ([("content-type", "application/json")], message.to_string()).into_response()
}

struct House {
    address: SocketAddr,
    http: reqwest::Client,
    slow: mpsc::Receiver<Slow>,
}

async fn house() -> House {
    let (upstream, slow) = upstream().await;
    let text = format!(
        r#"
        [server]
        listen = "127.0.0.1:0"
        store = "memory"
        [auth]
        keys = [
          {{ user = "alice", key = "alice-key-0123456789" }},
          {{ user = "alice", key = "narrow-key-0123456789", tools = ["other"] }},
        ]
        [gateways.up]
        url = "http://{upstream}/mcp"
        [gateways.down]
        url = "http://127.0.0.1:1/mcp"
        "#
    );
    let file = config::File {
        name: "gateways.toml".to_owned(),
        text,
    };
    let sources = config::Sources::new(Some(file), BTreeMap::new(), config::Flags::default());
    let config = config::load(&sources).unwrap().config;
    let options = Options {
        guard: "unused".into(),
        environment: Vec::new(),
    };
    let app = App::start(&config, options).await.unwrap();
    let address = app.address();
    toolgate::supervisor::Supervisor::new().spawn_until_done("app", async move {
        let _ = app.run().await;
    });
    let _ = rustls::crypto::ring::default_provider().install_default();
    let house = House {
        address,
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        slow,
    };
    house
        .until("/api/gateways", |page| {
            let state = |n: usize| page["items"][n]["state"].clone();
            state(0) == "up" && state(1) == "down"
        })
        .await;
    house
}

struct Got {
    status: u16,
    headers: reqwest::header::HeaderMap,
    json: Value,
}

impl House {
    fn request(&self, method: http::Method, path: &str, key: &str) -> reqwest::RequestBuilder {
        let url = format!("http://{}{path}", self.address);
        self.http
            .request(method, url)
            .header("authorization", format!("Bearer {key}-key-0123456789"))
    }

    async fn got(&self, request: reqwest::RequestBuilder) -> Got {
        let response = tokio::time::timeout(PATIENCE, request.send())
            .await
            .unwrap()
            .unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text:?}"));
        Got {
            status,
            headers,
            json,
        }
    }

    async fn get(&self, path: &str, key: &str) -> Got {
        self.got(self.request(http::Method::GET, path, key)).await
    }

    fn test(&self, tool: &str, key: &str, arguments: &'static str) -> reqwest::RequestBuilder {
        let path = format!("/api/tools/{tool}/test");
        let request = self.request(http::Method::POST, &path, key);
        request.header("content-type", "application/json").body(arguments)
    }

    async fn until(&self, path: &str, right: impl Fn(&Value) -> bool) {
        let seen = async {
            while !right(&self.get(path, "alice").await.json) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("it becomes so");
    }
}

#[tokio::test]
async fn tools_are_listed_called_and_explained_with_a_key() {
    let house = house().await;
    let page = house.get("/api/tools", "alice").await.json;
    assert_eq!(page["items"][0]["name"], "echo");
    assert_eq!(page["items"][1]["gateway"], "up");
    let got = house.got(house.test("echo", "alice", r#"{"n": 1.50}"#)).await;
    assert_eq!(got.status, 200, "{}", got.json);
    assert_eq!(got.json["gateway"], "up");
    assert_eq!(got.json["result"]["content"][0]["text"], r#"{"n":1.5}"#);
    let explained = house.get("/api/tools/echo/explain", "alice").await.json;
    assert_eq!(
        (&explained["callable"], &explained["reasons"][0]["outcome"]),
        (&true.into(), &"callable".into())
    );
    let unknown = house.get("/api/tools/nobody/explain", "alice").await.json;
    assert_eq!(unknown["reasons"][0]["waitsFor"], json!(["down"]));
    let described = house.get("/api/openapi.json", "alice").await.json;
    assert_eq!(described["openapi"], "3.1.0");
}

#[tokio::test]
async fn a_key_sees_what_it_may_use_and_nothing_else() {
    let house = house().await;
    assert_eq!(house.get("/api/tools", "narrow").await.json["items"], json!([]));
    assert_eq!(
        house.get("/api/gateways", "narrow").await.json["items"],
        json!([])
    );
    let refused = house.got(house.test("echo", "narrow", "{}")).await;
    let unknown = house.got(house.test("ochi", "narrow", "{}")).await;
    assert_eq!((refused.status, unknown.status), (404, 404));
    let detail = |got: &Got| got.json["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail(&refused).replace("echo", "ochi"), detail(&unknown));
    let stranger = house.get("/api/tools", "nobody").await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.headers["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn what_goes_wrong_is_a_problem_that_names_its_request() {
    let house = house().await;
    for (request, status) in [
        (house.request(http::Method::GET, "/api/nothing", "alice"), 404),
        (house.request(http::Method::DELETE, "/api/tools", "alice"), 405),
        (
            house.request(http::Method::GET, "/api/tools?limit=x", "alice"),
            400,
        ),
        (house.test("echo", "alice", "[]"), 400),
        (house.request(http::Method::GET, "/api/tools", "nobody"), 401),
    ] {
        let got = house.got(request.header("x-request-id", "r-7")).await;
        assert_eq!(got.status, status, "{}", got.json);
        assert_eq!(got.headers["content-type"], "application/problem+json");
        assert_eq!(
            (&got.json["status"], &got.json["requestId"]),
            (&status.into(), &"r-7".into())
        );
        assert!(!got.json["detail"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn whoever_hangs_up_cancels_the_call_at_its_gateway() {
    let mut house = house().await;
    let call = house.test("slow", "alice", "{}").send();
    tokio::select! {
        _ = call => panic!("nobody answers"),
        told = house.slow.recv() => assert_eq!(told, Some(Slow::Called)),
    }
    let told = tokio::time::timeout(PATIENCE, house.slow.recv()).await;
    assert_eq!(told.expect("the gateway hears of it"), Some(Slow::Abandoned));
}
