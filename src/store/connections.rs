//! Connections: which account a user has at which gateway for which toolkit, and how it stands. The schema keeps them at
//! one for each user and toolkit, unless several are wanted; and an account at one user.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Store, StoreError};
use crate::ids::{GatewayId, UserId};

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "gateway, user_id, toolkit, account_id, alias, status, reason, chosen, pending_until_unix_s"
    };
}

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Begun, and not finished by the user.
    Pending,
    /// Usable: the only one that is.
    Active,
    /// Switched off; it can be switched on again.
    Inactive,
    /// Not finished, refused, or worn out. Connecting again mends it.
    Failed,
    /// Taken back.
    Revoked,
}

impl Standing {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Active,
        Self::Inactive,
        Self::Failed,
        Self::Revoked,
    ];

    /// Returns the word for it, as it is stored and told.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Failed => "FAILED",
            Self::Revoked => "REVOKED",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.as_str() == word)
    }
}

/// Whose connections, for what: the place that one row has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The gateway.
    pub gateway: GatewayId,
    /// The user.
    pub user: UserId,
    /// The toolkit's slug.
    pub toolkit: String,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Whose, for what.
    pub place: Place,
    /// The account's id at the gateway.
    pub account: String,
    /// The user's own name for it.
    pub alias: Option<String>,
    /// How it stands.
    pub standing: Standing,
    /// Why it stands so, for people.
    pub reason: Option<String>,
    /// The one to use where a user has several.
    pub chosen: bool,
    /// When a pending one is given up.
    pub pending_until_unix_s: Option<u64>,
}

/// How many accounts a user may have for a toolkit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// One: another takes its place.
    One,
    /// Several, beside each other.
    Several,
}

/// The connections of all users.
#[derive(Clone, Debug)]
pub struct Connections(Store);

impl Store {
    /// Returns the connections.
    #[must_use]
    pub fn connections(&self) -> Connections {
        Connections(self.clone())
    }
}

impl Connections {
    /// Returns a user's connections at a gateway, by toolkit.
    pub async fn of_user(&self, gateway: &GatewayId, user: &UserId) -> Result<Vec<Connection>, StoreError> {
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM connections WHERE gateway = ? AND user_id = ? ORDER BY toolkit, chosen DESC, account_id"
        ))
        .bind(gateway.as_str())
        .bind(user.as_str())
        .fetch_all(self.0.reader())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Returns what a user has connected for one toolkit, the chosen one first.
    pub async fn at(&self, place: &Place) -> Result<Vec<Connection>, StoreError> {
        let rows = sqlx::query(concat!("SELECT ", columns!(), " FROM connections WHERE gateway = ? AND user_id = ? AND toolkit = ? ORDER BY chosen DESC, account_id"))
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .fetch_all(self.0.reader())
        .await?;
        rows.iter().map(read).collect()
    }

    /// Returns the connection of an account, whosever it is.
    pub async fn of_account(
        &self,
        gateway: &GatewayId,
        account: &str,
    ) -> Result<Option<Connection>, StoreError> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM connections WHERE gateway = ? AND account_id = ?"
        ))
        .bind(gateway.as_str())
        .bind(account)
        .fetch_optional(self.0.reader())
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// Writes a connection. In its place under [`Keeping::One`] there is no other afterwards; returns the accounts that
    /// had to make room. `None`, and nothing was written, when the account is another user's or another toolkit's.
    pub async fn put(
        &self,
        connection: &Connection,
        keeping: Keeping,
        now_unix_s: u64,
    ) -> Result<Option<Vec<String>>, StoreError> {
        let mut writing = self.0.durable().begin_with("BEGIN IMMEDIATE").await?;
        let displaced = put(&mut writing, connection, keeping, now_unix_s).await?;
        writing.commit().await?;
        Ok(displaced)
    }

    /// Notes how an account stands; false when it is nobody's.
    pub async fn set_standing(
        &self,
        gateway: &GatewayId,
        account: &str,
        standing: Standing,
        reason: Option<&str>,
        now_unix_s: u64,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "UPDATE connections SET status = ?, reason = ?, \
             pending_until_unix_s = CASE WHEN ? = 'PENDING' THEN pending_until_unix_s END, updated_unix_s = ? \
             WHERE gateway = ? AND account_id = ?",
        )
        .bind(standing.as_str())
        .bind(reason)
        .bind(standing.as_str())
        .bind(seconds(now_unix_s))
        .bind(gateway.as_str())
        .bind(account)
        .execute(self.0.durable())
        .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Makes an account the one to use of those in its place; false when it is not there.
    pub async fn choose(&self, place: &Place, account: &str) -> Result<bool, StoreError> {
        let mut writing = self.0.durable().begin_with("BEGIN IMMEDIATE").await?;
        // First none, then one: the schema allows no two at any moment.
        for sql in [
            "UPDATE connections SET chosen = 0 WHERE gateway = ? AND user_id = ? AND toolkit = ? AND account_id <> ?",
            "UPDATE connections SET chosen = 1 WHERE gateway = ? AND user_id = ? AND toolkit = ? AND account_id = ?",
        ] {
            let done = sqlx::query(sql)
                .bind(place.gateway.as_str())
                .bind(place.user.as_str())
                .bind(&place.toolkit)
                .bind(account)
                .execute(&mut *writing)
                .await?;
            if sql.contains("chosen = 1") && done.rows_affected() == 0 {
                return Ok(false);
            }
        }
        writing.commit().await?;
        Ok(true)
    }

    /// Forgets a connection.
    pub async fn remove(&self, place: &Place, account: &str) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "DELETE FROM connections WHERE gateway = ? AND user_id = ? AND toolkit = ? AND account_id = ?",
        )
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .bind(account)
        .execute(self.0.durable())
        .await?;
        Ok(done.rows_affected() > 0)
    }
}

/// See [`Connections::put`].
pub(super) async fn put(
    writing: &mut SqliteConnection,
    connection: &Connection,
    keeping: Keeping,
    now_unix_s: u64,
) -> Result<Option<Vec<String>>, StoreError> {
    let place = &connection.place;
    let owner = sqlx::query("SELECT user_id, toolkit FROM connections WHERE gateway = ? AND account_id = ?")
        .bind(place.gateway.as_str())
        .bind(&connection.account)
        .fetch_optional(&mut *writing)
        .await?;
    if let Some(owner) = owner {
        let (user, toolkit): (&str, &str) = (owner.try_get(0)?, owner.try_get(1)?);
        if user != place.user.as_str() || toolkit != place.toolkit {
            return Ok(None);
        }
    }
    // Under `One` every other goes; under `Several` only the row of the same account that may be in the other slot.
    let doomed = match keeping {
        Keeping::One => {
            "DELETE FROM connections WHERE gateway = ? AND user_id = ? AND toolkit = ? AND (slot <> '' OR account_id <> ?) \
             RETURNING account_id"
        }
        Keeping::Several => {
            "DELETE FROM connections WHERE gateway = ? AND user_id = ? AND toolkit = ? AND slot = '' AND account_id = ? \
             RETURNING account_id"
        }
    };
    let displaced = sqlx::query_scalar::<_, String>(doomed)
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&place.toolkit)
        .bind(&connection.account)
        .fetch_all(&mut *writing)
        .await?;
    let slot = match keeping {
        Keeping::One => "",
        Keeping::Several => &connection.account,
    };
    sqlx::query(
        "INSERT INTO connections (gateway, user_id, toolkit, slot, account_id, alias, status, reason, chosen, \
         pending_until_unix_s, updated_unix_s) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (gateway, user_id, toolkit, slot) DO UPDATE SET account_id = excluded.account_id, \
         alias = coalesce(excluded.alias, alias), status = excluded.status, reason = excluded.reason, \
         chosen = max(chosen, excluded.chosen), pending_until_unix_s = excluded.pending_until_unix_s, \
         updated_unix_s = excluded.updated_unix_s",
    )
    .bind(place.gateway.as_str())
    .bind(place.user.as_str())
    .bind(&place.toolkit)
    .bind(slot)
    .bind(&connection.account)
    .bind(&connection.alias)
    .bind(connection.standing.as_str())
    .bind(&connection.reason)
    .bind(connection.chosen)
    .bind(connection.pending_until_unix_s.map(seconds))
    .bind(seconds(now_unix_s))
    .execute(&mut *writing)
    .await?;
    let others = displaced
        .into_iter()
        .filter(|account| *account != connection.account);
    Ok(Some(others.collect()))
}

fn read(row: &SqliteRow) -> Result<Connection, StoreError> {
    let word: &str = row.try_get("status")?;
    let unknown = || sqlx::Error::Decode(format!("no status of a connection: {word}").into());
    let until: Option<i64> = row.try_get("pending_until_unix_s")?;
    Ok(Connection {
        place: place(row)?,
        account: row.try_get("account_id")?,
        alias: row.try_get("alias")?,
        standing: Standing::parse(word).ok_or_else(unknown)?,
        reason: row.try_get("reason")?,
        chosen: row.try_get("chosen")?,
        pending_until_unix_s: until.and_then(|until| u64::try_from(until).ok()),
    })
}

/// Reads whose row it is.
pub(super) fn place(row: &SqliteRow) -> Result<Place, StoreError> {
    Ok(Place {
        gateway: GatewayId::new(row.try_get("gateway")?),
        user: UserId::new(row.try_get("user_id")?),
        toolkit: row.try_get("toolkit")?,
    })
}

/// SQLite has signed integers only.
pub(super) fn seconds(unix_s: u64) -> i64 {
    i64::try_from(unix_s).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
