//! The toolkits of a session, each with the account that it would use now: the cheapest look at a user's connections.

use serde::Deserialize;

use super::accounts::{AccountStatus, ProviderId, plain};
use super::request::Ask;
use super::{ApiError, Composio, SessionId};
use crate::limits::TOOLKIT_BYTES_MAX;

/// As many toolkits as a page of Composio may have.
pub const TOOLKITS_PER_PAGE_MAX: usize = 50;
/// A cursor of Composio is opaque; one that is longer is none.
const CURSOR_BYTES_MAX: usize = 1024;

/// A toolkit as a session sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolkit {
    /// Its slug.
    pub slug: String,
    /// Its name, for people.
    pub name: String,
    /// Its picture.
    pub logo: Option<String>,
    /// It needs no account.
    pub no_auth: bool,
    /// The account that the session would use, if there is one.
    pub account: Option<Used>,
}

/// An account in a session's view of a toolkit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Its id.
    pub id: ProviderId,
    /// Whose it is, where that is told.
    pub user: Option<String>,
    /// How it stands.
    pub status: AccountStatus,
}

/// One page of toolkits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Toolkits {
    /// The toolkits.
    pub items: Vec<Toolkit>,
    /// Where the next page begins.
    pub next: Option<String>,
}

/// Which page.
#[derive(Clone, Copy, Debug, Default)]
pub struct WhichToolkits<'a> {
    /// Only these.
    pub toolkits: &'a [&'a str],
    /// At most so many, up to [`TOOLKITS_PER_PAGE_MAX`].
    pub limit: usize,
    /// Where it begins.
    pub cursor: Option<&'a str>,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Described>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Described {
    slug: String,
    name: Option<String>,
    #[serde(default)]
    is_no_auth: bool,
    meta: Option<Meta>,
    connected_account: Option<Account>,
}

#[derive(Deserialize)]
struct Meta {
    logo: Option<String>,
}

#[derive(Deserialize)]
struct Account {
    id: String,
    user_id: Option<String>,
    status: Option<String>,
}

impl Described {
    fn toolkit(self) -> Toolkit {
        let account = self.connected_account.and_then(|account| {
            Some(Used {
                id: ProviderId::new(&account.id)?,
                user: account.user_id,
                status: AccountStatus::of(&account.status.unwrap_or_default()),
            })
        });
        Toolkit {
            name: plain(self.name.as_deref().unwrap_or(&self.slug)),
            slug: self.slug.to_lowercase(),
            logo: self.meta.and_then(|meta| meta.logo),
            no_auth: self.is_no_auth,
            account,
        }
    }
}

/// Tells whether a text may be the slug of a toolkit.
#[must_use]
pub fn is_toolkit(slug: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    (1..=TOOLKIT_BYTES_MAX).contains(&slug.len()) && slug.bytes().all(right)
}

impl Composio {
    /// Lists the toolkits of a session, a page of them.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when the session is gone.
    pub async fn session_toolkits(
        &self,
        session: &SessionId,
        which: WhichToolkits<'_>,
    ) -> Result<Toolkits, ApiError> {
        let path = ["tool_router", "session", session.expose(), "toolkits"];
        let limit = which.limit.clamp(1, TOOLKITS_PER_PAGE_MAX).to_string();
        let mut ask = Ask::get(&path)
            .about("session", session.expose())
            .query("limit", &[&limit]);
        if !which.toolkits.is_empty() {
            ask = ask.query("toolkits", which.toolkits);
        }
        if let Some(cursor) = which.cursor {
            ask = ask.query("cursor", &[cursor]);
        }
        let page: Page = self.read(ask, "list of toolkits").await?;
        let items = page.items.into_iter().map(Described::toolkit);
        Ok(Toolkits {
            items: items.filter(|toolkit| is_toolkit(&toolkit.slug)).collect(),
            next: page
                .next_cursor
                .filter(|cursor| (1..=CURSOR_BYTES_MAX).contains(&cursor.len())),
        })
    }
}
