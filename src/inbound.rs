//! The MCP endpoint: `POST`, `GET` and `DELETE /mcp` for clients of both eras (2025-11-25 and 2026-07-28, Transports,
//! "Streamable HTTP"). A client's era ends here: behind this module there are only calls and exchanges.
//! Lists, `initialize` and `server/discover` are answered from memory; no upstream is ever waited for to answer them.

mod batch;
mod capabilities;
mod cursor;
mod era;
mod exchange;
mod fault;
mod input_required;
mod kept;
mod legacy;
mod listen;
mod lists;
mod modern;
mod modern_check;
mod notices;
mod operation;
mod parked;
mod questions;
mod render;
mod replay;
mod reply;
mod request_state;
mod session;
mod sessions;
mod stream;
mod task_id;

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method as HttpMethod, Request, Response, StatusCode};
use tokio_util::sync::CancellationToken;

use self::era::Spoken;
use self::fault::Fault;
use self::parked::Parked;
use self::session::Session;
use self::sessions::Sessions;
use crate::catalog::Catalog;
use crate::config::Limits;
use crate::identity::Principal;
use crate::ids::RequestId;
use crate::limits::BODY_READ_TIMEOUT;
use crate::protocol::headers::LAST_EVENT_ID;
use crate::protocol::message::{Message, MessageError};
use crate::proxy::{Places, Proxy};
use crate::seal::Sealer;
use crate::store::ClientSessions;
use crate::supervisor::Supervisor;
use crate::telemetry::Metrics;
use crate::web::read_body;

/// What the endpoint is made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Carries out what belongs to an upstream.
    pub proxy: Arc<Proxy>,
    /// Tells of changed lists.
    pub catalog: Arc<Catalog>,
    /// Keeps sessions over a restart.
    pub kept: ClientSessions,
    /// Seals what clients hold.
    pub sealer: Arc<Sealer>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Runs calls that outlive their connection.
    pub supervisor: Supervisor,
    /// The configured bounds.
    pub limits: Limits,
    /// Cancelled when the process begins to stop: streams that wait for news end then.
    pub draining: CancellationToken,
}

/// The MCP endpoint. Cheap to clone; a tower service.
#[derive(Clone, Debug)]
pub struct McpService(Arc<Endpoint>);

#[derive(Debug)]
struct Endpoint {
    parts: Parts,
    sessions: Sessions,
    parked: Parked,
    /// Listen streams of each user.
    listening: Places,
}

/// Who sent an HTTP request, and with which headers.
#[derive(Debug)]
struct Sent {
    principal: Arc<Principal>,
    headers: HeaderMap,
    request_id: RequestId,
}

impl Sent {
    /// Takes a request apart; `None` when nobody said who sent it. Not in the future that answers it, which would keep
    /// the rest of the head until it has.
    fn taken(request: Request<Body>) -> Option<(HttpMethod, Self, Body)> {
        let (mut head, body) = request.into_parts();
        let sent = Self {
            principal: head.extensions.remove()?,
            headers: head.headers,
            request_id: head.extensions.remove().unwrap_or_else(|| RequestId::new("")),
        };
        Some((head.method, sent, body))
    }

    /// Returns what a response needs of it after the request is gone.
    fn again(&self) -> Self {
        Self {
            principal: self.principal.clone(),
            headers: HeaderMap::new(),
            request_id: self.request_id.clone(),
        }
    }
}

impl McpService {
    /// Opens the endpoint and starts the task that ends idle sessions.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let sessions = Sessions::new(&parts);
        let endpoint = Arc::new(Endpoint {
            sessions,
            parked: Parked::new(&parts.metrics),
            listening: Places::default(),
            parts,
        });
        let weak = Arc::downgrade(&endpoint);
        endpoint
            .parts
            .supervisor
            .spawn("session sweeper", sessions::sweep(weak));
        endpoint
            .parts
            .supervisor
            .spawn("kept session sweeper", kept::sweep(endpoint.parts.clone()));
        Self(endpoint)
    }
}

impl tower::Service<Request<Body>> for McpService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let endpoint = self.0.clone();
        match Sent::taken(request) {
            Some((method, sent, body)) => {
                async move { Ok(endpoint.answer(&method, &sent, body).await) }.boxed()
            }
            None => ready(Ok(reply::empty(StatusCode::UNAUTHORIZED))).boxed(),
        }
    }
}

impl Endpoint {
    async fn answer(self: Arc<Self>, method: &HttpMethod, sent: &Sent, body: Body) -> Response<Body> {
        match *method {
            HttpMethod::POST => self.post(sent, body).await,
            HttpMethod::GET => self.get(sent).await,
            HttpMethod::DELETE => self.delete(sent).await,
            _ => not_allowed("GET, POST, DELETE"),
        }
    }

    async fn post(self: Arc<Self>, sent: &Sent, body: Body) -> Response<Body> {
        if let Err(status) = acceptable(&sent.headers) {
            return reply::empty(status);
        }
        let text = match read_body(body, self.parts.limits.request_body_bytes_max, BODY_READ_TIMEOUT).await {
            Ok(text) => text,
            Err(error) => {
                let fault = Fault::invalid_request(error.to_string());
                return reply::error(error.status(), None, &fault.named(&sent.request_id));
            }
        };
        match Message::parse(text.clone()) {
            Ok(message) => self.message(sent, Box::new(message)).await,
            Err(MessageError::Batch) => Box::pin(self.batch(sent, &text)).await,
            Err(error) => unreadable(&error, &sent.request_id),
        }
    }

    async fn message(self: Arc<Self>, sent: &Sent, message: Box<Message>) -> Response<Body> {
        match era::of(&sent.headers, &message) {
            Spoken::Modern => self.modern(sent, message).await,
            Spoken::Legacy => self.legacy(sent, message).await,
        }
    }

    /// Opens the stream for what belongs to no request (legacy; 2025-11-25, "Listening for Messages").
    async fn get(self: Arc<Self>, sent: &Sent) -> Response<Body> {
        if era::of_headers(&sent.headers) == Spoken::Modern {
            return not_allowed("POST");
        }
        if !names(&sent.headers, "text/event-stream") {
            return reply::empty(StatusCode::NOT_ACCEPTABLE);
        }
        match self.session_of(sent).await {
            Ok(Some(session)) => {
                resumed(&session, sent).unwrap_or_else(|| notices::stream(&self.parts, session))
            }
            Ok(None) => reply::error(
                StatusCode::BAD_REQUEST,
                None,
                &Fault::no_session().named(&sent.request_id),
            ),
            Err(response) => *response,
        }
    }

    /// Ends a session (legacy; 2025-11-25, "Session Management").
    async fn delete(self: Arc<Self>, sent: &Sent) -> Response<Body> {
        if era::of_headers(&sent.headers) == Spoken::Modern {
            return not_allowed("POST");
        }
        match self.session_of(sent).await {
            Ok(Some(session)) => {
                if let Some(forgotten) = self.sessions.end(&session.id) {
                    forgotten.written().await;
                }
                reply::empty(StatusCode::NO_CONTENT)
            }
            Ok(None) => reply::error(
                StatusCode::BAD_REQUEST,
                None,
                &Fault::no_session().named(&sent.request_id),
            ),
            Err(response) => *response,
        }
    }
}

/// Takes up the stream that `Last-Event-ID` names; `None` when none is named, or it is no longer kept.
fn resumed(session: &Arc<Session>, sent: &Sent) -> Option<Response<Body>> {
    let last = sent.headers.get(LAST_EVENT_ID)?.to_str().ok()?;
    let (log, event) = session.replays.find(last)?;
    Some(reply::events(log.read(event, false)?))
}

/// What the specification has clients accept, as nearly all of them write it.
const ACCEPTED: &str = "application/json, text/event-stream";

/// Checks that a POST carries JSON and takes the answer as we write it. Clients that say nothing take anything.
fn acceptable(headers: &HeaderMap) -> Result<(), StatusCode> {
    let content_type = headers.get(CONTENT_TYPE);
    if content_type.is_some_and(|value| value == "application/json")
        && headers.get(ACCEPT).is_some_and(|value| value == ACCEPTED)
    {
        return Ok(());
    }
    let json = content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !json {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let takes = !headers.contains_key(ACCEPT)
        || names(headers, "application/json")
        || names(headers, "text/event-stream");
    if takes {
        Ok(())
    } else {
        Err(StatusCode::NOT_ACCEPTABLE)
    }
}

/// Tells whether `Accept` names a media type, itself or by a wildcard.
fn names(headers: &HeaderMap, media_type: &str) -> bool {
    let family = media_type.split('/').next().unwrap_or_default();
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            let of_family = |range: &str| range.eq_ignore_ascii_case(family);
            range.eq_ignore_ascii_case(media_type)
                || range == "*/*"
                || range.strip_suffix("/*").is_some_and(of_family)
        })
}

fn unreadable(error: &MessageError, request_id: &RequestId) -> Response<Body> {
    let (id, error) = error.to_rpc();
    reply::error(
        StatusCode::BAD_REQUEST,
        id.as_ref(),
        &Fault::from(error).named(request_id),
    )
}

fn not_allowed(allowed: &'static str) -> Response<Body> {
    let mut response = reply::empty(StatusCode::METHOD_NOT_ALLOWED);
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// A message as it goes out.
type Text = Bytes;

#[cfg(test)]
mod tests;
