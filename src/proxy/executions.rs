//! The record of tool calls: each call leaves one, here and nowhere else. The call's task only moves what it has at hand
//! into a bounded queue; one task writes what is there together (`writer`). A call that is dropped leaves its record too.
//! With `audit = "required"` the record is written before the call is sent, and a call without one is not sent.

mod outcome;
mod queue;
mod redact;
mod writer;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};

use self::outcome::Outcome;
use self::queue::{Begun, Queue};
use self::writer::Writer;
use super::ProxyError;
use crate::catalog::route::Route;
use crate::clock;
use crate::config::{self, Audit};
use crate::exchange::{Answer, Call, Scope};
use crate::ids::ExecutionId;
use crate::limits::{EXECUTION_AUDIT_WAIT_MAX, EXECUTION_BATCH_ROWS};
use crate::store::executions::ExecutionLog;
use crate::store::{Store, StoreError};
use crate::supervisor::Supervisor;
use crate::telemetry::Metrics;

/// Who reads the record waits so long for what is on its way to it.
const SETTLE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Records calls. Clones share the queue.
#[derive(Clone, Default)]
pub struct Recorder(Option<Arc<Shared>>);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorder").field(&self.0.is_some()).finish()
    }
}

/// What calls and the writer share.
struct Shared {
    config: config::Executions,
    queue: Mutex<Queue>,
    /// The first record since the writer looked.
    wake: Notify,
    /// Somebody waits, or a whole batch is there.
    hurry: Notify,
    writer: tokio::sync::Mutex<Writer>,
    metrics: Arc<Metrics>,
}

impl Recorder {
    /// Records nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the record and starts the task that writes it. What a killed process left pending has failed then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn start(
        config: &config::Executions,
        store: &Store,
        metrics: &Arc<Metrics>,
        supervisor: &Supervisor,
    ) -> Result<Self, StoreError> {
        if !config.enabled {
            return Ok(Self::off());
        }
        let durable = config.audit == Audit::Required;
        let log = ExecutionLog::open(store, durable, clock::unix_ms()).await?;
        let shared = Arc::new(Shared {
            config: config.clone(),
            queue: Mutex::default(),
            wake: Notify::new(),
            hurry: Notify::new(),
            writer: tokio::sync::Mutex::new(Writer::new(log, config, metrics)),
            metrics: metrics.clone(),
        });
        let work = writer::run(shared.clone(), supervisor.stopping());
        supervisor.spawn_until_done("execution writer", work);
        Ok(Self(Some(shared)))
    }

    /// Tells whether a record holds the result itself.
    pub(super) fn keeps_results(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.config.results)
    }

    /// Takes note of a call that is about to be sent to a tool.
    ///
    /// # Errors
    /// [`ProxyError::NotRecorded`] when the record is required and could not be written: the call must not be sent.
    pub(super) async fn begin(&self, call: &Call, route: &Arc<Route>) -> Result<Recording, ProxyError> {
        let Some(shared) = &self.0 else {
            return Ok(Recording(None));
        };
        let begun = shared.begun(call, route);
        match shared.config.audit {
            Audit::BestEffort => Ok(shared.enter(begun)),
            Audit::Required => shared.enter_written(begun).await,
        }
    }

    /// Waits until what was recorded so far can be read, or a second.
    pub async fn settled(&self) {
        let Some(shared) = &self.0 else { return };
        let Some(written) = shared.queue().when_written() else {
            return;
        };
        shared.hurry.notify_one();
        let _ = tokio::time::timeout(SETTLE_WAIT_MAX, written).await;
    }

    /// Waits for the id of a call that has ended, or a second; `None`: it has no record.
    pub(super) async fn told(&self, told: oneshot::Receiver<ExecutionId>) -> Option<ExecutionId> {
        self.0.as_ref()?.hurry.notify_one();
        tokio::time::timeout(SETTLE_WAIT_MAX, told).await.ok()?.ok()
    }

    /// Writes what is left, once no call runs any more.
    pub async fn finish(&self) {
        let Some(shared) = &self.0 else { return };
        let last = async { shared.writer.lock().await.flush(shared).await };
        if tokio::time::timeout(EXECUTION_AUDIT_WAIT_MAX, last)
            .await
            .is_err()
        {
            tracing::warn!("the last records of calls could not be written in time");
        }
    }
}

/// A call that is being recorded. Dropped without an end, it was cancelled.
pub(super) struct Recording(Option<Live>);

struct Live {
    shared: Arc<Shared>,
    slot: usize,
}

impl Recording {
    /// Has the id of the record told once the call has ended and it is written.
    pub(super) fn tell(&self, tell: oneshot::Sender<ExecutionId>) {
        if let Some(live) = &self.0 {
            live.shared.queue().tell(live.slot, tell);
        }
    }

    /// The call ended so.
    pub(super) fn end(mut self, outcome: &Result<Answer, ProxyError>) {
        if let Some(live) = self.0.take() {
            let outcome = Outcome::of(outcome, live.shared.config.results);
            live.shared.leave(live.slot, outcome);
        }
    }

    /// The call was not sent, for want of its record.
    fn refused(mut self, written: bool) -> ProxyError {
        if let Some(live) = self.0.take() {
            live.shared.metrics.execution_refused();
            live.shared.queue().withdraw(live.slot, written);
        }
        ProxyError::NotRecorded
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(live) = self.0.take() {
            live.shared.leave(live.slot, Outcome::cancelled());
        }
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begun(&self, call: &Call, route: &Arc<Route>) -> Begun {
        let params = call.request.params.as_ref().filter(|_| self.config.arguments);
        Begun {
            user: call.client.principal.user().clone(),
            route: Arc::clone(route),
            session: match &call.client.scope {
                Scope::Session(id) => Some(id.clone()),
                Scope::Stateless => None,
            },
            request_id: call.request_id.clone(),
            started: clock::now(),
            request_bytes: call.request.raw.len(),
            arguments: params
                .and_then(|params| params.get("arguments"))
                .map(|arguments| arguments.as_bytes().clone()),
        }
    }

    fn enter(self: &Arc<Self>, begun: Begun) -> Recording {
        let slot = self.queue().enter(begun, None);
        if slot.is_none() {
            self.metrics.executions_dropped(1);
        }
        Recording(slot.map(|slot| Live {
            shared: Arc::clone(self),
            slot,
        }))
    }

    /// Enters a call and waits until its record is written.
    async fn enter_written(self: &Arc<Self>, begun: Begun) -> Result<Recording, ProxyError> {
        let (tell, written) = oneshot::channel();
        let slot = self.queue().enter(begun, Some(tell));
        let Some(slot) = slot else {
            self.metrics.execution_refused();
            return Err(ProxyError::NotRecorded);
        };
        // From here on the record is there, whatever becomes of this future.
        let recording = Recording(Some(Live {
            shared: Arc::clone(self),
            slot,
        }));
        self.hurry.notify_one();
        match tokio::time::timeout(EXECUTION_AUDIT_WAIT_MAX, written).await {
            Ok(Ok(true)) => Ok(recording),
            Ok(Ok(false) | Err(_)) => Err(recording.refused(false)),
            Err(_) => Err(recording.refused(true)),
        }
    }

    fn leave(&self, slot: usize, outcome: Outcome) {
        let over = self.queue().leave(slot, outcome, clock::now());
        if over == 1 {
            self.wake.notify_one();
        } else if over == EXECUTION_BATCH_ROWS {
            self.hurry.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
