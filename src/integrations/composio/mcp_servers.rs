//! Composio's older MCP servers: one for a project, made of auth configs and allowed tools and found again by its name;
//! a URL for each user. Composio has sessions in their place since; this is for those who have servers.

use http::Method;
use serde::{Deserialize, Serialize};
use url::Url;

use super::accounts::ProviderId;
use super::request::Ask;
use super::{ApiError, Composio};
use crate::ids::UserId;

/// Servers of one page.
const PAGE: usize = 50;
/// Pages that are looked through for a name.
const PAGES_MAX: usize = 20;
/// To Composio this is nobody in particular.
const NOBODY: &str = "default";

/// What a server is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerOptions {
    /// 4 to 30 letters, digits, blanks and dashes.
    pub name: String,
    /// What users connect with.
    pub auth_config_ids: Vec<String>,
    /// The toolkits beside those of the auth configs.
    pub toolkits: Vec<String>,
    /// Its tools; none: all of them.
    pub allowed_tools: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    name: Option<String>,
    #[serde(default)]
    auth_config_ids: Vec<String>,
    #[serde(default)]
    allowed_tools: Vec<String>,
}

#[derive(Deserialize)]
struct Generated {
    #[serde(default)]
    user_ids_url: Vec<String>,
}

impl Composio {
    /// Finds the server of a name and brings it to these options, or makes it.
    ///
    /// # Errors
    /// [`ApiError`], by cause.
    pub async fn mcp_server(&self, options: &ServerOptions) -> Result<ProviderId, ApiError> {
        let unread = || ApiError::Unread("MCP server");
        for page_no in 1..=PAGES_MAX {
            let ask = Ask::get(&["mcp", "servers"])
                .query("page_no", &[&page_no.to_string()])
                .query("limit", &[&PAGE.to_string()])
                .query("name", &[&options.name]);
            let page: Page = self.read(ask, "list of MCP servers").await?;
            let last = page.items.len() < PAGE;
            let named = |server: &Described| server.name.as_deref() == Some(options.name.as_str());
            if let Some(found) = page.items.into_iter().find(named) {
                let id = ProviderId::new(&found.id).ok_or_else(unread)?;
                self.adjust(&id, &found, options).await?;
                return Ok(id);
            }
            if last {
                break;
            }
        }
        let ask = Ask::change(Method::POST, &["mcp", "servers", "custom"]).json(options)?;
        let made: Described = self.read(ask, "MCP server").await?;
        ProviderId::new(&made.id).ok_or_else(unread)
    }

    async fn adjust(
        &self,
        id: &ProviderId,
        found: &Described,
        options: &ServerOptions,
    ) -> Result<(), ApiError> {
        let same = |ours: &[String], theirs: &[String]| {
            let (mut ours, mut theirs) = (ours.to_vec(), theirs.to_vec());
            ours.sort_unstable();
            theirs.sort_unstable();
            ours == theirs
        };
        if same(&options.auth_config_ids, &found.auth_config_ids)
            && same(&options.allowed_tools, &found.allowed_tools)
        {
            return Ok(());
        }
        let path = ["mcp", id.as_str()];
        let ask = Ask::change(Method::PATCH, &path).json(options)?;
        self.ask(ask.about("MCP server", id.as_str()).repeatable())
            .await?;
        Ok(())
    }

    /// Returns a user's own URL of a server: on the API's origin, where the key goes, and for this user.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when the server was deleted.
    pub async fn mcp_server_url(&self, server: &ProviderId, user: &UserId) -> Result<Url, ApiError> {
        if user.as_str() == NOBODY {
            return Err(ApiError::Nobody);
        }
        let body = serde_json::json!({ "mcp_server_id": server.as_str(), "user_ids": [user.as_str()] });
        let ask = Ask::change(Method::POST, &["mcp", "servers", "generate"])
            .json(&body)?
            .about("MCP server", server.as_str())
            .repeatable();
        let generated: Generated = self.read(ask, "URL of an MCP server").await?;
        let url = generated
            .user_ids_url
            .first()
            .and_then(|url| Url::parse(url).ok());
        let right = |url: &Url| {
            let bare = url.username().is_empty() && url.password().is_none();
            let mut users = url.query_pairs().filter(|(key, _)| key == "user_id");
            let its = users.next().is_some_and(|(_, named)| named == user.as_str());
            url.origin() == self.base_url.origin() && bare && its && users.next().is_none()
        };
        url.filter(right).ok_or(ApiError::NotASession(
            "the URL of its MCP server is on another host, or not this user's",
        ))
    }
}
