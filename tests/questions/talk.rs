//! Clients of both eras, written by hand: what they do not do by themselves, a test can make them do wrongly.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde_json::{Map, Value, json};

const MODERN: &str = "2026-07-28";
/// No test waits longer for one message.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// One question as the client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// The request's id, or the key in `inputRequests`.
    pub(crate) key: Value,
    pub(crate) method: String,
    pub(crate) params: Value,
}

/// What a client says to a question.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Result(Value),
    /// A JSON-RPC error; legacy clients only.
    Error(Value),
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Turn {
    Asked(Asked),
    Ended(Ended),
}

/// The end of a call.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) status: u16,
    /// `null` when no response came.
    pub(crate) message: Value,
}

impl Ended {
    /// What the tool returned; panics when it did not.
    pub(crate) fn told(&self) -> &Value {
        let told = &self.message["result"]["structuredContent"];
        assert!(told.is_object(), "no result of the tool: {self:?}");
        told
    }

    /// The JSON-RPC error; panics when there is none.
    pub(crate) fn error(&self) -> &Value {
        let error = &self.message["error"];
        assert!(error.is_object(), "no error: {self:?}");
        error
    }
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
    capabilities: Value,
}

fn next_id() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(1_000);
    LAST.fetch_add(1, Ordering::Relaxed)
}

impl Peer {
    pub(crate) fn modern(url: &str, key: &str, capabilities: Value) -> Self {
        Self {
            http: http(),
            url: url.to_owned(),
            key: key.to_owned(),
            user: None,
            session: None,
            capabilities,
        }
    }

    /// The same client for another user.
    pub(crate) fn acting_for(&self, user: &str) -> Self {
        Self {
            user: Some(user.to_owned()),
            ..self.clone()
        }
    }

    /// Opens a session.
    pub(crate) async fn legacy(url: &str, key: &str, version: &'static str, capabilities: Value) -> Self {
        let mut peer = Self {
            session: Some((version, String::new())),
            ..Self::modern(url, key, capabilities)
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

    /// The same client, but with the key of somebody else.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self {
            key: key.to_owned(),
            ..self.clone()
        }
    }

    /// Another session of the same kind.
    pub(crate) async fn reopened(&self) -> Self {
        let (version, _) = self.session.as_ref().expect("a legacy client");
        Self::legacy(&self.url, &self.key, version, self.capabilities.clone()).await
    }

    /// Ends the session; returns the status.
    pub(crate) async fn end_session(&self) -> u16 {
        let response = self.request(reqwest::Method::DELETE).send().await;
        response.unwrap().status().as_u16()
    }

    fn request(&self, method: reqwest::Method) -> reqwest::RequestBuilder {
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
        let mut talk = Talk {
            peer: self.clone(),
            tool: tool.to_owned(),
            arguments,
            id: 0,
            reader: None,
            open: VecDeque::new(),
            state: None,
            answers: Map::new(),
            heard: Vec::new(),
        };
        talk.send(None).await;
        talk
    }

    /// Calls a tool that asks nothing.
    pub(crate) async fn ask(&self, tool: &str, arguments: Value) -> Ended {
        match self.call(tool, arguments).await.next().await {
            Turn::Ended(ended) => ended,
            Turn::Asked(asked) => panic!("{tool} asks {asked:?}"),
        }
    }
}

/// One call of a tool with all its rounds.
#[derive(Debug)]
pub(crate) struct Talk {
    pub(crate) peer: Peer,
    pub(crate) tool: String,
    pub(crate) arguments: Value,
    /// The id of the request that is under way.
    pub(crate) id: u64,
    reader: Option<Reader>,
    /// Modern: asked, not handed out yet.
    open: VecDeque<Asked>,
    /// Modern: the `requestState` of the last round.
    pub(crate) state: Option<Value>,
    /// Modern: what the next request carries.
    pub(crate) answers: Map<String, Value>,
    /// Notifications, as they came.
    pub(crate) heard: Vec<Value>,
}

impl Talk {
    async fn send(&mut self, retry: Option<(Map<String, Value>, Option<Value>)>) {
        self.id = next_id();
        let mut params = json!({ "name": self.tool, "arguments": self.arguments });
        if !self.peer.is_legacy() {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": MODERN,
                "io.modelcontextprotocol/clientCapabilities": self.peer.capabilities,
                "io.modelcontextprotocol/clientInfo": { "name": "hand", "version": "1" },
            });
        }
        if let Some((answers, state)) = retry {
            params["inputResponses"] = Value::Object(answers);
            if let Some(state) = state {
                params["requestState"] = state;
            }
        }
        let body = json!({ "jsonrpc": "2.0", "id": self.id, "method": "tools/call", "params": params });
        self.reader = Some(Reader::new(self.peer.post(&body).await));
    }

    /// The same call from its start, by another client; what is under way stays with this one.
    pub(crate) fn again(&self, peer: &Peer) -> Self {
        Self {
            peer: peer.clone(),
            tool: self.tool.clone(),
            arguments: self.arguments.clone(),
            id: 0,
            reader: None,
            open: VecDeque::new(),
            state: None,
            answers: Map::new(),
            heard: Vec::new(),
        }
    }

    /// Modern: tells whether the last result asked more than what was handed out.
    pub(crate) fn has_more(&self) -> bool {
        !self.open.is_empty()
    }

    /// Modern: sends the call again with these answers and this state, whatever was asked.
    pub(crate) async fn retry(&mut self, answers: Map<String, Value>, state: Option<Value>) -> Turn {
        self.open.clear();
        self.send(Some((answers, state))).await;
        self.next().await
    }

    /// Returns the next question or the end. A modern client sends its answers first, once it has handed out all that
    /// it was asked.
    pub(crate) async fn next(&mut self) -> Turn {
        if let Some(asked) = self.open.pop_front() {
            return Turn::Asked(asked);
        }
        if self.reader.is_none() {
            let retry = (std::mem::take(&mut self.answers), self.state.take());
            self.send(Some(retry)).await;
        }
        loop {
            let reader = self.reader.as_mut().expect("a response");
            let status = reader.status;
            let message = reader.next().await;
            let Some(message) = message else {
                self.reader = None;
                return Turn::Ended(Ended {
                    status,
                    message: Value::Null,
                });
            };
            if let Some(method) = message["method"].as_str() {
                if message.get("id").is_none() {
                    self.heard.push(message);
                    continue;
                }
                assert!(self.peer.is_legacy(), "a modern client got a request: {message}");
                return Turn::Asked(Asked {
                    key: message["id"].clone(),
                    method: method.to_owned(),
                    params: message["params"].clone(),
                });
            }
            if message["result"]["resultType"] == "input_required" {
                assert!(!self.peer.is_legacy(), "a legacy client got {message}");
                self.reader = None;
                self.state = message["result"].get("requestState").cloned();
                let asked = message["result"]["inputRequests"].as_object();
                self.open = asked.into_iter().flatten().map(asked_of).collect();
                match self.open.pop_front() {
                    Some(asked) => return Turn::Asked(asked),
                    None => return Turn::Ended(Ended { status, message }),
                }
            }
            self.reader = None;
            return Turn::Ended(Ended { status, message });
        }
    }

    /// Legacy: drops the connection and takes the stream up after the last event.
    pub(crate) async fn reconnect(&mut self) {
        let reader = self.reader.take().expect("a response");
        let last = reader.last_id.clone().expect("an event id");
        drop(reader);
        let request = self.peer.request(reqwest::Method::GET);
        let response = request.header("Last-Event-ID", last).send().await.unwrap();
        assert_eq!(response.status().as_u16(), 200);
        self.reader = Some(Reader::new(response));
    }

    /// Returns the next question; panics at the end.
    pub(crate) async fn asked(&mut self) -> Asked {
        match self.next().await {
            Turn::Asked(asked) => asked,
            Turn::Ended(ended) => panic!("the call ended and asked nothing: {ended:?}"),
        }
    }

    /// Returns the end; panics at a question.
    pub(crate) async fn ended(&mut self) -> Ended {
        match self.next().await {
            Turn::Ended(ended) => ended,
            Turn::Asked(asked) => panic!("asked instead of an end: {asked:?}"),
        }
    }

    /// Answers a question: at once, or with the next request.
    pub(crate) async fn answer(&mut self, asked: &Asked, said: &Said) {
        if self.peer.is_legacy() {
            assert_eq!(self.peer.reply(&asked.key, said).await, 202);
            return;
        }
        let Said::Result(result) = said else {
            panic!("a modern client cannot answer with an error");
        };
        self.answers
            .insert(asked.key.as_str().unwrap().to_owned(), result.clone());
    }

    /// Answers everything until the end; returns what was asked.
    pub(crate) async fn finish(&mut self, say: impl Fn(&Asked) -> Said) -> (Vec<Asked>, Ended) {
        let mut all = Vec::new();
        loop {
            match self.next().await {
                Turn::Ended(ended) => return (all, ended),
                Turn::Asked(asked) => {
                    self.answer(&asked, &say(&asked)).await;
                    all.push(asked);
                }
            }
        }
    }
}

fn asked_of((key, request): (&String, &Value)) -> Asked {
    Asked {
        key: json!(key),
        method: request["method"].as_str().unwrap_or_default().to_owned(),
        params: request["params"].clone(),
    }
}

/// Reads the messages of a response, JSON or stream.
#[derive(Debug)]
struct Reader {
    response: reqwest::Response,
    status: u16,
    stream: bool,
    last_id: Option<String>,
    text: Vec<u8>,
    over: bool,
}

impl Reader {
    fn new(response: reqwest::Response) -> Self {
        let kind = response.headers().get(CONTENT_TYPE);
        let stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        Self {
            status: response.status().as_u16(),
            response,
            stream,
            last_id: None,
            text: Vec::new(),
            over: false,
        }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if self.stream
                && let Some(end) = self.text.windows(2).position(|two| two == b"\n\n")
            {
                let event: Vec<u8> = self.text.drain(..end + 2).collect();
                let event = String::from_utf8(event).unwrap();
                let id = event.lines().find_map(|line| line.strip_prefix("id:"));
                self.last_id = id.map(|id| id.trim().to_owned()).or(self.last_id.take());
                let data: String = event
                    .lines()
                    .filter_map(|line| line.strip_prefix("data:"))
                    .collect();
                if data.trim().is_empty() {
                    continue;
                }
                return Some(serde_json::from_str(&data).unwrap());
            }
            if self.over {
                let rest = std::mem::take(&mut self.text);
                return (!self.stream && !rest.is_empty()).then(|| serde_json::from_slice(&rest).unwrap());
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            match chunk.expect("a message in time").unwrap() {
                Some(chunk) => self.text.extend_from_slice(&chunk),
                None => self.over = true,
            }
        }
    }
}
