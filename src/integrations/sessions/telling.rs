//! What Composio was told of a session is kept beside it, so that whatever is wanted otherwise since becomes one change
//! of the session in place: other options in the configuration, other toolkits, other accounts. What it may have been
//! told and may not, because nobody lived to hear the answer, is in doubt, and is said again.

use super::{Inner, Opened, SessionError, session_id};
use crate::ids::UserId;
use crate::integrations::composio::{ApiError, Session, SessionId, SessionOptions};
use crate::store::composio_sessions::SessionRow;

/// What a session was told.
struct Told {
    /// It, unless there was nothing to tell.
    session: Option<Session>,
    options: SessionOptions,
}

impl Inner {
    /// Looks at a session that we know of.
    pub(super) async fn look(&self, row: SessionRow) -> Result<Opened, SessionError> {
        let Some(id) = row.theirs.as_ref().and_then(session_id) else {
            return self.make(row.place).await;
        };
        let wanted = self.options(row.place.toolkits.as_deref())?;
        let found = match self.tell(&row, &id, wanted, None).await {
            Ok(Some(session)) => Ok(session),
            Ok(None) => self.api.session(&id).await.map_err(SessionError::from),
            Err(error) => Err(error),
        };
        match found {
            Ok(session) => Ok(Opened {
                id: row.id.into(),
                session,
            }),
            Err(SessionError::Api(ApiError::NotFound(_))) => {
                tracing::info!(gateway.id = %self.gateway, session.id = row.id, "a Composio session is gone");
                self.make(row.place).await
            }
            Err(error) => Err(error),
        }
    }

    /// Tells a session what of `wanted`, and of the accounts that it is to be bound to, it was not told; `None` when
    /// that is nothing.
    pub(super) async fn tell(
        &self,
        row: &SessionRow,
        id: &SessionId,
        wanted: SessionOptions,
        without: Option<&str>,
    ) -> Result<Option<Session>, SessionError> {
        let Told { session, options } = self.told(row, id, wanted, without).await?;
        if session.is_some() {
            let sessions = self.store.composio_sessions();
            sessions.set_options(&row.id, &options.text()).await?;
            tracing::info!(gateway.id = %self.gateway, session.id = row.id, "a Composio session was changed");
        }
        Ok(session)
    }

    async fn told(
        &self,
        row: &SessionRow,
        id: &SessionId,
        wanted: SessionOptions,
        without: Option<&str>,
    ) -> Result<Told, SessionError> {
        let before = SessionOptions::read(&row.options);
        let pins = self.pins(&row.place, without).await?;
        let pinned = wanted.clone().with_accounts(pins.clone());
        match self.update(row, id, &before, pinned).await {
            Err(SessionError::Api(error)) if !pins.is_empty() && error.names_dead_accounts() => {
                let living = self.living_pins(&row.place, without, &pins).await?;
                self.update(row, id, &before, wanted.with_accounts(living)).await
            }
            other => other,
        }
    }

    /// Changes a session. That it is about to be is written down first: whoever is killed before the answer is, and
    /// whoever gets none, finds the session in doubt, and says again what is wanted of it, the old included.
    async fn update(
        &self,
        row: &SessionRow,
        id: &SessionId,
        before: &SessionOptions,
        options: SessionOptions,
    ) -> Result<Told, SessionError> {
        let changes = options.changes_since(before);
        if changes.is_empty() {
            return Ok(Told {
                session: None,
                options,
            });
        }
        let sessions = self.store.composio_sessions();
        let doubted = before.doubting(&changes);
        sessions.set_options(&row.id, &doubted.text()).await?;
        let session = self.api.update_session(id, &changes).await?;
        Ok(Told {
            session: Some(session),
            options,
        })
    }

    /// Tells a session what it should have been told, which is nothing unless a change is in doubt or still to come.
    async fn settle(&self, row: &SessionRow) -> Result<(), SessionError> {
        let Some(theirs) = row.theirs.as_ref().and_then(session_id) else {
            return Ok(());
        };
        let wanted = self.options(row.place.toolkits.as_deref())?;
        match self.tell(row, &theirs, wanted, None).await {
            // The next who opens it has another made.
            Ok(_) | Err(SessionError::Api(ApiError::NotFound(_))) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Gives a session of a user other toolkits.
    pub(super) async fn change(
        &self,
        user: &UserId,
        id: &str,
        toolkits: Option<Vec<String>>,
    ) -> Result<(), SessionError> {
        let mut row = self.row(user, id).await?;
        if row.place.toolkits == toolkits {
            return self.settle(&row).await;
        }
        let (Some(_), Some(toolkits)) = (&row.place.toolkits, toolkits) else {
            return Err(SessionError::Fixed);
        };
        let sessions = self.store.composio_sessions();
        row.place = self.place(user, Some(toolkits.clone()));
        if sessions.at(&row.place).await?.is_some() {
            return Err(SessionError::Taken);
        }
        let wanted = self.options(Some(&toolkits))?;
        let options = match row.theirs.as_ref().and_then(session_id) {
            Some(theirs) => match self.told(&row, &theirs, wanted.clone(), None).await {
                Ok(told) => told.options,
                Err(SessionError::Api(ApiError::NotFound(_))) => wanted,
                Err(error) => return Err(error),
            },
            None => wanted,
        };
        if !sessions.set_toolkits(id, &toolkits, &options.text()).await? {
            return Err(SessionError::Taken);
        }
        Ok(())
    }
}
