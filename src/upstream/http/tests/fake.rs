//! An upstream whose every byte the test chooses: it sees each request and writes the answer by hand.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

use crate::config::{EraChoice, Secret};
use crate::ids::GatewayId;
use crate::supervisor::Supervisor;
use crate::upstream::http::{HttpSettings, HttpTransport};

pub(super) const SESSION: &str = "mcp-session-id";
pub(super) const SECRET: &str = "Bearer very-secret";

/// One request as it came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) verb: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) body: String,
    pub(super) message: Value,
}

impl Seen {
    pub(super) fn method(&self) -> &str {
        self.message["method"].as_str().unwrap_or_default()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub(super) fn id(&self) -> &Value {
        &self.message["id"]
    }

    /// `POST tools/call`, `GET`, `POST (response)`.
    pub(super) fn title(&self) -> String {
        match (self.verb.as_str(), self.method()) {
            ("POST", "") => "POST (response)".to_owned(),
            ("POST", method) => format!("POST {method}"),
            (verb, _) => verb.to_owned(),
        }
    }
}

/// The connection that a request came on; closed when it is dropped.
pub(super) struct Conn(TcpStream);

impl Conn {
    pub(super) async fn raw(&mut self, bytes: &[u8]) {
        // A peer that hung up is what some tests are about.
        let _ = self.0.write_all(bytes).await;
    }

    pub(super) async fn status(&mut self, status: u16, headers: &str, body: &str) {
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        self.raw(head.as_bytes()).await;
    }

    pub(super) async fn json(&mut self, status: u16, body: &Value) {
        self.status(status, "content-type: application/json\r\n", &body.to_string())
            .await;
    }

    pub(super) async fn result(&mut self, seen: &Seen, result: Value) {
        self.json(200, &json!({"jsonrpc": "2.0", "id": seen.id(), "result": result}))
            .await;
    }

    pub(super) async fn error(&mut self, status: u16, seen: &Seen, code: i64) {
        let error = json!({"code": code, "message": "no"});
        self.json(
            status,
            &json!({"jsonrpc": "2.0", "id": seen.id(), "error": error}),
        )
        .await;
    }

    /// Opens an event stream that ends with the connection's orderly end.
    pub(super) async fn events(&mut self) {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
        self.raw(head.as_bytes()).await;
    }

    pub(super) async fn event(&mut self, message: &Value) {
        self.raw(format!("data: {message}\n\n").as_bytes()).await;
    }

    /// Waits until the other side hangs up.
    pub(super) async fn hung_up(&mut self) {
        let mut buffer = [0; 64];
        while matches!(self.0.read(&mut buffer).await, Ok(read) if read > 0) {}
    }

    /// Ends the connection as a crashed server does.
    pub(super) fn reset(self) {
        let _ = self.0.set_zero_linger();
    }
}

/// A fake upstream.
pub(super) struct Fake {
    pub(super) url: Url,
    pub(super) supervisor: Supervisor,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
}

impl Fake {
    /// Starts an upstream that answers each request through a function.
    pub(super) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Seen, Conn) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp?key=hidden", listener.local_addr().unwrap());
        let supervisor = Supervisor::new();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counted, count) = watch::channel(0);
        let (tasks, log, answer) = (supervisor.clone(), Arc::clone(&seen), Arc::new(answer));
        supervisor.spawn("fake upstream", async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, answer, counted) = (Arc::clone(&log), Arc::clone(&answer), counted.clone());
                tasks.spawn("fake connection", async move {
                    if let Some(request) = read_request(&mut stream).await {
                        log.lock().unwrap().push(request.clone());
                        counted.send_modify(|count| *count += 1);
                        answer(request, Conn(stream)).await;
                    }
                });
            }
        });
        Self {
            url: Url::parse(&url).unwrap(),
            supervisor,
            seen,
            count,
        }
    }

    /// Starts a legacy upstream with sessions; `answer` gets what is neither handshake nor GET nor DELETE.
    pub(super) async fn legacy<F, A>(capabilities: Value, answer: F) -> Self
    where
        F: Fn(Seen, Conn) -> A + Send + Sync + 'static,
        A: Future<Output = ()> + Send + 'static,
    {
        let answer = Arc::new(answer);
        Self::start(move |seen, mut conn| {
            let (answer, capabilities) = (Arc::clone(&answer), capabilities.clone());
            async move {
                match (seen.verb.as_str(), seen.method()) {
                    ("DELETE", _) => conn.status(200, "", "").await,
                    ("GET", _) if seen.header("last-event-id").is_none() => {
                        conn.status(405, "", "").await;
                    }
                    (_, "server/discover") => conn.error(400, &seen, -32000).await,
                    (_, "initialize") => initialize(&seen, &mut conn, &capabilities).await,
                    (_, "notifications/initialized" | "notifications/cancelled") => {
                        conn.status(202, "", "").await;
                    }
                    _ => answer(seen, conn).await,
                }
            }
        })
        .await
    }

    pub(super) fn settings(&self) -> HttpSettings {
        HttpSettings {
            gateway: GatewayId::new("g"),
            url: self.url.clone(),
            headers: vec![("Authorization".to_owned(), Secret::new(SECRET.to_owned()))],
            era: EraChoice::Auto,
            call_timeout: Duration::from_secs(20),
            result_bytes_max: 1 << 20,
            question_timeout: Duration::from_secs(20),
        }
    }

    pub(super) fn transport(&self) -> HttpTransport {
        HttpTransport::new(self.settings(), &self.supervisor).unwrap()
    }

    /// Returns the titles of what came so far, without GET streams, which come when they come.
    pub(super) fn titles(&self) -> Vec<String> {
        let all = self.all();
        all.iter()
            .map(Seen::title)
            .filter(|title| title != "GET")
            .collect()
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Returns what came with a title.
    pub(super) fn of(&self, title: &str) -> Vec<Seen> {
        let all = self.all();
        all.into_iter().filter(|seen| seen.title() == title).collect()
    }

    /// Waits until as many requests with a title came, and returns them.
    pub(super) async fn wait(&self, title: &str, count: usize) -> Vec<Seen> {
        let mut counted = self.count.clone();
        let arrived = counted.wait_for(|_| self.of(title).len() >= count);
        let arrived = tokio::time::timeout(Duration::from_secs(20), arrived).await;
        assert!(arrived.is_ok(), "no {count} of {title:?} in {:?}", self.titles());
        self.of(title)
    }
}

async fn initialize(seen: &Seen, conn: &mut Conn, capabilities: &Value) {
    let id = seen.id().to_string().replace('"', "");
    let result = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": {"name": "f", "version": "1"}});
    let body = json!({"jsonrpc": "2.0", "id": seen.id(), "result": result}).to_string();
    conn.status(
        200,
        &format!("content-type: application/json\r\nmcp-session-id: s-{id}\r\n"),
        &body,
    )
    .await;
}

async fn read_request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).unwrap();
    let mut lines = head.lines();
    let verb = lines.next()?.split(' ').next()?.to_owned();
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    while bytes.len() < head_end + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8(bytes[head_end..].to_vec()).unwrap();
    let message = serde_json::from_str(&body).unwrap_or(Value::Null);
    Some(Seen {
        verb,
        headers,
        body,
        message,
    })
}
