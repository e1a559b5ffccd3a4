//! A Toolgate with one gateway of kind `composio` in front of the fake, with three users.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;
use toolgate::app::{App, Options};
use toolgate::config::{self, Config, File, Flags, Sources};
use toolgate::server::{Drained, Shutdown};
use toolgate::upstream::gateways::GatewayStatus;

use crate::fake::{Fake, KEY};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// A fake in which alice and bob are connected to GitHub.
pub(crate) async fn connected() -> Fake {
    let fake = Fake::start().await;
    fake.connect("alice", "github");
    fake.connect("bob", "github");
    fake
}

pub(crate) fn configuration(fake: &Fake) -> Config {
    configured(fake, "memory", "toolkits = ['github', 'gmail']\n")
}

/// The configuration with another store, and with these options of the gateway.
pub(crate) fn configured(fake: &Fake, store: &str, options: &str) -> Config {
    let file = File {
        name: "gateways.toml".to_owned(),
        text: format!(
            "[server]\nlisten = '127.0.0.1:0'\nstore = '{store}'\n[auth]\nkeys = [\n\
             {{ user = 'alice', key = '{ALICE}' }},\n{{ user = 'bob', key = '{BOB}' }},\n\
             {{ user = 'default', key = '{NOBODY}' }},\n]\n\
             [gateways.composio]\nkind = 'composio'\napi_key = '{KEY}'\nbase_url = '{}'\n{options}",
            fake.origin
        ),
    };
    let sources = Sources::new(Some(file), BTreeMap::new(), Flags::default());
    config::load(&sources).unwrap().config
}

/// A Toolgate with one Composio gateway and three users.
pub(crate) struct Gate {
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    statuses: Box<dyn Fn() -> Vec<GatewayStatus> + Send + Sync>,
    shutdown: Shutdown,
    served: JoinHandle<Drained>,
}

impl Gate {
    pub(crate) async fn start(fake: &Fake) -> Self {
        let gate = Self::start_anyhow(fake).await;
        gate.until(|status| status.listed.is_some()).await;
        gate
    }

    /// Starts it; waits for no list.
    pub(crate) async fn start_anyhow(fake: &Fake) -> Self {
        Self::start_as(&configuration(fake)).await
    }

    /// Starts it with a configuration; waits for no list.
    pub(crate) async fn start_as(config: &Config) -> Self {
        let options = Options {
            guard: env!("CARGO_BIN_EXE_toolgate").into(),
            environment: Vec::new(),
        };
        let app = App::start(config, options).await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(std::iter::empty());
        Self {
            url: format!("http://{}", app.address()),
            http: http.build().unwrap(),
            statuses: Box::new(app.gateways()),
            shutdown: app.shutdown(),
            served: tokio::spawn(app.run()),
        }
    }

    pub(crate) async fn until(&self, there: impl Fn(&GatewayStatus) -> bool) {
        let wait = async {
            while !(self.statuses)().iter().all(&there) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, wait).await;
        assert!(waited.is_ok(), "{:?}", (self.statuses)());
    }

    /// Sends a request of the modern era and returns the response.
    pub(crate) async fn ask(&self, key: &str, method: &str, params: Value) -> Value {
        self.ask_at(&format!("{}/mcp", self.url), Some(key), method, params)
            .await
            .1
    }

    /// Sends a request of the modern era to a URL and returns the status and the response.
    pub(crate) async fn ask_at(
        &self,
        url: &str,
        key: Option<&str>,
        method: &str,
        mut params: Value,
    ) -> (u16, Value) {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let mut request = self
            .http
            .post(url)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(name) = params["name"].as_str() {
            request = request.header("mcp-name", name);
        }
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let answer = tokio::time::timeout(PATIENCE, request.body(body.to_string()).send());
        let answer = answer.await.unwrap().unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        assert!(!text.contains("trs_") && !text.contains("tool_router"), "{text}");
        let data = text
            .lines()
            .filter_map(|line| line.strip_prefix("data:"))
            .next_back();
        (status, serde_json::from_str(data.unwrap_or(&text)).unwrap())
    }

    /// Has a tool executed that says who its user is at GitHub.
    pub(crate) async fn who(&self, key: &str) -> Value {
        let arguments = json!({ "tools": [{ "tool_slug": "GITHUB_GET_THE_AUTHENTICATED_USER", "arguments": {} }],
            "sync_response_to_workbench": false });
        let params = json!({ "name": "COMPOSIO_MULTI_EXECUTE_TOOL", "arguments": arguments });
        self.ask(key, "tools/call", params).await
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        let request = self.http.get(format!("{}{path}", self.url));
        let answer = request.header("authorization", format!("Bearer {ALICE}")).send();
        answer.await.unwrap().text().await.unwrap()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.begin();
        self.served.await.unwrap();
    }
}

pub(crate) const ALICE: &str = "key-of-alice-0123";
pub(crate) const BOB: &str = "key-of-bob-456789";
pub(crate) const NOBODY: &str = "key-of-nobody-123";

/// Returns the login that a tool's result tells of.
pub(crate) fn login(answer: &Value) -> String {
    let text = answer["result"]["content"][0]["text"].as_str();
    let text: Value = serde_json::from_str(text.unwrap_or_else(|| panic!("{answer}"))).unwrap();
    text["data"]["results"][0]["response"]["data"]["login"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// Returns the message of an error.
pub(crate) fn message(answer: &Value) -> &str {
    answer["error"]["message"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"))
}
