//! What an operator sees: log lines, metrics, traces. Names follow the OpenTelemetry conventions for MCP.
//! Nothing here logs or labels anything with a token, a cookie, a key, an argument, a result, a user or a session id;
//! [`redacted`] is how a URL is printed. The way of a call formats no text: label sets are small values.

mod lines;
mod metrics;
mod redact;
mod request;
mod subscriber;
mod trace_context;

pub use self::metrics::{
    BreakerState, Counted, ErrorType, Metrics, Operation, Outcome, ToolLabel, Transport,
};
pub use self::redact::redacted;
pub use self::request::{About, InRequest, spans_are_made, within};
pub use self::subscriber::{Flush, Format, InitError, SPANS, Settings, init};
pub use self::trace_context::{TraceContext, adopt, adopt_beside, outgoing};
