//! How a call went, for the metrics.

use std::time::Duration;

use super::Gateway;
use super::carry::Carried;
use crate::catalog::route::Route;
use crate::config;
use crate::exchange::{Answer, CallError};
use crate::protocol::message::Outcome;
use crate::protocol::method::Method;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::telemetry::{ErrorType, Operation, Transport as Network};

impl Gateway {
    /// Counts a call as it ended.
    pub(super) fn count(
        &self,
        method: Method,
        route: &Route,
        carried: &Result<Carried, CallError>,
        took: Duration,
    ) {
        let label = (method == Method::ToolsCall).then(|| self.metrics.tool_label(&route.exposed));
        let version = match self.era() {
            Some(Era::Modern) => ProtocolVersion::MODERN_LATEST.as_str(),
            Some(Era::Legacy) => "legacy",
            None => "unknown",
        };
        let operation = Operation {
            method: method.as_str(),
            tool: label,
            error: error_type(carried.as_ref().map(|carried| &carried.answer)),
            transport: match self.config.load().transport {
                config::Transport::Http { .. } | config::Transport::Sse { .. } => Network::Tcp,
                config::Transport::Stdio { .. } => Network::Pipe,
            },
            protocol_version: version,
        };
        self.metrics.client_operation(&self.name, operation, took);
    }
}

fn error_type(done: Result<&Answer, &CallError>) -> Option<ErrorType> {
    match done {
        Ok(answer) => match &answer.response.outcome {
            Outcome::Error(error) => Some(ErrorType::Code(i32::try_from(error.code).unwrap_or(i32::MAX))),
            Outcome::Result(result) => {
                let failed = result.get("isError").and_then(|flag| flag.bool()) == Some(true);
                failed.then_some(ErrorType::ToolError)
            }
        },
        Err(error) => Some(ErrorType::Cause(match error {
            CallError::Cancelled => "cancelled",
            CallError::Unavailable { .. } => "unavailable",
            CallError::Busy { .. } => "busy",
            CallError::Timeout { .. } => "timeout",
            CallError::Stale { .. } => "stale",
            CallError::Refused { .. } => "refused",
            CallError::Failed { .. } => "failed",
        })),
    }
}
