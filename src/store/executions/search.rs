//! Finds recorded calls, newest first. Goes through the rows that have no block yet, then through the blocks, and reads
//! those that can have what is wanted; looks at a bounded number of rows and says where to go on.

use std::collections::VecDeque;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::row::named;
use super::scan::Sought;
use super::{Execution, Executions, Status, count};
use crate::ids::{ExecutionId, UserId};
use crate::limits::{
    EXECUTION_BLOCK_ROWS, EXECUTION_BLOCKS_READ, EXECUTION_RECORD_LAG_MAX, EXECUTIONS_SCAN_MAX,
};

/// Which calls are wanted: all conditions together.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this user.
    pub user: Option<UserId>,
    /// Of this gateway.
    pub gateway: Option<String>,
    /// Of the tool with this exposed name.
    pub tool: Option<String>,
    /// That stand so. [`Status::Success`] includes [`Status::Asked`].
    pub status: Option<Status>,
    /// That began then or later.
    pub from_unix_ms: Option<u64>,
    /// That began before.
    pub to_unix_ms: Option<u64>,
    /// Of tools with such exposed names.
    pub tools: Option<ToolNames>,
}

/// A condition on the exposed names of tools.
#[derive(Clone)]
pub struct ToolNames(Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl ToolNames {
    /// Wraps a condition.
    #[must_use]
    pub fn new(admits: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(admits))
    }

    /// Tells whether a name fits.
    #[must_use]
    pub fn admits(&self, tool: &str) -> bool {
        (self.0)(tool)
    }
}

impl fmt::Debug for ToolNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToolNames")
    }
}

/// One page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The calls, newest first.
    pub items: Vec<Execution>,
    /// The next page is what comes before this. `None`: there is nothing more.
    pub next: Option<ExecutionId>,
}

impl Executions {
    /// Returns one page of calls that were recorded before an id. A page that has less than `limit` may have a `next`
    /// all the same: so many rows were looked at.
    pub async fn search(
        &self,
        wanted: &Wanted,
        before: Option<ExecutionId>,
        limit: usize,
    ) -> Result<Found, StoreError> {
        self.search_among(wanted, before, limit, EXECUTIONS_SCAN_MAX)
            .await
    }

    pub(super) async fn search_among(
        &self,
        wanted: &Wanted,
        before: Option<ExecutionId>,
        limit: usize,
        rows_max: usize,
    ) -> Result<Found, StoreError> {
        let mut found = Found::default();
        // One state of the record, however much is written meanwhile.
        let mut reading = self.0.reader().begin().await?;
        let Some(sought) = Sought::of(&mut reading, wanted).await? else {
            return Ok(found);
        };
        let mut ranges = Ranges::new(wanted, before);
        let (mut rows, mut looked_at) = (Vec::new(), 0);
        while let Some(range) = ranges.next(&mut reading, &sought).await? {
            if looked_at >= rows_max {
                found.next = Some(ExecutionId::from_bits(range.ids.end().saturating_add(1)));
                break;
            }
            looked_at += range.rows;
            let missing = limit + 1 - rows.len();
            let visited = sought.visit(&mut reading, &range.ids, missing, |row| {
                rows.push(row.into_owned());
            });
            visited.await?;
            if rows.len() > limit {
                rows.truncate(limit);
                found.next = rows.last().map(|last| ExecutionId::from_bits(last.id));
                break;
            }
        }
        found.items = named(&mut reading, rows).await?;
        Ok(found)
    }
}

impl Wanted {
    pub(super) fn from(&self) -> u64 {
        self.from_unix_ms.unwrap_or(0)
    }

    /// The last millisecond.
    pub(super) fn until(&self) -> u64 {
        let ends = self.to_unix_ms.map_or(u64::MAX, |to| to.saturating_sub(1));
        ends.min(i64::MAX.cast_unsigned())
    }
}

/// Rows that may have what is wanted.
pub(super) struct Range {
    pub(super) ids: RangeInclusive<i64>,
    /// About how many there are.
    pub(super) rows: usize,
}

/// All such rows, newest first.
pub(super) struct Ranges {
    /// The first and the last id that are of interest.
    ids: RangeInclusive<i64>,
    /// Blocks that were read and come next, then those that end before this id.
    ready: VecDeque<Range>,
    blocks_before: Option<i64>,
    over: bool,
}

impl Ranges {
    pub(super) fn new(wanted: &Wanted, before: Option<ExecutionId>) -> Self {
        let first = ExecutionId::first_of(wanted.from()).bits();
        let mut last = before.map_or(i64::MAX, |before| before.bits().saturating_sub(1));
        if let Some(to) = wanted.to_unix_ms {
            let lag = EXECUTION_RECORD_LAG_MAX.as_millis() as u64;
            last = last.min(ExecutionId::first_of(to.saturating_add(lag)).bits());
        }
        Self {
            ids: first..=last,
            ready: VecDeque::new(),
            blocks_before: None,
            over: false,
        }
    }

    pub(super) async fn next(
        &mut self,
        reading: &mut SqliteConnection,
        sought: &Sought,
    ) -> Result<Option<Range>, StoreError> {
        let mut blocks_before = self.blocks_before.unwrap_or(i64::MAX);
        if self.blocks_before.is_none() {
            let closed: i64 = sqlx::query_scalar("SELECT coalesce(max(last_id), 0) FROM execution_blocks")
                .fetch_one(&mut *reading)
                .await?;
            self.ready
                .extend(self.within(closed + 1, i64::MAX, EXECUTION_BLOCK_ROWS));
        }
        while self.ready.is_empty() && !self.over {
            let blocks = sqlx::query(
                "SELECT first_id, last_id, row_count, users, tools FROM execution_blocks \
                 WHERE last_id < ? AND last_id >= ? AND first_id <= ? ORDER BY last_id DESC LIMIT ?",
            )
            .bind(blocks_before)
            .bind(*self.ids.start())
            .bind(*self.ids.end())
            .bind(count(EXECUTION_BLOCKS_READ))
            .fetch_all(&mut *reading)
            .await?;
            self.over = blocks.len() < EXECUTION_BLOCKS_READ;
            for block in &blocks {
                let (first, last): (i64, i64) = (block.try_get(0)?, block.try_get(1)?);
                blocks_before = last;
                if sought.may_occur(block.try_get(3)?, block.try_get(4)?) {
                    let rows: u32 = block.try_get(2)?;
                    self.ready.extend(self.within(first, last, rows as usize));
                }
            }
        }
        self.blocks_before = Some(blocks_before);
        Ok(self.ready.pop_front())
    }

    fn within(&self, first: i64, last: i64, rows: usize) -> Option<Range> {
        let ids = first.max(*self.ids.start())..=last.min(*self.ids.end());
        (!ids.is_empty()).then_some(Range { ids, rows })
    }
}
