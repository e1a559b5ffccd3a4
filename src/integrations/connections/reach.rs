//! How a project is asked about a user's toolkits and for links: through the user's Tool Router session, which is made
//! when there is none, and anew once when Composio has deleted it; or, with the older servers, by accounts and auth
//! configs alone.

use super::ConnectError;
use crate::config::Api;
use crate::ids::UserId;
use crate::integrations::Project;
use crate::integrations::composio::{
    Account, AccountStatus, ApiError, Link, ProviderId, SessionId, Toolkit, Toolkits, Used, Wanted,
    WhichToolkits,
};
use crate::integrations::sessions::{SessionError, Which};

impl From<SessionError> for ConnectError {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Api(error) => Self::Api(error),
            error => Self::Session(error),
        }
    }
}

async fn session(project: &Project, user: &UserId) -> Result<SessionId, ConnectError> {
    let opened = project.sessions().open(user, &Which::Configured).await?;
    Ok(opened.session.id)
}

/// Lists the toolkits of a user, a page of them.
pub(super) async fn toolkits(
    project: &Project,
    user: &UserId,
    which: WhichToolkits<'_>,
) -> Result<Toolkits, ConnectError> {
    if project.options().api == Api::McpServers {
        return by_accounts(project, user, which).await;
    }
    let first = session(project, user).await?;
    match project.api().session_toolkits(&first, which).await {
        // Deleted since it was looked at.
        Err(ApiError::NotFound(_)) => {
            let again = session(project, user).await?;
            Ok(project.api().session_toolkits(&again, which).await?)
        }
        other => Ok(other?),
    }
}

/// Makes a link for a user.
pub(super) async fn link(project: &Project, user: &UserId, wanted: Wanted<'_>) -> Result<Link, ConnectError> {
    if project.options().api == Api::McpServers {
        let auth_config = auth_config(project, wanted.toolkit).await?;
        return Ok(project.api().link(&auth_config, user, wanted).await?);
    }
    let first = session(project, user).await?;
    match project.api().session_link(&first, wanted).await {
        Err(ApiError::NotFound(_)) => {
            let again = session(project, user).await?;
            Ok(project.api().session_link(&again, wanted).await?)
        }
        other => Ok(other?),
    }
}

/// The auth config of a toolkit: the configuration's, or the newest of the project's that can be used.
async fn auth_config(project: &Project, toolkit: &str) -> Result<ProviderId, ConnectError> {
    let configured = project.options().auth_configs.get(toolkit);
    if let Some(id) = configured.and_then(|id| ProviderId::new(id)) {
        return Ok(id);
    }
    let mut found = project.api().auth_configs(toolkit).await?.into_iter();
    let first = found.next().map(|config| config.id);
    first.ok_or_else(|| ConnectError::NeedsAuthConfig(toolkit.to_owned()))
}

/// The toolkits of an older server, each with the account that works, or the first.
async fn by_accounts(
    project: &Project,
    user: &UserId,
    which: WhichToolkits<'_>,
) -> Result<Toolkits, ConnectError> {
    let after = which.cursor.unwrap_or_default();
    let mut slugs = project.server_toolkits();
    slugs.retain(|slug| *slug > after && (which.toolkits.is_empty() || which.toolkits.contains(slug)));
    let more = slugs.len() > which.limit.max(1);
    slugs.truncate(which.limit.max(1));
    if slugs.is_empty() {
        return Ok(Toolkits::default());
    }
    let accounts = project.api().accounts(user, &slugs).await?;
    let item = |slug: &&str| {
        let its = || accounts.iter().filter(|account| account.belongs(user, slug));
        let works = |account: &&Account| account.status == AccountStatus::Active;
        let account = its().find(works).or_else(|| its().next()).map(|account| Used {
            id: account.id.clone(),
            user: account.user.clone(),
            status: account.status,
        });
        Toolkit {
            slug: (*slug).to_owned(),
            name: (*slug).to_owned(),
            logo: None,
            no_auth: false,
            account,
        }
    };
    Ok(Toolkits {
        items: slugs.iter().map(item).collect(),
        next: slugs.last().filter(|_| more).map(|slug| (*slug).to_owned()),
    })
}
