//! When a call has taken too long. Progress starts the time again, for the upstream shows that it works; it stands
//! still while a person has a question to answer. [`CALL_AGE_MAX`] holds whatever happens.

use std::time::Duration;

use crate::clock::Instant;
use crate::limits::CALL_AGE_MAX;

/// The deadline of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    limit: Duration,
    /// The call's last moment, whatever happens.
    last: Instant,
    age_max: Duration,
    left: Left,
}

#[derive(Clone, Copy, Debug)]
enum Left {
    Until(Instant),
    Paused(Duration),
}

impl Deadline {
    /// Starts it.
    pub(super) fn new(now: Instant, limit: Duration) -> Self {
        let age_max = CALL_AGE_MAX.max(limit);
        Self {
            limit,
            last: now + age_max,
            age_max,
            left: Left::Until(now + limit),
        }
    }

    /// The upstream reported progress.
    pub(super) fn progress(&mut self, now: Instant) {
        self.left = match self.left {
            Left::Until(_) => Left::Until(now + self.limit),
            Left::Paused(_) => Left::Paused(self.limit),
        };
    }

    /// A question is open.
    pub(super) fn pause(&mut self, now: Instant) {
        if let Left::Until(at) = self.left {
            self.left = Left::Paused(at.saturating_duration_since(now));
        }
    }

    /// No question is open.
    pub(super) fn resume(&mut self, now: Instant) {
        if let Left::Paused(left) = self.left {
            self.left = Left::Until(now + left);
        }
    }

    /// Returns when it passes, as things stand.
    pub(super) fn at(&self) -> Instant {
        match self.left {
            Left::Until(at) => at.min(self.last),
            Left::Paused(_) => self.last,
        }
    }

    /// Returns the limit that has passed at `now`.
    pub(super) fn passed(&self, now: Instant) -> Duration {
        if now < self.last { self.limit } else { self.age_max }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_time_again_up_to_the_age_of_a_call() {
        let start = crate::clock::now();
        let mut deadline = Deadline::new(start, LIMIT);
        assert_eq!(deadline.at(), after(start, 60));
        deadline.progress(after(start, 50));
        assert_eq!(deadline.at(), after(start, 110));
        deadline.progress(after(start, 3_590));
        assert_eq!(deadline.at(), start + CALL_AGE_MAX);
        assert_eq!(deadline.passed(deadline.at()), CALL_AGE_MAX);
        assert_eq!(deadline.passed(after(start, 110)), LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_stands_still_while_a_question_is_open() {
        let start = crate::clock::now();
        let mut deadline = Deadline::new(start, LIMIT);
        deadline.pause(after(start, 20));
        deadline.pause(after(start, 30));
        assert_eq!(deadline.at(), start + CALL_AGE_MAX);
        deadline.resume(after(start, 500));
        assert_eq!(deadline.at(), after(start, 540), "40 s were left");
        deadline.resume(after(start, 510));
        assert_eq!(deadline.at(), after(start, 540));
    }

    #[tokio::test(start_paused = true)]
    async fn a_longer_limit_of_a_gateway_is_kept() {
        let start = crate::clock::now();
        let deadline = Deadline::new(start, CALL_AGE_MAX * 2);
        assert_eq!(deadline.at(), start + CALL_AGE_MAX * 2);
    }
}
