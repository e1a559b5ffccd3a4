//! Plain HTTP for the tests that look at the wire themselves.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Runtime;

/// Runs a future on the one runtime of this test binary.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).block_on(future)
}

/// A client with its own connections that follows no redirect.
pub(crate) fn client() -> reqwest::Client {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        rustls::crypto::ring::default_provider()
            .install_default()
            .unwrap();
    });
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_mins(1))
        .build()
        .unwrap()
}

/// GET: status and body.
pub(crate) fn get(url: &str) -> Result<(u16, String), reqwest::Error> {
    block_on(async {
        let response = client().get(url).timeout(Duration::from_secs(5)).send().await?;
        Ok((response.status().as_u16(), response.text().await?))
    })
}

/// Whether anything answers HTTP there, whatever it says. The body is not waited for: it may be an endless stream.
pub(crate) fn head(url: &str) -> bool {
    block_on(async {
        client()
            .get(url)
            .timeout(Duration::from_secs(5))
            .send()
            .await
            .is_ok()
    })
}

/// One legacy session, spoken by hand: what a client library would hide is visible here.
pub(crate) struct Session {
    http: reqwest::Client,
    pub(crate) url: String,
    key: String,
    pub(crate) id: String,
}

/// What came back for one request, as it came and message by message.
pub(crate) struct Answer {
    pub(crate) raw: String,
    pub(crate) messages: Vec<Value>,
}

impl Answer {
    async fn read(response: reqwest::Response) -> Self {
        let raw = response
            .text()
            .await
            .unwrap_or_else(|e| format!("the answer broke off: {e}"));
        let event = |line: &str| {
            line.strip_prefix("data:")
                .map(str::trim)
                .and_then(|d| serde_json::from_str(d).ok())
        };
        let messages = match serde_json::from_str(&raw) {
            Ok(one) => vec![one],
            Err(_) => raw.lines().filter_map(event).collect(),
        };
        Self { raw, messages }
    }

    /// The text of the call's result; what went wrong instead, when something did.
    pub(crate) fn text(&self) -> Result<&str, &str> {
        let last = self.messages.last().ok_or(self.raw.as_str())?;
        if last["result"]["isError"] == true {
            return Err(&self.raw);
        }
        last["result"]["content"][0]["text"].as_str().ok_or(&self.raw)
    }
}

impl Session {
    /// Opens a session as a client of 2025-11-25.
    pub(crate) async fn open(http: reqwest::Client, url: &str, key: &str) -> Self {
        let mut session = Self {
            http,
            url: url.to_owned(),
            key: key.to_owned(),
            id: String::new(),
        };
        let params = json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "hand", "version": "1" } });
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
        let response = session
            .request(reqwest::Method::POST)
            .json_body(&body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        session.id = response
            .headers()
            .get("mcp-session-id")
            .map(|v| v.to_str().unwrap().to_owned())
            .unwrap_or_default();
        let answer = Answer::read(response).await;
        assert!(
            status.is_success() && !session.id.is_empty(),
            "no session: {status} {}",
            answer.raw
        );
        let body = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
        session
            .request(reqwest::Method::POST)
            .json_body(&body)
            .send()
            .await
            .unwrap();
        session
    }

    /// A request of this session, as somebody with `key` would send it.
    pub(crate) fn request_as(&self, key: &str, method: reqwest::Method) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, &self.url)
            .bearer_auth(key)
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25");
        if self.id.is_empty() {
            request
        } else {
            request.header("mcp-session-id", &self.id)
        }
    }

    pub(crate) fn request(&self, method: reqwest::Method) -> reqwest::RequestBuilder {
        self.request_as(&self.key, method)
    }

    /// `tools/call`, with a progress token when one is given.
    pub(crate) async fn call(&self, id: u64, name: &str, arguments: Value, token: Option<&str>) -> Answer {
        let mut params = json!({ "name": name, "arguments": arguments });
        if let Some(token) = token {
            params["_meta"] = json!({ "progressToken": token });
        }
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
        answered(self.request(reqwest::Method::POST).json_body(&body)).await
    }
}

/// `tools/call` of a client of 2026-07-28: no session, everything in the request.
pub(crate) async fn modern_call(
    http: &reqwest::Client,
    url: &str,
    key: &str,
    name: &str,
    arguments: Value,
) -> Answer {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { "name": "hand", "version": "1" },
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": name, "arguments": arguments, "_meta": meta });
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params });
    let request = http
        .post(url)
        .bearer_auth(key)
        .header("accept", "application/json, text/event-stream")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "tools/call")
        .header("mcp-name", name);
    answered(request.json_body(&body)).await
}

async fn answered(request: reqwest::RequestBuilder) -> Answer {
    match request.send().await {
        Ok(response) => Answer::read(response).await,
        Err(e) => Answer {
            raw: format!("no answer: {e:?}"),
            messages: Vec::new(),
        },
    }
}

/// `reqwest` is built without its own JSON support.
pub(crate) trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for reqwest::RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header("content-type", "application/json")
            .body(body.to_string())
    }
}
