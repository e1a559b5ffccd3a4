//! A row of the record as the tables have it: users and tools are numbers. Rows of the table `executions` and rows of packs
//! become the same here; the names are looked up for those that are shown.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::StoreError;
use super::{Execution, Status};
use crate::ids::{ExecutionId, GatewayId, RequestId, UserId};

/// One recorded call. Its texts stand elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row<'a> {
    pub(super) id: i64,
    pub(super) user: u32,
    pub(super) tool: u32,
    pub(super) status: Status,
    pub(super) started_unix_ms: u64,
    pub(super) duration_us: Option<u64>,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: Option<u64>,
    pub(super) session: Option<u64>,
    pub(super) request_id: Option<Cow<'a, str>>,
    pub(super) error: Option<Cow<'a, str>>,
}

impl<'a> Row<'a> {
    /// Takes a call whose names have these numbers.
    pub(super) fn of(execution: &'a Execution, user: u32, tool: u32) -> Self {
        Self {
            id: execution.id.bits(),
            user,
            tool,
            status: execution.status,
            started_unix_ms: execution.started_unix_ms,
            duration_us: execution.duration_us,
            request_bytes: execution.request_bytes,
            response_bytes: execution.response_bytes,
            session: execution.session,
            request_id: execution.request_id.as_ref().map(|id| Cow::Borrowed(id.as_str())),
            error: execution.error.as_deref().map(Cow::Borrowed),
        }
    }

    /// Reads a row of `executions`.
    pub(super) fn read(row: &'a SqliteRow) -> Result<Self, StoreError> {
        let number = |index| row.try_get::<i64, _>(index).map(i64::cast_unsigned);
        let maybe_number = |index| {
            let value = row.try_get::<Option<i64>, _>(index)?;
            Ok::<_, sqlx::Error>(value.map(i64::cast_unsigned))
        };
        let maybe_text = |index| row.try_get::<Option<&str>, _>(index);
        Ok(Self {
            id: row.try_get(0)?,
            user: row.try_get(1)?,
            tool: row.try_get(2)?,
            status: Status::of_code(row.try_get(3)?),
            started_unix_ms: number(4)?,
            duration_us: maybe_number(5)?,
            request_bytes: number(6)?,
            response_bytes: maybe_number(7)?,
            session: maybe_number(8)?,
            request_id: maybe_text(9)?.map(Cow::Borrowed),
            error: maybe_text(10)?.map(Cow::Borrowed),
        })
    }

    pub(super) fn into_owned(self) -> Row<'static> {
        let owned = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Row {
            request_id: owned(self.request_id),
            error: owned(self.error),
            ..self
        }
    }
}

/// Gives rows the names that their numbers stand for.
pub(super) async fn named(
    reading: &mut SqliteConnection,
    rows: Vec<Row<'static>>,
) -> Result<Vec<Execution>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let users: Vec<(u32, String)> = sqlx::query_as(
        "SELECT number, user_id FROM execution_users WHERE number IN (SELECT value FROM json_each(?))",
    )
    .bind(list(rows.iter().map(|row| row.user)))
    .fetch_all(&mut *reading)
    .await?;
    let tools: Vec<(u32, String, String)> = sqlx::query_as(
        "SELECT number, gateway, tool FROM execution_tools WHERE number IN (SELECT value FROM json_each(?))",
    )
    .bind(list(rows.iter().map(|row| row.tool)))
    .fetch_all(&mut *reading)
    .await?;
    let users: HashMap<u32, UserId> = users
        .into_iter()
        .map(|(number, user)| (number, UserId::new(&user)))
        .collect();
    let tools: HashMap<u32, (GatewayId, Arc<str>)> = tools
        .into_iter()
        .map(|(number, gateway, tool)| (number, (GatewayId::new(&gateway), Arc::from(tool))))
        .collect();
    let named = rows.into_iter().map(|row| {
        let user = users.get(&row.user).ok_or(sqlx::Error::RowNotFound)?;
        let (gateway, tool) = tools.get(&row.tool).ok_or(sqlx::Error::RowNotFound)?;
        Ok(Execution {
            id: ExecutionId::from_bits(row.id),
            user: user.clone(),
            gateway: gateway.clone(),
            tool: tool.clone(),
            status: row.status,
            error: row.error.map(Arc::from),
            started_unix_ms: row.started_unix_ms,
            duration_us: row.duration_us,
            request_bytes: row.request_bytes,
            response_bytes: row.response_bytes,
            session: row.session,
            request_id: row.request_id.map(|id| RequestId::new(&id)),
            texts: None,
        })
    });
    named.collect()
}

/// Numbers, each once, as a list that SQL reads.
pub(super) fn list(numbers: impl Iterator<Item = u32>) -> String {
    let numbers: BTreeSet<u32> = numbers.collect();
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    format!("[{}]", numbers.join(","))
}
