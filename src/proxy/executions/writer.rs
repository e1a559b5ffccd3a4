//! The task that writes the record: what came together goes into one transaction, soon after the first of it, at once
//! when somebody waits. What cannot be written is tried again; where the record is not required it is given up in the
//! end, and counted. Deletes what is too old or too much.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::queue::{Begun, Over, Pending};
use super::{Shared, redact};
use crate::clock::{self, Instant};
use crate::config::{self, Audit};
use crate::ids::{ExecutionId, SessionId};
use crate::limits::{
    EXECUTION_BATCH_ROWS, EXECUTION_FLUSH_WAIT, EXECUTION_PENDING_AFTER, EXECUTION_SWEEP_INTERVAL,
    EXECUTION_WRITE_TRIES_MAX, SESSION_DIGESTS_MAX,
};
use crate::store::executions::{Execution, ExecutionLog, Status, Texts};
use crate::telemetry::Metrics;

/// After a failure the store is left alone for this long.
const RETRY_WAIT: Duration = Duration::from_secs(1);

/// Writes until the house stops; what calls leave after that, [`super::Recorder::finish`] writes.
pub(super) async fn run(shared: Arc<Shared>, stopping: CancellationToken) {
    let mut tick = tokio::time::interval(EXECUTION_PENDING_AFTER);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            () = shared.hurry.notified() => {}
            _ = tick.tick() => {}
            () = shared.wake.notified() => tokio::select! {
                () = stopping.cancelled() => return,
                () = shared.hurry.notified() => {}
                () = tokio::time::sleep(EXECUTION_FLUSH_WAIT) => {}
            },
        }
        let mut writer = shared.writer.lock().await;
        writer.flush(&shared).await;
        writer.sweep().await;
    }
}

/// What the task works with.
pub(super) struct Writer {
    log: ExecutionLog,
    config: config::Executions,
    metrics: Arc<Metrics>,
    /// Rows that are being written, or could not be.
    left: Rows,
    /// What the queue has next for calls that ended.
    empty: Vec<Over>,
    failed: Option<Failed>,
    swept: Instant,
    /// The digests of the sessions that were written about lately.
    digests: Digests,
}

/// Keyed, and fast: every call asks.
type Digests = HashMap<SessionId, u64, foldhash::fast::RandomState>;

#[derive(Default)]
struct Rows {
    new: Vec<Execution>,
    ended: Vec<Execution>,
}

impl Rows {
    fn clear(&mut self) {
        self.new = emptied(std::mem::take(&mut self.new));
        self.ended = emptied(std::mem::take(&mut self.ended));
    }
}

/// Empties a list and keeps its memory, unless it is more than a usual batch takes.
fn emptied<T>(mut list: Vec<T>) -> Vec<T> {
    if list.capacity() > 2 * EXECUTION_BATCH_ROWS {
        return Vec::new();
    }
    list.clear();
    list
}

struct Failed {
    at: Instant,
    times: u32,
}

impl Writer {
    pub(super) fn new(log: ExecutionLog, config: &config::Executions, metrics: &Arc<Metrics>) -> Self {
        Self {
            log,
            config: config.clone(),
            metrics: metrics.clone(),
            left: Rows::default(),
            empty: Vec::new(),
            failed: None,
            swept: clock::now(),
            digests: Digests::default(),
        }
    }

    /// Writes everything that is there.
    pub(super) async fn flush(&mut self, shared: &Shared) {
        let now = clock::now();
        if let Some(failed) = &self.failed
            && now.saturating_duration_since(failed.at) < RETRY_WAIT
        {
            return;
        }
        if self.digests.len() > SESSION_DIGESTS_MAX {
            self.digests.clear();
        }
        let mut clocks = Clocks {
            now,
            unix_ms: clock::unix_ms(),
            digests: &mut self.digests,
        };
        let log = &mut self.log;
        let empty = std::mem::take(&mut self.empty);
        let mut taken = shared.queue().take(now, empty, || log.next_id(clocks.unix_ms));
        let (mut waiting, mut telling) = (Vec::new(), Vec::new());
        for Pending { begun, row, waits } in taken.pending {
            self.left.new.push(clocks.execution(row, begun, None));
            waiting.extend(waits.map(|waits| (row, waits)));
        }
        for mut over in taken.over.drain(..) {
            let (to, row) = match over.row {
                Some(row) => (&mut self.left.ended, row),
                None => (&mut self.left.new, self.log.next_id(clocks.unix_ms)),
            };
            telling.extend(over.tell.take().map(|tell| (row, tell)));
            to.push(clocks.ended(row, over));
        }
        self.empty = emptied(taken.over);
        let done = self.write(&waiting).await;
        shared.queue().settled(done);
        let written = self.failed.is_none();
        for (_, waits) in waiting {
            let _ = waits.send(written);
        }
        for (row, tell) in telling.into_iter().filter(|_| written) {
            let _ = tell.send(row);
        }
        for reader in taken.readers {
            let _ = reader.send(());
        }
    }

    /// Returns how many rows are done with.
    async fn write(&mut self, waiting: &[(ExecutionId, oneshot::Sender<bool>)]) -> usize {
        let rows = self.left.new.len() + self.left.ended.len();
        if rows == 0 {
            return 0;
        }
        let Err(error) = self.log.write(&self.left.new, &self.left.ended).await else {
            if self.failed.take().is_some() {
                tracing::info!(rows, "records of calls are written again");
            }
            self.metrics.executions_written(self.left.new.len());
            self.left.clear();
            return rows;
        };
        let times = self.failed.as_ref().map_or(0, |failed| failed.times) + 1;
        if times == 1 {
            tracing::warn!(%error, cause = ?error, rows, "records of calls cannot be written; trying again");
        }
        self.failed = Some(Failed {
            at: clock::now(),
            times,
        });
        if self.config.audit == Audit::BestEffort && times.is_multiple_of(EXECUTION_WRITE_TRIES_MAX) {
            tracing::warn!(%error, rows, "records of calls were dropped");
            self.metrics.executions_dropped(self.left.new.len());
            self.left.clear();
            return rows;
        }
        // Calls that are refused for want of their record were not sent: nothing is to be told of them.
        let refused = |row: &Execution| waiting.iter().any(|(id, _)| *id == row.id);
        let before = self.left.new.len();
        self.left.new.retain(|row| !refused(row));
        before - self.left.new.len()
    }

    /// Deletes what is too old or too much, a piece at a time, so that calls do not wait.
    async fn sweep(&mut self) {
        let now = clock::now();
        if now.saturating_duration_since(self.swept) < EXECUTION_SWEEP_INTERVAL || self.failed.is_some() {
            return;
        }
        let age_max_ms = self.config.age_max.as_millis() as u64;
        let before = clock::unix_ms().saturating_sub(age_max_ms);
        match self.log.sweep(before, self.config.bytes_max).await {
            Ok(true) => {}
            Ok(false) => self.swept = now,
            Err(error) => {
                self.swept = now;
                tracing::warn!(%error, cause = ?error, "old records of calls could not be deleted");
            }
        }
    }
}

/// The same moment on both clocks: durations come from one, times of day from the other.
struct Clocks<'a> {
    now: Instant,
    unix_ms: u64,
    digests: &'a mut Digests,
}

impl Clocks<'_> {
    fn digest(&mut self, session: &SessionId) -> u64 {
        if let Some(known) = self.digests.get(session) {
            return *known;
        }
        let made = digest(session);
        self.digests.insert(session.clone(), made);
        made
    }

    fn execution(&mut self, id: ExecutionId, begun: Begun, texts: Option<Texts>) -> Execution {
        let ago = self.now.saturating_duration_since(begun.started);
        let arguments = begun.arguments.as_ref().and_then(redact::kept);
        let texts = texts.or_else(|| begun.arguments.is_some().then(Texts::default));
        Execution {
            id,
            user: begun.user,
            gateway: begun.route.gateway.clone(),
            tool: begun.route.exposed.clone(),
            status: Status::Pending,
            error: None,
            started_unix_ms: self.unix_ms.saturating_sub(ago.as_millis() as u64),
            duration_us: None,
            request_bytes: begun.request_bytes as u64,
            response_bytes: None,
            session: begun.session.as_ref().map(|session| self.digest(session)),
            request_id: begun.request_id,
            texts: texts.map(|texts| Texts { arguments, ..texts }),
        }
    }

    fn ended(&mut self, id: ExecutionId, over: Over) -> Execution {
        let took = over.ended.saturating_duration_since(over.begun.started);
        let result = over.outcome.result.as_ref().map(|result| Texts {
            result: redact::kept(result),
            arguments: None,
        });
        Execution {
            status: over.outcome.status,
            error: over.outcome.error,
            duration_us: Some(took.as_micros() as u64),
            response_bytes: over.outcome.response_bytes.map(|bytes| bytes as u64),
            ..self.execution(id, over.begun, result)
        }
    }
}

/// Enough to tell sessions apart, and nothing to do anything with: what spans say of them too.
fn digest(session: &SessionId) -> u64 {
    let hash: [u8; 32] = Sha256::digest(session.as_str()).into();
    u64::from_be_bytes(hash.first_chunk().copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{GatewayId, UserId};
    use crate::store::Store;
    use crate::store::executions::Wanted;

    #[tokio::test]
    async fn what_is_too_old_is_deleted_once_in_a_while() {
        let store = Store::in_memory().await.unwrap();
        let config = config::Executions {
            age_max: Duration::from_hours(1),
            ..config::Executions::default()
        };
        let log = ExecutionLog::open(&store, false, 0).await.unwrap();
        let mut writer = Writer::new(log, &config, &Arc::new(Metrics::new()));
        let now_ms = clock::unix_ms();
        for unix_ms in [now_ms - 2 * 3_600_000, now_ms] {
            let row = Execution {
                id: writer.log.next_id(unix_ms),
                user: UserId::new("alice"),
                gateway: GatewayId::new("g"),
                tool: "echo".into(),
                status: Status::Success,
                error: None,
                started_unix_ms: unix_ms,
                duration_us: Some(1),
                request_bytes: 1,
                response_bytes: Some(1),
                session: None,
                request_id: None,
                texts: None,
            };
            writer.log.write(&[row], &[]).await.unwrap();
        }
        let kept = async || {
            let found = store.executions().search(&Wanted::default(), None, 9).await;
            found.unwrap().items.len()
        };
        writer.sweep().await;
        assert_eq!(kept().await, 2, "not yet");
        writer.swept = clock::now().checked_sub(EXECUTION_SWEEP_INTERVAL).unwrap();
        writer.sweep().await;
        assert_eq!(kept().await, 1);
        writer.sweep().await;
        let since = clock::now().saturating_duration_since(writer.swept);
        assert!(
            since < EXECUTION_SWEEP_INTERVAL,
            "there is nothing more to delete"
        );
    }
}
