//! A user's toolkits, each with how it stands. Composio is asked, a page at a time, and what it says heals what we know:
//! rows of ours that it contradicts are looked at one by one. While it cannot be asked, what we know is told.

use super::looks::Look;
use super::{ConnectError, Connections, active, place, reach};
use crate::clock;
use crate::ids::UserId;
use crate::integrations::Project;
use crate::integrations::composio::{AccountStatus, Toolkit, WhichToolkits};
use crate::integrations::standing;
use crate::store::connections::{Connection, Place, Standing};

/// A toolkit with what a user has connected for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolkitStanding {
    /// Its slug.
    pub toolkit: String,
    /// Its name, for people; unknown while Composio cannot be asked.
    pub name: Option<String>,
    /// Its picture.
    pub logo: Option<String>,
    /// It needs no account.
    pub no_auth: bool,
    /// The user's accounts, the one to use first.
    pub accounts: Vec<Connection>,
}

impl ToolkitStanding {
    /// Returns the account that says how the toolkit stands: the chosen one that works, one that works, or the first.
    #[must_use]
    pub fn decisive(&self) -> Option<&Connection> {
        self.accounts
            .iter()
            .find(|one| active(one))
            .or(self.accounts.first())
    }

    /// Tells whether the user can use it now.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.no_auth || self.decisive().is_some_and(active)
    }
}

/// A page of toolkits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The toolkits.
    pub items: Vec<ToolkitStanding>,
    /// Where the next page begins, at Composio.
    pub next: Option<String>,
    /// Composio was asked just now.
    pub checked: bool,
}

impl Connections {
    /// Lists the toolkits that a user may connect, a page of them.
    ///
    /// # Errors
    /// [`ConnectError::Store`]; Composio's errors only where the next page of Composio's own was asked for.
    pub async fn list(
        &self,
        project: &Project,
        user: &UserId,
        which: WhichToolkits<'_>,
    ) -> Result<Listed, ConnectError> {
        let look = self.looks.begin(user);
        match reach::toolkits(project, user, which).await {
            Ok(page) => {
                let mut items = Vec::with_capacity(page.items.len());
                for toolkit in page.items {
                    let place = place(project, user, &toolkit.slug);
                    items.push(self.standing(project, &place, toolkit, &look).await?);
                }
                Ok(Listed {
                    items,
                    next: page.next,
                    checked: true,
                })
            }
            Err(error) if which.cursor.is_none() => {
                tracing::warn!(gateway.id = %project.gateway(), reason = %error, "connections are told as they were last seen");
                self.remembered(project, user, which).await
            }
            Err(error) => Err(error),
        }
    }

    async fn standing(
        &self,
        project: &Project,
        place: &Place,
        toolkit: Toolkit,
        look: &Look<'_>,
    ) -> Result<ToolkitStanding, ConnectError> {
        let accounts = self.held_against(project, place, &toolkit, look).await?;
        Ok(ToolkitStanding {
            toolkit: toolkit.slug,
            name: Some(toolkit.name),
            logo: toolkit.logo,
            no_auth: toolkit.no_auth,
            accounts,
        })
    }

    /// Tells what we know, without asking.
    async fn remembered(
        &self,
        project: &Project,
        user: &UserId,
        which: WhichToolkits<'_>,
    ) -> Result<Listed, ConnectError> {
        let known = self.store.connections().of_user(project.gateway(), user).await?;
        let now = clock::unix_s();
        let mut slugs: Vec<String> = project.options().toolkits.clone().unwrap_or_default();
        slugs.extend(known.iter().map(|one| one.place.toolkit.clone()));
        slugs.sort();
        slugs.dedup();
        let wanted = |slug: &String| which.toolkits.is_empty() || which.toolkits.contains(&slug.as_str());
        let items = slugs.into_iter().filter(wanted).map(|toolkit| {
            let its = known.iter().filter(|one| one.place.toolkit == toolkit);
            let accounts = its.cloned().map(|one| standing::shown(one, now)).collect();
            ToolkitStanding {
                toolkit,
                name: None,
                logo: None,
                no_auth: false,
                accounts,
            }
        });
        Ok(Listed {
            items: items.collect(),
            next: None,
            checked: false,
        })
    }

    /// Holds what we know of a place against what Composio says a session would use. An account that works there is
    /// taken on, unless the look is older than what was settled since; one of ours that should work and is not seen
    /// there is looked at, and so is one whose time is over.
    pub(super) async fn held_against(
        &self,
        project: &Project,
        place: &Place,
        seen: &Toolkit,
        look: &Look<'_>,
    ) -> Result<Vec<Connection>, ConnectError> {
        let owned = |user: &Option<String>| user.as_deref().is_none_or(|user| user == place.user.as_str());
        let used = seen.account.as_ref().filter(|used| owned(&used.user));
        let works = used.filter(|used| used.status == AccountStatus::Active);
        if let Some(used) = works {
            let _turn = self.settling.wait(&place.user).await;
            let adopted = if look.is_older(place) {
                tracing::debug!(gateway.id = %place.gateway, toolkit = place.toolkit, "a look is older than what was settled since");
                Ok(Vec::new())
            } else {
                self.adopt(project, place, &used.id, None).await
            };
            match adopted {
                Ok(_) | Err(ConnectError::Foreign) => {}
                Err(error) => return Err(error),
            }
        }
        let now = clock::unix_s();
        let several = project.options().multi_account.is_some();
        for known in self.known(place).await? {
            let is_used = used.is_some_and(|used| used.id.as_str() == known.account);
            let doubtful = match known.standing {
                // The chosen one of several is what a session that is bound to it would use.
                Standing::Active => !is_used && (!several || known.chosen || works.is_none()),
                Standing::Pending => is_used || standing::is_abandoned(&known, now),
                Standing::Inactive | Standing::Failed | Standing::Revoked => {
                    used.is_some_and(|used| is_used && standing::of(used.status).0 != known.standing)
                }
            };
            if doubtful && let Err(error) = self.refresh(project, &known, &place.user).await {
                tracing::debug!(gateway.id = %place.gateway, reason = %error, "an account could not be looked at");
            }
        }
        let known = self.known(place).await?;
        Ok(known.into_iter().map(|one| standing::shown(one, now)).collect())
    }
}
