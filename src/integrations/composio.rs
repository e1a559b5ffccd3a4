//! Composio's API (v3.1) under one project's key, a file a noun. How a request is sent, and when again, is `request`'s.
//! The key goes to the configured origin and nowhere else: no redirect is followed, no proxy is used.
//! Never logs or shows a session's id or URL: whoever has them and a key acts as its user.

mod accounts;
mod auth_configs;
mod error;
mod mcp_servers;
mod request;
mod session_options;
mod sessions;
mod toolkits;
mod verifier;
mod webhooks;

use http::HeaderValue;
use url::Url;

pub use self::accounts::{Account, AccountStatus, Link, ProviderId, Wanted};
pub use self::auth_configs::AuthConfig;
pub use self::error::ApiError;
use self::error::root_cause;
pub use self::mcp_servers::ServerOptions;
pub use self::session_options::SessionOptions;
pub use self::sessions::{Session, SessionId};
pub use self::toolkits::{TOOLKITS_PER_PAGE_MAX, Toolkit, Toolkits, Used, WhichToolkits, is_toolkit};
pub use self::webhooks::{Signed, WebhookRefused, verify_webhook};
use crate::config::Secret;
use crate::limits::{CONNECT_TIMEOUT, UPSTREAM_POOL_IDLE_MAX};

/// Carries the project's key, towards the API and towards a session's MCP endpoint.
pub const KEY_HEADER: &str = "x-api-key";
/// For whom lists are asked for. It has no connections; a session's tools depend on its options, not on its user.
pub const LISTING_USER: &str = "toolgate-listing";

/// The API under one project's key.
#[derive(Debug)]
pub struct Composio {
    client: reqwest::Client,
    base_url: Url,
    key: HeaderValue,
}

impl Composio {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// [`ApiError::Unusable`]: a key that no header can carry, TLS that cannot be set up.
    pub fn new(base_url: &Url, api_key: &Secret) -> Result<Self, ApiError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(UPSTREAM_POOL_IDLE_MAX)
            .user_agent(concat!("toolgate/", env!("CARGO_PKG_VERSION")));
        if base_url.scheme() == "http" {
            // Nothing will be verified: an image without certificates is no reason to refuse.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        let client = builder
            .build()
            .map_err(|error| ApiError::Unusable(format!("TLS cannot be set up: {}", root_cause(&error))))?;
        let mut key = HeaderValue::from_str(api_key.expose())
            .map_err(|_| ApiError::Unusable("the key holds characters that no header carries".to_owned()))?;
        key.set_sensitive(true);
        Ok(Self {
            client,
            base_url: base_url.clone(),
            key,
        })
    }
}
