//! Connected accounts: what a user granted at a toolkit's provider. Look, list, switch, take back, delete; and links,
//! by which a user connects one. Tokens never come: Composio shows them redacted, and they are not read here.
//! Statuses mean what [`AccountStatus::of`] says, and nowhere else is a word of theirs compared.

use std::fmt;

use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use url::Url;

use super::request::Ask;
use super::{ApiError, Composio, SessionId};
use crate::ids::UserId;
use crate::limits::{COMPOSIO_ID_BYTES_MAX, CONNECTION_REASON_CHARS_MAX};

/// Accounts of one user and toolkit that are looked at.
const LIST_LIMIT: &str = "100";

/// The id of an account, auth config or server: safe in a path.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ProviderId(String);

impl ProviderId {
    /// Takes an id of a known form; `None` for any other.
    #[must_use]
    pub fn new(id: &str) -> Option<Self> {
        let right = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let fits = (1..=COMPOSIO_ID_BYTES_MAX).contains(&id.len());
        (fits && id.bytes().all(right)).then(|| Self(id.to_owned()))
    }

    /// Returns the id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an account stands, in our words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountStatus {
    /// `INITIALIZING`, `INITIATED`: its user has not finished.
    Pending,
    /// `ACTIVE`: the only usable one.
    Active,
    /// `INACTIVE`: switched off.
    Inactive,
    /// `FAILED`.
    Failed,
    /// `EXPIRED`: not finished in time, or its tokens are dead for good. Only connecting again helps.
    Expired,
    /// `REVOKED`.
    Revoked,
    /// A word that is not known; nothing is concluded from it but that it is not usable.
    Unknown,
}

impl AccountStatus {
    /// Reads Composio's word.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "INITIALIZING" | "INITIATED" => Self::Pending,
            "ACTIVE" => Self::Active,
            "INACTIVE" => Self::Inactive,
            "FAILED" => Self::Failed,
            "EXPIRED" => Self::Expired,
            "REVOKED" => Self::Revoked,
            _ => Self::Unknown,
        }
    }
}

/// A connected account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub id: ProviderId,
    /// Whose it is.
    pub user: Option<String>,
    /// For which toolkit.
    pub toolkit: String,
    /// How it stands.
    pub status: AccountStatus,
    /// Why, in Composio's words, cut.
    pub reason: Option<String>,
    /// The user's own name for it.
    pub alias: Option<String>,
}

/// What is read of an account; whatever else there is may be anything.
#[derive(Deserialize)]
struct Described {
    id: String,
    user_id: Option<String>,
    status: Option<String>,
    status_reason: Option<String>,
    alias: Option<String>,
    #[serde(default)]
    is_disabled: bool,
    toolkit: Option<Slug>,
}

#[derive(Deserialize)]
struct Slug {
    slug: String,
}

#[derive(Deserialize)]
struct Page {
    items: Vec<Described>,
}

impl Described {
    fn account(self) -> Option<Account> {
        let status = AccountStatus::of(&self.status.unwrap_or_default());
        Some(Account {
            id: ProviderId::new(&self.id)?,
            user: self.user_id,
            toolkit: self.toolkit?.slug,
            status: if self.is_disabled && status == AccountStatus::Active {
                AccountStatus::Inactive
            } else {
                status
            },
            reason: self.status_reason.map(|reason| plain(&reason)),
            alias: self.alias.filter(|alias| !alias.is_empty()),
        })
    }
}

impl Account {
    /// Reads an account as a webhook describes it.
    #[must_use]
    pub fn of(described: &serde_json::Value) -> Option<Self> {
        Described::deserialize(described).ok()?.account()
    }

    /// Tells whether it is this user's, for this toolkit.
    #[must_use]
    pub fn belongs(&self, user: &UserId, toolkit: &str) -> bool {
        self.user.as_deref() == Some(user.as_str()) && self.toolkit.eq_ignore_ascii_case(toolkit)
    }
}

/// A text of Composio in one line.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(CONNECTION_REASON_CHARS_MAX)
        .collect()
}

/// Where a user goes to connect an account.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// The page; whoever opens it connects an account for the user.
    pub url: Url,
    /// The account that will be active then.
    pub account: ProviderId,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Link").field(&self.account).finish()
    }
}

/// What a link is wanted for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The toolkit's slug.
    pub toolkit: &'a str,
    /// Where the browser goes afterwards, with our state in it.
    pub callback: &'a Url,
    /// The user's own name for the account.
    pub alias: Option<&'a str>,
}

#[derive(Serialize)]
struct SessionLink<'a> {
    toolkit: &'a str,
    callback_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
}

#[derive(Serialize)]
struct PlainLink<'a> {
    auth_config_id: &'a str,
    user_id: &'a str,
    callback_url: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<&'a str>,
}

#[derive(Deserialize)]
struct Linked {
    redirect_url: String,
    connected_account_id: String,
}

impl Linked {
    /// A page that a person is sent to is one of the web.
    fn link(self) -> Result<Link, ApiError> {
        let unread = || ApiError::Unread("link for a user");
        let url = Url::parse(&self.redirect_url).map_err(|_| unread())?;
        if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
            return Err(unread());
        }
        let account = ProviderId::new(&self.connected_account_id).ok_or_else(unread)?;
        Ok(Link { url, account })
    }
}

impl Composio {
    /// Makes a link through a user's session. Each call makes another account, which expires when nobody comes.
    ///
    /// # Errors
    /// [`ApiError`], by cause: 4308 when the toolkit needs an auth config of the project's own, 4326 when it needs none.
    pub async fn session_link(&self, session: &SessionId, wanted: Wanted<'_>) -> Result<Link, ApiError> {
        let path = ["tool_router", "session", session.expose(), "link"];
        let body = SessionLink {
            toolkit: wanted.toolkit,
            callback_url: wanted.callback.as_str(),
            alias: wanted.alias,
        };
        let ask = Ask::change(Method::POST, &path)
            .json(&body)?
            .about("session", session.expose());
        self.read::<Linked>(ask, "link for a user").await?.link()
    }

    /// Makes a link by an auth config, without a session.
    ///
    /// # Errors
    /// [`ApiError`], by cause.
    pub async fn link(
        &self,
        auth_config: &ProviderId,
        user: &UserId,
        wanted: Wanted<'_>,
    ) -> Result<Link, ApiError> {
        let body = PlainLink {
            auth_config_id: auth_config.as_str(),
            user_id: user.as_str(),
            callback_url: wanted.callback.as_str(),
            alias: wanted.alias,
        };
        let ask = Ask::change(Method::POST, &["connected_accounts", "link"]).json(&body)?;
        self.read::<Linked>(ask, "link for a user").await?.link()
    }

    /// Lists a user's accounts for some toolkits; none named: for all. Those of which nothing can be read are left out.
    ///
    /// # Errors
    /// [`ApiError`], by cause.
    pub async fn accounts(&self, user: &UserId, toolkits: &[&str]) -> Result<Vec<Account>, ApiError> {
        let mut ask = Ask::get(&["connected_accounts"])
            .query("user_ids", &[user.as_str()])
            .query("limit", &[LIST_LIMIT]);
        if !toolkits.is_empty() {
            ask = ask.query("toolkit_slugs", toolkits);
        }
        let page: Page = self.read(ask, "list of connected accounts").await?;
        let accounts = page.items.into_iter().filter_map(Described::account);
        // Asked for one user, told of one user: whatever else came is not his.
        Ok(accounts
            .filter(|account| account.user.as_deref() == Some(user.as_str()))
            .collect())
    }

    /// Looks at an account.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] when it was deleted, or never was.
    pub async fn account(&self, id: &ProviderId) -> Result<Account, ApiError> {
        let path = ["connected_accounts", id.as_str()];
        let ask = Ask::get(&path).about("connected account", id.as_str());
        let described: Described = self.read(ask, "connected account").await?;
        described
            .account()
            .filter(|account| account.id == *id)
            .ok_or(ApiError::Unread("connected account"))
    }

    /// Switches an account on or off.
    ///
    /// # Errors
    /// [`ApiError`], by cause.
    pub async fn enable_account(&self, id: &ProviderId, enabled: bool) -> Result<(), ApiError> {
        let path = ["connected_accounts", id.as_str(), "status"];
        let ask = Ask::change(Method::PATCH, &path)
            .json(&serde_json::json!({ "enabled": enabled }))?
            .about("connected account", id.as_str())
            .repeatable();
        self.ask(ask).await.map(|_| ())
    }

    /// Takes back at the provider what an account was granted. False where that is not possible: the toolkit cannot
    /// (400), or the account is in no state for it (409).
    ///
    /// # Errors
    /// [`ApiError`], by cause.
    pub async fn revoke_account(&self, id: &ProviderId) -> Result<bool, ApiError> {
        let path = ["connected_accounts", id.as_str(), "revoke"];
        let ask = Ask::change(Method::POST, &path).about("connected account", id.as_str());
        match self.ask(ask).await {
            Ok(_) => Ok(true),
            Err(ApiError::Status {
                status: StatusCode::BAD_REQUEST | StatusCode::CONFLICT,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes an account.
    ///
    /// # Errors
    /// [`ApiError`], by cause; that it is not there is none.
    pub async fn delete_account(&self, id: &ProviderId) -> Result<(), ApiError> {
        let path = ["connected_accounts", id.as_str()];
        match self
            .ask(Ask::delete(&path).about("connected account", id.as_str()))
            .await
        {
            Ok(_) | Err(ApiError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_word_of_composio_has_its_meaning_and_an_unknown_one_is_not_usable() {
        for (word, status) in [
            ("INITIALIZING", AccountStatus::Pending),
            ("INITIATED", AccountStatus::Pending),
            ("ACTIVE", AccountStatus::Active),
            ("INACTIVE", AccountStatus::Inactive),
            ("FAILED", AccountStatus::Failed),
            ("EXPIRED", AccountStatus::Expired),
            ("REVOKED", AccountStatus::Revoked),
            ("active", AccountStatus::Unknown),
            ("", AccountStatus::Unknown),
        ] {
            assert_eq!(AccountStatus::of(word), status, "{word}");
        }
    }

    #[test]
    fn an_account_is_read_with_all_that_may_be_missing_and_one_without_id_or_toolkit_is_none() {
        let full = json!({ "id": "ca_1", "user_id": "alice", "status": "ACTIVE", "is_disabled": false,
            "status_reason": "two\nlines", "alias": "", "toolkit": { "slug": "gmail" }, "data": 1, "new": [] });
        let account = Account::of(&full).unwrap();
        assert_eq!(
            (account.status, account.alias.as_deref()),
            (AccountStatus::Active, None)
        );
        assert_eq!(account.reason.as_deref(), Some("two lines"));
        assert!(account.belongs(&UserId::new("alice"), "gmail"));
        assert!(!account.belongs(&UserId::new("bob"), "gmail"));
        assert!(!account.belongs(&UserId::new("alice"), "github"));
        let mut disabled = full.clone();
        disabled["is_disabled"] = json!(true);
        assert_eq!(Account::of(&disabled).unwrap().status, AccountStatus::Inactive);
        let bare = Account::of(&json!({ "id": "ca_1", "toolkit": { "slug": "gmail" } })).unwrap();
        assert_eq!(bare.status, AccountStatus::Unknown);
        assert!(
            !bare.belongs(&UserId::new("alice"), "gmail"),
            "nobody's is not everybody's"
        );
        assert_eq!(Account::of(&json!({ "id": "ca_1" })), None);
        assert_eq!(
            Account::of(&json!({ "id": "../x", "toolkit": { "slug": "gmail" } })),
            None
        );
    }

    #[test]
    fn a_link_leads_to_a_page_of_the_web_or_is_none() {
        let link = |url: &str, account: &str| {
            let linked = Linked {
                redirect_url: url.to_owned(),
                connected_account_id: account.to_owned(),
            };
            linked.link()
        };
        assert!(link("https://connect.composio.dev/link/lk_1", "ca_1").is_ok());
        for (url, account) in [
            ("javascript:alert(1)", "ca_1"),
            ("/link", "ca_1"),
            ("https://connect.composio.dev/", "ca/1"),
            ("https://connect.composio.dev/", ""),
        ] {
            assert!(link(url, account).is_err(), "{url} {account}");
        }
    }
}
