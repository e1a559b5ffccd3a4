//! One request as operators see it, from its arrival to its answer: a metric, a log line when it failed, and a span
//! when spans are exported (OpenTelemetry semantic conventions for MCP). Knows nothing that a client reads.
//! Labels and span names only hold names that resolved, never what a client made up.

use std::fmt::Display;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tracing::Span;
use tracing::field::{Empty, display};
use url::Url;

use super::era::Spoken;
use super::fault::Fault;
use super::{Endpoint, Sent};
use crate::catalog::listing::Kind;
use crate::catalog::route::Route;
use crate::clock::{self, Instant};
use crate::exchange::{Answer, CallError, Client, Scope};
use crate::ids::RequestId;
use crate::protocol::error::INTERNAL_ERROR;
use crate::protocol::message::Request;
use crate::protocol::meta;
use crate::protocol::method::Method;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::proxy::ProxyError;
use crate::telemetry::{self, ErrorType, Metrics, SPANS, TraceContext, Transport, redacted};

/// The method of a request whose method we do not know: its name could be anything.
const OTHER: &str = "_OTHER";
/// A reason may repeat what a client or a gateway wrote.
const LOGGED_REASON_BYTES_MAX: usize = 256;

/// A request that is being answered. One that is dropped unanswered was cancelled.
#[derive(Debug)]
pub(super) struct Operation {
    metrics: Arc<Metrics>,
    method: &'static str,
    route: Option<Arc<Route>>,
    version: ProtocolVersion,
    request_id: RequestId,
    started: Instant,
    span: Span,
    over: bool,
}

/// How a request failed.
struct Failure {
    error: ErrorType,
    /// Whose fault it is: ours and our gateways', or theirs who asked.
    ours: bool,
    reason: String,
}

impl Failure {
    fn new(error: ErrorType, ours: bool, reason: &dyn Display) -> Self {
        let mut reason = reason.to_string();
        reason.truncate(reason.floor_char_boundary(LOGGED_REASON_BYTES_MAX));
        Self { error, ours, reason }
    }
}

impl Operation {
    /// Takes note of a request that has arrived.
    pub(super) fn begin(
        endpoint: &Endpoint,
        sent: &Sent,
        request: &Request,
        version: ProtocolVersion,
    ) -> Self {
        let route = route_of(endpoint, sent, request);
        Self {
            metrics: endpoint.parts.metrics.clone(),
            method: match request.method {
                Method::Other => OTHER,
                method => method.as_str(),
            },
            span: span(request, route.as_deref(), version),
            route,
            version,
            request_id: sent.request_id.clone(),
            started: clock::now(),
            over: false,
        }
    }

    /// Returns the span that the work belongs to, if it is exported.
    pub(super) fn span(&self) -> Option<Span> {
        (!self.span.is_disabled()).then(|| self.span.clone())
    }

    /// Returns the id of the HTTP request.
    pub(super) fn request_id(&self) -> &RequestId {
        &self.request_id
    }

    /// Returns the `traceparent` for the upstream, when spans are exported. Else what the client sent travels on
    /// as it is.
    pub(super) fn traceparent(&self, client: &Client) -> Option<String> {
        if self.span.is_disabled() {
            return None;
        }
        if let Scope::Session(id) = &client.scope {
            // Enough to tell sessions apart, and nothing to do anything with.
            let hash: [u8; 32] = Sha256::digest(id.as_str()).into();
            let head = hash.first_chunk().copied().unwrap_or_default();
            let text = format!("{:016x}", u64::from_be_bytes(head));
            self.span.record("mcp.session.id", text);
        }
        telemetry::outgoing(&self.span, None).map(|context| context.to_string())
    }

    /// The request was answered by ourselves.
    pub(super) fn answered(&mut self) {
        self.end(None);
    }

    /// The request was refused.
    pub(super) fn refused(&mut self, fault: &Fault) {
        let ours = fault.code() == INTERNAL_ERROR;
        let error = ErrorType::of_code(fault.code());
        self.end(Some(&Failure::new(error, ours, &fault.message())));
    }

    /// The request was answered by ourselves, or refused.
    pub(super) fn done<T>(&mut self, done: &Result<T, Fault>) {
        match done {
            Ok(_) => self.answered(),
            Err(fault) => self.refused(fault),
        }
    }

    /// A gateway answered, or did not.
    pub(super) fn called(&mut self, answer: &Result<Answer, ProxyError>) {
        match answer {
            Ok(answer) => {
                let reason = "the gateway answered with an error";
                let failure = answer.error_type();
                self.end(failure.map(|error| Failure::new(error, false, &reason)).as_ref());
            }
            Err(ProxyError::Call(CallError::Cancelled)) => self.cancelled(),
            Err(ProxyError::Call(error)) => self.end(Some(&Failure::new(error.error_type(), true, error))),
            Err(error) => {
                let spoken = match self.version.era() {
                    Era::Legacy => Spoken::Legacy,
                    Era::Modern => Spoken::Modern,
                };
                self.refused(&Fault::of(error, spoken));
            }
        }
    }

    fn cancelled(&mut self) {
        self.count(Some(ErrorType::Cause("cancelled")));
        tracing::debug!(
            request.id = self.request_id.as_str(),
            mcp.method.name = self.method,
            "request cancelled"
        );
    }

    fn end(&mut self, failed: Option<&Failure>) {
        self.count(failed.map(|failure| failure.error));
        let elapsed_ms = self.started.elapsed().as_millis() as u64;
        let (gateway, tool) = (self.gateway(), self.tool());
        let (method, request_id) = (self.method, self.request_id.as_str());
        // Two lines of the same form, since a line's level is fixed where it stands.
        match failed {
            None => tracing::debug!(
                request.id = request_id,
                mcp.method.name = method,
                gateway.id = gateway,
                gen_ai.tool.name = tool,
                elapsed_ms,
                "request answered"
            ),
            Some(failure) if failure.ours => tracing::warn!(
                request.id = request_id,
                mcp.method.name = method,
                gateway.id = gateway,
                gen_ai.tool.name = tool,
                error.type = %failure.error,
                reason = ?failure.reason,
                elapsed_ms,
                "request failed"
            ),
            Some(failure) => tracing::info!(
                request.id = request_id,
                mcp.method.name = method,
                gateway.id = gateway,
                gen_ai.tool.name = tool,
                error.type = %failure.error,
                reason = ?failure.reason,
                elapsed_ms,
                "request failed"
            ),
        }
    }

    fn count(&mut self, error: Option<ErrorType>) {
        self.over = true;
        if let Some(error) = error {
            self.span.record("error.type", display(error));
            self.span.record("otel.status_code", "ERROR");
            if let ErrorType::Code(code) = error {
                self.span.record("rpc.response.status_code", code.to_string());
            }
        }
        let operation = telemetry::Operation {
            method: self.method,
            tool: self.tool().map(|name| self.metrics.tool_label(name)),
            error,
            transport: Transport::Tcp,
            protocol_version: self.version.as_str(),
        };
        self.metrics.server_operation(operation, self.started.elapsed());
    }

    fn tool(&self) -> Option<&str> {
        let route = self.route.as_ref().filter(|route| route.kind == Kind::Tool);
        route.map(|route| &*route.exposed)
    }

    fn gateway(&self) -> Option<&str> {
        self.route.as_ref().map(|route| route.gateway.as_str())
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if !self.over {
            self.cancelled();
        }
    }
}

/// Finds what a request names, whether its sender may use it or not.
fn route_of(endpoint: &Endpoint, sent: &Sent, request: &Request) -> Option<Arc<Route>> {
    let kind = match request.method {
        Method::ToolsCall => Kind::Tool,
        Method::PromptsGet => Kind::Prompt,
        _ => return None,
    };
    let name = request.params.as_ref()?.string("name")?;
    let view = endpoint.parts.proxy.view(&sent.principal);
    view.snapshot().resolve(kind, &name).cloned()
}

/// Makes the request's span. What its fields need is only worked out when it is exported.
fn span(request: &Request, route: Option<&Route>, version: ProtocolVersion) -> Span {
    let named = |kind| {
        route
            .filter(|route| route.kind == kind)
            .map(|route| &*route.exposed)
    };
    let text = |key: &str| request.params.as_ref().and_then(|params| params.string(key));
    let method = request.method.as_str();
    let span = tracing::info_span!(
        target: SPANS,
        "mcp",
        otel.name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {}", route.exposed)),
        otel.kind = "server",
        otel.status_code = Empty,
        mcp.method.name = method,
        mcp.protocol.version = version.as_str(),
        mcp.session.id = Empty,
        mcp.resource.uri = text("uri").and_then(|uri| Some(redacted(&Url::parse(&uri).ok()?).to_string())),
        gen_ai.operation.name = named(Kind::Tool).map(|_| "execute_tool"),
        gen_ai.tool.name = named(Kind::Tool),
        gen_ai.prompt.name = named(Kind::Prompt),
        gateway.id = route.map(|route| route.gateway.as_str()),
        jsonrpc.request.id = request.id.raw().string().as_deref().unwrap_or(request.id.raw().as_str()),
        network.transport = "tcp",
        network.protocol.name = "http",
        rpc.response.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        let sent = request
            .meta
            .as_ref()
            .and_then(|meta| meta.string(meta::TRACEPARENT));
        if let Some(parent) = sent.as_deref().and_then(TraceContext::parse) {
            telemetry::adopt_beside(&span, &parent);
        }
    }
    span
}
