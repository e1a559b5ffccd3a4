//! Composio's Tool Router sessions: which one a user has for which toolkits. The schema keeps them at one for each user
//! and set. Before Composio is asked for one a row says so, and the same transaction that writes the session takes that
//! row away: what is left of those may have made sessions that nobody knows.

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError};
use crate::ids::{GatewayId, UserId};
use crate::limits::{COMPOSIO_CREATE_NOTED_MAX, COMPOSIO_SESSION_TOKENS_MAX};

const SESSION_ID: &str = "composio_sessions.session_id";
const MCP_URL: &str = "composio_sessions.mcp_url";

/// What [`ComposioSessions::read`] reads.
macro_rules! columns {
    () => {
        "s.id, s.gateway, s.user_id, s.toolkits, s.session_id, s.mcp_url, s.options, s.made_unix_s"
    };
}

/// Whose session, for what: the place that one row has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionPlace {
    /// The gateway.
    pub gateway: GatewayId,
    /// The user.
    pub user: UserId,
    /// The toolkits, in order; `None`: those of the gateway's configuration.
    pub toolkits: Option<Vec<String>>,
}

/// One session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Our own id.
    pub id: String,
    /// Whose, for what.
    pub place: SessionPlace,
    /// Composio's; `None`: there is none now.
    pub theirs: Option<Theirs>,
    /// What Composio was told, as JSON.
    pub options: String,
    /// When the place was taken.
    pub made_unix_s: u64,
}

/// A session as Composio knows it. Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Theirs {
    /// Its id.
    pub session_id: String,
    /// Its MCP endpoint.
    pub mcp_url: String,
}

impl std::fmt::Debug for Theirs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Theirs(***)")
    }
}

impl std::fmt::Debug for SessionRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionRow")
            .field("id", &self.id)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// The Tool Router sessions of all users.
#[derive(Clone, Debug)]
pub struct ComposioSessions(Store);

impl Store {
    /// Returns the Tool Router sessions.
    #[must_use]
    pub fn composio_sessions(&self) -> ComposioSessions {
        ComposioSessions(self.clone())
    }
}

impl ComposioSessions {
    /// Finds the session of a place.
    pub async fn at(&self, place: &SessionPlace) -> Result<Option<SessionRow>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM composio_sessions s WHERE s.gateway = ? AND s.user_id = ? AND s.toolkits = ?"
        );
        let row = sqlx::query(sql)
            .bind(place.gateway.as_str())
            .bind(place.user.as_str())
            .bind(joined(place.toolkits.as_deref()))
            .fetch_optional(self.0.reader())
            .await?;
        row.map(|row| self.read(&row)).transpose()
    }

    /// Finds a session by our own id.
    pub async fn by_id(&self, id: &str) -> Result<Option<SessionRow>, StoreError> {
        let sql = concat!("SELECT ", columns!(), " FROM composio_sessions s WHERE s.id = ?");
        let row = sqlx::query(sql).bind(id).fetch_optional(self.0.reader()).await?;
        row.map(|row| self.read(&row)).transpose()
    }

    /// Finds the session that a token opens.
    pub async fn by_token(&self, token_sha256: &[u8; 32]) -> Result<Option<SessionRow>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM composio_session_tokens t JOIN composio_sessions s ON s.id = t.id WHERE t.token_sha256 = ?"
        );
        let row = sqlx::query(sql)
            .bind(token_sha256.as_slice())
            .fetch_optional(self.0.reader())
            .await?;
        row.map(|row| self.read(&row)).transpose()
    }

    /// Returns a user's sessions at every gateway, at most `at_most`, after an id of ours.
    pub async fn of_user(
        &self,
        user: &UserId,
        after: Option<&str>,
        at_most: usize,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM composio_sessions s WHERE s.user_id = ? AND s.id > ? ORDER BY s.id LIMIT ?"
        );
        let rows = sqlx::query(sql)
            .bind(user.as_str())
            .bind(after.unwrap_or_default())
            .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
            .fetch_all(self.0.reader())
            .await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// Returns every session of a gateway.
    pub async fn of_gateway(&self, gateway: &GatewayId) -> Result<Vec<SessionRow>, StoreError> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM composio_sessions s WHERE s.gateway = ?"
        );
        let rows = sqlx::query(sql)
            .bind(gateway.as_str())
            .fetch_all(self.0.reader())
            .await?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    /// Counts a user's sessions at a gateway.
    pub async fn count(&self, gateway: &GatewayId, user: &UserId) -> Result<usize, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) FROM composio_sessions WHERE gateway = ? AND user_id = ?")
            .bind(gateway.as_str())
            .bind(user.as_str())
            .fetch_one(self.0.reader())
            .await?;
        let count: i64 = row.try_get(0)?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Notes that Composio is about to be asked for a session, and takes the place, under `id` when it is free.
    /// Returns the id that the place has.
    pub async fn begin(
        &self,
        place: &SessionPlace,
        id: &str,
        request_id: &str,
        now_unix_s: u64,
    ) -> Result<String, StoreError> {
        let toolkits = joined(place.toolkits.as_deref());
        let old = now_unix_s.saturating_sub(COMPOSIO_CREATE_NOTED_MAX.as_secs());
        let mut writing = self.0.durable().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("DELETE FROM composio_creates WHERE began_unix_s < ?")
            .bind(seconds(old))
            .execute(&mut *writing)
            .await?;
        sqlx::query(
            "INSERT INTO composio_sessions (id, gateway, user_id, toolkits, made_unix_s) VALUES (?, ?, ?, ?, ?) \
             ON CONFLICT (gateway, user_id, toolkits) DO UPDATE SET session_id = NULL, mcp_url = NULL",
        )
        .bind(id)
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&toolkits)
        .bind(seconds(now_unix_s))
        .execute(&mut *writing)
        .await?;
        sqlx::query(
            "INSERT INTO composio_creates (request_id, gateway, user_id, toolkits, began_unix_s) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(request_id)
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&toolkits)
        .bind(seconds(now_unix_s))
        .execute(&mut *writing)
        .await?;
        let row = sqlx::query(
            "SELECT id FROM composio_sessions WHERE gateway = ? AND user_id = ? AND toolkits = ?",
        )
        .bind(place.gateway.as_str())
        .bind(place.user.as_str())
        .bind(&toolkits)
        .fetch_one(&mut *writing)
        .await?;
        let id = row.try_get(0)?;
        writing.commit().await?;
        Ok(id)
    }

    /// Writes the session that a request made; false when its place is gone meanwhile.
    pub async fn made(
        &self,
        request_id: &str,
        id: &str,
        theirs: &Theirs,
        options: &str,
    ) -> Result<bool, StoreError> {
        let vault = self.0.vault();
        let session_id = vault.seal(SESSION_ID, id, theirs.session_id.as_bytes())?;
        let mcp_url = vault.seal(MCP_URL, id, theirs.mcp_url.as_bytes())?;
        let mut writing = self.0.durable().begin_with("BEGIN IMMEDIATE").await?;
        let done =
            sqlx::query("UPDATE composio_sessions SET session_id = ?, mcp_url = ?, options = ? WHERE id = ?")
                .bind(session_id)
                .bind(mcp_url)
                .bind(options)
                .bind(id)
                .execute(&mut *writing)
                .await?;
        sqlx::query("DELETE FROM composio_creates WHERE request_id = ?")
            .bind(request_id)
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes that a request certainly made no session.
    pub async fn not_made(&self, request_id: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM composio_creates WHERE request_id = ?")
            .bind(request_id)
            .execute(self.0.durable())
            .await?;
        Ok(())
    }

    /// Counts the requests of a gateway that may have made a session which nobody knows.
    pub async fn doubtful(&self, gateway: &GatewayId) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) FROM composio_creates WHERE gateway = ?")
            .bind(gateway.as_str())
            .fetch_one(self.0.reader())
            .await?;
        let count: i64 = row.try_get(0)?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    /// Notes what Composio was told of a session since.
    pub async fn set_options(&self, id: &str, options: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE composio_sessions SET options = ? WHERE id = ?")
            .bind(options)
            .bind(id)
            .execute(self.0.durable())
            .await?;
        Ok(())
    }

    /// Gives a session other toolkits, once Composio has them; false when the user has one with these already.
    pub async fn set_toolkits(
        &self,
        id: &str,
        toolkits: &[String],
        options: &str,
    ) -> Result<bool, StoreError> {
        let done =
            sqlx::query("UPDATE OR IGNORE composio_sessions SET toolkits = ?, options = ? WHERE id = ?")
                .bind(joined(Some(toolkits)))
                .bind(options)
                .bind(id)
                .execute(self.0.durable())
                .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Adds a token to a session; the oldest beyond [`COMPOSIO_SESSION_TOKENS_MAX`] open nothing any more.
    pub async fn add_token(
        &self,
        id: &str,
        token_sha256: &[u8; 32],
        now_unix_s: u64,
    ) -> Result<(), StoreError> {
        let mut writing = self.0.durable().begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO composio_session_tokens (token_sha256, id, made_unix_s) VALUES (?, ?, ?)")
            .bind(token_sha256.as_slice())
            .bind(id)
            .bind(seconds(now_unix_s))
            .execute(&mut *writing)
            .await?;
        sqlx::query(
            "DELETE FROM composio_session_tokens WHERE id = ? AND token_sha256 <> ? AND token_sha256 NOT IN \
             (SELECT token_sha256 FROM composio_session_tokens WHERE id = ? ORDER BY made_unix_s DESC LIMIT ?)",
        )
        .bind(id)
        .bind(token_sha256.as_slice())
        .bind(id)
        .bind(COMPOSIO_SESSION_TOKENS_MAX)
        .execute(&mut *writing)
        .await?;
        writing.commit().await?;
        Ok(())
    }

    /// Forgets a session with its tokens.
    pub async fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let done = sqlx::query("DELETE FROM composio_sessions WHERE id = ?")
            .bind(id)
            .execute(self.0.durable())
            .await?;
        Ok(done.rows_affected() > 0)
    }

    fn read(&self, row: &SqliteRow) -> Result<SessionRow, StoreError> {
        let id: String = row.try_get("id")?;
        let toolkits: String = row.try_get("toolkits")?;
        let (session_id, mcp_url): (Option<String>, Option<String>) =
            (row.try_get("session_id")?, row.try_get("mcp_url")?);
        let open = |place, sealed: &str| {
            let text = self.0.vault().open(place, &id, sealed)?;
            String::from_utf8(text).map_err(|_| StoreError::Sealed(place))
        };
        let theirs = match (session_id, mcp_url) {
            (Some(session_id), Some(mcp_url)) => Some(Theirs {
                session_id: open(SESSION_ID, &session_id)?,
                mcp_url: open(MCP_URL, &mcp_url)?,
            }),
            _ => None,
        };
        let made: i64 = row.try_get("made_unix_s")?;
        Ok(SessionRow {
            place: SessionPlace {
                gateway: GatewayId::new(row.try_get("gateway")?),
                user: UserId::new(row.try_get("user_id")?),
                toolkits: (!toolkits.is_empty())
                    .then(|| toolkits.split(',').map(ToOwned::to_owned).collect()),
            },
            theirs,
            options: row.try_get("options")?,
            made_unix_s: u64::try_from(made).unwrap_or_default(),
            id,
        })
    }
}

fn joined(toolkits: Option<&[String]>) -> String {
    toolkits.map(|toolkits| toolkits.join(",")).unwrap_or_default()
}

fn seconds(unix_s: u64) -> i64 {
    i64::try_from(unix_s).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
