//! Connections: which account a user has for a toolkit, made by the user in a browser, kept in the store, and held
//! against what Composio says. One for each user and toolkit, unless the gateway allows several.
//! What comes back with a browser proves nothing but the flow: Composio is asked, and only an ACTIVE account of the
//! right user and toolkit becomes a connection (facts: OAuth connect flow). Ids of accounts stay with their user.
//! Called by REST, by the callback page, by webhooks, and by calls that meet a toolkit without a connection.

mod disconnect;
mod flow;
mod listing;
mod looks;
mod reach;
mod settle;
mod webhook;

use std::sync::Arc;

use tokio::sync::watch;
use url::Url;

pub use self::flow::{Begun, Connect, State, Works};
pub use self::listing::{Listed, ToolkitStanding};
use self::looks::Looks;
pub use self::settle::CameBack;
pub use self::webhook::{Noted, WebhookError};
use super::composio::ApiError;
use super::sessions::{SessionError, Turns};
use super::{Project, Projects};
use crate::ids::{GatewayId, UserId};
use crate::store::connections::{Connection, Keeping, Place, Standing};
use crate::store::{Store, StoreError};

/// Where browsers come back to, below the public URL.
pub const CALLBACK_PATH: &str = "/api/integrations/callback";

/// Every user's connections.
#[derive(Debug)]
pub struct Connections {
    store: Store,
    projects: Arc<Projects>,
    /// Where browsers come back to, unless a gateway says otherwise.
    callback: Url,
    /// Counts what changed, for calls that wait for it.
    changes: watch::Sender<u64>,
    /// A user's links are made one after the other: what is counted before one is made is right then.
    links: Turns,
    /// So is what comes of them.
    settling: Turns,
    /// A look that is older than what came of one writes nothing.
    looks: Looks,
}

/// Why a connection is not as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Composio's API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no session to ask through.
    #[error(transparent)]
    Session(SessionError),
    /// The gateway is not there, or not of kind `composio`.
    #[error("there is no gateway {0} of kind composio")]
    NoGateway(GatewayId),
    /// No toolkit of this name may be used.
    #[error("there is no toolkit {0:?} here")]
    NoToolkit(String),
    /// Composio has no app of its own for the toolkit.
    #[error("Composio has no app of its own for {0}: it needs an auth config")]
    NeedsAuthConfig(String),
    /// As many flows as may be are open.
    #[error("as many links as may be wait for the user")]
    TooManyFlows,
    /// As many accounts as may be are connected.
    #[error("as many accounts as may be are connected ({0})")]
    TooManyAccounts(usize),
    /// A state that is not known, not this user's, or too old.
    #[error("the state is not one of an open flow")]
    NoFlow,
    /// A `session_uri` of Composio that is not known, too old, used, or of another user's link.
    #[error("Composio takes the `session_uri` for none of this user")]
    NotVerified,
    /// There is no such connection.
    #[error("there is no such connection")]
    NotConnected,
    /// Which of several accounts is meant is not said.
    #[error("which of several accounts is meant is not said")]
    WhichAccount,
    /// Composio gave an account that is another user's.
    #[error("the account is another user's")]
    Foreign,
}

impl Connections {
    /// Makes it. `public_url` is where browsers reach us.
    #[must_use]
    pub fn new(store: Store, projects: Arc<Projects>, public_url: &Url) -> Self {
        let mut callback = public_url.clone();
        let path = format!("{}{CALLBACK_PATH}", public_url.path().trim_end_matches('/'));
        callback.set_path(&path);
        callback.set_query(None);
        callback.set_fragment(None);
        Self {
            store,
            projects,
            callback,
            changes: watch::Sender::new(0),
            links: Turns::default(),
            settling: Turns::default(),
            looks: Looks::default(),
        }
    }

    /// Returns the projects whose connections these are.
    #[must_use]
    pub fn projects(&self) -> &Arc<Projects> {
        &self.projects
    }

    /// Finds the project of a gateway.
    ///
    /// # Errors
    /// [`ConnectError::NoGateway`], [`ConnectError::Api`].
    pub fn project(&self, gateway: &GatewayId) -> Result<Arc<Project>, ConnectError> {
        let found = self.projects.get(gateway);
        let project = found.ok_or_else(|| ConnectError::NoGateway(gateway.clone()))?;
        Ok(project?)
    }

    /// Returns what a user has connected for a toolkit, as far as we know.
    ///
    /// # Errors
    /// [`ConnectError::Store`].
    pub async fn known(&self, place: &Place) -> Result<Vec<Connection>, ConnectError> {
        Ok(self.store.connections().at(place).await?)
    }

    /// Returns the accounts that a user chose, one for a toolkit at most, of those that work.
    ///
    /// # Errors
    /// [`ConnectError::Store`].
    pub async fn chosen(&self, project: &Project, user: &UserId) -> Result<Vec<Connection>, ConnectError> {
        let mut known = self.store.connections().of_user(project.gateway(), user).await?;
        known.retain(|one| one.chosen && active(one));
        Ok(known)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// Says whose connection for what.
#[must_use]
pub fn place(project: &Project, user: &UserId, toolkit: &str) -> Place {
    Place {
        gateway: project.gateway().clone(),
        user: user.clone(),
        toolkit: toolkit.to_owned(),
    }
}

/// Says how many accounts a user may have for a toolkit.
fn keeping(project: &Project) -> Keeping {
    match project.options().multi_account {
        Some(_) => Keeping::Several,
        None => Keeping::One,
    }
}

/// Tells whether sessions of a project may have a toolkit.
#[must_use]
pub fn may_use(project: &Project, toolkit: &str) -> bool {
    super::composio::is_toolkit(toolkit) && project.has_toolkit(toolkit)
}

fn active(connection: &Connection) -> bool {
    connection.standing == Standing::Active
}
