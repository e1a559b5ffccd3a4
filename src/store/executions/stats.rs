//! Sums of recorded calls by tool, gateway and day. They are made of the newest rows of the wanted time, up to a bound:
//! so they agree with the list, hold for one user as for all, go with what retention deletes, and cost a call nothing.
//! Latencies are exact.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::StoreError;
use super::row::Row;
use super::scan::Sought;
use super::search::{Ranges, Wanted};
use super::{Executions, Status};
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
    /// False when there were more calls than are looked at, of which the older ones are left out, or calls whose record
    /// cannot be read.
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
        let Some(sought) = Sought::of(&mut reading, wanted).await? else {
            return Ok(Gathered::new(rows_max).summed(&[]));
        };
        let mut gathered = Gathered::new(rows_max);
        let mut ranges = Ranges::new(wanted, None);
        let mut whole = true;
        while gathered.complete
            && let Some(range) = ranges.next(&mut reading, &sought).await?
        {
            let most = gathered.room + 1;
            let visited = sought.visit(&mut reading, &range.ids, most, |row| gathered.add(&row));
            whole &= visited.await?;
        }
        gathered.complete &= whole;
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

    /// Counts a row, if there is room for it.
    fn add(&mut self, row: &Row<'_>) {
        let Some(room) = self.room.checked_sub(1) else {
            self.complete = false;
            return;
        };
        self.room = room;
        let (started, duration_us) = (row.started_unix_ms, row.duration_us);
        self.by_tool
            .entry(row.tool)
            .or_default()
            .add(row.status, duration_us);
        self.by_day
            .entry(started / DAY_MS)
            .or_default()
            .add(row.status, duration_us);
        let oldest = self.oldest_unix_ms.get_or_insert(started);
        *oldest = started.min(*oldest);
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
