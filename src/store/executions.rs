//! The record of tool calls: [`ExecutionLog`] writes it, [`Executions`] reads it. What is written at once of calls that
//! have ended is one value, a pack; calls that run have rows of their own, and stay there. Rows are appended and have no
//! index by user or tool, which would cost more than the row; blocks of rows say which users and tools occur in them, and
//! a search reads the blocks that can have what it wants. Knows nothing of who may see what.

mod block;
mod log;
mod names;
mod pack;
mod retention;
mod row;
mod scan;
mod search;
mod stats;

use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;

pub use self::log::ExecutionLog;
use self::pack::Packed;
use self::row::{Row, named};
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
    /// What a row of its own takes, its names aside, which stand elsewhere: an estimate.
    fn bytes(&self) -> u64 {
        let request_id = self.request_id.as_ref().map_or(0, |id| id.as_str().len());
        let error = self.error.as_ref().map_or(0, |error| error.len());
        block::ROW_BYTES + (request_id + error) as u64 + self.text_bytes()
    }

    /// What its arguments and result take.
    fn text_bytes(&self) -> u64 {
        let Some(texts) = &self.texts else { return 0 };
        let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        (bytes(&texts.arguments) + bytes(&texts.result)) as u64
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
        // One state of the record, however much is deleted meanwhile.
        let mut reading = self.0.reader().begin().await?;
        let found = match alone(&mut reading, id).await? {
            Some(row) => Some(row),
            None => packed(&mut reading, id).await?,
        };
        let mut executions = named(&mut reading, found.into_iter().collect()).await?;
        executions.retain(|execution| user.is_none_or(|user| *user == execution.user));
        let Some(mut execution) = executions.pop() else {
            return Ok(None);
        };
        let texts: Option<(Option<String>, Option<String>)> =
            sqlx::query_as("SELECT arguments, result FROM execution_texts WHERE id = ?")
                .bind(id.bits())
                .fetch_optional(&mut *reading)
                .await?;
        execution.texts = texts.map(|(arguments, result)| Texts { arguments, result });
        Ok(Some(execution))
    }
}

async fn alone(reading: &mut SqliteConnection, id: ExecutionId) -> Result<Option<Row<'static>>, StoreError> {
    let row = sqlx::query(
        "SELECT id, user, tool, status, started_unix_ms, duration_us, request_bytes, response_bytes, session, \
         request_id, error FROM executions WHERE id = ?",
    )
    .bind(id.bits())
    .fetch_optional(reading)
    .await?;
    row.as_ref()
        .map(|row| Ok(Row::read(row)?.into_owned()))
        .transpose()
}

async fn packed(reading: &mut SqliteConnection, id: ExecutionId) -> Result<Option<Row<'static>>, StoreError> {
    let pack = sqlx::query(
        "SELECT last_id, first_id, row_count, rows FROM execution_packs WHERE last_id >= ? ORDER BY last_id LIMIT 1",
    )
    .bind(id.bits())
    .fetch_optional(reading)
    .await?;
    let Some(pack) = pack else { return Ok(None) };
    let pack = Packed::read(&pack)?;
    if pack.first_id > id.bits() {
        return Ok(None);
    }
    let mut rows = pack.rows()?.into_iter();
    Ok(rows.find(|row| row.id == id.bits()).map(Row::into_owned))
}

/// A number of rows, as SQL takes it.
fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
