//! What every request passes, outside in. [`Front::answer`] is the order; each step says why it stands there.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use tower::ServiceExt;
use tracing::{Instrument, Span};

use super::access::Access;
use super::held::Held;
use super::load::{Load, Place};
use super::routes::Mcp;
use super::{Probes, panic_guard, request_id, routes};
use crate::clock;
use crate::ids::RequestId;
use crate::telemetry::{About, InRequest, Metrics, TraceContext, adopt, spans_are_made, within};
use crate::web::{self, MostlyWaits, Problem};

/// Longer paths are cut in log lines.
const LOGGED_PATH_BYTES_MAX: usize = 256;

/// A response's body, with the place that its request takes.
pub(super) type Answer = Held<Body, Option<Place>>;

/// The steps before the routes.
pub(super) struct Front {
    pub(super) access: Arc<Access>,
    pub(super) load: Load,
    pub(super) metrics: Arc<Metrics>,
    pub(super) mcp: Mcp,
    pub(super) routes: Router,
}

impl std::fmt::Debug for Front {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}

impl Front {
    /// Answers a request. Dropping the future abandons it.
    pub(super) async fn answer(&self, mut request: Request) -> http::Response<Answer> {
        // The id first: every answer below carries it, the refusals and the guard's included.
        let id = request_id::claim(request.headers());
        request.extensions_mut().insert(id.clone());

        // What the request is around all the rest, so that every log line of it has the id.
        let is_mcp = routes::is_mcp(request.uri().path());
        let about = Arc::new(about(&request, &id, is_mcp));
        let started = clock::now();

        // The panic guard around everything that could panic, inside of that, so that its own line has the id too.
        let speaks_mcp = is_mcp || routes::is_session(request.uri().path());
        let span = spans_are_made().then(|| span(&request, &about));
        let mut place = None;
        let steps = self.admit(request, is_mcp, &mut place);
        let guarded = panic_guard::guarded(steps, speaks_mcp, &id, &self.metrics);
        let response = match span.clone() {
            None => InRequest::new(Arc::clone(&about), guarded).await,
            Some(span) => InRequest::new(Arc::clone(&about), guarded).instrument(span).await,
        };

        let mut response = web::name(response, &id);
        request_id::echo(response.headers_mut(), &id);
        within(&about, || {
            let _entered = span.as_ref().map(Span::enter);
            let elapsed_ms = started.elapsed().as_millis() as u64;
            tracing::debug!(
                http.response.status_code = response.status().as_u16(),
                elapsed_ms,
                "request answered"
            );
        });
        if response.extensions().get::<MostlyWaits>().is_some() {
            place = None;
        }
        response.map(|body| Held::new(body, place))
    }

    async fn admit(&self, request: Request, is_mcp: bool, place: &mut Option<Place>) -> Response {
        if !Probes::is_probe(request.uri().path()) {
            // Shedding before any work is done, so that a flood costs little. Probes pass: being busy is not being dead.
            match self.load.take() {
                Ok(taken) => *place = Some(taken),
                Err(shed) => return refused(shed),
            }
            // Host and Origin before the key is looked at: a browser must not even learn whether a key would do.
            // Probes pass: a prober comes by the container's address, and probes reveal nothing.
            if let Err(foreign) = self.access.check(request.uri(), request.headers()) {
                return refused(foreign);
            }
        }
        // Authentication stands around each mounted service, the endpoint and those inside the routes: what is mounted
        // cannot be reached around it. Caps on bodies are kept by whoever reads them (`read_body`), since only they
        // know the cap.
        let answered = if is_mcp {
            (self.mcp)(request).await
        } else {
            self.routes.clone().oneshot(request).await
        };
        match answered {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

fn refused(problem: Problem) -> Response {
    tracing::info!(
        http.response.status_code = problem.status().as_u16(),
        detail = problem.detail(),
        "request refused"
    );
    problem.into_response()
}

fn about(request: &Request, id: &RequestId, is_mcp: bool) -> About {
    let path = routes::shown(request.uri().path());
    About {
        id: id.clone(),
        method: request.method().clone(),
        path: if is_mcp {
            routes::MCP.into()
        } else {
            path.get(..LOGGED_PATH_BYTES_MAX)
                .unwrap_or(path)
                .to_owned()
                .into()
        },
    }
}

fn span(request: &Request, about: &About) -> Span {
    let span = tracing::info_span!(
        "http",
        otel.kind = "server",
        request.id = about.id.as_str(),
        http.request.method = about.method.as_str(),
        url.path = &*about.path,
    );
    let parent = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    if let Some(parent) = parent.and_then(TraceContext::parse) {
        adopt(&span, &parent);
    }
    span
}
