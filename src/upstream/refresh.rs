//! Keeps one gateway's lists fresh: asks at start, when the upstream announces a change, when its `ttlMs` is over, when
//! somebody wants it now, and slowly all the time. A gateway that is down is asked again and again with growing waits;
//! until it answers its last good list stands. Nobody ever waits for any of this.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::backoff::{Backoff, spread};
use super::gateway::Gateway;
use super::health::LinkState;
use super::publish::Publish;
use super::transport::{Announced, ListError};
use crate::catalog::listing::Listing;
use crate::clock::{self, Instant};
use crate::limits::{
    LIST_CHANGED_INTERVAL, LIST_POLL_INTERVAL, LIST_POLL_INTERVAL_MIN, LIST_RETRY_MAX, LIST_RETRY_MIN,
    LIST_TIMEOUT, STARTUP_DEADLINE,
};
use crate::telemetry::Outcome;

const RETRY: Backoff = Backoff {
    min: LIST_RETRY_MIN,
    max: LIST_RETRY_MAX,
};

/// What others ask of a gateway's refresh.
#[derive(Debug)]
pub(super) struct Looks {
    /// How often somebody asked for a look.
    wanted: watch::Sender<u64>,
    /// Up to which of them looks were taken.
    served: watch::Sender<u64>,
    opened: Notify,
}

impl Default for Looks {
    fn default() -> Self {
        Self {
            wanted: watch::Sender::new(0),
            served: watch::Sender::new(0),
            opened: Notify::new(),
        }
    }
}

impl Looks {
    /// Asks for a look that begins after this.
    pub(super) fn want(&self) {
        self.wanted.send_modify(|count| *count += 1);
    }

    /// Waits for the end of the last look that was asked for so far.
    pub(super) async fn served(&self) {
        let last = *self.wanted.borrow();
        // The sender is our own; it does not go away while we wait.
        let _ = self.served.subscribe().wait_for(|served| *served >= last).await;
    }

    /// The breaker opened: a look should come when a call might try.
    pub(super) fn breaker_opened(&self) {
        self.opened.notify_one();
    }
}

/// Looks at a gateway's lists until it retires.
pub(super) async fn run(gateway: Arc<Gateway>, publish: Arc<dyn Publish>) {
    let look = Look {
        gateway: &gateway,
        publish: &*publish,
    };
    tokio::select! {
        biased;
        () = gateway.retired().cancelled() => {}
        _ = async { tokio::join!(look.give_up_waiting(), look.keep_looking()) } => {}
    }
}

struct Look<'a> {
    gateway: &'a Gateway,
    publish: &'a dyn Publish,
}

impl Look<'_> {
    async fn give_up_waiting(&self) {
        tokio::time::sleep(STARTUP_DEADLINE).await;
        self.looked();
    }

    async fn keep_looking(&self) {
        let mut changes = self.gateway.transport().changes();
        let mut wanted = self.gateway.looks.wanted.subscribe();
        let (mut failures, mut told) = (0, *changes.borrow());
        loop {
            let started = clock::now();
            let serving = *wanted.borrow_and_update();
            let heard = *changes.borrow_and_update();
            let due = match self.list().await {
                Ok(listing) => {
                    failures = 0;
                    let gateway = self.gateway;
                    gateway.unless_retired(|| self.publish.announced(gateway.name(), told, heard));
                    told = heard;
                    self.good(listing, started)
                }
                Err(ListError(reason)) => {
                    self.bad(&reason);
                    // Signs of a link that fails are no reason to ask it sooner.
                    changes.borrow_and_update();
                    failures += 1;
                    clock::now() + RETRY.wait(failures - 1)
                }
            };
            self.gateway.looks.served.send_replace(serving);
            self.wait(started, due, &mut changes, &mut wanted).await;
        }
    }

    async fn list(&self) -> Result<Listing, ListError> {
        tokio::time::timeout(LIST_TIMEOUT, self.gateway.transport().list())
            .await
            .unwrap_or_else(|_| {
                Err(ListError(format!(
                    "the lists did not come within {} s",
                    LIST_TIMEOUT.as_secs()
                )))
            })
    }

    /// Takes a good list; returns when to ask again.
    fn good(&self, listing: Listing, started: Instant) -> Instant {
        let gateway = self.gateway;
        let now = clock::now();
        // The first one would measure the start of a process.
        if gateway.health.condition().state == LinkState::Up {
            gateway.health.took(now.duration_since(started));
        }
        gateway.health.listed(&listing);
        gateway.metrics.list_refreshed(gateway.name(), Outcome::Ok);
        let closed = gateway.breaker.listed();
        if closed {
            gateway.breaker_closed();
        }
        gateway.is_up();
        let due = now + spread(fresh_for(listing.ttl), 0.1);
        gateway.unless_retired(|| self.publish.publish(gateway.name(), listing));
        self.looked();
        match gateway.breaker.retry_at() {
            Some(at) if at > now => due.min(at),
            _ => due,
        }
    }

    fn bad(&self, reason: &str) {
        let gateway = self.gateway;
        gateway.metrics.list_refreshed(gateway.name(), Outcome::Failed);
        gateway.health.fault(reason);
        gateway.is_down(reason);
        tracing::debug!(gateway.id = %gateway.name(), reason, "the lists of a gateway could not be had");
    }

    fn looked(&self) {
        if self.gateway.set_looked() {
            self.gateway
                .unless_retired(|| self.publish.looked(self.gateway.name()));
        }
    }

    /// Waits until a look is due, or sooner when there is a reason.
    async fn wait(
        &self,
        started: Instant,
        mut due: Instant,
        changes: &mut watch::Receiver<Announced>,
        wanted: &mut watch::Receiver<u64>,
    ) {
        let soon = started + LIST_CHANGED_INTERVAL;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                Ok(()) = changes.changed() => due = due.min(soon),
                Ok(()) = wanted.changed() => due = due.min(soon),
                () = self.gateway.looks.opened.notified() => {
                    if let Some(at) = self.gateway.breaker.retry_at() {
                        due = due.min(at);
                    }
                }
            }
        }
    }
}

/// How long a list counts as fresh.
fn fresh_for(ttl: Option<Duration>) -> Duration {
    ttl.map_or(LIST_POLL_INTERVAL, |ttl| {
        ttl.clamp(LIST_POLL_INTERVAL_MIN, LIST_POLL_INTERVAL)
    })
}

#[cfg(test)]
mod tests;
