//! Pipes on paused time: the test holds the other end of each.

use serde_json::{Value, json};
use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::config;
use crate::exchange::{Event, Outbox, queue};
use crate::identity::Identity;
use crate::ids::SessionId;
use crate::limits::{
    ABANDONED_CALL_AGE_MAX, IN_FLIGHT_PER_GATEWAY_MAX, RECONNECT_HEALTHY_AFTER, STDIO_PROBE_TIMEOUT,
    STREAM_QUEUE_EVENTS_MAX, UPSTREAM_SESSION_IDLE_MAX,
};
use crate::protocol::message::Notification;
use crate::protocol::meta::LogLevel;
use crate::upstream::fixture::{call_of, client, tool_route};

mod attribution;
mod lifetime;

/// Hands the other end of each pipe to the test.
struct Fake {
    pipes: mpsc::Sender<Port>,
    refuses: bool,
}

impl Connect for Fake {
    fn connect(&self, port: Port) -> BoxFuture<'_, Result<(), OpenError>> {
        Box::pin(async move {
            let told = self.pipes.send(port).await;
            if self.refuses || told.is_err() {
                return Err(OpenError::Failed("refused".to_owned()));
            }
            Ok(())
        })
    }
}

/// The upstream's end of a pipe.
struct Upstream(Port);

impl Upstream {
    async fn hears(&mut self) -> Value {
        let outgoing = self.0.outgoing.recv().await.unwrap();
        serde_json::from_slice(&outgoing.message).unwrap()
    }

    fn hears_nothing(&mut self) {
        if let Ok(outgoing) = self.0.outgoing.try_recv() {
            panic!("heard {:?}", outgoing.message);
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "tests write json!(…) in place")]
    fn says(&self, message: Value) {
        let _ = self.0.inbox.message(&Bytes::from(message.to_string()));
    }

    fn answers(&self, to: &Value) {
        self.says(json!({"jsonrpc": "2.0", "id": to["id"], "result": {"content": []}}));
    }

    async fn shakes_hands(&mut self) -> Value {
        let asked = self.hears().await;
        assert_eq!(asked["method"], "initialize");
        let capabilities = json!({"tools": {}, "logging": {}, "resources": {"subscribe": true}});
        let result = json!({"protocolVersion": "2025-06-18", "capabilities": capabilities});
        self.says(json!({"jsonrpc": "2.0", "id": asked["id"], "result": result}));
        assert_eq!(self.hears().await["method"], "notifications/initialized");
        asked
    }
}

struct Bench {
    duplex: Arc<Duplex<Fake>>,
    pipes: mpsc::Receiver<Port>,
    supervisor: Supervisor,
}

impl Bench {
    fn new(shares: Processes) -> Self {
        Self::with(shares, EraChoice::Legacy, false)
    }

    fn with(shares: Processes, era: EraChoice, refuses: bool) -> Self {
        let (sender, pipes) = mpsc::channel(8);
        let setting = Setting {
            gateway: GatewayId::new("g"),
            shares,
            era,
            timeout: Duration::from_mins(1),
            question_timeout: Duration::from_mins(1),
        };
        let supervisor = Supervisor::new();
        let fake = Fake {
            pipes: sender,
            refuses,
        };
        let duplex = Arc::new(Duplex::new(fake, setting, &supervisor));
        Self {
            duplex,
            pipes,
            supervisor,
        }
    }

    async fn opened(&mut self) -> Upstream {
        Upstream(self.pipes.recv().await.unwrap())
    }

    /// Starts a call; the handshake is not done yet.
    fn calls(&self, client: &Client) -> Flying {
        self.calls_at(client, None)
    }

    fn calls_at(&self, client: &Client, level: Option<LogLevel>) -> Flying {
        let (mut call, events) = call_of(client.clone(), STREAM_QUEUE_EVENTS_MAX);
        call.log_level = level;
        let cancel = call.cancel.clone();
        let (sender, outcome) = tokio::sync::oneshot::channel();
        let duplex = Arc::clone(&self.duplex);
        self.supervisor.spawn("call", async move {
            let route = tool_route("t", "t");
            let _ = sender.send(duplex.call(&route, call).await);
        });
        Flying {
            events,
            outcome,
            cancel,
        }
    }
}

/// A call in flight.
struct Flying {
    events: queue::Receiver<Event>,
    outcome: tokio::sync::oneshot::Receiver<Result<Answer, CallError>>,
    cancel: CancellationToken,
}

impl Flying {
    async fn lands(self) -> Result<Answer, CallError> {
        self.outcome.await.unwrap()
    }

    /// The refusal of a call that never left.
    async fn refusal(self) -> String {
        self.lands().await.unwrap_err().to_string()
    }

    fn heard(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.events.try_recv().ok())
            .map(|event| match event {
                Event::Notification(Notification { raw, .. }) => serde_json::from_slice(&raw).unwrap(),
                Event::Question(question) => serde_json::from_slice(&question.request.raw).unwrap(),
                Event::Answer(_) => panic!("nobody said that they take it so"),
            })
            .collect()
    }
}

/// A client of a user in a session.
fn person(user: &str, session: &str) -> Client {
    let key = format!("key-of-{user}");
    let keys = vec![config::Key {
        user: UserId::new(user),
        sha256: <sha2::Sha256 as sha2::Digest>::digest(&key).into(),
        acts_for_users: false,
        tools: None,
    }];
    let identity = Identity::new(Some(&config::Auth { keys })).unwrap();
    let mut headers = http::HeaderMap::new();
    headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    Client {
        principal: identity.authenticate(&headers).unwrap(),
        scope: Scope::Session(SessionId::new(session)),
        ..client(r#"{"elicitation":{}}"#)
    }
}

/// Lets every task go on as far as it can.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn log_message(level: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": level, "data": "x"}})
}

fn elicitation(id: u64) -> Value {
    let params = json!({"message": "?", "requestedSchema": {"type": "object"}});
    json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": params})
}
