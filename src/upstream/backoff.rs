//! How long to wait before trying again: doubling waits, and chance added so that many do not come back as one.

use std::time::Duration;

use crate::clock;

/// Doubling waits between two bounds.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// After the first failure.
    pub min: Duration,
    /// No wait is longer, chance aside.
    pub max: Duration,
}

impl Backoff {
    /// Returns the wait after the given number of failures (the first is 0), with up to half as much again by chance.
    #[must_use]
    pub fn wait(&self, failures: u32) -> Duration {
        spread(self.plain(failures), 0.5)
    }

    /// Returns the wait without chance.
    #[must_use]
    pub fn plain(&self, failures: u32) -> Duration {
        let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
        self.min.saturating_mul(factor).min(self.max)
    }
}

/// Makes a wait longer by chance, by at most `part` of it.
#[must_use]
pub fn spread(wait: Duration, part: f64) -> Duration {
    let chance = f64::from(u32::from_be_bytes(clock::random())) / f64::from(u32::MAX);
    wait.mul_f64(1.0 + part * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff {
        min: Duration::from_secs(1),
        max: Duration::from_secs(30),
    };

    #[test]
    fn waits_double_up_to_the_bound() {
        let waits: Vec<u64> = [0, 1, 2, 3, 4, 5, 6, 31, 32, u32::MAX]
            .into_iter()
            .map(|failures| BACKOFF.plain(failures).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30, 30, 30]);
    }

    #[test]
    fn chance_only_makes_a_wait_longer_and_by_half_at_most() {
        let waits: Vec<Duration> = (0..64).map(|_| BACKOFF.wait(2)).collect();
        assert!(
            waits
                .iter()
                .all(|wait| (Duration::from_secs(4)..=Duration::from_secs(6)).contains(wait))
        );
        assert!(waits.iter().any(|wait| *wait != waits[0]), "all waits are equal");
    }
}
