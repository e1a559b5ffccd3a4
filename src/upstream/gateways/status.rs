//! What is known of one gateway, for probes, pages, the command line and whoever explains why a tool does not answer.

use std::sync::Arc;
use std::time::Duration;

use crate::clock;
use crate::ids::GatewayId;
use crate::protocol::version::Era;
use crate::telemetry::BreakerState;
use crate::upstream::gateway::Gateway;
use crate::upstream::health::{Fault, LinkState, Listed};

/// A gateway as it stands at one moment.
#[derive(Clone, Debug)]
pub struct GatewayStatus {
    /// Its name.
    pub name: GatewayId,
    /// How it is reached, as configured: `http`, `sse`, `stdio` or `composio`.
    pub transport: &'static str,
    /// The era of the link; `None` before the first contact.
    pub era: Option<Era>,
    /// Whether it answers.
    pub state: LinkState,
    /// For how long that has been so.
    pub state_for: Duration,
    /// The last fault, however long ago.
    pub last_fault: Option<Arc<Fault>>,
    /// Faults of calls in a row.
    pub faults_in_a_row: u32,
    /// The state of its breaker.
    pub breaker: BreakerState,
    /// When a call may try again; `None` unless the breaker is open.
    pub retry_in: Option<Duration>,
    /// The mean time of the last answers.
    pub latency: Option<Duration>,
    /// What its last good list held.
    pub listed: Option<Listed>,
    /// How old that is.
    pub list_age: Option<Duration>,
    /// Calls that it is working on.
    pub in_flight: usize,
    /// Whether readiness waits for it.
    pub required: bool,
    /// Whether it has answered, or its start-up deadline has passed.
    pub looked: bool,
}

impl GatewayStatus {
    pub(super) fn of(gateway: &Gateway) -> Self {
        let (now, config) = (clock::now(), gateway.config());
        let condition = gateway.health.condition();
        let listed = gateway.health.last_list();
        Self {
            name: gateway.name().clone(),
            transport: config.transport.name(),
            era: gateway.era(),
            state: condition.state,
            state_for: now.saturating_duration_since(condition.since),
            last_fault: gateway.health.last_fault(),
            faults_in_a_row: gateway.breaker.faults(),
            breaker: gateway.breaker.state(),
            retry_in: gateway
                .breaker
                .retry_at()
                .map(|at| at.saturating_duration_since(now)),
            latency: gateway.health.latency(),
            listed,
            list_age: listed.map(|listed| now.saturating_duration_since(listed.at)),
            in_flight: gateway.in_flight(),
            required: config.required,
            looked: gateway.looked(),
        }
    }
}
