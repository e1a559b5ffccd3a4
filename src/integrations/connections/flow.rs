//! How a connection begins: a state of our own, a link of Composio's with our callback in it, both noted before the user
//! hears of them. Killed in between, an account nobody knows of expires at Composio.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::{ConnectError, Connections, active, keeping, may_use, place, reach};
use crate::clock;
use crate::ids::UserId;
use crate::integrations::Project;
use crate::integrations::composio::{Link, ProviderId, Toolkit, Wanted, WhichToolkits};
use crate::limits::{CONNECT_FLOWS_OPEN_MAX, CONNECT_LINK_LEFT_MIN, CONNECT_STATE_AGE_MAX};
use crate::store::connect_states::NewFlow;
use crate::store::connections::{Connection, Place, Standing};

/// A state is so many random bytes.
const STATE_BYTES: usize = 32;
/// A link needs an auth config of the project's own.
const NO_MANAGED_AUTH: &[&str] = &["ToolRouterV2_NoManagedAuth", "4308"];
/// The toolkit needs no account.
const NO_AUTH: &[&str] = &["ToolRouterV2_ToolkitsIsNoAuth", "4326"];

/// A flow's state, which proves that whoever has it came from its link.
#[derive(Clone, PartialEq, Eq)]
pub struct State(String);

impl State {
    fn random() -> Self {
        Self(URL_SAFE_NO_PAD.encode(clock::random::<STATE_BYTES>()))
    }

    /// Takes a text that may be one; `None` for what is none.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == STATE_BYTES).then(|| Self(text.to_owned()))
    }

    /// Returns the text, for whoever began the flow.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.0).into()
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("State(***)")
    }
}

/// What is wanted of a connect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Connect<'a> {
    /// The user's own name for the account.
    pub alias: Option<&'a str>,
    /// Connect again although there is a working connection, which stays until the new one works.
    pub again: bool,
}

/// Whether there is an account that a call can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Works {
    /// There is none.
    No,
    /// There is one, and was before.
    Yes,
    /// There is one, and a session that was bound to one that does not work uses it from now on.
    Rebound,
}

/// What a connect comes to.
#[derive(Clone, Debug)]
pub enum Begun {
    /// There is a connection that works, or none is needed.
    Connected,
    /// The user has to go to a page.
    Link {
        /// The page.
        url: url::Url,
        /// What the browser comes back with.
        state: State,
    },
}

impl Connections {
    /// Begins to connect a user with a toolkit, unless there is a connection that works: of that Composio is asked, and
    /// what it says is noted.
    ///
    /// # Errors
    /// [`ConnectError`], by cause.
    pub async fn connect(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
        connect: Connect<'_>,
    ) -> Result<Begun, ConnectError> {
        if !may_use(project, toolkit) {
            return Err(ConnectError::NoToolkit(toolkit.to_owned()));
        }
        let place = place(project, user, toolkit);
        let look = self.looks.begin(user);
        let seen = self.look(project, user, toolkit).await?;
        if seen.no_auth {
            return Ok(Begun::Connected);
        }
        let known = self.held_against(project, &place, &seen, &look).await?;
        let working = known.iter().filter(|connection| active(connection)).count();
        match project.options().multi_account {
            None if working > 0 && !connect.again => return Ok(Begun::Connected),
            Some(several) if working >= usize::from(several.max) => {
                return Err(ConnectError::TooManyAccounts(several.max.into()));
            }
            _ => {}
        }
        let turn = self.links.wait(user).await;
        let begun = self.begin(project, &place, connect.alias, &known).await;
        drop(turn);
        match begun {
            Err(ConnectError::Api(error)) if error.is_named(NO_AUTH) => Ok(Begun::Connected),
            begun => begun.map(|(link, state)| Begun::Link { url: link.url, state }),
        }
    }

    /// Tells whether a user has an account that works for a toolkit: Composio is asked. Where the user's sessions were
    /// bound to one that does not, they are bound otherwise now.
    ///
    /// # Errors
    /// [`ConnectError`], by cause.
    pub async fn works(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
    ) -> Result<Works, ConnectError> {
        let before = project.sessions().bound(user).await?;
        let works = self.works_now(project, user, toolkit).await?;
        if project.sessions().bound(user).await? == before {
            return Ok(if works { Works::Yes } else { Works::No });
        }
        let works = self.works_now(project, user, toolkit).await?;
        Ok(if works { Works::Rebound } else { Works::No })
    }

    async fn works_now(&self, project: &Project, user: &UserId, toolkit: &str) -> Result<bool, ConnectError> {
        let look = self.looks.begin(user);
        let seen = self.look(project, user, toolkit).await?;
        let place = place(project, user, toolkit);
        let known = self.held_against(project, &place, &seen, &look).await?;
        Ok(seen.no_auth || known.iter().any(active))
    }

    /// Returns where a user goes to connect a toolkit that a call needs: a link that was made before, while it is good
    /// for a while, so that calls that fail do not pile up accounts.
    ///
    /// # Errors
    /// [`ConnectError`], by cause.
    pub async fn link_for_call(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
    ) -> Result<(url::Url, ProviderId), ConnectError> {
        if !may_use(project, toolkit) {
            return Err(ConnectError::NoToolkit(toolkit.to_owned()));
        }
        let place = place(project, user, toolkit);
        let _turn = self.links.wait(user).await;
        let good_beyond = clock::unix_s() + CONNECT_LINK_LEFT_MIN.as_secs();
        if let Some((flow, url)) = self.store.connect_states().newest(&place, good_beyond).await?
            && let (Ok(url), Some(account)) = (url::Url::parse(&url), ProviderId::new(&flow.account))
        {
            return Ok((url, account));
        }
        let known = self.store.connections().at(&place).await?;
        let (link, _) = self.begin(project, &place, None, &known).await?;
        Ok((link.url, link.account))
    }

    /// Asks Composio how a toolkit stands for a user.
    pub(super) async fn look(
        &self,
        project: &Project,
        user: &UserId,
        toolkit: &str,
    ) -> Result<Toolkit, ConnectError> {
        let which = WhichToolkits {
            toolkits: &[toolkit],
            limit: 1,
            cursor: None,
        };
        let page = reach::toolkits(project, user, which).await?;
        let found = page.items.into_iter().find(|item| item.slug == toolkit);
        found.ok_or_else(|| ConnectError::NoToolkit(toolkit.to_owned()))
    }

    /// Makes a state and a link, and notes both; in the user's turn.
    async fn begin(
        &self,
        project: &Project,
        place: &Place,
        alias: Option<&str>,
        known: &[Connection],
    ) -> Result<(Link, State), ConnectError> {
        let (states, now) = (self.store.connect_states(), clock::unix_s());
        if states.open(place, now).await? >= CONNECT_FLOWS_OPEN_MAX {
            return Err(ConnectError::TooManyFlows);
        }
        let state = State::random();
        let mut callback = project
            .options()
            .callback_url
            .clone()
            .unwrap_or_else(|| self.callback.clone());
        callback.query_pairs_mut().append_pair("state", state.as_str());
        let wanted = Wanted {
            toolkit: &place.toolkit,
            callback: &callback,
            alias,
        };
        let link = self.link(project, &place.user, wanted).await?;
        let flow = NewFlow {
            place: place.clone(),
            account: link.account.as_str().to_owned(),
            alias: alias.map(str::to_owned),
            state_sha256: state.sha256(),
            auth_url: link.url.to_string(),
            expires_unix_s: now + CONNECT_STATE_AGE_MAX.as_secs(),
        };
        let displaced = states.begin(&flow, keeping(project), now).await?;
        let displaced = displaced.ok_or(ConnectError::Foreign)?;
        self.changed();
        // What is of no use any more goes at Composio too; what could be switched on again stays there.
        let spent = known.iter().filter(|old| {
            displaced.contains(&old.account) && matches!(old.standing, Standing::Failed | Standing::Revoked)
        });
        for old in spent {
            if let Some(account) = ProviderId::new(&old.account) {
                self.delete_quietly(project, &account).await;
            }
        }
        Ok((link, state))
    }

    /// Makes a link through the user's session; where that was made before there was an auth config, by the auth config.
    async fn link(&self, project: &Project, user: &UserId, wanted: Wanted<'_>) -> Result<Link, ConnectError> {
        let error = match reach::link(project, user, wanted).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        if !matches!(&error, ConnectError::Api(error) if error.is_named(NO_MANAGED_AUTH)) {
            return Err(error);
        }
        let configured = project.options().auth_configs.get(wanted.toolkit);
        match configured.and_then(|id| ProviderId::new(id)) {
            Some(auth_config) => Ok(project.api().link(&auth_config, user, wanted).await?),
            None => Err(ConnectError::NeedsAuthConfig(wanted.toolkit.to_owned())),
        }
    }

    /// Deletes an account that nothing needs; that it stays is no failure of what was asked for.
    pub(super) async fn delete_quietly(&self, project: &Project, account: &ProviderId) {
        if let Err(error) = project.api().delete_account(account).await {
            let gateway = project.gateway();
            tracing::info!(gateway.id = %gateway, reason = %error, "an account that is no longer used was not deleted");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_what_is_none_is_not() {
        let state = State::random();
        assert_eq!(State::read(state.as_str()), Some(state.clone()));
        assert_ne!(State::random(), state);
        assert!(!format!("{state:?}").contains(state.as_str()));
        for text in [
            "",
            "abc",
            "../../etc",
            &format!("{}=", state.as_str()),
            &"A".repeat(44),
        ] {
            assert_eq!(State::read(text), None, "{text}");
        }
    }
}
