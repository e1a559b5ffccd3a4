//! What is known of one gateway's link: up or down and since when, the last fault, how quick it is, how old its last
//! good list is. Written where something happens, read by probes and pages; on the way of a call only the latency
//! is touched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::catalog::listing::Listing;
use crate::clock::{self, Instant};
use crate::limits::LAST_ERROR_BYTES_MAX;

/// Whether a gateway answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not asked yet.
    Unknown,
    /// Its last list came.
    Up,
    /// Its last list did not come, or its breaker opened.
    Down,
}

/// A state and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it answers.
    pub state: LinkState,
    /// Since when.
    pub since: Instant,
}

/// The last fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What happened, at most [`LAST_ERROR_BYTES_MAX`] bytes.
    pub text: String,
    /// When.
    pub at: Instant,
}

/// The last good list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// When it came.
    pub at: Instant,
    /// How many tools there were.
    pub tools: usize,
    /// How many prompts.
    pub prompts: usize,
    /// How many resources.
    pub resources: usize,
    /// How many resource templates.
    pub templates: usize,
}

/// The health record of one gateway.
#[derive(Debug)]
pub struct Health {
    condition: ArcSwap<Condition>,
    fault: ArcSwapOption<Fault>,
    listed: ArcSwapOption<Listed>,
    /// Exponentially weighted; zero: nothing was measured.
    latency_us: AtomicU64,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            condition: ArcSwap::from_pointee(Condition {
                state: LinkState::Unknown,
                since: clock::now(),
            }),
            fault: ArcSwapOption::empty(),
            listed: ArcSwapOption::empty(),
            latency_us: AtomicU64::new(0),
        }
    }
}

impl Health {
    /// Sets the state; returns whether it was another one before.
    pub fn set(&self, state: LinkState) -> bool {
        let next = Arc::new(Condition {
            state,
            since: clock::now(),
        });
        let before = self.condition.rcu(|now| {
            if now.state == state {
                Arc::clone(now)
            } else {
                Arc::clone(&next)
            }
        });
        before.state != state
    }

    /// Takes note of a fault.
    pub fn fault(&self, text: &str) {
        let text = text
            .get(..text.floor_char_boundary(LAST_ERROR_BYTES_MAX))
            .unwrap_or_default()
            .to_owned();
        self.fault.store(Some(Arc::new(Fault {
            text,
            at: clock::now(),
        })));
    }

    /// Takes note of a good list.
    pub fn listed(&self, listing: &Listing) {
        self.listed.store(Some(Arc::new(Listed {
            at: clock::now(),
            tools: listing.tools.len(),
            prompts: listing.prompts.len(),
            resources: listing.resources.len(),
            templates: listing.templates.len(),
        })));
    }

    /// Takes note of how long an answer took. Two at the same time may lose one of them.
    pub fn took(&self, latency: Duration) {
        let now_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1);
        let mean_us = match self.latency_us.load(Ordering::Relaxed) {
            0 => now_us,
            mean_us => mean_us - mean_us / 8 + now_us / 8,
        };
        self.latency_us.store(mean_us.max(1), Ordering::Relaxed);
    }

    /// Returns whether it answers, and since when.
    #[must_use]
    pub fn condition(&self) -> Condition {
        **self.condition.load()
    }

    /// Returns the last fault, however long ago.
    #[must_use]
    pub fn last_fault(&self) -> Option<Arc<Fault>> {
        self.fault.load_full()
    }

    /// Returns the last good list.
    #[must_use]
    pub fn last_list(&self) -> Option<Listed> {
        self.listed.load().as_deref().copied()
    }

    /// Returns the mean latency of the last answers; `None` when nothing was measured.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        match self.latency_us.load(Ordering::Relaxed) {
            0 => None,
            mean_us => Some(Duration::from_micros(mean_us)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_state_keeps_the_time_since_when_it_holds() {
        let health = Health::default();
        assert!(health.set(LinkState::Down));
        let since = clock::now();
        advance(Duration::from_secs(5)).await;
        assert!(!health.set(LinkState::Down), "it was down already");
        assert_eq!(health.condition().since, since);
        assert!(health.set(LinkState::Up));
        assert_eq!(health.condition().since, clock::now());
    }

    #[tokio::test(start_paused = true)]
    async fn the_text_of_a_fault_is_cut_between_characters() {
        let health = Health::default();
        health.fault(&"ü".repeat(LAST_ERROR_BYTES_MAX));
        let fault = health.last_fault().expect("a fault");
        assert_eq!(fault.text.len(), LAST_ERROR_BYTES_MAX);
        health.fault(&format!("x{}", "ü".repeat(LAST_ERROR_BYTES_MAX)));
        let fault = health.last_fault().expect("a fault");
        assert_eq!(fault.text.len(), LAST_ERROR_BYTES_MAX - 1);
    }

    #[tokio::test(start_paused = true)]
    async fn latency_follows_the_last_answers() {
        let health = Health::default();
        assert_eq!(health.latency(), None);
        health.took(Duration::from_millis(8));
        assert_eq!(health.latency(), Some(Duration::from_millis(8)));
        health.took(Duration::from_millis(16));
        assert_eq!(health.latency(), Some(Duration::from_millis(9)));
        for _ in 0..100 {
            health.took(Duration::from_millis(100));
        }
        assert!(
            health
                .latency()
                .is_some_and(|mean| mean > Duration::from_millis(90))
        );
    }
}
