//! Places of which a bounded number is kept: who uses one holds a lease of it, and what nobody uses may make room.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{self, Instant};

/// How a place is used: by how many now, and when last.
#[derive(Debug)]
pub(super) struct Usage {
    busy: AtomicUsize,
    used: Mutex<Instant>,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            busy: AtomicUsize::new(0),
            used: Mutex::new(clock::now()),
        }
    }
}

impl Usage {
    /// Returns when it was last used.
    pub(super) fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether somebody uses it now.
    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }
}

/// What can be leased.
pub(super) trait Place {
    /// Returns how it is used.
    fn usage(&self) -> &Usage;
}

/// A place in use: it stays while this lives.
#[derive(Debug)]
pub(super) struct Lease<T: Place>(Arc<T>);

impl<T: Place> Lease<T> {
    pub(super) fn new(place: &Arc<T>) -> Self {
        let usage = place.usage();
        usage.busy.fetch_add(1, Ordering::AcqRel);
        usage.touch();
        Self(Arc::clone(place))
    }

    /// Returns the place, to be held beyond the lease.
    pub(super) fn slot(&self) -> &Arc<T> {
        &self.0
    }
}

impl<T: Place> Drop for Lease<T> {
    fn drop(&mut self) {
        let usage = self.0.usage();
        usage.touch();
        usage.busy.fetch_sub(1, Ordering::AcqRel);
    }
}
