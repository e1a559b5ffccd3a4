//! Clients of both eras, written by hand: what they do not do by themselves, a test can make them do wrongly.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::fleet::{ALICE, BACKEND, BOB};
use crate::talk::{Ended, Said, Talk, Turn};

/// What modern clients speak.
pub(crate) const MODERN: &str = "2026-07-28";
/// No test waits longer for one message.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a future on a runtime of its own.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

fn http() -> reqwest::Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| drop(rustls::crypto::ring::default_provider().install_default()));
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// GET, for its status.
pub(crate) async fn status(url: &str) -> Option<u16> {
    let response = http().get(url).timeout(Duration::from_secs(5)).send().await;
    response.ok().map(|response| response.status().as_u16())
}

/// GET, for its text.
pub(crate) async fn text(url: &str, key: &str) -> String {
    let response = http().get(url).header(AUTHORIZATION, format!("Bearer {key}"));
    response.send().await.unwrap().text().await.unwrap()
}

/// What a client can be asked; declared as a whole.
pub(crate) fn everything() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} })
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    http: reqwest::Client,
    url: String,
    key: String,
    /// Named in `X-User-Id`.
    user: Option<String>,
    /// The revision and session id of a legacy client; `None`: modern.
    session: Option<(&'static str, String)>,
    pub(crate) capabilities: Value,
}

pub(crate) fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1_000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Peer {
    /// Makes a client; `who` is a key, or the name of a user.
    pub(crate) fn modern(url: &str, who: &str, capabilities: Value) -> Self {
        let (key, user) = match who {
            ALICE | BOB | BACKEND => (who, None),
            name => (BACKEND, Some(name.to_owned())),
        };
        Self {
            http: http(),
            url: url.to_owned(),
            key: key.to_owned(),
            user,
            session: None,
            capabilities,
        }
    }

    /// Opens a session.
    pub(crate) async fn legacy(url: &str, who: &str, version: &'static str, capabilities: Value) -> Self {
        let mut peer = Self {
            session: Some((version, String::new())),
            ..Self::modern(url, who, capabilities)
        };
        let params = json!({ "protocolVersion": version, "capabilities": peer.capabilities, "clientInfo": { "name": "hand", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params });
        let response = peer.post(&body).await;
        let id = response.headers().get("mcp-session-id");
        let id = id.expect("a session id").to_str().unwrap().to_owned();
        peer.session = Some((version, id));
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        assert_eq!(peer.post(&told).await.status().as_u16(), 202);
        peer
    }

    pub(crate) fn is_legacy(&self) -> bool {
        self.session.is_some()
    }

    /// The same client, session and all, but with the credentials of another.
    pub(crate) fn posing_as(&self, other: &Self) -> Self {
        Self {
            key: other.key.clone(),
            user: other.user.clone(),
            ..self.clone()
        }
    }

    /// Another session of the same kind.
    pub(crate) async fn reopened(&self) -> Self {
        let (version, _) = self.session.as_ref().expect("a legacy client");
        let who = self.user.as_deref().unwrap_or(&self.key);
        Self::legacy(&self.url, who, version, self.capabilities.clone()).await
    }

    /// Ends the session; returns the status.
    pub(crate) async fn end_session(&self) -> u16 {
        let response = self.request(reqwest::Method::DELETE).send().await;
        response.unwrap().status().as_u16()
    }

    /// A request with the headers that every one carries.
    pub(crate) fn request(&self, method: reqwest::Method) -> reqwest::RequestBuilder {
        let mut request = self
            .http
            .request(method, &self.url)
            .header(AUTHORIZATION, format!("Bearer {}", self.key))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json, text/event-stream");
        if let Some(user) = &self.user {
            request = request.header("X-User-Id", user);
        }
        match &self.session {
            Some((version, id)) if !id.is_empty() => request
                .header("MCP-Protocol-Version", *version)
                .header("Mcp-Session-Id", id),
            Some(_) => request,
            None => request.header("MCP-Protocol-Version", MODERN),
        }
    }

    /// Posts a message as it stands.
    pub(crate) async fn post(&self, body: &Value) -> reqwest::Response {
        let mut request = self.request(reqwest::Method::POST);
        if self.session.is_none() {
            request = request.header("Mcp-Method", body["method"].as_str().unwrap());
            if let Some(name) = body["params"]["name"].as_str() {
                request = request.header("Mcp-Name", name);
            }
        }
        tokio::time::timeout(PATIENCE, request.body(body.to_string()).send())
            .await
            .expect("an answer in time")
            .unwrap()
    }

    /// Posts the answer to a question of a legacy session; returns the status.
    pub(crate) async fn reply(&self, key: &Value, said: &Said) -> u16 {
        let body = match said {
            Said::Result(result) => json!({ "jsonrpc": "2.0", "id": key, "result": result }),
            Said::Error(error) => json!({ "jsonrpc": "2.0", "id": key, "error": error }),
        };
        self.post(&body).await.status().as_u16()
    }

    /// Starts a call of a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Talk {
        Talk::start(self, tool, arguments).await
    }

    /// Calls a tool that asks nothing.
    pub(crate) async fn ask(&self, tool: &str, arguments: Value) -> Ended {
        match self.call(tool, arguments).await.next().await {
            Turn::Ended(ended) => ended,
            Turn::Asked(asked) => panic!("{tool} asks {asked:?}"),
        }
    }
}
