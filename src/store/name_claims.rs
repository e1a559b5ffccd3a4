//! Which names were given to what, so that a restart gives no name to anything else.

use serde::Serialize;
use sqlx::Row;

use super::{Store, StoreError};

const LOAD: &str =
    "SELECT kind, exposed, gateway, own, own_first, rules FROM name_claims ORDER BY kind, exposed";
const INSERT: &str = "INSERT OR REPLACE INTO name_claims (kind, exposed, gateway, own, own_first, rules) \
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?)";
const DELETE: &str = "DELETE FROM name_claims WHERE (kind, exposed) IN \
    (SELECT value ->> 0, value ->> 1 FROM json_each(?))";

/// A name with what it was given to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct NameClaim {
    /// What is named: `tools`, `prompts`, …
    pub kind: String,
    /// The name.
    pub exposed: String,
    /// Whose it is.
    pub gateway: String,
    /// What the gateway calls it.
    pub own: String,
    /// Whether this gateway was the first to list something of that own name.
    pub own_first: bool,
    /// The rules under which it was given.
    pub rules: String,
}

/// The names that were given.
#[derive(Clone, Debug)]
pub struct NameClaims(Store);

impl Store {
    /// Returns the names that were given.
    #[must_use]
    pub fn name_claims(&self) -> NameClaims {
        NameClaims(self.clone())
    }
}

impl NameClaims {
    /// Reads every claim.
    ///
    /// # Errors
    /// [`StoreError::Database`].
    pub async fn load(&self) -> Result<Vec<NameClaim>, StoreError> {
        let rows = sqlx::query(LOAD).fetch_all(self.0.reader()).await?;
        let claims = rows.iter().map(|row| {
            Ok(NameClaim {
                kind: row.try_get(0)?,
                exposed: row.try_get(1)?,
                gateway: row.try_get(2)?,
                own: row.try_get(3)?,
                own_first: row.try_get(4)?,
                rules: row.try_get(5)?,
            })
        });
        Ok(claims.collect::<Result<_, sqlx::Error>>()?)
    }

    /// Writes what was given and what was given up, together.
    ///
    /// # Errors
    /// [`StoreError::Database`]: nothing of it is written.
    pub async fn change(&self, given_up: &[&NameClaim], given: &[&NameClaim]) -> Result<(), StoreError> {
        let keys: Vec<_> = given_up
            .iter()
            .map(|claim| (&claim.kind, &claim.exposed))
            .collect();
        let rows: Vec<_> = given
            .iter()
            .map(|claim| {
                (
                    &claim.kind,
                    &claim.exposed,
                    &claim.gateway,
                    &claim.own,
                    claim.own_first,
                    &claim.rules,
                )
            })
            .collect();
        let mut writing = self.0.quick().begin().await?;
        for (sql, json) in [
            (DELETE, serde_json::to_string(&keys)),
            (INSERT, serde_json::to_string(&rows)),
        ] {
            sqlx::query(sql)
                .bind(json.unwrap_or_default())
                .execute(&mut *writing)
                .await?;
        }
        Ok(writing.commit().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(exposed: &str, gateway: &str) -> NameClaim {
        NameClaim {
            kind: "tools".to_owned(),
            exposed: exposed.to_owned(),
            gateway: gateway.to_owned(),
            own: "fetch".to_owned(),
            own_first: gateway == "a",
            rules: "r".to_owned(),
        }
    }

    #[tokio::test]
    async fn claims_come_back_as_they_were_given_and_go_when_they_are_given_up() {
        let claims = Store::in_memory().await.unwrap().name_claims();
        let (bare, prefixed) = (claim("fetch", "a"), claim("b__fetch", "b"));
        claims.change(&[], &[&bare, &prefixed]).await.unwrap();
        assert_eq!(claims.load().await.unwrap(), [prefixed.clone(), bare.clone()]);
        claims.change(&[&prefixed], &[]).await.unwrap();
        assert_eq!(claims.load().await.unwrap(), [bare]);
    }

    #[tokio::test]
    async fn one_name_is_never_two_gateways() {
        let claims = Store::in_memory().await.unwrap().name_claims();
        claims.change(&[], &[&claim("fetch", "a")]).await.unwrap();
        claims.change(&[], &[&claim("fetch", "b")]).await.unwrap();
        assert_eq!(claims.load().await.unwrap(), [claim("fetch", "b")]);
    }
}
