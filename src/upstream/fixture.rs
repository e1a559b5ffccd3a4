//! Calls and clients for the tests of this folder.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use tokio_util::sync::CancellationToken;

use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::exchange::{Call, Client, Event, Scope, queue};
use crate::identity::Identity;
use crate::ids::GatewayId;
use crate::protocol::json::Raw;
use crate::protocol::message::{Message, Request};
use crate::protocol::meta::LogLevel;
use crate::protocol::version::ProtocolVersion;

pub(super) fn message(text: &str) -> Message {
    Message::parse(Bytes::from(text.to_owned())).unwrap()
}

pub(super) fn request(text: &str) -> Request {
    match message(text) {
        Message::Request(request) => request,
        other => panic!("no request: {other:?}"),
    }
}

/// A client without a session that speaks 2025-11-25.
pub(super) fn client(capabilities: &str) -> Client {
    Client {
        principal: Identity::new(None)
            .unwrap()
            .authenticate(&HeaderMap::new())
            .unwrap(),
        scope: Scope::Stateless,
        version: ProtocolVersion::V2025_11_25,
        capabilities: Raw::parse(&Bytes::from(capabilities.to_owned())).unwrap(),
        info: None,
        outbox: None,
    }
}

/// A call of tool `t` under id `c1` with progress token `mine`, which wants warnings.
pub(super) fn call_of(client: Client, queue: usize) -> (Call, queue::Receiver<Event>) {
    let (events, receiver) = queue::bounded(queue);
    let call = Call {
        request: request(
            r#"{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"t","_meta":{"progressToken":"mine"}}}"#,
        ),
        client: Arc::new(client),
        log_level: Some(LogLevel::Warning),
        request_state: None,
        task: None,
        cancel: CancellationToken::new(),
        events: events.into(),
        streams: false,
        traceparent: None,
        request_id: None,
    };
    (call, receiver)
}

/// The route of a tool that the upstream knows as `own`.
pub(super) fn tool_route(exposed: &str, own: &str) -> Route {
    Route {
        kind: Kind::Tool,
        gateway: GatewayId::new("g"),
        exposed: exposed.into(),
        own: own.into(),
        param_headers: Arc::from([]),
        repeatable: false,
        index: None,
    }
}
