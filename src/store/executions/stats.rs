//! Sums of recorded calls by tool, gateway and day. They are made of the newest rows of the wanted time, up to a bound:
//! so they agree with the list, hold for one user as for all, go with what retention deletes, and cost a call nothing.
//! Latencies are exact.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::StoreError;
use super::search::{Numbers, Ranges, Wanted};
use super::{Executions, Status, count};
use crate::ids::GatewayId;
use crate::limits::EXECUTION_STATS_ROWS_MAX;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Of all calls.
    pub total: Tally,
    /// Of each tool.
    pub tools: Vec<Group<(GatewayId, Arc<str>)>>,
    /// Of each gateway.
    pub gateways: Vec<Group<GatewayId>>,
    /// Of each day, in days since 1970-01-01 (UTC), the first one first.
    pub days: Vec<Group<u64>>,
    /// False when there were more calls than are looked at: the older ones are left out.
    pub complete: bool,
    /// When the oldest call began that counts.
    pub oldest_unix_ms: Option<u64>,
}

/// Sums of the calls that have something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group<K> {
    /// What that is.
    pub key: K,
    /// The sums.
    pub tally: Tally,
}

/// Sums of some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were, those that are running included.
    pub calls: u64,
    /// How many failed.
    pub failures: u64,
    /// Half of those that ended took at most so long, in microseconds.
    pub p50_us: Option<u64>,
    /// 95 of 100 did.
    pub p95_us: Option<u64>,
    /// 99 of 100 did.
    pub p99_us: Option<u64>,
}

/// What a tally is made of.
#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    failures: u64,
    durations_us: Vec<u64>,
}

impl Counts {
    fn add(&mut self, status: Status, duration_us: Option<u64>) {
        self.calls += 1;
        self.failures += u64::from(status == Status::Failed);
        self.durations_us.extend(duration_us);
    }

    fn add_all(&mut self, other: &Self) {
        self.calls += other.calls;
        self.failures += other.failures;
        self.durations_us.extend_from_slice(&other.durations_us);
    }

    fn tally(mut self) -> Tally {
        self.durations_us.sort_unstable();
        let at = |percent: usize| {
            let rank = (self.durations_us.len() * percent).div_ceil(100);
            self.durations_us.get(rank.saturating_sub(1)).copied()
        };
        Tally {
            calls: self.calls,
            failures: self.failures,
            p50_us: at(50),
            p95_us: at(95),
            p99_us: at(99),
        }
    }
}

impl Executions {
    /// Returns the sums of the calls that are wanted.
    pub async fn stats(&self, wanted: &Wanted) -> Result<Stats, StoreError> {
        self.stats_of(wanted, EXECUTION_STATS_ROWS_MAX).await
    }

    pub(super) async fn stats_of(&self, wanted: &Wanted, rows_max: usize) -> Result<Stats, StoreError> {
        let mut reading = self.0.reader().begin().await?;
        let Some(numbers) = Numbers::of(&mut reading, wanted).await? else {
            return Ok(Gathered::new(rows_max).summed(&[]));
        };
        let mut gathered = Gathered::new(rows_max);
        let mut ranges = Ranges::new(wanted, None);
        while let Some(range) = ranges.next(&mut reading, &numbers).await? {
            let rows = sqlx::query(
                "SELECT tool, started_unix_ms, status, duration_us FROM executions WHERE id BETWEEN ?1 AND ?2 \
                 AND (?3 IS NULL OR user = ?3) AND started_unix_ms BETWEEN ?4 AND ?5 \
                 AND (?6 IS NULL OR status IN (?6, ?7)) \
                 AND (?8 IS NULL OR tool IN (SELECT value FROM json_each(?8))) ORDER BY id DESC LIMIT ?9",
            )
            .bind(*range.ids.start())
            .bind(*range.ids.end())
            .bind(numbers.user)
            .bind(wanted.from().cast_signed())
            .bind(wanted.until().cast_signed())
            .bind(wanted.status.map(Status::code))
            .bind((wanted.status == Some(Status::Success)).then(|| Status::Asked.code()))
            .bind(numbers.tools_json())
            .bind(count(gathered.room + 1))
            .fetch_all(&mut *reading)
            .await?;
            if !gathered.add(&rows)? {
                break;
            }
        }
        let names =
            sqlx::query_as("SELECT number, gateway, tool FROM execution_tools ORDER BY gateway, tool")
                .fetch_all(&mut *reading)
                .await?;
        Ok(gathered.summed(&names))
    }
}

/// Rows, counted by tool and by day.
struct Gathered {
    by_tool: HashMap<u32, Counts>,
    by_day: BTreeMap<u64, Counts>,
    oldest_unix_ms: Option<u64>,
    room: usize,
    complete: bool,
}

impl Gathered {
    fn new(rows_max: usize) -> Self {
        Self {
            by_tool: HashMap::new(),
            by_day: BTreeMap::new(),
            oldest_unix_ms: None,
            room: rows_max,
            complete: true,
        }
    }

    /// Counts rows; false when there are more than may be counted.
    fn add(&mut self, rows: &[SqliteRow]) -> Result<bool, StoreError> {
        for row in rows {
            let (tool, started): (u32, i64) = (row.try_get(0)?, row.try_get(1)?);
            let (code, duration): (i64, Option<i64>) = (row.try_get(2)?, row.try_get(3)?);
            let (started, duration) = (started.cast_unsigned(), duration.map(i64::cast_unsigned));
            let Some(room) = self.room.checked_sub(1) else {
                self.complete = false;
                return Ok(false);
            };
            self.room = room;
            let status = Status::of_code(code);
            self.by_tool.entry(tool).or_default().add(status, duration);
            self.by_day
                .entry(started / DAY_MS)
                .or_default()
                .add(status, duration);
            let oldest = self.oldest_unix_ms.get_or_insert(started);
            *oldest = started.min(*oldest);
        }
        Ok(true)
    }

    fn summed(mut self, names: &[(u32, String, String)]) -> Stats {
        let (mut total, mut by_gateway) = (Counts::default(), BTreeMap::<GatewayId, Counts>::new());
        let mut tools = Vec::new();
        for (number, gateway, tool) in names {
            let Some(counts) = self.by_tool.remove(number) else {
                continue;
            };
            let gateway = GatewayId::new(gateway);
            total.add_all(&counts);
            by_gateway.entry(gateway.clone()).or_default().add_all(&counts);
            tools.push(Group {
                key: (gateway, Arc::from(tool.as_str())),
                tally: counts.tally(),
            });
        }
        Stats {
            total: total.tally(),
            tools,
            gateways: groups(by_gateway),
            days: groups(self.by_day),
            complete: self.complete,
            oldest_unix_ms: self.oldest_unix_ms,
        }
    }
}

fn groups<K>(counts: BTreeMap<K, Counts>) -> Vec<Group<K>> {
    let groups = counts.into_iter().map(|(key, counts)| Group {
        key,
        tally: counts.tally(),
    });
    groups.collect()
}
