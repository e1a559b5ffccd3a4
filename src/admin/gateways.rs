//! The gateways as they stand. Asks none of them.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde::Serialize;

use super::query::Query;
use super::{Caller, Page, Parts, answer, exact_ms, ms};
use crate::catalog::listing::Kind;
use crate::clock;
use crate::identity::Principal;
use crate::ids::GatewayId;
use crate::policy::View;
use crate::protocol::version::Era;
use crate::telemetry::BreakerState;
use crate::upstream::gateways::GatewayStatus;
use crate::upstream::health::LinkState;
use crate::web::Problem;

/// One gateway. Ages count back from now, on a clock that nobody sets.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Gateway {
    name: String,
    transport: &'static str,
    target: Option<String>,
    era: Option<&'static str>,
    state: &'static str,
    state_for_ms: u64,
    last_error: Option<LastError>,
    latency_ms: Option<f64>,
    last_good_list: Option<LastGoodList>,
    in_flight: usize,
    breaker: &'static str,
    retry_in_ms: Option<u64>,
    required: bool,
    looked: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastError {
    text: String,
    age_ms: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct LastGoodList {
    age_ms: u64,
    tools: usize,
    prompts: usize,
    resources: usize,
    resource_templates: usize,
}

impl Gateway {
    /// Describes a gateway.
    pub(super) fn of(parts: &Parts, status: &GatewayStatus) -> Self {
        let gateway = parts.proxy.gateways().get(&status.name);
        let now = clock::now();
        Self {
            name: status.name.to_string(),
            transport: status.transport,
            target: gateway.map(|gateway| gateway.config().transport.target()),
            era: status.era.map(|era| match era {
                Era::Legacy => "legacy",
                Era::Modern => "modern",
            }),
            state: match status.state {
                LinkState::Unknown => "unknown",
                LinkState::Up => "up",
                LinkState::Down => "down",
            },
            state_for_ms: ms(status.state_for),
            last_error: status.last_fault.as_ref().map(|fault| LastError {
                text: fault.text.clone(),
                age_ms: ms(now.saturating_duration_since(fault.at)),
            }),
            latency_ms: status.latency.map(exact_ms),
            last_good_list: status.listed.map(|listed| LastGoodList {
                age_ms: ms(now.saturating_duration_since(listed.at)),
                tools: listed.tools,
                prompts: listed.prompts,
                resources: listed.resources,
                resource_templates: listed.templates,
            }),
            in_flight: status.in_flight,
            breaker: match status.breaker {
                BreakerState::Closed => "closed",
                BreakerState::HalfOpen => "halfOpen",
                BreakerState::Open => "open",
            },
            retry_in_ms: status.retry_in.map(ms),
            required: status.required,
            looked: status.looked,
        }
    }
}

/// Lists the gateways that concern the caller, in the order of the configuration. They are few: one page.
pub(super) async fn list(
    State(parts): State<Arc<Parts>>,
    caller: Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let view = parts.proxy.view(&caller.principal);
    let concerned = Concerned::of(&caller.principal, &view);
    let statuses = parts.proxy.gateways().statuses();
    let shown = statuses.iter().filter(|status| concerned.includes(&status.name));
    answer(&Page {
        items: shown.map(|status| Gateway::of(&parts, status)).collect(),
        next_cursor: None,
    })
}

/// Which gateways a caller may know of.
pub(super) enum Concerned {
    /// A key without `tools`.
    All,
    /// A key with `tools`: the gateways of those that it may use.
    Only(HashSet<GatewayId>),
}

impl Concerned {
    pub(super) fn of(principal: &Principal, view: &View) -> Self {
        if principal.tools().is_none() {
            return Self::All;
        }
        let gateways = view.entries(Kind::Tool).map(|entry| entry.route.gateway.clone());
        Self::Only(gateways.collect())
    }

    pub(super) fn includes(&self, gateway: &GatewayId) -> bool {
        match self {
            Self::All => true,
            Self::Only(gateways) => gateways.contains(gateway),
        }
    }
}
