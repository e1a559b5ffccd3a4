//! The record of tool calls: [`ExecutionLog`] writes it, [`Executions`] reads it. Rows are appended and have no index by
//! user or tool, which would cost more than the row; blocks of rows say which users and tools occur in them, and a
//! search reads the blocks that can have what it wants. Knows nothing of who may see what.

mod block;
mod log;
mod search;
mod stats;

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

pub use self::log::ExecutionLog;
pub use self::search::{Found, ToolNames, Wanted};
pub use self::stats::{Group, Stats, Tally};
use super::{Store, StoreError};
use crate::ids::{ExecutionId, GatewayId, RequestId, UserId};

/// One recorded call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// Its id, which says when it was recorded.
    pub id: ExecutionId,
    /// Whose call it was.
    pub user: UserId,
    /// Which gateway it went to.
    pub gateway: GatewayId,
    /// Which tool, by its exposed name.
    pub tool: Arc<str>,
    /// How it ended.
    pub status: Status,
    /// Why it failed, in a few words.
    pub error: Option<Arc<str>>,
    /// When it began, in milliseconds since 1970-01-01T00:00:00Z.
    pub started_unix_ms: u64,
    /// How long it took, in microseconds; `None` while it is pending, and where nobody knows.
    pub duration_us: Option<u64>,
    /// The client's message.
    pub request_bytes: u64,
    /// The gateway's message, where one came.
    pub response_bytes: Option<u64>,
    /// Tells sessions apart: the first 64 bits of the SHA-256 of the session's id. `None` without a session.
    pub session: Option<u64>,
    /// The id of the HTTP request.
    pub request_id: Option<RequestId>,
    /// What is kept of arguments and result. Lists come without.
    pub texts: Option<Texts>,
}

/// What is kept of a call's arguments and result: JSON, redacted, and cut where it was long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// The arguments.
    pub arguments: Option<String>,
    /// The `result`, or the `error`.
    pub result: Option<String>,
}

impl Execution {
    /// What the row takes, its names aside, which stand elsewhere: an estimate.
    fn bytes(&self) -> u64 {
        let text = |text: Option<&String>| text.map_or(0, String::len);
        let texts = self.texts.as_ref().map_or(0, |texts| {
            text(texts.arguments.as_ref()) + text(texts.result.as_ref())
        });
        let request_id = self.request_id.as_ref().map_or(0, |id| id.as_str().len());
        let error = self.error.as_ref().map_or(0, |error| error.len());
        block::ROW_BYTES + (texts + request_id + error) as u64
    }
}

/// How a call stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is running.
    Pending,
    /// The tool answered.
    Success,
    /// The tool said that it failed, or nothing came of the call.
    Failed,
    /// The gateway asked the client something: the client's answer is a call of its own.
    Asked,
}

impl Status {
    const fn code(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Success => 1,
            Self::Failed => 2,
            Self::Asked => 3,
        }
    }

    const fn of_code(code: i64) -> Self {
        match code {
            0 => Self::Pending,
            1 => Self::Success,
            3 => Self::Asked,
            _ => Self::Failed,
        }
    }
}

impl Store {
    /// Returns the record of tool calls, for reading.
    #[must_use]
    pub fn executions(&self) -> Executions {
        Executions(self.clone())
    }
}

/// Reads the record.
#[derive(Clone, Debug)]
pub struct Executions(Store);

impl Executions {
    /// Returns one call with its texts, of this user or of anybody.
    pub async fn get(&self, id: ExecutionId, user: Option<&UserId>) -> Result<Option<Execution>, StoreError> {
        let row = sqlx::query(
            "SELECT e.id, u.user_id, t.gateway, t.tool, e.status, e.started_unix_ms, e.duration_us, e.request_bytes, \
             e.response_bytes, e.session, e.request_id, e.error, x.id IS NOT NULL, x.arguments, x.result \
             FROM executions e JOIN execution_users u ON u.number = e.user JOIN execution_tools t ON t.number = e.tool \
             LEFT JOIN execution_texts x ON x.id = e.id WHERE e.id = ?1 AND (?2 IS NULL OR u.user_id = ?2)",
        )
        .bind(id.bits())
        .bind(user.map(UserId::shared))
        .fetch_optional(self.0.reader())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let mut execution = read(&row)?;
        if row.try_get(12)? {
            execution.texts = Some(Texts {
                arguments: row.try_get(13)?,
                result: row.try_get(14)?,
            });
        }
        Ok(Some(execution))
    }
}

/// A number of rows, as SQL takes it.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Reads the twelve columns that every listing has.
fn read(row: &SqliteRow) -> Result<Execution, StoreError> {
    let text = |index| row.try_get::<&str, _>(index);
    let maybe_text = |index| row.try_get::<Option<&str>, _>(index);
    let number = |index| row.try_get::<i64, _>(index).map(i64::cast_unsigned);
    let maybe_number = |index| {
        let value = row.try_get::<Option<i64>, _>(index)?;
        Ok::<_, sqlx::Error>(value.map(i64::cast_unsigned))
    };
    Ok(Execution {
        id: ExecutionId::from_bits(row.try_get(0)?),
        user: UserId::new(text(1)?),
        gateway: GatewayId::new(text(2)?),
        tool: Arc::from(text(3)?),
        status: Status::of_code(row.try_get(4)?),
        started_unix_ms: number(5)?,
        duration_us: maybe_number(6)?,
        request_bytes: number(7)?,
        response_bytes: maybe_number(8)?,
        session: maybe_number(9)?,
        request_id: maybe_text(10)?.map(RequestId::new),
        error: maybe_text(11)?.map(Arc::from),
        texts: None,
    })
}

#[cfg(test)]
mod tests;
