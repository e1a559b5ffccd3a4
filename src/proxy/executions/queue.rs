//! Calls that run and calls that ended, on their way into the record. Plain values under one lock that is held for as
//! long as it takes to move one. Bounded by [`EXECUTIONS_QUEUED_MAX`], what the writer has taken and not written included.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::outcome::Outcome;
use crate::catalog::route::Route;
use crate::clock::Instant;
use crate::ids::{ExecutionId, RequestId, SessionId, UserId};
use crate::limits::{EXECUTION_PENDING_AFTER, EXECUTIONS_QUEUED_MAX, EXECUTIONS_QUEUED_TEXT_BYTES_MAX};

/// What is known of a call when it begins.
#[derive(Clone)]
pub(super) struct Begun {
    pub(super) user: UserId,
    pub(super) route: Arc<Route>,
    pub(super) session: Option<SessionId>,
    pub(super) request_id: Option<RequestId>,
    pub(super) started: Instant,
    pub(super) request_bytes: usize,
    /// Where arguments are kept. Holds the client's whole message.
    pub(super) arguments: Option<Bytes>,
}

/// A call that runs.
struct Running {
    begun: Begun,
    /// Its row, once it has one.
    row: Option<ExecutionId>,
    /// Waits for the row.
    waits: Option<oneshot::Sender<bool>>,
    /// Wants to know the row's id once the call has ended.
    tell: Option<oneshot::Sender<ExecutionId>>,
}

/// A call that ended.
pub(super) struct Over {
    pub(super) begun: Begun,
    /// Its row, if it has one already.
    pub(super) row: Option<ExecutionId>,
    pub(super) ended: Instant,
    pub(super) outcome: Outcome,
    /// Wants to know the row's id once it is written.
    pub(super) tell: Option<oneshot::Sender<ExecutionId>>,
    text_bytes: usize,
}

/// A call that runs and is to be shown as pending.
pub(super) struct Pending {
    pub(super) begun: Begun,
    pub(super) row: ExecutionId,
    pub(super) waits: Option<oneshot::Sender<bool>>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Queue {
    running: Vec<Option<Running>>,
    free: Vec<usize>,
    over: Vec<Over>,
    /// Rows that the writer has taken and not written.
    taken: usize,
    text_bytes: usize,
    readers: Vec<oneshot::Sender<()>>,
}

/// What the writer takes at a time.
#[derive(Default)]
pub(super) struct Taken {
    pub(super) over: Vec<Over>,
    pub(super) pending: Vec<Pending>,
    /// Wait until this is written.
    pub(super) readers: Vec<oneshot::Sender<()>>,
}

impl Queue {
    /// Takes a call in; `None` when there is no room. Whoever waits is told whether its row was written.
    pub(super) fn enter(&mut self, begun: Begun, waits: Option<oneshot::Sender<bool>>) -> Option<usize> {
        let running = self.running.len() - self.free.len();
        if running + self.over.len() + self.taken >= EXECUTIONS_QUEUED_MAX {
            return None;
        }
        let running = Some(Running {
            begun,
            row: None,
            waits,
            tell: None,
        });
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.running.get_mut(slot)
        {
            *place = running;
            return Some(slot);
        }
        self.running.push(running);
        Some(self.running.len() - 1)
    }

    /// Has the id of a call's row told once it ended and its row is written.
    pub(super) fn tell(&mut self, slot: usize, tell: oneshot::Sender<ExecutionId>) {
        if let Some(Some(running)) = self.running.get_mut(slot) {
            running.tell = Some(tell);
        }
    }

    /// Ends a call. Returns how many wait for the writer.
    pub(super) fn leave(&mut self, slot: usize, mut outcome: Outcome, ended: Instant) -> usize {
        let Some(mut running) = self.remove(slot) else {
            return 0;
        };
        let mut text_bytes = held_bytes(&running.begun, &outcome);
        if self.text_bytes + text_bytes > EXECUTIONS_QUEUED_TEXT_BYTES_MAX {
            (running.begun.arguments, outcome.result, text_bytes) = (None, None, 0);
        }
        self.text_bytes += text_bytes;
        self.over.push(Over {
            begun: running.begun,
            row: running.row,
            ended,
            outcome,
            tell: running.tell,
            text_bytes,
        });
        self.over.len()
    }

    /// Takes a call back that is not sent. It leaves a row only if one may be written already.
    pub(super) fn withdraw(&mut self, slot: usize, written: bool) {
        let has_row = self
            .running
            .get(slot)
            .and_then(Option::as_ref)
            .is_some_and(|running| running.row.is_some());
        if written && has_row {
            let ended = crate::clock::now();
            self.leave(slot, Outcome::not_sent(), ended);
        } else {
            self.remove(slot);
        }
    }

    /// Takes everything that is to be written now: calls that ended, and those that wait for their row or have run for
    /// a while. Leaves an empty list in exchange, whose memory is used again.
    pub(super) fn take(
        &mut self,
        now: Instant,
        empty: Vec<Over>,
        mut next_id: impl FnMut() -> ExecutionId,
    ) -> Taken {
        let mut taken = Taken {
            over: std::mem::replace(&mut self.over, empty),
            readers: std::mem::take(&mut self.readers),
            pending: Vec::new(),
        };
        for running in self.running.iter_mut().flatten() {
            let long = now.saturating_duration_since(running.begun.started) >= EXECUTION_PENDING_AFTER;
            if running.row.is_some() || !(long || running.waits.is_some()) {
                continue;
            }
            let row = next_id();
            running.row = Some(row);
            taken.pending.push(Pending {
                begun: running.begun.clone(),
                row,
                waits: running.waits.take(),
            });
        }
        self.taken += taken.over.len() + taken.pending.len();
        self.text_bytes -= taken.over.iter().map(|over| over.text_bytes).sum::<usize>();
        taken
    }

    /// So many rows that were taken are written, or given up.
    pub(super) fn settled(&mut self, rows: usize) {
        self.taken = self.taken.saturating_sub(rows);
    }

    /// Returns what tells when everything so far is written; `None` when it is.
    pub(super) fn when_written(&mut self) -> Option<oneshot::Receiver<()>> {
        if self.over.is_empty() && self.taken == 0 {
            return None;
        }
        // Readers are not many; those that do not fit read what is there.
        if self.readers.len() >= EXECUTIONS_QUEUED_MAX {
            return None;
        }
        let (tell, written) = oneshot::channel();
        self.readers.push(tell);
        Some(written)
    }

    fn remove(&mut self, slot: usize) -> Option<Running> {
        let running = self.running.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(running)
    }
}

fn held_bytes(begun: &Begun, outcome: &Outcome) -> usize {
    let request = begun.arguments.as_ref().map_or(0, |_| begun.request_bytes);
    let response = outcome.result.as_ref().and(outcome.response_bytes);
    request + response.unwrap_or(0)
}
