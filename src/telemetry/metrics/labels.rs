//! Label sets: small values that are only turned into text when somebody scrapes. No label holds a user, a session, a
//! URL or free text, and every label's values are few.

use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use crate::ids::GatewayId;
use crate::limits;

/// How a message travels: `network.transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP.
    Tcp,
    /// stdio.
    Pipe,
}

impl EncodeLabelValue for Transport {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Tcp => "tcp",
            Self::Pipe => "pipe",
        })
    }
}

/// What went wrong: `error.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// The tool ran and failed: a result with `isError`.
    ToolError,
    /// A JSON-RPC error code. Those that the specification does not know are counted as `_OTHER`.
    Code(i32),
    /// A cause of our own, such as `timeout`: one of a fixed set of words.
    Cause(&'static str),
}

impl ErrorType {
    /// A JSON-RPC error code.
    #[must_use]
    pub fn of_code(code: i64) -> Self {
        Self::Code(i32::try_from(code).unwrap_or(i32::MAX))
    }

    /// Codes beyond these are an upstream's own invention, and there could be any number of them.
    fn known(self) -> Self {
        match self {
            Self::Code(code) => match code {
                -32_700 | -32_603..=-32_600 | -32_042 | -32_022..=-32_020 | -32_002..=-32_000 => self,
                _ => Self::Cause("_OTHER"),
            },
            Self::ToolError | Self::Cause(_) => self,
        }
    }
}

impl fmt::Display for ErrorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ToolError => f.write_str("tool_error"),
            Self::Code(code) => write!(f, "{code}"),
            Self::Cause(cause) => f.write_str(cause),
        }
    }
}

impl EncodeLabelValue for ErrorType {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        write!(encoder, "{self}")
    }
}

/// A tool's name as a label: at most [`limits::METRIC_TOOL_NAMES_MAX`] distinct ones, then `other`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ToolLabel(Arc<str>);

impl EncodeLabelValue for ToolLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(&self.0)
    }
}

/// The names that became labels.
#[derive(Debug)]
pub(super) struct ToolLabels {
    names: DashMap<Arc<str>, ()>,
    count: AtomicUsize,
    other: ToolLabel,
}

impl Default for ToolLabels {
    fn default() -> Self {
        Self {
            names: DashMap::new(),
            count: AtomicUsize::new(0),
            other: ToolLabel(Arc::from("other")),
        }
    }
}

impl ToolLabels {
    /// Returns the label of a name; allocates only when the name is new.
    pub(super) fn label(&self, name: &str) -> ToolLabel {
        if let Some(known) = self.names.get(name) {
            return ToolLabel(Arc::clone(known.key()));
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= limits::METRIC_TOOL_NAMES_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return self.other.clone();
        }
        let name: Arc<str> = Arc::from(name);
        if self.names.insert(Arc::clone(&name), ()).is_some() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        ToolLabel(name)
    }
}

/// One operation as it ended, for a histogram of durations.
#[derive(Clone, Debug)]
pub struct Operation {
    /// `mcp.method.name`: one of the methods that we know.
    pub method: &'static str,
    /// `gen_ai.tool.name`: from [`Metrics::tool_label`](super::Metrics::tool_label), for `tools/call` alone.
    pub tool: Option<ToolLabel>,
    /// `error.type`; `None`: it succeeded.
    pub error: Option<ErrorType>,
    /// `network.transport`.
    pub transport: Transport,
    /// `mcp.protocol.version`.
    pub protocol_version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ServerLabels {
    mcp_method_name: &'static str,
    gen_ai_tool_name: Option<ToolLabel>,
    error_type: Option<ErrorType>,
    network_transport: Transport,
    mcp_protocol_version: &'static str,
}

// Of a family's sets most differ in the tool. The map would hash each member by itself, on the way of every call.
impl Hash for ServerLabels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_most(self.mcp_method_name, self.gen_ai_tool_name.as_ref(), state);
    }
}

impl Hash for ClientLabels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_most(self.mcp_method_name, self.gen_ai_tool_name.as_ref(), state);
    }
}

fn hash_most<H: Hasher>(method: &str, tool: Option<&ToolLabel>, state: &mut H) {
    match tool {
        Some(tool) => state.write(tool.0.as_bytes()),
        None => state.write(method.as_bytes()),
    }
}

impl From<Operation> for ServerLabels {
    fn from(operation: Operation) -> Self {
        Self {
            mcp_method_name: operation.method,
            gen_ai_tool_name: operation.tool,
            error_type: operation.error.map(ErrorType::known),
            network_transport: operation.transport,
            mcp_protocol_version: operation.protocol_version,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ClientLabels {
    gateway: Gateway,
    mcp_method_name: &'static str,
    gen_ai_tool_name: Option<ToolLabel>,
    error_type: Option<ErrorType>,
    network_transport: Transport,
    mcp_protocol_version: &'static str,
}

impl ClientLabels {
    pub(super) fn new(gateway: &GatewayId, operation: Operation) -> Self {
        Self {
            gateway: Gateway(gateway.clone()),
            mcp_method_name: operation.method,
            gen_ai_tool_name: operation.tool,
            error_type: operation.error.map(ErrorType::known),
            network_transport: operation.transport,
            mcp_protocol_version: operation.protocol_version,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct VersionLabels {
    pub(super) mcp_protocol_version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LimitLabels {
    pub(super) limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct GatewayLabels {
    gateway: Gateway,
}

impl From<&GatewayId> for GatewayLabels {
    fn from(gateway: &GatewayId) -> Self {
        Self {
            gateway: Gateway(gateway.clone()),
        }
    }
}

/// Whether something worked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did.
    Ok,
    /// It did not.
    Failed,
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct OutcomeLabels {
    gateway: Gateway,
    outcome: Outcome,
}

impl OutcomeLabels {
    pub(super) fn new(gateway: &GatewayId, outcome: Outcome) -> Self {
        Self {
            gateway: Gateway(gateway.clone()),
            outcome,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Gateway(GatewayId);

impl EncodeLabelValue for Gateway {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        encoder.write_str(self.0.as_str())
    }
}
