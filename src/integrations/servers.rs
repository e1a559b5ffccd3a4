//! How a project's users are reached over its API: through sessions, or by the older MCP server (`api = "mcp_servers"`),
//! which is found or made on first use, by a name of its gateway's, and again when it was deleted.

use tokio::sync::Mutex;

use super::Project;
use super::composio::{ApiError, ProviderId, ServerOptions, Session, SessionId};
use super::sessions::{Opened, SessionError, Which};
use crate::config::{Api, Preload, ToolChoice};
use crate::ids::UserId;

/// A name of a server has at most so many characters.
const NAME_CHARS_MAX: usize = 30;

/// The older server of a project, once it is known.
#[derive(Debug, Default)]
pub(super) struct Server(Mutex<Option<ProviderId>>);

impl Project {
    /// Returns where a user's tools are, looked at.
    ///
    /// # Errors
    /// [`SessionError`], by cause.
    pub async fn open(&self, user: &UserId, which: &Which) -> Result<Opened, SessionError> {
        match self.options.api {
            Api::Sessions => self.sessions.open(user, which).await,
            Api::McpServers => self.open_server(user).await,
        }
    }

    async fn open_server(&self, user: &UserId) -> Result<Opened, SessionError> {
        // Held while it is asked for: two first users must not make two.
        let mut known = self.server.0.lock().await;
        if let Some(id) = &*known {
            match self.api.mcp_server_url(id, user).await {
                Err(ApiError::NotFound(_)) => *known = None,
                url => return opened(id, url?),
            }
        }
        let id = self.api.mcp_server(&self.server_options()).await?;
        tracing::info!(gateway.id = %self.gateway, "an older MCP server of Composio is used");
        let url = self.api.mcp_server_url(&id, user).await?;
        let opened = opened(&id, url);
        *known = Some(id);
        opened
    }

    /// What the configuration comes to for a server.
    fn server_options(&self) -> ServerOptions {
        let options = &self.options;
        let name = format!("toolgate {}", self.gateway).replace('_', "-");
        let configured = |toolkit: &&String| !options.auth_configs.contains_key(*toolkit);
        let mut allowed: Vec<String> = match &options.preload {
            Preload::Tools(tools) => tools.clone(),
            Preload::Nothing | Preload::All => Vec::new(),
        };
        for choice in options.tools.values() {
            if let ToolChoice::Enable(tools) = choice {
                allowed.extend(tools.iter().cloned());
            }
        }
        allowed.sort_unstable();
        allowed.dedup();
        ServerOptions {
            name: name.chars().take(NAME_CHARS_MAX).collect(),
            auth_config_ids: options.auth_configs.values().cloned().collect(),
            toolkits: options
                .toolkits
                .iter()
                .flatten()
                .filter(configured)
                .cloned()
                .collect(),
            allowed_tools: allowed,
        }
    }

    /// Tells whether its users may have a toolkit.
    #[must_use]
    pub fn has_toolkit(&self, toolkit: &str) -> bool {
        let options = &self.options;
        let listed = options
            .toolkits
            .as_ref()
            .map(|toolkits| toolkits.iter().any(|other| other == toolkit));
        match options.api {
            Api::Sessions => listed.unwrap_or(true),
            Api::McpServers => listed.unwrap_or(false) || options.auth_configs.contains_key(toolkit),
        }
    }

    /// The toolkits of an older server, in order.
    pub(super) fn server_toolkits(&self) -> Vec<&str> {
        let listed = self.options.toolkits.iter().flatten().map(String::as_str);
        let mut all: Vec<&str> = listed
            .chain(self.options.auth_configs.keys().map(String::as_str))
            .collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

fn opened(id: &ProviderId, mcp_url: url::Url) -> Result<Opened, SessionError> {
    let unread = || SessionError::Api(ApiError::Unread("MCP server"));
    let session = SessionId::new(id.as_str().to_owned()).ok_or_else(unread)?;
    Ok(Opened {
        id: id.as_str().into(),
        session: Session { id: session, mcp_url },
    })
}
