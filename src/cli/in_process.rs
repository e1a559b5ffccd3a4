//! Gateways started for one command, when no Toolgate runs: the same house on a free loopback port.

use url::Url;

use super::Failure;
use crate::config::{Config, Secret};

/// A Toolgate inside this process.
#[derive(Debug)]
pub(super) struct InProcess {
    /// Its MCP endpoint.
    pub(super) url: Url,
    /// The key that it wants.
    pub(super) key: Option<Secret>,
}

/// Starts the gateways of a configuration in this process.
///
/// # Errors
/// Always, until the composition root can be started for one command.
pub(super) async fn start_in_process(_config: Config) -> Result<InProcess, Failure> {
    Err(Failure::Failed(
        "starting the gateways for one command is not there yet; start `toolgate serve` first, or give --url"
            .to_owned(),
    ))
}
