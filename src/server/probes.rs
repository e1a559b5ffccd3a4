//! Probes: `/livez`, its aliases `/health` and `/healthz`, and `/readyz`. They need no key, ask no gateway, and are
//! answered whatever the `Host` (a prober comes by address) and however many requests are in flight.
//! The aliases say that the process lives, not that it is ready: an orchestrator restarts what fails them.

use std::fmt;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::Shutdown;
use crate::clock::{self, Instant};
use crate::ids::GatewayId;

const LIVE: [&str; 3] = ["/livez", "/health", "/healthz"];
const READY: &str = "/readyz";

/// What readiness is judged by, as it stands at one moment.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    /// How often a configuration was taken into use.
    pub generation: u64,
    /// Every configured gateway.
    pub gateways: Vec<GatewayReadiness>,
}

/// One gateway in [`Readiness`].
#[derive(Clone, Debug)]
pub struct GatewayReadiness {
    /// Its name.
    pub name: GatewayId,
    /// Whether readiness waits for it.
    pub required: bool,
    /// Whether all its lists have been read once.
    pub looked: bool,
    /// Whether it answers now.
    pub up: bool,
    /// Since when it is up or down.
    pub since: Instant,
}

impl Readiness {
    /// A gateway that was looked at once and went down later does not count: its last good list is served.
    fn is_complete(&self) -> bool {
        self.gateways
            .iter()
            .all(|gateway| gateway.looked || !gateway.required)
    }
}

/// Where probes learn what they say. The closure must be cheap and ask nobody.
#[derive(Clone)]
pub struct Probes {
    snapshot: Arc<dyn Fn() -> Readiness + Send + Sync>,
    shutdown: Shutdown,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes")
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

impl Probes {
    /// Makes the probes of a process that ends by `shutdown`.
    #[must_use]
    pub fn new(shutdown: Shutdown, snapshot: impl Fn() -> Readiness + Send + Sync + 'static) -> Self {
        Self {
            snapshot: Arc::new(snapshot),
            shutdown,
        }
    }

    /// Tells whether a path is a probe.
    pub(super) fn is_probe(path: &str) -> bool {
        path == READY || LIVE.contains(&path)
    }

    /// Returns the routes.
    pub(super) fn routes(self) -> Router {
        let router = Router::new().route(READY, get(ready)).with_state(self);
        LIVE.into_iter()
            .fold(router, |router, path| router.route(path, get(live)))
    }
}

async fn live() -> Response {
    answer(StatusCode::OK, json!({ "status": "live" }))
}

async fn ready(State(probes): State<Probes>, RawQuery(query): RawQuery) -> Response {
    let readiness = (probes.snapshot)();
    let (code, status) = if probes.shutdown.has_begun() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else if readiness.is_complete() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    };
    let body = if query.is_some_and(|query| is_verbose(&query)) {
        let gateways: Vec<Value> = readiness.gateways.iter().map(describe).collect();
        json!({ "status": status, "generation": readiness.generation, "gateways": gateways })
    } else {
        json!({ "status": status })
    };
    answer(code, body)
}

fn describe(gateway: &GatewayReadiness) -> Value {
    let since = clock::now().saturating_duration_since(gateway.since);
    json!({
        "name": gateway.name.as_str(),
        "required": gateway.required,
        "looked": gateway.looked,
        "up": gateway.up,
        "for_s": since.as_secs(),
    })
}

/// `?verbose`, with or without a value.
fn is_verbose(query: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair == "verbose" || pair.starts_with("verbose="))
}

fn answer(status: StatusCode, body: Value) -> Response {
    let mut response = (status, Json(body)).into_response();
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
