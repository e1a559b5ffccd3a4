//! The breaker of one gateway: after [`BREAKER_FAULTS`] faults in a row calls are refused at once, so that a dead
//! upstream costs nobody a wait. After a back-off one call may try; its answer, or a good look at the gateway's lists,
//! closes the breaker again. Only faults of the upstream count; what the upstream answers, an error included, is no
//! fault. All of it is a few atomics: no lock on the way of a call.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::backoff::Backoff;
use crate::clock::{self, Instant};
use crate::limits::{BREAKER_BACKOFF_MAX, BREAKER_BACKOFF_MIN, BREAKER_FAULTS};
use crate::telemetry::BreakerState;

const BACKOFF: Backoff = Backoff {
    min: BREAKER_BACKOFF_MIN,
    max: BREAKER_BACKOFF_MAX,
};

/// Values of [`Breaker::state`]; a larger one is open until that many milliseconds after the epoch.
const CLOSED: u64 = 0;
const PROBING: u64 = 1;
const FIRST_TIME_MS: u64 = 2;

/// Counts a gateway's faults and refuses calls to it while it is sick.
#[derive(Debug)]
pub struct Breaker {
    epoch: Instant,
    state: AtomicU64,
    faults: AtomicU32,
    /// How often it opened since a call was last answered: the exponent of the back-off.
    openings: AtomicU32,
}

/// Why a call is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When one call may try; zero while one is trying.
    pub retry_in: Duration,
}

/// One call that was let through. Dropped without a word (a cancelled call) it says nothing about the upstream.
#[derive(Debug)]
#[must_use = "how the call ended must be told"]
pub struct Attempt<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            epoch: clock::now(),
            state: AtomicU64::new(CLOSED),
            faults: AtomicU32::new(0),
            openings: AtomicU32::new(0),
        }
    }
}

impl Breaker {
    /// Tells whether a call would be refused now, without taking the try that may be free.
    ///
    /// # Errors
    /// [`Refused`] while the breaker is open, or while one call tries.
    pub fn peek(&self) -> Result<(), Refused> {
        self.judge(self.state.load(Ordering::Acquire)).map(drop)
    }

    /// Lets a call through: every call while closed, one call when the back-off is over.
    ///
    /// # Errors
    /// [`Refused`] while the breaker is open, or while one call tries.
    pub fn admit(&self) -> Result<Attempt<'_>, Refused> {
        let seen = self.state.load(Ordering::Acquire);
        let probe = self.judge(seen)?;
        if probe && !self.change(seen, PROBING) {
            return Err(Refused {
                retry_in: Duration::ZERO,
            });
        }
        Ok(Attempt { breaker: self, probe })
    }

    /// Takes note of a good look at the gateway's lists. Closes the breaker when a call might try as well; the
    /// back-off still remembers, for calls may fail where lists do not. Returns whether it closed.
    pub fn listed(&self) -> bool {
        let seen = self.state.load(Ordering::Acquire);
        seen != CLOSED && (seen == PROBING || self.left(seen).is_none()) && self.close(seen)
    }

    /// Returns when a call may try; `None` unless the breaker is open.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state.load(Ordering::Acquire) {
            CLOSED | PROBING => None,
            until_ms => Some(self.epoch + Duration::from_millis(until_ms)),
        }
    }

    /// Returns its state.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match self.state.load(Ordering::Acquire) {
            CLOSED => BreakerState::Closed,
            PROBING => BreakerState::HalfOpen,
            _ => BreakerState::Open,
        }
    }

    /// Returns how many faults there were in a row.
    #[must_use]
    pub fn faults(&self) -> u32 {
        self.faults.load(Ordering::Relaxed)
    }

    /// Says what a state means for a call: through, through as the one that tries (`true`), or not.
    fn judge(&self, seen: u64) -> Result<bool, Refused> {
        let retry_in = match seen {
            CLOSED => return Ok(false),
            PROBING => Some(Duration::ZERO),
            until_ms => self.left(until_ms),
        };
        retry_in.map_or(Ok(true), |retry_in| Err(Refused { retry_in }))
    }

    fn open(&self, from: u64, after: Duration) -> bool {
        let until = clock::now().duration_since(self.epoch) + after;
        let until_ms = u64::try_from(until.as_millis()).unwrap_or(u64::MAX);
        self.change(from, until_ms.max(FIRST_TIME_MS))
    }

    fn close(&self, from: u64) -> bool {
        self.faults.store(0, Ordering::Relaxed);
        self.change(from, CLOSED)
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Returns what is left of the back-off.
    fn left(&self, until_ms: u64) -> Option<Duration> {
        let until = self.epoch + Duration::from_millis(until_ms);
        let left = until.saturating_duration_since(clock::now());
        (!left.is_zero()).then_some(left)
    }
}

impl Attempt<'_> {
    /// Tells whether this is the one call that tries.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.probe
    }

    /// The upstream answered. Returns whether that closed the breaker.
    #[must_use]
    pub fn answered(mut self) -> bool {
        // Written only when there is something to forget: healthy calls share the cache line.
        for counter in [&self.breaker.faults, &self.breaker.openings] {
            if counter.load(Ordering::Relaxed) != 0 {
                counter.store(0, Ordering::Relaxed);
            }
        }
        std::mem::take(&mut self.probe) && self.breaker.close(PROBING)
    }

    /// The upstream failed. Returns whether that opened the breaker, or kept it open after a try.
    #[must_use]
    pub fn failed(mut self) -> bool {
        let breaker = self.breaker;
        let faults = breaker.faults.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let from = if std::mem::take(&mut self.probe) {
            PROBING
        } else if faults >= BREAKER_FAULTS {
            CLOSED
        } else {
            return false;
        };
        let openings = breaker.openings.load(Ordering::Relaxed);
        let opened = breaker.open(from, BACKOFF.wait(openings));
        if opened {
            breaker
                .openings
                .store(openings.saturating_add(1), Ordering::Relaxed);
        }
        opened
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // A try that ended without an outcome leaves the next call to try.
        if self.probe {
            self.breaker.open(PROBING, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests;
