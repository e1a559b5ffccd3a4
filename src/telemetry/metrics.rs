//! Metrics in the `OpenMetrics` text form, under the names of the MCP semantic conventions. Counting on the way of a call
//! costs a hash of a few small values and formats nothing.

mod labels;
mod process;

use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use self::labels::{
    ClientLabels, GatewayLabels, LimitLabels, OutcomeLabels, ServerLabels, ToolLabels, VersionLabels,
};
pub use self::labels::{ErrorType, Operation, Outcome, ToolLabel, Transport};
use crate::ids::GatewayId;

/// Bounds of the histograms of operations, in seconds: those of the conventions, and finer ones for what is answered
/// from memory.
const OPERATION_BUCKETS_S: [f64; 17] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];
/// Bounds of the histogram of sessions, in seconds: up to the age at which they end.
const SESSION_BUCKETS_S: [f64; 9] = [
    1.0, 10.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0,
];

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// State of a gateway's breaker, as `toolgate_breaker_state` gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through (0).
    Closed,
    /// One call tries (1).
    HalfOpen,
    /// Calls are refused (2).
    Open,
}

/// Something that is there; the gauge falls when this is dropped.
#[derive(Debug)]
#[must_use = "the gauge falls again when this is dropped"]
pub struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Every metric of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    tools: ToolLabels,
    server_operations: Durations<ServerLabels>,
    client_operations: Durations<ClientLabels>,
    server_sessions: Durations<VersionLabels>,
    connections: Gauge,
    sessions: Gauge,
    streams: Gauge,
    in_flight: Gauge,
    parked_calls: Gauge,
    config_generation: Gauge,
    upstream_up: Family<GatewayLabels, Gauge>,
    breaker_state: Family<GatewayLabels, Gauge>,
    upstream_restarts: Family<GatewayLabels, Counter>,
    upstream_reopens: Family<GatewayLabels, Counter>,
    list_refreshes: Family<OutcomeLabels, Counter>,
    slow_readers: Counter,
    load_shed: Counter,
    limit_hits: Family<LimitLabels, Counter>,
    panics: Counter,
    executions_written: Counter,
    executions_dropped: Counter,
    executions_refused: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers everything, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut to = Registry::default();
        let operation: fn() -> Histogram = || Histogram::new(OPERATION_BUCKETS_S);
        let session: fn() -> Histogram = || Histogram::new(SESSION_BUCKETS_S);
        let metrics = Self {
            tools: ToolLabels::default(),
            server_operations: durations(
                &mut to,
                "mcp_server_operation_duration",
                "Requests of clients, from arrival to answer",
                operation,
            ),
            client_operations: durations(
                &mut to,
                "mcp_client_operation_duration",
                "Requests to gateways, from sending to answer",
                operation,
            ),
            server_sessions: durations(
                &mut to,
                "mcp_server_session_duration",
                "Sessions of clients that have ended",
                session,
            ),
            connections: registered(&mut to, "toolgate_connections", "Open connections of clients"),
            sessions: registered(&mut to, "toolgate_sessions", "Sessions of clients"),
            streams: registered(&mut to, "toolgate_streams", "Open event streams to clients"),
            in_flight: registered(&mut to, "toolgate_in_flight", "Requests that are being answered"),
            parked_calls: registered(
                &mut to,
                "toolgate_parked_calls",
                "Calls that wait for a client to come back with answers",
            ),
            config_generation: registered(
                &mut to,
                "toolgate_config_generation",
                "How often a configuration was taken into use",
            ),
            upstream_up: registered(&mut to, "toolgate_upstream_up", "1 when the gateway answers"),
            breaker_state: registered(&mut to, "toolgate_breaker_state", "0 closed, 1 half-open, 2 open"),
            upstream_restarts: registered(
                &mut to,
                "toolgate_upstream_restarts",
                "Child processes that were started again",
            ),
            upstream_reopens: registered(
                &mut to,
                "toolgate_upstream_reopens",
                "Upstream sessions that were opened again",
            ),
            list_refreshes: registered(&mut to, "toolgate_list_refreshes", "Looks at a gateway's lists"),
            slow_readers: registered(
                &mut to,
                "toolgate_slow_readers_dropped",
                "Clients that did not read what they had asked for",
            ),
            load_shed: registered(
                &mut to,
                "toolgate_load_shed",
                "Requests refused because too many were being answered",
            ),
            limit_hits: registered(
                &mut to,
                "toolgate_limit_hits",
                "What was refused or cut because of a limit",
            ),
            panics: registered(&mut to, "toolgate_panics", "Requests that ended in a panic"),
            executions_written: registered(
                &mut to,
                "toolgate_executions_written",
                "Tool calls that were recorded",
            ),
            executions_dropped: registered(
                &mut to,
                "toolgate_executions_dropped",
                "Tool calls that were not recorded: too many waited for the store, or it failed",
            ),
            executions_refused: registered(
                &mut to,
                "toolgate_executions_refused",
                "Tool calls refused because their record is required and could not be written",
            ),
            registry: to,
        };
        metrics.with_process()
    }

    fn with_process(mut self) -> Self {
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        self.registry.register("toolgate_build", "What is running", build);
        self.registry.register_collector(Box::new(process::Process));
        self
    }

    /// Returns a tool's name as a label. Give it names that resolved, never what a client made up.
    #[must_use]
    pub fn tool_label(&self, exposed_name: &str) -> ToolLabel {
        self.tools.label(exposed_name)
    }

    /// Records a client's request as it ended.
    pub fn server_operation(&self, operation: Operation, took: Duration) {
        let labels = ServerLabels::from(operation);
        self.server_operations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Records a request to a gateway as it ended.
    pub fn client_operation(&self, gateway: &GatewayId, operation: Operation, took: Duration) {
        let labels = ClientLabels::new(gateway, operation);
        self.client_operations
            .get_or_create(&labels)
            .observe(took.as_secs_f64());
    }

    /// Records how long a client's session lasted.
    pub fn server_session_ended(&self, mcp_protocol_version: &'static str, lasted: Duration) {
        let labels = VersionLabels { mcp_protocol_version };
        self.server_sessions
            .get_or_create(&labels)
            .observe(lasted.as_secs_f64());
    }

    /// Counts an open connection.
    pub fn connection_opened(&self) -> Counted {
        Counted::new(&self.connections)
    }

    /// Counts a client's session.
    pub fn session_opened(&self) -> Counted {
        Counted::new(&self.sessions)
    }

    /// Counts an open event stream.
    pub fn stream_opened(&self) -> Counted {
        Counted::new(&self.streams)
    }

    /// Counts a request that is being answered.
    pub fn request_started(&self) -> Counted {
        Counted::new(&self.in_flight)
    }

    /// Counts a call that waits for its client's answers.
    pub fn call_parked(&self) -> Counted {
        Counted::new(&self.parked_calls)
    }

    /// Sets how often a configuration was taken into use.
    pub fn config_generation(&self, generation: u64) {
        self.config_generation
            .set(i64::try_from(generation).unwrap_or(i64::MAX));
    }

    /// Sets whether a gateway answers.
    pub fn upstream_up(&self, gateway: &GatewayId, up: bool) {
        self.upstream_up.get_or_create(&gateway.into()).set(i64::from(up));
    }

    /// Sets the state of a gateway's breaker.
    pub fn breaker_state(&self, gateway: &GatewayId, state: BreakerState) {
        let value = match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        self.breaker_state.get_or_create(&gateway.into()).set(value);
    }

    /// Forgets the state of a gateway that is configured no more. What was counted about it stays.
    pub fn forget_gateway(&self, gateway: &GatewayId) {
        self.upstream_up.remove(&gateway.into());
        self.breaker_state.remove(&gateway.into());
    }

    /// Counts a child process that was started again.
    pub fn upstream_restarted(&self, gateway: &GatewayId) {
        self.upstream_restarts.get_or_create(&gateway.into()).inc();
    }

    /// Counts an upstream session that was opened again.
    pub fn upstream_reopened(&self, gateway: &GatewayId) {
        self.upstream_reopens.get_or_create(&gateway.into()).inc();
    }

    /// Counts a look at a gateway's lists.
    pub fn list_refreshed(&self, gateway: &GatewayId, outcome: Outcome) {
        self.list_refreshes
            .get_or_create(&OutcomeLabels::new(gateway, outcome))
            .inc();
    }

    /// Counts a client that was dropped because it did not read.
    pub fn slow_reader_dropped(&self) {
        self.slow_readers.inc();
    }

    /// Counts a request that was refused because too many were being answered.
    pub fn load_shed(&self) {
        self.load_shed.inc();
    }

    /// Counts that something met a limit, by the limit's name in `limits`, in lower case.
    pub fn limit_hit(&self, limit: &'static str) {
        self.limit_hits.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Counts a request that ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// Counts tool calls that were recorded.
    pub fn executions_written(&self, calls: usize) {
        self.executions_written.inc_by(calls as u64);
    }

    /// Counts tool calls that were not recorded.
    pub fn executions_dropped(&self, calls: usize) {
        self.executions_dropped.inc_by(calls as u64);
    }

    /// Counts a tool call that was refused because its record is required and could not be written.
    pub fn execution_refused(&self) {
        self.executions_refused.inc();
    }

    /// Returns everything in the `OpenMetrics` text form.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut page = String::new();
        // Writing into a String does not fail.
        let _ = text::encode(&mut page, &self.registry);
        page
    }
}

fn registered<M: Metric + Clone + Default>(to: &mut Registry, name: &'static str, help: &'static str) -> M {
    let metric = M::default();
    to.register(name, help, metric.clone());
    metric
}

fn durations<L>(
    to: &mut Registry,
    name: &'static str,
    help: &'static str,
    make: fn() -> Histogram,
) -> Durations<L>
where
    Durations<L>: Metric + Clone,
    L: Clone + std::hash::Hash + Eq,
{
    let metric = Durations::new_with_constructor(make);
    to.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

#[cfg(test)]
mod tests;
