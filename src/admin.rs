//! REST below `/api`: what is offered to the caller, which gateways there are, and a tool called by hand. Everything is
//! said from the caller's view: what the policy hides does not appear, and a call passes the same door as `/mcp`.
//! Mounted behind authentication, which gives the caller; errors are [`Problem`]s. `openapi.json` describes it all, and
//! a test keeps the two together.

mod calls;
mod cursor;
mod executions;
mod explanations;
mod fault;
mod fields;
mod gateways;
mod integrations;
mod query;
mod stats;
mod tool_router;
mod tools;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts as Head;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use crate::config::Limits;
use crate::identity::{self, AuthError, Principal};
use crate::ids::RequestId;
use crate::integrations::Projects;
use crate::integrations::connections::Connections;
use crate::proxy::{Proxy, Recorder};
use crate::seal::Sealer;
use crate::store::executions::Executions;
use crate::telemetry::Metrics;
use crate::web::Problem;

const OPENAPI: &str = include_str!("admin/openapi.json");

/// What the routes are made of.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Knows the views, the gateways, and carries out calls.
    pub proxy: Arc<Proxy>,
    /// What users have connected.
    pub connections: Arc<Connections>,
    /// Seals cursors.
    pub sealer: Arc<Sealer>,
    /// Counts what met a limit.
    pub metrics: Arc<Metrics>,
    /// The Composio projects.
    pub projects: Arc<Projects>,
    /// Where clients reach us, when that is configured.
    pub public_url: Option<url::Url>,
    /// The configured bounds.
    pub limits: Limits,
    /// The record of calls,
    pub executions: Executions,
    /// and what is on its way to it.
    pub recorder: Recorder,
}

/// A path below `/api` and what answers it.
type Route = (&'static str, fn() -> MethodRouter<Arc<Parts>>);

/// Every route.
const ROUTES: [Route; 17] = [
    ("/openapi.json", || get(openapi)),
    ("/tools", || get(tools::list)),
    ("/tools/{name}/explain", || get(explanations::explain)),
    ("/tools/{name}/test", || post(calls::test)),
    ("/gateways", || get(gateways::list)),
    ("/executions", || get(executions::list)),
    ("/executions/{id}", || get(executions::show)),
    ("/stats", || get(stats::show)),
    ("/integrations", || get(integrations::list)),
    ("/integrations/verify", || post(integrations::verify)),
    ("/integrations/{toolkit}", || {
        delete(integrations::disconnect).patch(integrations::change)
    }),
    ("/integrations/{toolkit}/connect", || post(integrations::connect)),
    ("/integrations/{toolkit}/complete", || {
        post(integrations::complete)
    }),
    ("/integrations/{toolkit}/tools/{tool}", || {
        post(integrations::execute::execute)
    }),
    ("/tool-router/create-session", || post(tool_router::create)),
    ("/tool-router/sessions", || get(tool_router::list)),
    ("/tool-router/sessions/{id}", || {
        get(tool_router::show)
            .patch(tool_router::change)
            .delete(tool_router::delete)
    }),
];

/// Those that need no key, since who comes has a proof of another kind: a state, a signature.
const OPEN_ROUTES: [Route; 2] = [
    ("/integrations/callback", || {
        get(integrations::callback::come_back)
    }),
    ("/webhooks/composio", || post(webhooks::composio)),
];

/// Makes the routes, relative to `/api`. They expect an `Arc<Principal>` in the extensions of each request.
pub fn router(parts: Parts) -> Router {
    routed(&ROUTES, "", parts)
}

/// Makes the routes that need no principal, with their whole paths.
pub fn open_router(parts: Parts) -> Router {
    routed(&OPEN_ROUTES, "/api", parts)
}

fn routed(routes: &[Route], below: &str, parts: Parts) -> Router {
    let all = routes.iter().fold(Router::new(), |router, (path, methods)| {
        router.route(&format!("{below}{path}"), methods())
    });
    all.with_state(Arc::new(parts))
}

async fn openapi() -> Response {
    json(OPENAPI)
}

/// Who asks.
struct Caller {
    principal: Arc<Principal>,
    request_id: Option<RequestId>,
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, _: &S) -> Result<Self, Problem> {
        let principal = head.extensions.get::<Arc<Principal>>().cloned();
        let request_id = head.extensions.get().cloned();
        let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "a key is needed");
        Ok(Self {
            principal: principal.ok_or_else(nobody)?,
            request_id,
        })
    }
}

impl Caller {
    /// Returns for whom a request speaks that may name a user as `userId`; without one, for its caller.
    ///
    /// # Errors
    /// 400 for what is no user id, 403 when the key may not act for that user.
    fn speaking_for(&self, user: Option<&str>) -> Result<Arc<Principal>, Problem> {
        let Some(user) = user else {
            return Ok(Arc::clone(&self.principal));
        };
        identity::speaking_for(&self.principal, user).map_err(|error| match error {
            AuthError::MayNotAct => Problem::new(
                StatusCode::FORBIDDEN,
                "this key may not act for the user that `userId` names; leave it out, or use a key with acts_for_users",
            ),
            _ => Problem::new(
                StatusCode::BAD_REQUEST,
                "`userId` must be 1 to 128 visible ASCII characters",
            ),
        })
    }
}

/// The name in a path, decoded; a name that is no text is nobody's.
struct Name(String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(head, state)
            .await
            .map_err(|_| Problem::new(StatusCode::BAD_REQUEST, "the name in the path is not UTF-8"))?;
        Ok(Self(name))
    }
}

/// A list, as REST gives it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    items: Vec<T>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

fn answer(value: &impl Serialize) -> Result<Response, Problem> {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer could not be written",
        )
    })?;
    Ok(json(text))
}

/// What one caller sees is no other's: nothing on the way may keep it.
fn json(text: impl Into<Body>) -> Response {
    let mut response = Response::new(text.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Milliseconds, to the microsecond.
fn exact_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}

/// Whole milliseconds.
fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

#[cfg(test)]
mod tests;
