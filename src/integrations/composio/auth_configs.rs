//! Auth configs: how a project lets its users connect to a toolkit. Only found here; who makes them is the operator.

use serde::Deserialize;

use super::accounts::ProviderId;
use super::request::Ask;
use super::{ApiError, Composio};

/// An auth config that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// Its id.
    pub id: ProviderId,
    /// For which toolkit.
    pub toolkit: String,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Described>,
}

#[derive(Deserialize)]
struct Described {
    id: String,
    status: Option<String>,
    toolkit: Slug,
}

#[derive(Deserialize)]
struct Slug {
    slug: String,
}

impl Composio {
    /// Lists the enabled auth configs of a toolkit, the newest first, as Composio orders them.
    ///
    /// # Errors
    /// [`ApiError`], by cause.
    pub async fn auth_configs(&self, toolkit: &str) -> Result<Vec<AuthConfig>, ApiError> {
        let ask = Ask::get(&["auth_configs"])
            .query("toolkit_slug", &[toolkit])
            .query("limit", &["50"]);
        let page: Page = self.read(ask, "list of auth configs").await?;
        let usable = page
            .items
            .into_iter()
            .filter(|item| item.status.as_deref() != Some("DISABLED"));
        let read = usable.filter_map(|item| {
            let toolkit = item.toolkit.slug;
            ProviderId::new(&item.id).map(|id| AuthConfig { id, toolkit })
        });
        Ok(read
            .filter(|config| config.toolkit.eq_ignore_ascii_case(toolkit))
            .collect())
    }
}
