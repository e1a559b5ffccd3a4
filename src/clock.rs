//! Time and randomness, as the rest of the house is given them.
//! Monotonic time is tokio's, so that tests can pause it; wall time and random bytes are only read here.

mod rfc3339;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use self::rfc3339::{rfc3339, rfc3339_day, unix_ms_of};
pub use tokio::time::Instant;

/// Returns the monotonic time: what deadlines, ages and back-offs are measured with.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns the wall time as seconds since 1970-01-01T00:00:00Z, for expiries that leave the process.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system clock"
)]
pub fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

/// Returns the wall time as milliseconds since 1970-01-01T00:00:00Z, for what is recorded.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the system clock"
)]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or(Duration::ZERO).as_millis() as u64
}

/// Fills an array with bytes of the operating system's random source.
///
/// # Panics
/// When the operating system has no random source: nothing that this process does would be safe then.
#[must_use]
#[expect(
    clippy::panic,
    reason = "without randomness no id is unguessable; going on would be worse than ending"
)]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Err(error) = getrandom::fill(&mut bytes) {
        panic!("the operating system gives no random bytes: {error}");
    }
    bytes
}
