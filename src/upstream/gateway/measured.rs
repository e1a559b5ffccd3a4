//! How a call went, for the metrics.

use std::time::Duration;

use super::Gateway;
use super::carry::Carried;
use crate::catalog::route::Route;
use crate::config;
use crate::exchange::CallError;
use crate::protocol::method::Method;
use crate::protocol::version::{Era, ProtocolVersion};
use crate::telemetry::{Operation, Transport as Network};

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
        let era = match carried {
            Ok(carried) => Some(carried.answer.era),
            Err(_) => self.era(),
        };
        let version = match era {
            Some(Era::Modern) => ProtocolVersion::MODERN_LATEST.as_str(),
            Some(Era::Legacy) => "legacy",
            None => "unknown",
        };
        let operation = Operation {
            method: method.as_str(),
            tool: label,
            error: match carried {
                Ok(carried) => carried.answer.error_type(),
                Err(error) => Some(error.error_type()),
            },
            transport: match self.config.load().transport {
                config::Transport::Stdio { .. } => Network::Pipe,
                _ => Network::Tcp,
            },
            protocol_version: version,
        };
        self.metrics.client_operation(&self.name, operation, took);
    }
}
