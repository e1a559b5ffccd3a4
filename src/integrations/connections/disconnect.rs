//! How a connection ends or changes: taken back at the provider as far as that is possible, deleted at Composio, and
//! forgotten here last, so that one that is killed in between can be ended again.

use super::{ConnectError, Connections, place};
use crate::ids::UserId;
use crate::integrations::Project;
use crate::integrations::composio::{ApiError, ProviderId};
use crate::store::connections::{Connection, Standing};

impl Connections {
    /// Ends a connection: all of a toolkit's unless an account is named. Returns how many there were.
    ///
    /// # Errors
    /// [`ConnectError::NotConnected`] when there is none; otherwise by cause, and the connection stays.
    pub async fn disconnect(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
        account: Option<&str>,
    ) -> Result<usize, ConnectError> {
        let place = place(project, user, toolkit);
        let known = self.known(&place).await?;
        let named = |one: &&Connection| account.is_none_or(|account| account == one.account);
        let doomed: Vec<&Connection> = known.iter().filter(named).collect();
        if doomed.is_empty() {
            return Err(ConnectError::NotConnected);
        }
        for one in &doomed {
            // Before it goes: a session that is bound to it would find nothing else.
            project.sessions().bind(user, Some(&one.account)).await?;
            if let Some(id) = ProviderId::new(&one.account) {
                self.take_back(project, &id).await?;
                project.api().delete_account(&id).await?;
            }
            {
                // Not between another's look and what it writes.
                let _turn = self.settling.wait(user).await;
                self.looks.settled(&place);
                self.store.connect_states().forget(&place, &one.account).await?;
                self.store.connections().remove(&place, &one.account).await?;
            }
            self.bind(project, user).await;
            self.changed();
            tracing::info!(gateway.id = %project.gateway(), toolkit, "a user disconnected a toolkit");
        }
        Ok(doomed.len())
    }

    /// Revokes as well as it goes: that it cannot be revoked (400, 409) or is gone keeps nobody from deleting it.
    async fn take_back(&self, project: &Project, account: &ProviderId) -> Result<(), ConnectError> {
        match project.api().revoke_account(account).await {
            Ok(true) | Err(ApiError::NotFound(_)) => Ok(()),
            Ok(false) => {
                tracing::info!(gateway.id = %project.gateway(), "a grant could not be taken back at its provider; the account is deleted");
                Ok(())
            }
            Err(error @ (ApiError::Unauthorized { .. } | ApiError::Unreachable(_))) => Err(error.into()),
            Err(error) => {
                tracing::warn!(gateway.id = %project.gateway(), reason = %error, "a grant was not taken back at its provider; the account is deleted");
                Ok(())
            }
        }
    }

    /// Switches an account on or off at Composio.
    ///
    /// # Errors
    /// [`ConnectError::NotConnected`], [`ConnectError::WhichAccount`]; otherwise by cause.
    pub async fn enable(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
        account: Option<&str>,
        enabled: bool,
    ) -> Result<(), ConnectError> {
        let known = self.one(project, user, toolkit, account).await?;
        let id = ProviderId::new(&known.account).ok_or(ConnectError::NotConnected)?;
        project.api().enable_account(&id, enabled).await?;
        self.refresh(project, &known, user).await?;
        Ok(())
    }

    /// Makes one of several accounts the one to use, in the sessions that the user has, too.
    ///
    /// # Errors
    /// [`ConnectError::NotConnected`] when it is none that works; Composio's errors where it was chosen and a session
    /// could not be told, which is told when it is looked at next.
    pub async fn choose(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
        account: &str,
    ) -> Result<(), ConnectError> {
        let known = self.one(project, user, toolkit, Some(account)).await?;
        if known.standing != Standing::Active {
            return Err(ConnectError::NotConnected);
        }
        let place = place(project, user, toolkit);
        let chosen = self.store.connections().choose(&place, account).await?;
        self.changed();
        project.sessions().bind(user, None).await?;
        chosen.then_some(()).ok_or(ConnectError::NotConnected)
    }

    /// Finds the one connection that is meant.
    async fn one(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
        account: Option<&str>,
    ) -> Result<Connection, ConnectError> {
        let mut known = self.known(&place(project, user, toolkit)).await?;
        match account {
            Some(account) => known.retain(|one| one.account == account),
            None if known.len() > 1 => return Err(ConnectError::WhichAccount),
            None => {}
        }
        known.pop().ok_or(ConnectError::NotConnected)
    }
}
