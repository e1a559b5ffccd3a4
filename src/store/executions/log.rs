//! Writes the record, many rows in one transaction. There is one writer of a store; it remembers the numbers of names and
//! what has no block yet, and reads them anew after a transaction that failed.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;

use super::super::{Store, StoreError};
use super::block::Block;
use super::{Execution, Status, Texts, count};
use crate::ids::{ExecutionId, GatewayId, UserId};
use crate::limits::{EXECUTION_BLOCK_ROWS, EXECUTION_NAMES_KEPT_MAX};

/// What is said of calls that a process left behind that was killed.
const INTERRUPTED: &str = "interrupted: the gateway was stopped during the call";
/// Rows that one statement writes; each size is prepared once. Small, so that its values and its program do not crowd
/// what calls have in the core's cache: one of 256 rows has 2,816 values.
const SIZES: [usize; 3] = [32, 8, 1];
static INSERTS: LazyLock<[String; 3]> = LazyLock::new(|| SIZES.map(insert));

fn insert(rows: usize) -> String {
    let row = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    format!(
        "INSERT INTO executions (id, user, tool, status, started_unix_ms, duration_us, request_bytes, response_bytes, \
         session, request_id, error) VALUES {}",
        vec![row; rows].join(", ")
    )
}

/// The writer.
#[derive(Debug)]
pub struct ExecutionLog {
    store: Store,
    durable: bool,
    last: ExecutionId,
    names: Names,
    block: Block,
    /// A transaction did not come to its end: what is remembered may not be so.
    stale: bool,
}

/// Numbers of names, by name.
#[derive(Debug, Default)]
struct Names {
    users: HashMap<UserId, u32>,
    tools: HashMap<GatewayId, HashMap<Arc<str>, u32>>,
    count: usize,
}

impl ExecutionLog {
    /// Opens the record. Calls that a killed process left pending have failed. `durable`: what is written outlives a
    /// power cut.
    pub async fn open(store: &Store, durable: bool, now_unix_ms: u64) -> Result<Self, StoreError> {
        let mut log = Self {
            store: store.clone(),
            durable,
            last: ExecutionId::first_of(0),
            names: Names::default(),
            block: Block::default(),
            stale: true,
        };
        sqlx::query("UPDATE executions SET status = ?, error = ? WHERE status = ?")
            .bind(Status::Failed.code())
            .bind(INTERRUPTED)
            .bind(Status::Pending.code())
            .execute(log.writer())
            .await?;
        let last: Option<i64> = sqlx::query_scalar("SELECT max(id) FROM executions")
            .fetch_one(log.writer())
            .await?;
        log.last = log.last.next(now_unix_ms);
        if let Some(last) = last.map(ExecutionId::from_bits) {
            log.last = log.last.max(last);
        }
        log.recall().await?;
        Ok(log)
    }

    /// Returns the id of the next row. Rows are appended in the order of their ids.
    pub fn next_id(&mut self, now_unix_ms: u64) -> ExecutionId {
        self.last = self.last.next(now_unix_ms);
        self.last
    }

    /// Writes new rows and how earlier ones ended: all of them, or none.
    pub async fn write(&mut self, new: &[Execution], ended: &[Execution]) -> Result<(), StoreError> {
        if self.stale {
            self.recall().await?;
        }
        self.stale = true;
        let mut writing = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        let mut numbers = Vec::with_capacity(new.len());
        for row in new {
            let user = self.names.user(&mut writing, &row.user).await?;
            let tool = self.names.tool(&mut writing, &row.gateway, &row.tool).await?;
            self.block.add(row.id.bits(), user, tool, row.bytes());
            numbers.push((user, tool));
        }
        append(&mut writing, new, &numbers).await?;
        for row in ended {
            end(&mut writing, row).await?;
            self.block.add_bytes(row.bytes());
        }
        for row in new.iter().chain(ended) {
            if let Some(texts) = &row.texts {
                write_texts(&mut writing, row.id, texts).await?;
            }
        }
        if self.block.is_full() {
            self.block.close(&mut writing).await?;
        }
        writing.commit().await?;
        self.stale = false;
        Ok(())
    }

    /// Deletes some of what was recorded before a time, else, when all together is more than may be, the oldest block.
    /// Tells whether there may be more to delete.
    pub async fn sweep(&mut self, before_unix_ms: u64, bytes_max: u64) -> Result<bool, StoreError> {
        let before = ExecutionId::first_of(before_unix_ms).bits();
        let mut writing = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        let old: Option<i64> = sqlx::query_scalar(
            "SELECT max(id) FROM (SELECT id FROM executions WHERE id < ? ORDER BY id LIMIT ?)",
        )
        .bind(before)
        .bind(count(EXECUTION_BLOCK_ROWS))
        .fetch_one(&mut *writing)
        .await?;
        let up_to = match old {
            Some(id) => Some(id),
            None => too_many(&mut writing, bytes_max.saturating_sub(self.block.bytes())).await?,
        };
        let Some(up_to) = up_to else {
            return Ok(false);
        };
        for delete in [
            "DELETE FROM executions WHERE id <= ?",
            "DELETE FROM execution_texts WHERE id <= ?",
            "DELETE FROM execution_blocks WHERE last_id <= ?",
        ] {
            sqlx::query(delete).bind(up_to).execute(&mut *writing).await?;
        }
        writing.commit().await?;
        Ok(true)
    }

    fn writer(&self) -> &SqlitePool {
        if self.durable {
            self.store.durable()
        } else {
            self.store.quick()
        }
    }

    async fn recall(&mut self) -> Result<(), StoreError> {
        self.names = Names::default();
        let mut reading = self.writer().acquire().await?;
        self.block = Block::unclosed(&mut reading).await?;
        self.stale = false;
        Ok(())
    }
}

impl Names {
    async fn user(&mut self, writing: &mut SqliteConnection, user: &UserId) -> Result<u32, StoreError> {
        if let Some(number) = self.users.get(user) {
            return Ok(*number);
        }
        let number = sqlx::query_scalar(
            "INSERT INTO execution_users (user_id) VALUES (?) ON CONFLICT (user_id) DO UPDATE SET user_id = user_id \
             RETURNING number",
        )
        .bind(user.shared())
        .fetch_one(writing)
        .await?;
        self.make_room();
        self.users.insert(user.clone(), number);
        Ok(number)
    }

    async fn tool(
        &mut self,
        writing: &mut SqliteConnection,
        gateway: &GatewayId,
        tool: &Arc<str>,
    ) -> Result<u32, StoreError> {
        if let Some(number) = self.tools.get(gateway).and_then(|tools| tools.get(tool)) {
            return Ok(*number);
        }
        let number = sqlx::query_scalar(
            "INSERT INTO execution_tools (gateway, tool) VALUES (?, ?) \
             ON CONFLICT (gateway, tool) DO UPDATE SET tool = tool RETURNING number",
        )
        .bind(gateway.shared())
        .bind(tool.clone())
        .fetch_one(writing)
        .await?;
        self.make_room();
        let tools = self.tools.entry(gateway.clone()).or_default();
        tools.insert(tool.clone(), number);
        Ok(number)
    }

    fn make_room(&mut self) {
        if self.count >= EXECUTION_NAMES_KEPT_MAX {
            *self = Self::default();
        }
        self.count += 1;
    }
}

async fn append(
    writing: &mut SqliteConnection,
    mut rows: &[Execution],
    mut numbers: &[(u32, u32)],
) -> Result<(), StoreError> {
    for (size, sql) in SIZES.iter().zip(INSERTS.iter()) {
        while let (Some((now, later)), Some((its, others))) =
            (rows.split_at_checked(*size), numbers.split_at_checked(*size))
        {
            let mut statement = sqlx::query(sql.as_str());
            for (row, (user, tool)) in now.iter().zip(its) {
                statement = statement
                    .bind(row.id.bits())
                    .bind(*user)
                    .bind(*tool)
                    .bind(row.status.code())
                    .bind(row.started_unix_ms.cast_signed())
                    .bind(row.duration_us.map(u64::cast_signed))
                    .bind(row.request_bytes.cast_signed())
                    .bind(row.response_bytes.map(u64::cast_signed))
                    .bind(row.session.map(u64::cast_signed))
                    .bind(row.request_id.as_ref().map(crate::ids::RequestId::shared))
                    .bind(row.error.clone());
            }
            statement.execute(&mut *writing).await?;
            (rows, numbers) = (later, others);
        }
    }
    Ok(())
}

async fn end(writing: &mut SqliteConnection, row: &Execution) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE executions SET status = ?, duration_us = ?, response_bytes = ?, error = ? WHERE id = ?",
    )
    .bind(row.status.code())
    .bind(row.duration_us.map(u64::cast_signed))
    .bind(row.response_bytes.map(u64::cast_signed))
    .bind(row.error.clone())
    .bind(row.id.bits())
    .execute(writing)
    .await?;
    Ok(())
}

async fn write_texts(
    writing: &mut SqliteConnection,
    id: ExecutionId,
    texts: &Texts,
) -> Result<(), StoreError> {
    sqlx::query("INSERT OR REPLACE INTO execution_texts (id, arguments, result) VALUES (?, ?, ?)")
        .bind(id.bits())
        .bind(texts.arguments.as_deref())
        .bind(texts.result.as_deref())
        .execute(writing)
        .await?;
    Ok(())
}

/// Returns the end of the oldest block when all blocks together have more bytes than this.
async fn too_many(writing: &mut SqliteConnection, bytes_max: u64) -> Result<Option<i64>, StoreError> {
    let end = sqlx::query_scalar("SELECT min(last_id) FROM execution_blocks HAVING sum(bytes) > ?")
        .bind(bytes_max.min(i64::MAX.cast_unsigned()).cast_signed())
        .fetch_optional(writing)
        .await?;
    Ok(end.flatten())
}
