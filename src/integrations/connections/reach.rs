//! How a project is asked about a user's toolkits and for links: through the user's Tool Router session, which is made
//! when there is none, and anew once when Composio has deleted it.

use super::ConnectError;
use crate::ids::UserId;
use crate::integrations::Project;
use crate::integrations::composio::{ApiError, Link, SessionId, Toolkits, Wanted, WhichToolkits};
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
    let first = project
        .api()
        .session_toolkits(&session(project, user).await?, which)
        .await;
    match first {
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
    let first = project
        .api()
        .session_link(&session(project, user).await?, wanted)
        .await;
    match first {
        Err(ApiError::NotFound(_)) => {
            let again = session(project, user).await?;
            Ok(project.api().session_link(&again, wanted).await?)
        }
        other => Ok(other?),
    }
}
