//! Goes through the rows of the record within two ids, the newest first: those of the table `executions` and those of
//! packs, as if they stood in one table.

use std::ops::RangeInclusive;

use futures_util::TryStreamExt;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::StoreError;
use super::block::has_any;
use super::pack::Packed;
use super::row::{Row, list};
use super::search::Wanted;
use super::{Status, count};

/// What is wanted, with names as numbers.
pub(super) struct Sought {
    user: Option<u32>,
    /// Every tool that is wanted, in order; `None`: any.
    tools: Option<Vec<u32>>,
    status: Option<Status>,
    /// The first and the last millisecond.
    started_unix_ms: RangeInclusive<u64>,
}

impl Sought {
    /// Looks the names up. `None`: there is no record of such a user or tool.
    pub(super) async fn of(
        reading: &mut SqliteConnection,
        wanted: &Wanted,
    ) -> Result<Option<Self>, StoreError> {
        let mut sought = Self {
            user: None,
            tools: None,
            status: wanted.status,
            started_unix_ms: wanted.from()..=wanted.until(),
        };
        if let Some(user) = &wanted.user {
            sought.user = sqlx::query_scalar("SELECT number FROM execution_users WHERE user_id = ?")
                .bind(user.shared())
                .fetch_optional(&mut *reading)
                .await?;
            if sought.user.is_none() {
                return Ok(None);
            }
        }
        if wanted.gateway.is_some() || wanted.tool.is_some() || wanted.tools.is_some() {
            let tools: Vec<(u32, String)> = sqlx::query_as(
                "SELECT number, tool FROM execution_tools WHERE (?1 IS NULL OR gateway = ?1) AND (?2 IS NULL OR tool = ?2) \
                 ORDER BY number",
            )
            .bind(wanted.gateway.as_deref())
            .bind(wanted.tool.as_deref())
            .fetch_all(&mut *reading)
            .await?;
            let admits = |tool: &str| wanted.tools.as_ref().is_none_or(|tools| tools.admits(tool));
            let tools = tools.into_iter().filter(|(_, tool)| admits(tool));
            let tools: Vec<u32> = tools.map(|(number, _)| number).collect();
            if tools.is_empty() {
                return Ok(None);
            }
            sought.tools = Some(tools);
        }
        Ok(Some(sought))
    }

    /// Tells whether it may be among rows that have these users and these tools.
    pub(super) fn may_occur(&self, users: &[u8], tools: &[u8]) -> bool {
        self.user.is_none_or(|user| has_any(users, &[user]))
            && self.tools.as_ref().is_none_or(|wanted| has_any(tools, wanted))
    }

    /// Hands over the rows within these ids that are sought, the newest first, and no more than `most`. False when a pack
    /// among them cannot be read: it is left out, and the log names it.
    pub(super) async fn visit(
        &self,
        reading: &mut SqliteConnection,
        ids: &RangeInclusive<i64>,
        most: usize,
        each: impl FnMut(Row<'_>),
    ) -> Result<bool, StoreError> {
        let alone = self.alone(reading, ids, most).await?;
        let alone: Vec<Row<'_>> = alone.iter().map(Row::read).collect::<Result<_, _>>()?;
        let mut visit = Visit {
            alone: alone.into_iter(),
            room: most,
            each,
        };
        let mut whole = true;
        // The pack that has the last id may end behind it.
        let mut packs = sqlx::query(
            "SELECT last_id, first_id, row_count, rows FROM execution_packs WHERE first_id <= ?2 AND last_id BETWEEN ?1 \
             AND coalesce((SELECT min(last_id) FROM execution_packs WHERE last_id >= ?2), ?2) ORDER BY last_id DESC",
        )
        .bind(*ids.start())
        .bind(*ids.end())
        .fetch(&mut *reading);
        while visit.room > 0
            && let Some(pack) = packs.try_next().await?
        {
            let rows = Packed::read(&pack)?.rows().unwrap_or_else(|error| {
                tracing::error!(%error, "some records of calls are left out");
                whole = false;
                Vec::new()
            });
            let rows = rows.into_iter().rev();
            for row in rows.filter(|row| ids.contains(&row.id) && self.has(row)) {
                visit.come_to(row);
            }
        }
        visit.end();
        Ok(whole)
    }

    /// Reads the rows that stand in no pack.
    async fn alone(
        &self,
        reading: &mut SqliteConnection,
        ids: &RangeInclusive<i64>,
        most: usize,
    ) -> Result<Vec<SqliteRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, user, tool, status, started_unix_ms, duration_us, request_bytes, response_bytes, session, \
             request_id, error FROM executions WHERE id BETWEEN ?1 AND ?2 AND (?3 IS NULL OR user = ?3) \
             AND (?4 IS NULL OR tool IN (SELECT value FROM json_each(?4))) \
             AND (?5 IS NULL OR status IN (?5, ?6)) AND started_unix_ms BETWEEN ?7 AND ?8 ORDER BY id DESC LIMIT ?9",
        )
        .bind(*ids.start())
        .bind(*ids.end())
        .bind(self.user)
        .bind(self.tools.as_ref().map(|tools| list(tools.iter().copied())))
        .bind(self.status.map(Status::code))
        .bind((self.status == Some(Status::Success)).then(|| Status::Asked.code()))
        .bind(self.started_unix_ms.start().cast_signed())
        .bind(self.started_unix_ms.end().cast_signed())
        .bind(count(most))
        .fetch_all(reading)
        .await?;
        Ok(rows)
    }

    /// Says of a row of a pack what the statement above says of a row of the table.
    fn has(&self, row: &Row<'_>) -> bool {
        let status =
            |wanted| row.status == wanted || (wanted == Status::Success && row.status == Status::Asked);
        self.user.is_none_or(|user| user == row.user)
            && self.status.is_none_or(status)
            && self.started_unix_ms.contains(&row.started_unix_ms)
            && (self.tools.as_ref()).is_none_or(|tools| tools.binary_search(&row.tool).is_ok())
    }
}

/// Two kinds of rows in one order.
struct Visit<'a, F> {
    /// Those that stand in no pack and have not been handed over, the newest first.
    alone: std::vec::IntoIter<Row<'a>>,
    room: usize,
    each: F,
}

impl<F: FnMut(Row<'_>)> Visit<'_, F> {
    /// Hands over a row of a pack, and before it those that are newer.
    fn come_to(&mut self, row: Row<'_>) {
        while self
            .alone
            .as_slice()
            .first()
            .is_some_and(|alone| alone.id > row.id)
            && let Some(newer) = self.alone.next()
        {
            self.hand_over(newer);
        }
        self.hand_over(row);
    }

    fn end(mut self) {
        while let Some(row) = self.alone.next() {
            self.hand_over(row);
        }
    }

    fn hand_over(&mut self, row: Row<'_>) {
        if let Some(room) = self.room.checked_sub(1) {
            self.room = room;
            (self.each)(row);
        }
    }
}
