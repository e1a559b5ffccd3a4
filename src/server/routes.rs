//! Which path is whose. What is not here is 404, `/.well-known/oauth-*` above all: a client that finds OAuth metadata
//! forgets the key that it was configured with.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use tower::Service;

use super::Probes;
use super::authentication::{Authenticated, BySession};
use crate::identity::{Identity, SessionTokens};
use crate::telemetry::Metrics;
use crate::web::Problem;

/// The MCP endpoint.
pub(super) const MCP: &str = "/mcp";
/// What people configure when they are used to a slash at the end.
const MCP_SLASH: &str = "/mcp/";
/// The URL of one Composio session; behind it its token.
const SESSION: &str = "/mcp/s/";
/// REST.
const API: &str = "/api";
const METRICS: &str = "/metrics";

/// Answers a request to the MCP endpoint, its key included.
pub(super) type Mcp = Arc<dyn Fn(Request) -> BoxFuture<'static, Result<Response, Infallible>> + Send + Sync>;

/// What is served, put together by the application.
#[derive(Debug)]
pub struct Mounts<M> {
    /// Answers `/mcp`.
    pub mcp: M,
    /// Answers below `/api`, with paths relative to it.
    pub api: Router,
    /// Answers what needs no key, with whole paths: a browser that comes back, a webhook. Who comes proves it otherwise.
    pub open: Router,
    /// Answers probes.
    pub probes: Probes,
    /// Shown at `/metrics`.
    pub metrics: Arc<Metrics>,
    /// Who may reach `/mcp`, `/api` and, unless `open_metrics`, `/metrics`.
    pub identity: Arc<Identity>,
    /// Who may reach the URLs of single sessions.
    pub session_tokens: SessionTokens,
    /// `/metrics` needs no key: right where only this machine can ask.
    pub open_metrics: bool,
}

impl<M> Mounts<M>
where
    M: Service<Request, Response = Response, Error = Infallible> + Clone + Send + Sync + 'static,
    M::Future: Send + 'static,
{
    /// Returns what answers the MCP endpoint, and the routes to all the rest. Every call goes to the endpoint: it needs
    /// no router to be found.
    pub(super) fn split(self) -> (Mcp, Router) {
        let identity = self.identity;
        let by_session = BySession::new(self.session_tokens, self.mcp.clone());
        let mcp = Authenticated::new(Arc::clone(&identity), self.mcp);
        // The endpoint is always ready.
        let mcp: Mcp = Arc::new(move |request| mcp.clone().call(request).boxed());
        let api = self
            .api
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed);
        let metrics = get(metrics).with_state::<()>(self.metrics);
        let router = if self.open_metrics {
            Router::new().route(METRICS, metrics)
        } else {
            Router::new().route_service(METRICS, Authenticated::new(Arc::clone(&identity), metrics))
        };
        let router = router
            .route_service(&format!("{SESSION}{{token}}"), by_session)
            .nest_service(API, Authenticated::new(identity, api))
            .merge(self.open)
            .merge(self.probes.routes())
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed);
        (mcp, router)
    }
}

/// Tells whether a path is the MCP endpoint's.
pub(super) fn is_mcp(path: &str) -> bool {
    path == MCP || path == MCP_SLASH
}

/// Tells whether a path is the URL of one session.
pub(super) fn is_session(path: &str) -> bool {
    path.starts_with(SESSION)
}

/// Returns a path as it may be logged: without a session's token.
pub(super) fn shown(path: &str) -> &str {
    if is_session(path) { SESSION } else { path }
}

async fn metrics(State(metrics): State<Arc<Metrics>>) -> Response {
    let mut response = metrics.encode().into_response();
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is nothing at this path; the MCP endpoint is /mcp",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "this path does not answer that method",
    )
}
