//! Which accounts a user's sessions are bound to. Only where the user chose: of that toolkit the chosen account first,
//! then the others that work, so that a call may still name one of them. A pin never falls back, and a dead one has
//! Composio refuse every change of its session (facts: selection order, 4306), so pins go before their accounts do.
//! That the first of several pins is taken by a call that names none is inferred, here and nowhere else:
//! `multi_account_pins` binds to the chosen one alone, and `upstream::composio` names it where a call has a place.

use serde_json::{Map, Value, json};

use super::{Inner, SessionError, Sessions, session_id};
use crate::clock;
use crate::config::Pins;
use crate::ids::UserId;
use crate::integrations::composio::{ApiError, LISTING_USER, ProviderId, SessionOptions};
use crate::integrations::standing;
use crate::store::composio_sessions::{SessionPlace, SessionRow};
use crate::store::connections::Standing;

impl Sessions {
    /// Binds every session of a user to the accounts that are to be used now; `without` is one that is about to go.
    ///
    /// # Errors
    /// [`SessionError`], by cause; sessions that were not reached are bound when they are looked at next.
    pub async fn bind(&self, user: &UserId, without: Option<&str>) -> Result<(), SessionError> {
        let (inner, without) = (std::sync::Arc::clone(&self.0), without.map(ToOwned::to_owned));
        self.in_turn(user, move |user| async move {
            let rows = inner.store.composio_sessions();
            for row in rows.of_user(&user, None, usize::MAX).await? {
                if row.place.gateway == inner.gateway {
                    inner.bind(&row, without.as_deref()).await?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Returns what a user's sessions are bound to, as Composio was told.
    ///
    /// # Errors
    /// [`SessionError::Store`].
    pub async fn bound(&self, user: &UserId) -> Result<Vec<Map<String, Value>>, SessionError> {
        let sessions = self.0.store.composio_sessions();
        let rows = sessions.of_user(user, None, usize::MAX);
        let ours = rows
            .await?
            .into_iter()
            .filter(|row| row.place.gateway == self.0.gateway);
        Ok(ours
            .map(|row| SessionOptions::read(&row.options).accounts())
            .collect())
    }
}

impl Inner {
    async fn bind(&self, row: &SessionRow, without: Option<&str>) -> Result<(), SessionError> {
        let Some(id) = row.theirs.as_ref().and_then(session_id) else {
            return Ok(());
        };
        let told = SessionOptions::read(&row.options);
        let unpinned = told.clone().without_accounts();
        let wanted = unpinned
            .clone()
            .with_accounts(self.pins(&row.place, without).await?);
        if wanted.changes_since(&told).is_empty() {
            return Ok(());
        }
        match self.tell(row, &id, unpinned, without).await {
            // The next who opens it has another made, bound as it should be.
            Ok(_) | Err(SessionError::Api(ApiError::NotFound(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The accounts that a session is to be bound to, of those that work.
    pub(super) async fn pins(
        &self,
        place: &SessionPlace,
        without: Option<&str>,
    ) -> Result<Map<String, Value>, SessionError> {
        if place.user.as_str() == LISTING_USER {
            return Ok(Map::new());
        }
        let connections = self.store.connections();
        let known = connections.of_user(&self.gateway, &place.user).await?;
        let at_most = match self.options.multi_account {
            Some(several) if several.pins == Pins::All => usize::from(several.max),
            _ => 1,
        };
        let in_set = |toolkit: &String| {
            let set = place.toolkits.as_ref().or(self.options.toolkits.as_ref());
            set.is_none_or(|set| set.contains(toolkit))
        };
        let mut pins = Map::new();
        // The chosen one of each toolkit comes first.
        for one in known {
            let usable = one.standing == Standing::Active && without != Some(&one.account);
            if !usable || !in_set(&one.place.toolkit) {
                continue;
            }
            if one.chosen {
                pins.insert(one.place.toolkit, json!([one.account]));
            } else if let Some(Value::Array(others)) = pins.get_mut(&one.place.toolkit)
                && others.len() < at_most
            {
                others.push(one.account.into());
            }
        }
        Ok(pins)
    }

    /// Looks at the accounts of pins that Composio refused, notes those that do not work, and returns the pins that are
    /// left; none where every account seems to work.
    pub(super) async fn living_pins(
        &self,
        place: &SessionPlace,
        without: Option<&str>,
        refused: &Map<String, Value>,
    ) -> Result<Map<String, Value>, SessionError> {
        tracing::warn!(gateway.id = %self.gateway, "Composio refuses an account that a session is bound to");
        for (toolkit, accounts) in refused {
            let ids = accounts.as_array().into_iter().flatten();
            for id in ids.filter_map(Value::as_str).filter_map(ProviderId::new) {
                let (standing, reason) = match self.api.account(&id).await {
                    Ok(account) if account.belongs(&place.user, toolkit) => {
                        let (standing, own) = standing::of(account.status);
                        (standing, account.reason.or(own.map(str::to_owned)))
                    }
                    Ok(_) => (Standing::Failed, Some(standing::FOREIGN.to_owned())),
                    Err(ApiError::NotFound(_)) => (Standing::Failed, Some(standing::GONE.to_owned())),
                    Err(error) => return Err(error.into()),
                };
                if standing != Standing::Active {
                    let (connections, now) = (self.store.connections(), clock::unix_s());
                    connections
                        .set_standing(&self.gateway, id.as_str(), standing, reason.as_deref(), now)
                        .await?;
                }
            }
        }
        let left = self.pins(place, without).await?;
        Ok(if left == *refused { Map::new() } else { left })
    }
}
