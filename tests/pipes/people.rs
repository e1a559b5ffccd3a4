//! Callers for the tests of upstreams.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use toolgate::catalog::listing::Kind;
use toolgate::catalog::route::Route;
use toolgate::config;
use toolgate::exchange::{Call, Client, Event, Scope, queue};
use toolgate::identity::Identity;
use toolgate::ids::{GatewayId, SessionId, UserId};
use toolgate::protocol::json::Raw;
use toolgate::protocol::message::Message;
use toolgate::protocol::version::{Era, ProtocolVersion};

#[derive(Clone)]
pub(crate) struct Person(pub(crate) Client);

impl Person {
    pub(crate) fn of(user: &str, scope: Scope, version: ProtocolVersion, capabilities: &str) -> Self {
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
        Self(Client {
            principal: identity.authenticate(&headers).unwrap(),
            scope,
            version,
            capabilities: Raw::parse(&Bytes::from(capabilities.to_owned())).unwrap(),
            info: None,
            outbox: None,
        })
    }

    pub(crate) fn legacy(user: &str) -> Self {
        let session = Scope::Session(SessionId::new(&format!("session of {user}")));
        Self::of(
            user,
            session,
            ProtocolVersion::V2025_11_25,
            r#"{"elicitation":{}}"#,
        )
    }

    pub(crate) fn modern(user: &str) -> Self {
        Self::of(
            user,
            Scope::Stateless,
            ProtocolVersion::V2026_07_28,
            r#"{"elicitation":{}}"#,
        )
    }

    pub(crate) fn session(mut self, name: &str) -> Self {
        self.0.scope = Scope::Session(SessionId::new(name));
        self
    }

    pub(crate) fn call(&self, tool: &str, arguments: &Value) -> (Route, Call, queue::Receiver<Event>) {
        let mut meta = json!({"progressToken": "mine"});
        if self.0.version.era() == Era::Modern {
            meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
            meta["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {}});
        }
        let text = json!({"jsonrpc": "2.0", "id": "c1", "method": "tools/call",
            "params": {"name": tool, "arguments": arguments, "_meta": meta}});
        // Line ends between tokens are legal in a body and must not end the line.
        let text = serde_json::to_string_pretty(&text).unwrap();
        let Ok(Message::Request(request)) = Message::parse(Bytes::from(text)) else {
            panic!("no request")
        };
        let (events, heard) = queue::bounded(64);
        let call = Call {
            request,
            client: Arc::new(self.0.clone()),
            log_level: None,
            request_state: None,
            task: None,
            cancel: CancellationToken::new(),
            events: events.into(),
            streams: false,
            traceparent: None,
            request_id: None,
        };
        (route(tool), call, heard)
    }
}

pub(crate) fn route(name: &str) -> Route {
    Route {
        kind: Kind::Tool,
        gateway: GatewayId::new("fake"),
        exposed: name.into(),
        own: name.into(),
        param_headers: Arc::from([]),
        repeatable: false,
        index: None,
    }
}
