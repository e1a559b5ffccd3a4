//! Rows of calls that had ended when they were written, as one value: a byte with the version of the form, then row by row
//! a byte with the status and what the row has, and numbers of seven bits a byte. Ids and beginnings are differences, so
//! that most take one byte. Rows stand in the order of their ids. What is read is taken for nothing: a value that is not
//! what we wrote is an error that names the pack.

use std::borrow::Cow;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::StoreError;
use super::row::Row;
use super::{Status, count};
use crate::ids::ExecutionId;
use crate::limits::{EXECUTION_PACK_BYTES, EXECUTION_PACK_ROWS};

/// The form that is written. Another one gets another number, and the old one goes on being read.
const VERSION: u8 = 1;

/// What a row has, above the two bits of its status.
const DURATION: u8 = 1 << 2;
const RESPONSE: u8 = 1 << 3;
const SESSION: u8 = 1 << 4;
const REQUEST_ID: u8 = 1 << 5;
const ERROR: u8 = 1 << 6;

/// Rows that are being packed.
#[derive(Debug, Default)]
pub(super) struct Pack {
    ids: Option<(i64, i64)>,
    rows: usize,
    bytes: Vec<u8>,
}

impl Pack {
    /// Adds a row behind the others.
    pub(super) fn add(&mut self, row: &Row<'_>) {
        let (first, before) = self.ids.unwrap_or((row.id, row.id));
        self.ids = Some((first, row.id));
        self.rows += 1;
        let bytes = &mut self.bytes;
        if bytes.is_empty() {
            bytes.push(VERSION);
        }
        let has = |bit: u8, is: bool| if is { bit } else { 0 };
        bytes.push(
            row.status.code().cast_unsigned() as u8
                | has(DURATION, row.duration_us.is_some())
                | has(RESPONSE, row.response_bytes.is_some())
                | has(SESSION, row.session.is_some())
                | has(REQUEST_ID, row.request_id.is_some())
                | has(ERROR, row.error.is_some()),
        );
        put(bytes, row.id.wrapping_sub(before).cast_unsigned());
        put(bytes, u64::from(row.user));
        put(bytes, u64::from(row.tool));
        put(
            bytes,
            zigzag(recorded_ms(row.id).wrapping_sub(row.started_unix_ms)),
        );
        put(bytes, row.request_bytes);
        for number in [row.duration_us, row.response_bytes].into_iter().flatten() {
            put(bytes, number);
        }
        if let Some(session) = row.session {
            bytes.extend_from_slice(&session.to_le_bytes());
        }
        for text in [&row.request_id, &row.error].into_iter().flatten() {
            put(bytes, text.len() as u64);
            bytes.extend_from_slice(text.as_bytes());
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows >= EXECUTION_PACK_ROWS || self.bytes.len() >= EXECUTION_PACK_BYTES
    }

    /// Writes the pack, if there is anything in it, and begins the next one. Returns how many bytes it has.
    pub(super) async fn write(&mut self, writing: &mut SqliteConnection) -> Result<u64, StoreError> {
        let pack = std::mem::take(self);
        let Some((first, last)) = pack.ids else {
            return Ok(0);
        };
        let bytes = pack.bytes.len() as u64;
        sqlx::query("INSERT INTO execution_packs (last_id, first_id, row_count, rows) VALUES (?, ?, ?, ?)")
            .bind(last)
            .bind(first)
            .bind(count(pack.rows))
            .bind(pack.bytes)
            .execute(writing)
            .await?;
        Ok(bytes)
    }
}

/// A pack as it stands in its table.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    pub(super) last_id: i64,
    pub(super) first_id: i64,
    row_count: i64,
    bytes: &'a [u8],
}

impl<'a> Packed<'a> {
    pub(super) fn read(row: &'a SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            last_id: row.try_get(0)?,
            first_id: row.try_get(1)?,
            row_count: row.try_get(2)?,
            bytes: row.try_get(3)?,
        })
    }

    /// Returns its rows, the oldest first.
    pub(super) fn rows(&self) -> Result<Vec<Row<'a>>, StoreError> {
        let broken = |why| StoreError::Pack {
            last_id: self.last_id,
            why,
        };
        let (version, bytes) = self.bytes.split_first().ok_or_else(|| broken("it is empty"))?;
        if *version != VERSION {
            return Err(broken("it has the form of another release"));
        }
        let mut reading = Reading(bytes);
        let row_count = u32::try_from(self.row_count).map_err(|_| broken("it has no number of rows"))?;
        // A row has six bytes at least: no number in a broken file makes us take more memory than the file has.
        let room = (row_count as usize).min(bytes.len() / 6);
        let (mut rows, mut id) = (Vec::with_capacity(room), self.first_id);
        for _ in 0..row_count {
            let row = reading.row(id).ok_or_else(|| broken("a row of it is broken"))?;
            id = row.id;
            rows.push(row);
        }
        let ids = (rows.first().map(|row| row.id), rows.last().map(|row| row.id));
        if ids != (Some(self.first_id), Some(self.last_id)) || !reading.0.is_empty() {
            return Err(broken("it has other rows than it says"));
        }
        Ok(rows)
    }
}

/// What is left to be read.
struct Reading<'a>(&'a [u8]);

impl<'a> Reading<'a> {
    /// Reads a row behind the one with this id.
    fn row(&mut self, before: i64) -> Option<Row<'a>> {
        let head = self.take(1)?.first().copied()?;
        let has = |bit: u8| head & bit != 0;
        let id = before.wrapping_add(self.number()?.cast_signed());
        let (user, tool) = (self.name()?, self.name()?);
        let started_unix_ms = recorded_ms(id).wrapping_sub(unzigzag(self.number()?));
        let request_bytes = self.number()?;
        let duration_us = if has(DURATION) { Some(self.number()?) } else { None };
        let response_bytes = if has(RESPONSE) { Some(self.number()?) } else { None };
        let session = if has(SESSION) { Some(self.digest()?) } else { None };
        let request_id = if has(REQUEST_ID) { Some(self.text()?) } else { None };
        let error = if has(ERROR) { Some(self.text()?) } else { None };
        Some(Row {
            id,
            user,
            tool,
            status: Status::of_code(i64::from(head & 0b11)),
            started_unix_ms,
            duration_us,
            request_bytes,
            response_bytes,
            session,
            request_id,
            error,
        })
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn name(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    fn digest(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn text(&mut self) -> Option<Cow<'a, str>> {
        let bytes = usize::try_from(self.number()?).ok()?;
        std::str::from_utf8(self.take(bytes)?).ok().map(Cow::Borrowed)
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// When a row was recorded, by its id: shortly after its call began.
fn recorded_ms(id: i64) -> u64 {
    ExecutionId::from_bits(id).unix_ms()
}

/// A difference such that small ones of either sign are small numbers.
const fn zigzag(difference: u64) -> u64 {
    let signed = difference.cast_signed();
    ((signed << 1) ^ (signed >> 63)).cast_unsigned()
}

const fn unzigzag(number: u64) -> u64 {
    (number >> 1) ^ (number & 1).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_row() -> impl Strategy<Value = Row<'static>> {
        let text = || proptest::option::of(".{0,20}".prop_map(Cow::Owned));
        (
            (1..=i64::MAX >> 8, any::<u32>(), any::<u32>(), 0..4_i64),
            (
                any::<u64>(),
                any::<Option<u64>>(),
                any::<u64>(),
                any::<Option<u64>>(),
            ),
            (any::<Option<u64>>(), text(), text()),
        )
            .prop_map(
                |((id, user, tool, status), numbers, (session, request_id, error))| Row {
                    id,
                    user,
                    tool,
                    status: Status::of_code(status),
                    started_unix_ms: numbers.0,
                    duration_us: numbers.1,
                    request_bytes: numbers.2,
                    response_bytes: numbers.3,
                    session,
                    request_id,
                    error,
                },
            )
    }

    fn pack(rows: &[Row<'_>]) -> Pack {
        let mut pack = Pack::default();
        for row in rows {
            pack.add(row);
        }
        pack
    }

    impl Pack {
        fn packed(&self) -> Packed<'_> {
            let (first_id, last_id) = self.ids.unwrap();
            Packed {
                last_id,
                first_id,
                row_count: count(self.rows),
                bytes: &self.bytes,
            }
        }
    }

    proptest! {
        #[test]
        fn every_row_comes_back(mut rows in proptest::collection::vec(any_row(), 1..40)) {
            let mut id = 0;
            for row in &mut rows {
                id += row.id;
                row.id = id;
            }
            let pack = pack(&rows);
            prop_assert_eq!(pack.packed().rows().unwrap(), rows);
        }

        #[test]
        fn a_pack_that_is_cut_is_an_error(row in any_row(), other in any_row(), cut: proptest::sample::Index) {
            let other = Row { id: other.id + row.id, ..other };
            let pack = pack(&[row, other]);
            let whole = pack.packed();
            let cut = Packed { bytes: &whole.bytes[..cut.index(whole.bytes.len())], ..whole };
            let refused = matches!(cut.rows(), Err(StoreError::Pack { .. }));
            prop_assert!(refused);
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_read(
            mut bytes in proptest::collection::vec(any::<u8>(), 1..80),
            ids: (i64, i64),
            row_count: u32,
        ) {
            bytes[0] = VERSION;
            let packed = Packed { last_id: ids.0, first_id: ids.1, row_count: i64::from(row_count), bytes: &bytes };
            if let Ok(rows) = packed.rows() {
                prop_assert_eq!(rows.len(), row_count as usize);
            }
        }
    }

    #[test]
    fn a_usual_row_takes_twenty_one_bytes() {
        let rows: Vec<Row<'_>> = (0..100)
            .map(|number| Row {
                id: ExecutionId::first_of(1_795_000_000_000).bits() + number,
                user: 3,
                tool: 200,
                status: Status::Success,
                started_unix_ms: 1_795_000_000_000 - 200,
                duration_us: Some(1_500),
                request_bytes: 160,
                response_bytes: Some(400),
                session: Some(u64::MAX),
                request_id: None,
                error: None,
            })
            .collect();
        assert_eq!(pack(&rows).bytes.len(), 1 + 21 * rows.len());
    }

    #[test]
    fn another_form_and_other_rows_than_it_says_are_errors_that_name_the_pack() {
        let row = Row {
            id: 7,
            user: 1,
            tool: 1,
            status: Status::Success,
            started_unix_ms: 0,
            duration_us: None,
            request_bytes: 0,
            response_bytes: None,
            session: None,
            request_id: None,
            error: None,
        };
        let later = Row { id: 9, ..row.clone() };
        let pack = pack(&[row, later]);
        let whole = || pack.packed();
        let mut newer = pack.bytes.clone();
        newer[0] = VERSION + 1;
        let longer = [&pack.bytes[..], &[0]].concat();
        for (broken, why) in [
            (
                Packed {
                    bytes: &newer,
                    ..whole()
                },
                "form of another release",
            ),
            (
                Packed {
                    bytes: &longer,
                    ..whole()
                },
                "other rows",
            ),
            (
                Packed {
                    bytes: &[],
                    ..whole()
                },
                "empty",
            ),
            (
                Packed {
                    row_count: 1,
                    ..whole()
                },
                "other rows",
            ),
            (
                Packed {
                    row_count: i64::from(u32::MAX),
                    ..whole()
                },
                "broken",
            ),
            (
                Packed {
                    first_id: 8,
                    ..whole()
                },
                "other rows",
            ),
            (
                Packed {
                    last_id: 10,
                    ..whole()
                },
                "other rows",
            ),
        ] {
            let error = broken.rows().unwrap_err().to_string();
            let id = format!("last_id = {}", broken.last_id);
            assert!(error.contains(why) && error.contains(&id), "{error}");
        }
    }
}
