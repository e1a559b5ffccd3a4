//! Writes the record, many rows in one transaction: those of calls that have ended as a pack, those of calls that run each
//! by itself, for their end changes them. There is one writer of a store; it remembers the numbers of names and what has
//! no block yet, and reads them anew after a transaction that failed.

use std::sync::LazyLock;

use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnection;

use super::super::{Store, StoreError};
use super::block::Block;
use super::names::Names;
use super::pack::Pack;
use super::row::Row;
use super::{Execution, Status, Texts, retention};
use crate::ids::ExecutionId;

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
    /// The last id that was given out, and the last that was written.
    last: ExecutionId,
    written: i64,
    names: Names,
    block: Block,
    /// A transaction did not come to its end: what is remembered may not be so.
    stale: bool,
}

impl ExecutionLog {
    /// Opens the record. Calls that a killed process left pending have failed. `durable`: what is written outlives a
    /// power cut.
    pub async fn open(store: &Store, durable: bool, now_unix_ms: u64) -> Result<Self, StoreError> {
        let mut log = Self {
            store: store.clone(),
            durable,
            last: ExecutionId::first_of(0),
            written: 0,
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
        log.recall().await?;
        let written = ExecutionId::from_bits(log.written);
        log.last = log.last.next(now_unix_ms).max(written);
        Ok(log)
    }

    /// Returns the id of the next row. Rows are appended in the order of their ids.
    pub fn next_id(&mut self, now_unix_ms: u64) -> ExecutionId {
        self.last = self.last.next(now_unix_ms);
        self.last
    }

    /// Writes new rows, in the order of their ids, and how earlier ones ended: all of them, or none.
    pub async fn write(&mut self, new: &[Execution], ended: &[Execution]) -> Result<(), StoreError> {
        if self.stale {
            self.recall().await?;
        }
        self.stale = true;
        let mut writing = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        self.write_new(&mut writing, new).await?;
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

    async fn write_new(
        &mut self,
        writing: &mut SqliteConnection,
        new: &[Execution],
    ) -> Result<(), StoreError> {
        let (mut pack, mut running) = (Pack::default(), Vec::new());
        for execution in new {
            let id = execution.id.bits();
            if id <= self.written {
                return Err(StoreError::Order);
            }
            self.written = id;
            let (user, tool) = self.names.of(writing, execution).await?;
            self.block.add(id, user, tool);
            if execution.status == Status::Pending {
                self.block.add_bytes(execution.bytes());
                running.push(Row::of(execution, user, tool));
                continue;
            }
            self.block.add_bytes(execution.text_bytes());
            pack.add(&Row::of(execution, user, tool));
            if pack.is_full() {
                self.block.add_bytes(pack.write(writing).await?);
            }
        }
        self.block.add_bytes(pack.write(writing).await?);
        append(writing, &running).await
    }

    /// Deletes some of what was recorded before a time, else, when all together is more than may be, the oldest block.
    /// Tells whether there may be more to delete.
    pub async fn sweep(&mut self, before_unix_ms: u64, bytes_max: u64) -> Result<bool, StoreError> {
        let before = ExecutionId::first_of(before_unix_ms).bits();
        let mut writing = self.writer().begin_with("BEGIN IMMEDIATE").await?;
        let up_to = match retention::too_old(&mut writing, before).await? {
            Some(id) => Some(id),
            None => retention::too_many(&mut writing, bytes_max.saturating_sub(self.block.bytes())).await?,
        };
        let Some(up_to) = up_to else {
            return Ok(false);
        };
        let deleted = retention::delete(&mut writing, up_to).await?;
        writing.commit().await?;
        Ok(deleted)
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
        self.written = sqlx::query_scalar(
            "SELECT max((SELECT coalesce(max(id), 0) FROM executions), \
             (SELECT coalesce(max(last_id), 0) FROM execution_packs))",
        )
        .fetch_one(&mut *reading)
        .await?;
        self.stale = false;
        Ok(())
    }
}

/// Writes rows of their own.
async fn append(writing: &mut SqliteConnection, mut rows: &[Row<'_>]) -> Result<(), StoreError> {
    for (size, sql) in SIZES.iter().zip(INSERTS.iter()) {
        while let Some((now, later)) = rows.split_at_checked(*size) {
            let mut statement = sqlx::query(sql.as_str());
            for row in now {
                statement = statement
                    .bind(row.id)
                    .bind(row.user)
                    .bind(row.tool)
                    .bind(row.status.code())
                    .bind(row.started_unix_ms.cast_signed())
                    .bind(row.duration_us.map(u64::cast_signed))
                    .bind(row.request_bytes.cast_signed())
                    .bind(row.response_bytes.map(u64::cast_signed))
                    .bind(row.session.map(u64::cast_signed))
                    .bind(row.request_id.as_deref())
                    .bind(row.error.as_deref());
            }
            statement.execute(&mut *writing).await?;
            rows = later;
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
