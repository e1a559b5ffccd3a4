//! Secrets and upstream URLs at rest: sealed for one column and one owner, so that a value copied to another row or
//! column does not open. The newest key seals; after a rotation every row is sealed anew.

use std::sync::Arc;

use sqlx::{AssertSqlSafe, Row};

use super::{Store, StoreError};
use crate::seal::{Purpose, Sealer};

/// A column with sealed values.
pub(super) struct Sealed {
    /// The table.
    pub(super) table: &'static str,
    /// Its column with the sealed text; may be NULL.
    pub(super) column: &'static str,
    /// `table.column`, as it is sealed for.
    pub(super) place: &'static str,
    /// The column with the owner that it is sealed for.
    pub(super) owner: &'static str,
}

/// Every sealed column.
pub(super) const SEALED: &[Sealed] = &[
    Sealed {
        table: "composio_sessions",
        column: "session_id",
        place: "composio_sessions.session_id",
        owner: "id",
    },
    Sealed {
        table: "composio_sessions",
        column: "mcp_url",
        place: "composio_sessions.mcp_url",
        owner: "id",
    },
    Sealed {
        table: "connect_states",
        column: "auth_url",
        place: "connect_states.auth_url",
        owner: "user_id",
    },
];

/// Rows of one column that are sealed anew in one transaction.
const RESEAL_ROWS: i64 = 500;

/// Seals and opens what the store keeps secret.
#[derive(Clone, Debug)]
pub(super) struct Vault(Arc<Sealer>);

impl Vault {
    pub(super) fn new(sealer: Sealer) -> Self {
        Self(Arc::new(sealer))
    }

    /// Returns what seals, for a key that turns.
    pub(super) fn sealer(&self) -> &Sealer {
        &self.0
    }

    /// Seals a secret for `table.column` of a row of this owner.
    pub(super) fn seal(&self, place: &'static str, owner: &str, secret: &[u8]) -> Result<String, StoreError> {
        self.0
            .seal(Purpose::Stored, &binding(place, owner), secret, u64::MAX)
            .map_err(|_| StoreError::TooLong(place))
    }

    /// Opens what was sealed for the same place and owner.
    pub(super) fn open(&self, place: &'static str, owner: &str, sealed: &str) -> Result<Vec<u8>, StoreError> {
        self.0
            .open(Purpose::Stored, &binding(place, owner), sealed, 0)
            .map_err(|_| StoreError::Sealed(place))
    }

    /// Seals every value that another key than the newest sealed anew. Values that do not open stay as they are: who
    /// needs them is told then.
    pub(super) async fn reseal(&self, store: &Store) -> Result<u64, StoreError> {
        let mut resealed = 0;
        for sealed in SEALED {
            resealed += self.reseal_column(store, sealed).await?;
        }
        Ok(resealed)
    }

    async fn reseal_column(&self, store: &Store, at: &Sealed) -> Result<u64, StoreError> {
        let (table, column, owner) = (at.table, at.column, at.owner);
        // Names are constants of ours.
        let page = format!(
            "SELECT rowid, {owner}, {column} FROM {table} WHERE {column} IS NOT NULL AND rowid > ? ORDER BY rowid LIMIT ?"
        );
        let write = format!("UPDATE {table} SET {column} = ? WHERE rowid = ? AND {column} = ?");
        let (mut after, mut resealed) = (0_i64, 0);
        loop {
            let rows = sqlx::query(AssertSqlSafe(page.clone()))
                .bind(after)
                .bind(RESEAL_ROWS)
                .fetch_all(store.reader())
                .await?;
            let Some(last) = rows.last() else {
                return Ok(resealed);
            };
            after = last.try_get(0)?;
            let mut writing = store.durable().begin().await?;
            for row in rows {
                let (id, owner, old): (i64, String, String) =
                    (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
                let Some(new) = self.resealed(at.place, &owner, &old) else {
                    continue;
                };
                sqlx::query(AssertSqlSafe(write.clone()))
                    .bind(new)
                    .bind(id)
                    .bind(old)
                    .execute(&mut *writing)
                    .await?;
                resealed += 1;
            }
            writing.commit().await?;
        }
    }

    fn resealed(&self, place: &'static str, owner: &str, old: &str) -> Option<String> {
        if self.0.is_newest(old) {
            return None;
        }
        match self
            .open(place, owner, old)
            .and_then(|secret| self.seal(place, owner, &secret))
        {
            Ok(new) => Some(new),
            Err(error) => {
                tracing::warn!(store.column = place, %error, "a stored secret stays as it is");
                None
            }
        }
    }
}

/// A place never holds a zero byte, so no two pairs look alike.
fn binding(place: &str, owner: &str) -> Vec<u8> {
    [place.as_bytes(), &[0], owner.as_bytes()].concat()
}
