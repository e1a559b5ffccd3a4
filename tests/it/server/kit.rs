//! A server on port 0, the endpoint behind it, and a client that writes and reads bytes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream::{self, StreamExt as _};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use toolgate::config;
use toolgate::identity::{Identity, Principal, SessionTokens};
use toolgate::ids::UserId;
use toolgate::server::{
    Access, Bounds, Drained, Listener, MostlyWaits, Mounts, Probes, Problem, Readiness, Server, Shutdown,
    Timeouts, metrics_may_be_open, read_body,
};
use toolgate::store::Store;
use toolgate::supervisor::Supervisor;
use toolgate::telemetry::Metrics;

/// What the endpoint takes as a body.
pub(super) const BODY_BYTES_MAX: usize = 1_000;
/// How long it waits for one.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_millis(300);
/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a test wants of its server.
pub(super) struct Wanted {
    pub(super) bounds: Bounds,
    pub(super) auth: bool,
    pub(super) public_url: Option<&'static str>,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            bounds: Bounds {
                connections_max: 100,
                in_flight_max: 50,
                timeouts: Timeouts::default(),
                drain_timeout: Duration::from_secs(10),
            },
            auth: false,
            public_url: None,
        }
    }
}

pub(super) struct Running {
    pub(super) address: SocketAddr,
    pub(super) shutdown: Shutdown,
    pub(super) metrics: Arc<Metrics>,
    pub(super) readiness: Arc<Mutex<Readiness>>,
    drained: oneshot::Receiver<Drained>,
}

pub(super) async fn start(wanted: Wanted) -> Running {
    let listener = Listener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.address();
    let server = config::Server {
        listen: "127.0.0.1:0".to_owned(),
        public_url: wanted.public_url.map(|url| url.parse().unwrap()),
        allowed_origins: Vec::new(),
        allowed_hosts: Vec::new(),
        store: config::StorePlace::Memory,
        drain_timeout: wanted.bounds.drain_timeout,
    };
    let (shutdown, metrics, supervisor) = (Shutdown::new(), Arc::new(Metrics::new()), Supervisor::new());
    let readiness = Arc::new(Mutex::new(Readiness::default()));
    let snapshot = Arc::clone(&readiness);
    let auth = wanted.auth.then(|| config::Auth {
        keys: vec![
            key("alice", "alice-key", false),
            key("backend", "backend-key", true),
        ],
    });
    let mounts = Mounts {
        mcp: tower::service_fn(|request| async { Ok::<_, Infallible>(endpoint(request).await) }),
        api: Router::new()
            .route("/tools", get(|| async { "tools" }))
            .route("/panic", get(|| async { panic_response() })),
        open: Router::new(),
        probes: Probes::new(shutdown.clone(), move || snapshot.lock().unwrap().clone()),
        metrics: Arc::clone(&metrics),
        identity: Arc::new(Identity::new(auth.as_ref()).unwrap()),
        session_tokens: SessionTokens::new(Store::in_memory().await.unwrap()),
        open_metrics: metrics_may_be_open(&server, address),
    };
    let access = Arc::new(Access::new(&server, address).unwrap());
    let server = Server::new(
        listener,
        mounts,
        access,
        wanted.bounds,
        supervisor.clone(),
        shutdown.clone(),
    );
    let (tell, drained) = oneshot::channel();
    supervisor.spawn_until_done("server", async move {
        let _ = tell.send(server.run().await);
    });
    Running {
        address,
        shutdown,
        metrics,
        readiness,
        drained,
    }
}

fn key(user: &str, key: &str, acts_for_users: bool) -> config::Key {
    config::Key {
        user: UserId::new(user),
        sha256: Sha256::digest(key).into(),
        acts_for_users,
        tools: None,
    }
}

fn panic_response() -> Response {
    panic!("told to panic")
}

/// `/mcp`: does what `x-do` says; by default tells who asked and how long the body was.
async fn endpoint(request: Request) -> Response {
    let order = request
        .headers()
        .get("x-do")
        .and_then(|order| order.to_str().ok())
        .unwrap_or("echo")
        .to_owned();
    match order.as_str() {
        "panic" => panic_response(),
        "hang" => std::future::pending().await,
        "wait" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "waited".into_response()
        }
        "flood" => {
            let chunk = bytes::Bytes::from(vec![b'x'; 64 * 1024]);
            Body::from_stream(stream::repeat(chunk).map(Ok::<_, Infallible>)).into_response()
        }
        "stream" | "listen" => {
            let hello = stream::iter([Ok::<_, Infallible>(bytes::Bytes::from_static(b"hello"))]);
            let mut response = Body::from_stream(hello.chain(stream::pending())).into_response();
            if order == "listen" {
                response.extensions_mut().insert(MostlyWaits);
            }
            response
        }
        _ => {
            let user = request
                .extensions()
                .get::<Arc<Principal>>()
                .unwrap()
                .user()
                .clone();
            match read_body(request.into_body(), BODY_BYTES_MAX, BODY_TIMEOUT).await {
                Ok(body) => format!("{user} {}", body.len()).into_response(),
                Err(error) => Problem::from(error).into_response(),
            }
        }
    }
}

impl Running {
    pub(super) async fn connect(&self) -> Client {
        Client {
            stream: TcpStream::connect(self.address).await.unwrap(),
            read: Vec::new(),
        }
    }

    /// One request on a connection of its own. `lines` are header lines beside `Host`.
    pub(super) async fn ask(&self, line: &str, lines: &[&str]) -> Reply {
        let host = format!("Host: {}", self.address);
        let lines: Vec<&str> = [host.as_str()].into_iter().chain(lines.iter().copied()).collect();
        self.ask_exactly(line, &lines).await
    }

    /// The same without a `Host` of ours.
    pub(super) async fn ask_exactly(&self, line: &str, lines: &[&str]) -> Reply {
        let mut client = self.connect().await;
        client
            .send(&format!("{line} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n")))
            .await;
        client.reply().await
    }

    /// Waits until a line stands in the metrics.
    pub(super) async fn metric(&self, line: &str) {
        let seen = async {
            while !self.metrics.encode().lines().any(|found| found == line) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let seen = tokio::time::timeout(PATIENCE, seen).await;
        assert!(seen.is_ok(), "{line}\nis not in\n{}", self.metrics.encode());
    }

    pub(super) async fn drained(self) -> Drained {
        tokio::time::timeout(PATIENCE, self.drained)
            .await
            .expect("it drains")
            .unwrap()
    }
}

/// A connection with what was read beyond the last reply.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    head: String,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }
}

impl Client {
    pub(super) async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads the next reply; one without `Content-Length` has an empty body here.
    pub(super) async fn reply(&mut self) -> Reply {
        let head = self.read_until(|read| {
            read.windows(4)
                .position(|four| four == b"\r\n\r\n")
                .map(|at| at + 4)
        });
        let head = String::from_utf8(head.await).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut reply = Reply {
            status,
            head,
            body: String::new(),
        };
        let length: usize = reply
            .header("content-length")
            .map_or(0, |length| length.parse().unwrap());
        let body = self
            .read_until(|read| (read.len() >= length).then_some(length))
            .await;
        reply.body = String::from_utf8(body).unwrap();
        reply
    }

    async fn read_until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        loop {
            if let Some(end) = end(&self.read) {
                return self.read.drain(..end).collect();
            }
            let n = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read));
            let n = n.await.expect("something comes").unwrap();
            assert_ne!(n, 0, "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// Everything until the server closes the connection.
    pub(super) async fn rest(&mut self) -> String {
        let rest = self.stream.read_to_end(&mut self.read);
        tokio::time::timeout(PATIENCE, rest)
            .await
            .expect("it ends")
            .unwrap();
        String::from_utf8(std::mem::take(&mut self.read)).unwrap()
    }

    /// Waits until the server has closed the connection; returns how long that took.
    pub(super) async fn closed(&mut self) -> Duration {
        let started = tokio::time::Instant::now();
        let closed = async {
            loop {
                match self.stream.read_buf(&mut self.read).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => self.read.clear(),
                }
            }
        };
        tokio::time::timeout(PATIENCE, closed)
            .await
            .expect("it is closed");
        started.elapsed()
    }
}
