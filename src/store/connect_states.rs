//! Connect flows: from the link that a user is sent to until the browser comes back. A state is good once and for a
//! while; the store knows its SHA-256 alone, so that what is read here opens no flow.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::connections::{self, Connection, Keeping, Place, Standing, seconds};
use super::{Store, StoreError};

/// As the link of a flow is sealed for.
const AUTH_URL: &str = "connect_states.auth_url";

/// A flow that begins.
#[derive(Clone, Debug)]
pub struct NewFlow {
    /// For whom and what.
    pub place: Place,
    /// The account that the link was made for.
    pub account: String,
    /// The user's own name for the account.
    pub alias: Option<String>,
    /// SHA-256 of the state.
    pub state_sha256: [u8; 32],
    /// Where the user goes; kept sealed.
    pub auth_url: String,
    /// From then on the state is good for nothing.
    pub expires_unix_s: u64,
}

/// A flow that a state was found for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// For whom and what.
    pub place: Place,
    /// The account that its link was made for.
    pub account: String,
}

/// What a state is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was good, and is used now.
    Now(Flow),
    /// It was used before: look, change nothing on its account.
    Before(Flow),
}

/// The connect flows of all users.
#[derive(Clone, Debug)]
pub struct ConnectStates(Store);

impl Store {
    /// Returns the connect flows.
    #[must_use]
    pub fn connect_states(&self) -> ConnectStates {
        ConnectStates(self.clone())
    }
}

impl ConnectStates {
    /// Begins a flow, and shows it as a pending connection unless a working one has the place. Returns the accounts that
    /// made room; `None`, and nothing was written, when the account is another user's.
    pub async fn begin(
        &self,
        flow: &NewFlow,
        keeping: Keeping,
        now_unix_s: u64,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let place = &flow.place;
        let sealed = (self.0.vault()).seal(AUTH_URL, place.user.as_str(), flow.auth_url.as_bytes())?;
        let mut writing = self.0.durable().begin_with("BEGIN IMMEDIATE").await?;
        for sql in [
            "DELETE FROM connect_states WHERE expires_unix_s <= ?",
            "DELETE FROM connections WHERE slot <> '' AND status = 'PENDING' AND pending_until_unix_s <= ?",
        ] {
            sqlx::query(sql)
                .bind(seconds(now_unix_s))
                .execute(&mut *writing)
                .await?;
        }
        sqlx::query(
            "INSERT INTO connect_states (state_sha256, gateway, user_id, toolkit, account_id, auth_url, expires_unix_s) \
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&flow.state_sha256[..])
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .bind(&flow.account)
        .bind(sealed)
        .bind(seconds(flow.expires_unix_s))
        .execute(&mut *writing)
        .await?;
        let works = sqlx::query(
            "SELECT 1 FROM connections WHERE gateway = ? AND user_id = ? AND toolkit = ? AND status = 'ACTIVE' LIMIT 1",
        )
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .fetch_optional(&mut *writing)
        .await?;
        let displaced = if works.is_some() && keeping == Keeping::One {
            Some(Vec::new())
        } else {
            let pending = Connection {
                place: place.clone(),
                account: flow.account.clone(),
                alias: flow.alias.clone(),
                standing: Standing::Pending,
                reason: None,
                chosen: false,
                pending_until_unix_s: Some(flow.expires_unix_s),
            };
            connections::put(&mut writing, &pending, keeping, now_unix_s).await?
        };
        if displaced.is_some() {
            writing.commit().await?;
        }
        Ok(displaced)
    }

    /// Uses a state; `None` for one that is not known, or too old.
    pub async fn take(&self, state_sha256: &[u8; 32], now_unix_s: u64) -> Result<Option<Taken>, StoreError> {
        let now = seconds(now_unix_s);
        let taken = sqlx::query(
            "UPDATE connect_states SET used_unix_s = ? WHERE state_sha256 = ? AND used_unix_s IS NULL \
             AND expires_unix_s > ? RETURNING gateway, user_id, toolkit, account_id",
        )
        .bind(now)
        .bind(&state_sha256[..])
        .bind(now)
        .fetch_optional(self.0.durable())
        .await?;
        if let Some(row) = taken {
            return Ok(Some(Taken::Now(read(&row)?)));
        }
        let known = sqlx::query(
            "SELECT gateway, user_id, toolkit, account_id FROM connect_states \
             WHERE state_sha256 = ? AND expires_unix_s > ?",
        )
        .bind(&state_sha256[..])
        .bind(now)
        .fetch_optional(self.0.reader())
        .await?;
        known.map(|row| read(&row).map(Taken::Before)).transpose()
    }

    /// Looks at a state without using it.
    pub async fn look(&self, state_sha256: &[u8; 32], now_unix_s: u64) -> Result<Option<Flow>, StoreError> {
        let row = sqlx::query(
            "SELECT gateway, user_id, toolkit, account_id FROM connect_states \
             WHERE state_sha256 = ? AND expires_unix_s > ?",
        )
        .bind(&state_sha256[..])
        .bind(seconds(now_unix_s))
        .fetch_optional(self.0.reader())
        .await?;
        row.map(|row| read(&row)).transpose()
    }

    /// Counts the flows in a place that nobody has come back from.
    pub async fn open(&self, place: &Place, now_unix_s: u64) -> Result<u64, StoreError> {
        let open = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM connect_states WHERE gateway = ? AND user_id = ? AND toolkit = ? \
             AND used_unix_s IS NULL AND expires_unix_s > ?",
        )
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .bind(seconds(now_unix_s))
        .fetch_one(self.0.reader())
        .await?;
        Ok(u64::try_from(open).unwrap_or(0))
    }

    /// Returns the newest open flow in a place that is good beyond a moment, with where its user goes.
    pub async fn newest(
        &self,
        place: &Place,
        good_beyond_unix_s: u64,
    ) -> Result<Option<(Flow, String)>, StoreError> {
        let row = sqlx::query(
            "SELECT gateway, user_id, toolkit, account_id, auth_url FROM connect_states \
             WHERE gateway = ? AND user_id = ? AND toolkit = ? AND used_unix_s IS NULL AND expires_unix_s > ? \
             ORDER BY id DESC LIMIT 1",
        )
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .bind(seconds(good_beyond_unix_s))
        .fetch_optional(self.0.reader())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let url = (self.0.vault()).open(AUTH_URL, place.user.as_str(), row.try_get("auth_url")?)?;
        let url = String::from_utf8(url).map_err(|_| StoreError::Sealed(AUTH_URL))?;
        Ok(Some((read(&row)?, url)))
    }

    /// Forgets the flows of an account: it was disconnected.
    pub async fn forget(&self, place: &Place, account: &str) -> Result<(), StoreError> {
        sqlx::query(
            "DELETE FROM connect_states WHERE gateway = ? AND user_id = ? AND toolkit = ? AND account_id = ?",
        )
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .bind(account)
        .execute(self.0.durable())
        .await?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<Flow, StoreError> {
    Ok(Flow {
        place: connections::place(row)?,
        account: row.try_get("account_id")?,
    })
}

#[cfg(test)]
mod tests;
