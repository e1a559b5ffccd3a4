//! Rows that follow each other, summed up: which users and tools occur in them. Stands in for an index: some thousand
//! rows cost one row here. The newest rows have no block yet and are always read.

use std::ops::RangeInclusive;

use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use crate::limits::{EXECUTION_BLOCK_BYTES, EXECUTION_BLOCK_ROWS};

/// What a row takes in the table, its texts aside: an estimate, seen in files of 400,000 rows.
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
        let rows = sqlx::query(
            "SELECT e.id, e.user, e.tool, coalesce(length(e.request_id), 0) + coalesce(length(e.error), 0) \
             + coalesce(length(x.arguments), 0) + coalesce(length(x.result), 0) \
             FROM executions e LEFT JOIN execution_texts x ON x.id = e.id \
             WHERE e.id > (SELECT coalesce(max(last_id), 0) FROM execution_blocks) ORDER BY e.id",
        )
        .fetch_all(reading)
        .await?;
        let mut block = Self::default();
        for row in rows {
            let text_bytes: i64 = row.try_get(3)?;
            let bytes = ROW_BYTES + text_bytes.cast_unsigned();
            block.add(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, bytes);
        }
        Ok(block)
    }

    /// Adds a row behind all others.
    pub(super) fn add(&mut self, id: i64, user: u32, tool: u32, bytes: u64) {
        let first = self.ids.as_ref().map_or(id, |ids| *ids.start());
        self.ids = Some(first..=id);
        self.rows += 1;
        self.bytes += bytes;
        self.users.push(user);
        self.tools.push(tool);
    }

    /// Adds what came to rows that are there already.
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
