//! Rows that follow each other, summed up: which users and tools occur in them. Stands in for an index: some thousand
//! rows cost one row here. The newest rows have no block yet and are always read.

use std::ops::RangeInclusive;

use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::pack::Packed;
use crate::limits::{EXECUTION_BLOCK_BYTES, EXECUTION_BLOCK_ROWS};

/// What a row takes in the table `executions`, its texts aside: an estimate, seen in files of 400,000 rows.
pub(super) const ROW_BYTES: u64 = 48;

/// The rows that have no block yet.
#[derive(Debug, Default)]
pub(super) struct Block {
    ids: Option<RangeInclusive<i64>>,
    rows: usize,
    bytes: u64,
    users: Vec<u32>,
    tools: Vec<u32>,
}

impl Block {
    /// Sums up what stands behind the last block.
    pub(super) async fn unclosed(reading: &mut SqliteConnection) -> Result<Self, StoreError> {
        let closed: i64 = sqlx::query_scalar("SELECT coalesce(max(last_id), 0) FROM execution_blocks")
            .fetch_one(&mut *reading)
            .await?;
        let alone: Vec<(i64, u32, u32, i64)> = sqlx::query_as(
            "SELECT id, user, tool, coalesce(length(request_id), 0) + coalesce(length(error), 0) FROM executions \
             WHERE id > ?",
        )
        .bind(closed)
        .fetch_all(&mut *reading)
        .await?;
        let mut block = Self::default();
        for (id, user, tool, text_bytes) in alone {
            block.add(id, user, tool);
            block.add_bytes(ROW_BYTES + text_bytes.cast_unsigned());
        }
        let packs = sqlx::query(
            "SELECT last_id, first_id, row_count, rows, length(rows) FROM execution_packs WHERE last_id > ?",
        )
        .bind(closed)
        .fetch_all(&mut *reading)
        .await?;
        for row in packs {
            let bytes: i64 = row.try_get(4)?;
            block.add_bytes(bytes.cast_unsigned());
            block.add_pack(&Packed::read(&row)?);
        }
        let text_bytes: i64 = sqlx::query_scalar(
            "SELECT coalesce(sum(coalesce(length(arguments), 0) + coalesce(length(result), 0)), 0) FROM execution_texts \
             WHERE id > ?",
        )
        .bind(closed)
        .fetch_one(reading)
        .await?;
        block.add_bytes(text_bytes.cast_unsigned());
        Ok(block)
    }

    /// Adds the rows of a pack. Those of one that cannot be read belong to nobody that is known: lists leave them out,
    /// and calls are recorded all the same.
    fn add_pack(&mut self, pack: &Packed<'_>) {
        match pack.rows() {
            Ok(rows) => {
                for row in rows {
                    self.add(row.id, row.user, row.tool);
                }
            }
            Err(error) => {
                tracing::error!(%error, "some records of calls cannot be read");
                self.cover(pack.first_id);
                self.cover(pack.last_id);
            }
        }
    }

    /// Adds a row.
    pub(super) fn add(&mut self, id: i64, user: u32, tool: u32) {
        self.cover(id);
        self.rows += 1;
        // What is said twice in a row need not be sorted out later.
        if self.users.last() != Some(&user) {
            self.users.push(user);
        }
        if self.tools.last() != Some(&tool) {
            self.tools.push(tool);
        }
    }

    fn cover(&mut self, id: i64) {
        self.ids = Some(match &self.ids {
            None => id..=id,
            Some(ids) => id.min(*ids.start())..=id.max(*ids.end()),
        });
    }

    /// Adds what rows take.
    pub(super) fn add_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= EXECUTION_BLOCK_ROWS || self.bytes >= EXECUTION_BLOCK_BYTES as u64
    }

    /// Writes the block and begins the next one.
    pub(super) async fn close(&mut self, writing: &mut SqliteConnection) -> Result<(), StoreError> {
        let block = std::mem::take(self);
        let Some(ids) = block.ids else { return Ok(()) };
        sqlx::query(
            "INSERT INTO execution_blocks (last_id, first_id, row_count, bytes, users, tools) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(*ids.end())
        .bind(*ids.start())
        .bind(super::count(block.rows))
        .bind(block.bytes.cast_signed())
        .bind(set(block.users))
        .bind(set(block.tools))
        .execute(writing)
        .await?;
        Ok(())
    }
}

/// Writes each number once, in order.
fn set(mut numbers: Vec<u32>) -> Vec<u8> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.into_iter().flat_map(u32::to_be_bytes).collect()
}

/// Tells whether a set has one of these numbers.
pub(super) fn has_any(set: &[u8], numbers: &[u32]) -> bool {
    let (set, _) = set.as_chunks::<4>();
    numbers
        .iter()
        .any(|number| set.binary_search(&number.to_be_bytes()).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_in_and_nothing_else() {
        let set = set(vec![70_000, 3, 3, u32::MAX, 255]);
        assert_eq!(set.len(), 16);
        for number in [3, 255, 70_000, u32::MAX] {
            assert!(has_any(&set, &[1, number]), "{number}");
        }
        assert!(!has_any(&set, &[0, 4, 256, 69_999]));
        assert!(!has_any(&[], &[0]) && !has_any(&set, &[]));
    }
}
