//! The closed loop: so many clients, each sending its next request when it has its answer; a while to warm up, then
//! the time that counts. Bounded in time and in calls.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

use crate::caller::{Caller, Talk};
use crate::process::{Process, machine_busy_us, own_cpu_us};

/// How long any answer may take beyond what is measured.
const PATIENCE: Duration = Duration::from_secs(15);

/// Calls of each client before the warm-up counts as begun.
const FIRST_CALLS: u32 = 2;

/// What is measured, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) clients: usize,
    pub(crate) warm: Duration,
    pub(crate) time: Duration,
    /// Calls of all clients together after which it is over.
    pub(crate) calls_max: u64,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) calls: u64,
    pub(crate) calls_per_s: f64,
    /// The proxy's user and system time.
    pub(crate) cpu_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// How long events of paced streams were under way.
    pub(crate) delay_p50_us: f64,
    pub(crate) delay_p99_us: f64,
    /// Share of one core that programs beside the bench took meanwhile.
    pub(crate) foreign: f64,
}

/// What the clients of one measurement share.
struct Shared {
    over: Cell<bool>,
    counts: Cell<bool>,
    /// Clients that have made their first calls: what those set up is not measured.
    warm: Cell<usize>,
    calls: Cell<u64>,
    left: Cell<u64>,
    took_ns: RefCell<Vec<u32>>,
}

/// Runs clients against `proxy`; `ours` are the other programs of the bench, whose time is not foreign.
pub(crate) async fn measure(
    talk: &Talk,
    window: Window,
    proxy: Option<&Process>,
    ours: &[&Process],
) -> Result<Sample, String> {
    let bound = PATIENCE * 3 + window.warm + window.time;
    let run = LocalSet::new();
    let work = run.run_until(measured(talk, window, proxy, ours));
    timeout(bound, work)
        .await
        .unwrap_or_else(|_| Err(format!("not done after {bound:?}")))
}

async fn measured(
    talk: &Talk,
    window: Window,
    proxy: Option<&Process>,
    ours: &[&Process],
) -> Result<Sample, String> {
    let mut callers = Vec::new();
    for index in 0..window.clients {
        callers.push(talk.connect(index).await?);
    }
    let shared = Rc::new(Shared {
        over: Cell::new(false),
        counts: Cell::new(false),
        warm: Cell::new(0),
        calls: Cell::new(0),
        left: Cell::new(window.calls_max),
        took_ns: RefCell::new(Vec::with_capacity(1 << 16)),
    });
    let mut clients = JoinSet::new();
    for caller in callers {
        clients.spawn_local(client(caller, Rc::clone(&shared)));
    }
    while shared.warm.get() < window.clients && !shared.over.get() {
        sleep(Duration::from_millis(20)).await;
    }
    sleep(window.warm).await;
    let before = Reading::now(proxy, ours, &shared);
    shared.counts.set(true);
    let deadline = Instant::now() + window.time;
    // Looks in between, to be done early when every call was made or a client gave up, and late when hardly any was.
    let enough = || shared.took_ns.borrow().len() >= window.clients;
    let goes_on = |now: Instant| now < deadline || (now < deadline + PATIENCE && !enough());
    while goes_on(Instant::now()) && shared.left.get() > 0 && !shared.over.get() {
        let rest = deadline.saturating_duration_since(Instant::now());
        sleep(rest.clamp(Duration::from_millis(1), Duration::from_millis(50))).await;
    }
    let after = Reading::now(proxy, ours, &shared);
    shared.counts.set(false);
    shared.over.set(true);
    let mut delays = Vec::new();
    let mut callers = Vec::new();
    while let Some(done) = clients.join_next().await {
        let mut caller = done.map_err(|error| error.to_string())??;
        delays.append(&mut caller.delays);
        callers.push(caller);
    }
    for caller in callers {
        caller.leave().await?;
    }
    sample(&before, &after, &mut shared.took_ns.borrow_mut(), &mut delays)
}

async fn client(mut caller: Caller, shared: Rc<Shared>) -> Result<Caller, String> {
    let mut calls = 0;
    while !shared.over.get() && shared.left.get() > 0 {
        if calls == FIRST_CALLS {
            shared.warm.set(shared.warm.get() + 1);
        }
        calls += 1;
        match caller.once().await {
            Ok(took) => {
                shared.calls.set(shared.calls.get() + 1);
                if shared.counts.get() {
                    shared.left.set(shared.left.get().saturating_sub(1));
                    let ns = u32::try_from(took.as_nanos()).unwrap_or(u32::MAX);
                    shared.took_ns.borrow_mut().push(ns);
                }
            }
            Err(error) => {
                shared.over.set(true);
                return Err(error);
            }
        }
    }
    Ok(caller)
}

struct Reading {
    at: Instant,
    calls: u64,
    cpu_us: f64,
    ours_us: f64,
    machine_us: f64,
}

impl Reading {
    fn now(proxy: Option<&Process>, ours: &[&Process], shared: &Shared) -> Self {
        let cpu_us = proxy.map_or(0.0, Process::cpu_us);
        let others: f64 = ours.iter().map(|process| process.cpu_us()).sum();
        Self {
            at: Instant::now(),
            calls: shared.calls.get(),
            cpu_us,
            ours_us: cpu_us + others + own_cpu_us(),
            machine_us: machine_busy_us(),
        }
    }
}

fn sample(
    before: &Reading,
    after: &Reading,
    took_ns: &mut [u32],
    delays: &mut [u32],
) -> Result<Sample, String> {
    let calls = after.calls - before.calls;
    if calls == 0 {
        return Err("not one call was answered in time".to_owned());
    }
    let seconds = (after.at - before.at).as_secs_f64();
    let foreign_us = (after.machine_us - before.machine_us) - (after.ours_us - before.ours_us);
    Ok(Sample {
        calls,
        calls_per_s: calls as f64 / seconds,
        cpu_us: (after.cpu_us - before.cpu_us) / calls as f64,
        p50_us: percentile(took_ns, 0.50),
        p99_us: percentile(took_ns, 0.99),
        delay_p50_us: percentile(delays, 0.50),
        delay_p99_us: percentile(delays, 0.99),
        foreign: (foreign_us / seconds / 1e6).max(0.0),
    })
}

/// Returns a percentile of nanoseconds in µs; 0 of nothing.
fn percentile(values: &mut [u32], share: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let at = ((values.len() - 1) as f64 * share).round() as usize;
    let (_, value, _) = values.select_nth_unstable(at);
    f64::from(*value) / 1e3
}

/// Returns the median.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        length if length % 2 == 1 => values[length / 2],
        length => f64::midpoint(values[length / 2 - 1], values[length / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_medians_are_those_of_the_book() {
        let mut values: Vec<u32> = (1..=100).rev().map(|value| value * 1_000).collect();
        assert!((percentile(&mut values, 0.5) - 51.0).abs() < 1.1);
        assert!((percentile(&mut values, 0.99) - 99.0).abs() < 1.1);
        assert!((median([3.0, 1.0, 2.0].into_iter()) - 2.0).abs() < f64::EPSILON);
        assert!((median([4.0, 1.0, 2.0, 3.0].into_iter()) - 2.5).abs() < f64::EPSILON);
    }
}
