//! What a gateway of kind `composio` is made of.

use super::{EraChoice, Secret};

/// `[gateways.<name>]` with `kind = "composio"`: for each user a Tool Router session, whose MCP endpoint is spoken to.
#[derive(Clone, Debug, PartialEq)]
pub struct Composio {
    /// Composio's API; sessions live on the same origin.
    pub base_url: url::Url,
    /// The project's key.
    pub api_key: Secret,
    /// Toolkits that a session may use; `None`: all.
    pub toolkits: Option<Vec<String>>,
    /// Which era a session's endpoint is spoken to in.
    pub era: EraChoice,
}
