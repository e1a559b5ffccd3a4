//! What comes of a flow: the browser comes back, or whoever began it asks. Either way Composio is asked for the account,
//! and only what it says of it is noted. A process that is killed here leaves a pending connection, which the next look
//! settles.

use std::time::Duration;

use http::StatusCode;

use super::flow::State;
use super::{ConnectError, Connections, active, keeping, may_use, place};
use crate::clock;
use crate::ids::UserId;
use crate::integrations::Project;
use crate::integrations::composio::{Account, ApiError, ProviderId};
use crate::integrations::standing;
use crate::limits::{CONNECT_LOOK_INTERVAL, CONNECT_SETTLE_WAIT};
use crate::store::connect_states::{Flow, Taken};
use crate::store::connections::{Connection, Place, Standing};

/// What a browser that came back is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameBack {
    /// The toolkit that was to be connected.
    pub toolkit: String,
    /// How it stands.
    pub standing: Standing,
    /// Why.
    pub reason: Option<String>,
}

impl Connections {
    /// Takes a browser back. `claimed` is the account that it says it comes with; it proves nothing, and one of another
    /// flow ends this one.
    ///
    /// # Errors
    /// [`ConnectError::NoFlow`] for a state that is unknown or too old; otherwise by cause.
    pub async fn come_back(&self, state: &State, claimed: Option<&str>) -> Result<CameBack, ConnectError> {
        let now = clock::unix_s();
        let taken = self.store.connect_states().take(&state.sha256(), now).await?;
        let (flow, first) = match taken.ok_or(ConnectError::NoFlow)? {
            Taken::Now(flow) => (flow, true),
            Taken::Before(flow) => (flow, false),
        };
        if claimed.is_some_and(|claimed| claimed != flow.account) {
            let (gateway, toolkit) = (&flow.place.gateway, &flow.place.toolkit);
            tracing::warn!(gateway.id = %gateway, toolkit, "a browser came back with another account than its flow's");
            return Err(ConnectError::Foreign);
        }
        let project = self.project(&flow.place.gateway)?;
        let wait = if first {
            CONNECT_SETTLE_WAIT
        } else {
            Duration::ZERO
        };
        self.settle_soon(&project, &flow, wait).await
    }

    /// Finds out what came of a user's flow; without a state, of what is pending.
    ///
    /// # Errors
    /// [`ConnectError::NoFlow`], [`ConnectError::NotConnected`]; otherwise by cause.
    pub async fn complete(
        &self,
        project: &Project,
        place: &Place,
        state: Option<&State>,
    ) -> Result<CameBack, ConnectError> {
        let (states, now) = (self.store.connect_states(), clock::unix_s());
        let flow = if let Some(state) = state {
            // Looked at first: who knows another's state must not use it up.
            let flow = states.look(&state.sha256(), now).await?;
            let flow = flow.filter(|flow| flow.place == *place);
            let flow = flow.ok_or(ConnectError::NoFlow)?;
            states.take(&state.sha256(), now).await?;
            flow
        } else {
            let known = self.known(place).await?;
            let pending = known.iter().find(|one| one.standing == Standing::Pending);
            let found = pending.or_else(|| known.iter().find(|one| active(one)));
            let found = found.or(known.first()).ok_or(ConnectError::NotConnected)?;
            Flow {
                place: place.clone(),
                account: found.account.clone(),
            }
        };
        self.settle_soon(project, &flow, CONNECT_SETTLE_WAIT).await
    }

    /// Takes a browser that arrived at the project's own verifier, which knows whose it is (facts: callback identity
    /// verification): Composio is told, and asked for the account.
    ///
    /// # Errors
    /// [`ConnectError::NotVerified`] for a `session_uri` that is not good, or of another user's link; otherwise by cause.
    pub async fn verified(
        &self,
        project: &Project,
        user: &UserId,
        session_uri: &str,
    ) -> Result<CameBack, ConnectError> {
        let verified = project.api().complete_auth(session_uri, user).await;
        let (account, toolkit) = verified.map_err(|error| match error {
            ApiError::NotFound(_) => ConnectError::NotVerified,
            ApiError::Status { status, .. } if status == StatusCode::BAD_REQUEST => ConnectError::NotVerified,
            error => error.into(),
        })?;
        if !may_use(project, &toolkit) {
            return Err(ConnectError::NoToolkit(toolkit));
        }
        let flow = Flow {
            place: place(project, user, &toolkit),
            account: account.as_str().to_owned(),
        };
        self.settle_soon(project, &flow, CONNECT_SETTLE_WAIT).await
    }

    /// Waits until a user's account is active, or cannot become it; for as long as `wait`.
    ///
    /// # Errors
    /// [`ConnectError`], by cause; a look that failed is tried again until the time is over.
    pub async fn connected_within(
        &self,
        project: &Project,
        place: &Place,
        account: &ProviderId,
        wait: Duration,
    ) -> Result<bool, ConnectError> {
        let flow = Flow {
            place: place.clone(),
            account: account.as_str().to_owned(),
        };
        let came = self.settle_soon(project, &flow, wait).await?;
        Ok(came.standing == Standing::Active)
    }

    /// Settles a flow, looking again while its account is pending; never sooner than Composio says.
    async fn settle_soon(
        &self,
        project: &Project,
        flow: &Flow,
        wait: Duration,
    ) -> Result<CameBack, ConnectError> {
        let until = clock::now() + wait;
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let settled = self.settle(project, flow).await;
            let again = match &settled {
                Ok(came) => came.standing == Standing::Pending,
                Err(ConnectError::Api(error)) => error.passing(),
                Err(_) => false,
            };
            let told_to_wait = match &settled {
                Err(ConnectError::Api(error)) => error.retry_after(),
                _ => None,
            };
            let next = clock::now() + CONNECT_LOOK_INTERVAL.max(told_to_wait.unwrap_or_default());
            if !again || next > until {
                return settled;
            }
            tokio::select! {
                () = tokio::time::sleep_until(next) => {}
                _ = changes.changed(), if told_to_wait.is_none() => {}
            }
        }
    }

    /// Asks Composio for the account of a flow and notes what it says. One flow of a user after the other: two that are
    /// settled at once would each take the other's account for the one that makes room, and leave none.
    async fn settle(&self, project: &Project, flow: &Flow) -> Result<CameBack, ConnectError> {
        let id = ProviderId::new(&flow.account).ok_or(ConnectError::NotConnected)?;
        let place = &flow.place;
        let _turn = self.settling.wait(&place.user).await;
        let (standing, reason) = match project.api().account(&id).await {
            Ok(account) if !account.belongs(&place.user, &place.toolkit) => {
                let (gateway, toolkit) = (&place.gateway, &place.toolkit);
                tracing::warn!(gateway.id = %gateway, toolkit, "an account is not of the user and toolkit of its flow");
                // Not even kept as failed: its user must be able to have it.
                self.looks.settled(place);
                self.store.connections().remove(place, &flow.account).await?;
                self.bind(project, &place.user).await;
                (Standing::Failed, Some(standing::FOREIGN.to_owned()))
            }
            Ok(account) => {
                let (standing, own) = standing::of(account.status);
                if standing == Standing::Active {
                    return self.connected(project, place, account).await;
                }
                (standing, account.reason.or(own.map(str::to_owned)))
            }
            Err(ApiError::NotFound(_)) if self.made_room(project, flow).await? => {
                return Ok(CameBack {
                    toolkit: place.toolkit.clone(),
                    standing: Standing::Active,
                    reason: None,
                });
            }
            Err(ApiError::NotFound(_)) => (Standing::Failed, Some(standing::GONE.to_owned())),
            Err(error) => return Err(error.into()),
        };
        let noted = self.note(project, place, &flow.account, standing, reason.as_deref());
        noted.await?;
        self.told(place, &flow.account, standing, reason).await
    }

    /// Tells whether a flow's account is gone because another of the same user and toolkit works by now.
    async fn made_room(&self, project: &Project, flow: &Flow) -> Result<bool, ConnectError> {
        let known = self.store.connections().at(&flow.place).await?;
        let ours = known.iter().any(|one| one.account == flow.account);
        Ok(project.options().multi_account.is_none() && !ours && known.iter().any(active))
    }

    /// Notes an account that works. What made room for it goes at Composio, too.
    async fn connected(
        &self,
        project: &Project,
        place: &Place,
        account: Account,
    ) -> Result<CameBack, ConnectError> {
        let gateway = project.gateway();
        let displaced = self.adopt(project, place, &account.id, account.alias).await?;
        for old in displaced.iter().filter_map(|old| ProviderId::new(old)) {
            tracing::info!(gateway.id = %gateway, toolkit = place.toolkit, "an account made room for a newer one");
            let _ = project.api().revoke_account(&old).await;
            self.delete_quietly(project, &old).await;
        }
        Ok(CameBack {
            toolkit: place.toolkit.clone(),
            standing: Standing::Active,
            reason: None,
        })
    }

    /// Writes that an account works, unless that is known; returns the accounts that made room.
    pub(super) async fn adopt(
        &self,
        project: &Project,
        place: &Place,
        account: &ProviderId,
        alias: Option<String>,
    ) -> Result<Vec<String>, ConnectError> {
        let connections = self.store.connections();
        let known = connections.at(place).await?;
        let same = |one: &Connection| one.account == account.as_str() && active(one);
        if known.iter().any(same) && (known.len() == 1 || project.options().multi_account.is_some()) {
            return Ok(Vec::new());
        }
        let working = Connection {
            place: place.clone(),
            account: account.as_str().to_owned(),
            alias,
            standing: Standing::Active,
            reason: None,
            chosen: false,
            pending_until_unix_s: None,
        };
        self.looks.settled(place);
        let written = connections
            .put(&working, keeping(project), clock::unix_s())
            .await?;
        let Some(displaced) = written else {
            tracing::error!(gateway.id = %place.gateway, toolkit = place.toolkit, "an account is another user's here");
            return Err(ConnectError::Foreign);
        };
        tracing::info!(gateway.id = %place.gateway, toolkit = place.toolkit, "a user connected a toolkit");
        self.bind(project, &place.user).await;
        self.changed();
        Ok(displaced)
    }

    /// Notes how an account stands, if it is one of ours.
    pub(super) async fn note(
        &self,
        project: &Project,
        place: &Place,
        account: &str,
        standing: Standing,
        reason: Option<&str>,
    ) -> Result<(), ConnectError> {
        let (connections, now) = (self.store.connections(), clock::unix_s());
        let known = connections.of_account(&place.gateway, account).await?;
        let Some(known) = known.filter(|known| known.place == *place) else {
            return Ok(());
        };
        if known.standing != standing || known.reason.as_deref() != reason {
            self.looks.settled(place);
            connections
                .set_standing(&place.gateway, account, standing, reason, now)
                .await?;
            self.bind(project, &place.user).await;
            self.changed();
        }
        Ok(())
    }

    /// Has a user's sessions use the accounts that work now. Those that cannot be told are told when they are looked at.
    pub(super) async fn bind(&self, project: &Project, user: &UserId) {
        if let Err(error) = project.sessions().bind(user, None).await {
            tracing::warn!(gateway.id = %project.gateway(), reason = %error, "a session could not be told which accounts to use");
        }
    }

    /// Says how an account stands; a pending one whose time is over is given up.
    async fn told(
        &self,
        place: &Place,
        account: &str,
        standing: Standing,
        reason: Option<String>,
    ) -> Result<CameBack, ConnectError> {
        let known = self
            .store
            .connections()
            .of_account(&place.gateway, account)
            .await?;
        let shown = known.map(|known| standing::shown(known, clock::unix_s()));
        let (standing, reason) = shown.map_or((standing, reason), |shown| (shown.standing, shown.reason));
        Ok(CameBack {
            toolkit: place.toolkit.clone(),
            standing,
            reason,
        })
    }

    /// Looks at one account again, and notes how it stands.
    pub(super) async fn refresh(
        &self,
        project: &Project,
        known: &Connection,
        user: &UserId,
    ) -> Result<CameBack, ConnectError> {
        debug_assert_eq!(known.place.user, *user, "a user's own");
        let flow = Flow {
            place: known.place.clone(),
            account: known.account.clone(),
        };
        self.settle(project, &flow).await
    }
}
