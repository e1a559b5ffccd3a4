//! What of the record is deleted: what is too old, to the row, and when all together is too much the oldest block. A piece
//! at a time, so that calls do not wait.

use futures_util::TryStreamExt;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::super::StoreError;
use super::count;
use super::pack::{Pack, Packed};
use crate::limits::EXECUTION_BLOCK_ROWS;

/// Returns the last id of the oldest piece of what was recorded before an id; `None`: there is nothing.
pub(super) async fn too_old(writing: &mut SqliteConnection, before: i64) -> Result<Option<i64>, StoreError> {
    let alone: (Option<i64>, i64) = sqlx::query_as(
        "SELECT max(id), count(*) FROM (SELECT id FROM executions WHERE id < ? ORDER BY id LIMIT ?)",
    )
    .bind(before)
    .bind(count(EXECUTION_BLOCK_ROWS))
    .fetch_one(&mut *writing)
    .await?;
    let mut packs = sqlx::query("SELECT last_id, first_id, row_count FROM execution_packs ORDER BY last_id")
        .fetch(&mut *writing);
    let (mut end_of_packs, mut packed) = (None, 0);
    while packed < EXECUTION_BLOCK_ROWS
        && let Some(pack) = packs.try_next().await?
        && pack.try_get::<i64, _>(1)? < before
    {
        let (last, rows): (i64, i64) = (pack.try_get(0)?, pack.try_get(2)?);
        end_of_packs = Some(last.min(before.saturating_sub(1)));
        packed += usize::try_from(rows).unwrap_or(0);
    }
    // Of either kind there may be more than this piece.
    let end_of_rows = alone.0.filter(|_| alone.1 >= count(EXECUTION_BLOCK_ROWS));
    let end_of_piece = end_of_packs.filter(|_| packed >= EXECUTION_BLOCK_ROWS);
    let ends = [end_of_rows, end_of_piece];
    Ok(ends.into_iter().flatten().min().or(alone.0.max(end_of_packs)))
}

/// Returns the end of the oldest block when all blocks together have more bytes than this.
pub(super) async fn too_many(
    writing: &mut SqliteConnection,
    bytes_max: u64,
) -> Result<Option<i64>, StoreError> {
    let end = sqlx::query_scalar("SELECT min(last_id) FROM execution_blocks HAVING sum(bytes) > ?")
        .bind(bytes_max.min(i64::MAX.cast_unsigned()).cast_signed())
        .fetch_optional(writing)
        .await?;
    Ok(end.flatten())
}

/// Deletes everything up to an id. Tells whether there was anything.
pub(super) async fn delete(writing: &mut SqliteConnection, up_to: i64) -> Result<bool, StoreError> {
    let mut deleted = shorten(writing, up_to).await?;
    for delete in [
        "DELETE FROM executions WHERE id <= ?",
        "DELETE FROM execution_packs WHERE last_id <= ?",
        "DELETE FROM execution_texts WHERE id <= ?",
        "DELETE FROM execution_blocks WHERE last_id <= ?",
    ] {
        let done = sqlx::query(delete).bind(up_to).execute(&mut *writing).await?;
        deleted |= done.rows_affected() > 0;
    }
    Ok(deleted)
}

/// Takes the rows up to an id out of the pack that goes on behind it. A pack that cannot be read stays until all of it is
/// to be deleted: what is too old behind it must go all the same.
async fn shorten(writing: &mut SqliteConnection, up_to: i64) -> Result<bool, StoreError> {
    let pack = sqlx::query(
        "SELECT last_id, first_id, row_count, rows FROM execution_packs WHERE last_id > ? ORDER BY last_id LIMIT 1",
    )
    .bind(up_to)
    .fetch_optional(&mut *writing)
    .await?;
    let Some(pack) = pack else { return Ok(false) };
    let pack = Packed::read(&pack)?;
    if pack.first_id > up_to {
        return Ok(false);
    }
    let rows = match pack.rows() {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(%error, "old records of calls could not be deleted");
            return Ok(false);
        }
    };
    let mut shorter = Pack::default();
    for row in rows.iter().filter(|row| row.id > up_to) {
        shorter.add(row);
    }
    sqlx::query("DELETE FROM execution_packs WHERE last_id = ?")
        .bind(pack.last_id)
        .execute(&mut *writing)
        .await?;
    shorter.write(writing).await?;
    Ok(true)
}
