//! A tool called by hand: one call through the same door as `/mcp`, with what was said before the answer beside it.
//! The caller declares no capabilities: a gateway that asks something is told that nobody answers.
//! Whoever hangs up cancels the call.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::query::bad;
use super::{Caller, Name, Parts, answer, exact_ms, fault};
use crate::catalog::listing::Kind;
use crate::clock;
use crate::exchange::{Answer, Call, Client, Event, Scope, queue};
use crate::identity::Principal;
use crate::ids::{ExecutionId, GatewayId};
use crate::limits::{BODY_READ_TIMEOUT, EVENTS_IN_TRANSIT_MAX, TEST_EVENTS_BYTES_MAX, TEST_EVENTS_MAX};
use crate::protocol::json::Raw;
use crate::protocol::message::{self, Message, Notification, Request, RpcId};
use crate::protocol::meta::{LogLevel, PROGRESS_TOKEN};
use crate::protocol::version::ProtocolVersion;
use crate::proxy::ProxyError;
use crate::telemetry;
use crate::web::{Problem, read_body};

/// Log messages are wanted from here on.
const LOG_LEVEL: LogLevel = LogLevel::Info;

/// What came of a call.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tested<'a> {
    gateway: &'a str,
    duration_ms: f64,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a RawValue>,
    events: Vec<Said<'a>>,
    events_dropped: usize,
}

/// A notification.
#[derive(Debug, Serialize)]
struct Said<'a> {
    method: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    params: Option<&'a RawValue>,
}

/// Calls a tool with the body as its arguments.
pub(super) async fn test(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    Name(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let arguments = arguments(&parts, &headers, body).await?;
    let request = request(&name, &arguments)?;
    let at_most = parts.limits.in_flight_per_user_max;
    let Some(_place) = parts.proxy.places().take(caller.principal.user(), at_most) else {
        parts.metrics.limit_hit("in_flight_per_user");
        return Err(fault::too_many_calls(at_most));
    };
    let view = parts.proxy.view(&caller.principal);
    let Some(route) = view.snapshot().resolve(Kind::Tool, &name) else {
        return Err(fault::no_such_tool(&name));
    };
    let started = clock::now();
    let mut heard = Heard::default();
    match call(&parts, &caller, request, &mut heard).await {
        Ok(came) => tested(&route.gateway, started.elapsed(), &came, &heard),
        Err(error) => Err(failed(&parts, &caller, &error, &route.gateway, started.elapsed())),
    }
}

/// Reads the arguments: an object, or nothing at all.
pub(super) async fn arguments(parts: &Parts, headers: &HeaderMap, body: Body) -> Result<Raw, Problem> {
    let text = read_body(body, parts.limits.request_body_bytes_max, BODY_READ_TIMEOUT).await?;
    if text.is_empty() {
        return Ok(Raw::literal("{}"));
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the arguments must be JSON, sent with Content-Type: application/json",
        ));
    }
    let arguments = Raw::parse(&text).map_err(|error| bad(format!("the arguments are refused: {error}")))?;
    if !arguments.as_str().starts_with('{') {
        return Err(bad(
            "the arguments must be a JSON object, such as {\"query\": \"rust\"}",
        ));
    }
    Ok(arguments)
}

/// Writes the request as a client of `/mcp` would.
pub(super) fn request(name: &str, arguments: &Raw) -> Result<Request, Problem> {
    let params = format!(
        r#"{{"name":{},"arguments":{},"_meta":{{"{PROGRESS_TOKEN}":"test"}}}}"#,
        Raw::from(name).as_str(),
        arguments.as_str(),
    );
    let refused = |error: &dyn std::fmt::Display| bad(format!("the arguments are refused: {error}"));
    let params = Raw::parse(&Bytes::from(params)).map_err(|error| refused(&error))?;
    let method = Raw::literal(r#""tools/call""#);
    match Message::parse(message::request(&RpcId::number(1), &method, Some(&params))) {
        Ok(Message::Request(request)) => Ok(request),
        Ok(_) => Err(bad("the arguments make no request")),
        Err(error) => Err(refused(&error)),
    }
}

/// Carries out a request.
pub(super) async fn call(
    parts: &Parts,
    caller: &Caller,
    request: Request,
    heard: &mut Heard,
) -> Result<Answer, ProxyError> {
    hearing(caller, request, heard, |call| parts.proxy.call(call)).await
}

/// Carries out a request, and says under which id it was recorded.
pub(super) async fn call_recorded(
    parts: &Parts,
    caller: &Caller,
    request: Request,
    heard: &mut Heard,
) -> (Result<Answer, ProxyError>, Option<ExecutionId>) {
    hearing(caller, request, heard, |call| parts.proxy.call_recorded(call)).await
}

async fn hearing<F: Future>(
    caller: &Caller,
    request: Request,
    heard: &mut Heard,
    call: impl FnOnce(Call) -> F,
) -> F::Output {
    let (events, mut arriving) = queue::bounded(EVENTS_IN_TRANSIT_MAX);
    let cancel = CancellationToken::new();
    // Whoever hangs up drops this future, which cancels.
    let _guard = cancel.clone().drop_guard();
    let mut work = pin!(call(Call {
        request,
        client: Arc::new(client(&caller.principal)),
        log_level: Some(LOG_LEVEL),
        request_state: None,
        task: None,
        cancel,
        events: events.into(),
        streams: false,
        traceparent: telemetry::outgoing(&Span::current(), None).map(|context| context.to_string()),
        request_id: caller.request_id.clone(),
    }));
    let outcome = loop {
        tokio::select! {
            biased;
            Some(event) = arriving.recv() => heard.take(event),
            outcome = &mut work => break outcome,
        }
    };
    while let Ok(event) = arriving.try_recv() {
        heard.take(event);
    }
    outcome
}

/// Of the era that takes questions as requests, so that upstreams of both eras are told "nobody answers".
fn client(principal: &Arc<Principal>) -> Client {
    Client {
        principal: Arc::clone(principal),
        scope: Scope::Stateless,
        version: ProtocolVersion::LEGACY_LATEST,
        capabilities: Raw::literal("{}"),
        info: None,
        outbox: None,
    }
}

/// What was said before the answer, bounded.
#[derive(Debug, Default)]
pub(super) struct Heard {
    kept: Vec<Notification>,
    bytes: usize,
    dropped: usize,
}

impl Heard {
    fn take(&mut self, event: Event) {
        // A question that is dropped is one that nobody answers.
        let Event::Notification(said) = event else { return };
        let bytes = self.bytes + said.raw.len();
        if self.kept.len() == TEST_EVENTS_MAX || bytes > TEST_EVENTS_BYTES_MAX {
            self.dropped += 1;
            return;
        }
        self.bytes = bytes;
        self.kept.push(said);
    }
}

fn tested(gateway: &GatewayId, took: Duration, came: &Answer, heard: &Heard) -> Result<Response, Problem> {
    let error = Message::member(&came.response.raw, "error");
    let result = Message::member(&came.response.raw, "result");
    let said: Vec<(Option<Raw>, Option<Raw>)> = heard
        .kept
        .iter()
        .map(|said| {
            (
                Message::member(&said.raw, "method"),
                Message::member(&said.raw, "params"),
            )
        })
        .collect();
    answer(&Tested {
        gateway: gateway.as_str(),
        duration_ms: exact_ms(took),
        is_error: came.error_type().is_some(),
        result: result.as_ref().and_then(Raw::read),
        error: error.as_ref().and_then(Raw::read),
        events: said
            .iter()
            .map(|(method, params)| Said {
                method: method.as_ref().and_then(Raw::read),
                params: params.as_ref().and_then(Raw::read),
            })
            .collect(),
        events_dropped: heard.dropped,
    })
}

/// Logs a failure, once, and says it to the caller.
pub(super) fn failed(
    parts: &Parts,
    caller: &Caller,
    error: &ProxyError,
    gateway: &GatewayId,
    took: Duration,
) -> Problem {
    let problem = fault::problem(parts, error);
    let request_id = caller.request_id.as_ref().map_or("", |id| id.as_str());
    tracing::info!(
        request.id = request_id,
        gateway.id = %gateway,
        http.response.status_code = problem.status().as_u16(),
        elapsed_ms = took.as_millis() as u64,
        "a tool called by hand gave no answer"
    );
    problem
}
