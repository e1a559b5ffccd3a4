//! The end in two steps: drain (no new connections, not ready, requests finish) and cut (what is left is dropped).

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Tells everybody that the end has begun. Clones share the same end.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    drain: CancellationToken,
    cut: CancellationToken,
}

impl Shutdown {
    /// Makes one that has not begun.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins to drain: whoever holds [`Self::draining`] learns it. Streams end themselves then.
    pub fn begin(&self) {
        self.drain.cancel();
    }

    /// Cuts what is left.
    pub fn cut(&self) {
        self.drain.cancel();
        self.cut.cancel();
    }

    /// Tells whether draining has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Returns what is cancelled when draining begins.
    #[must_use]
    pub fn draining(&self) -> CancellationToken {
        self.drain.clone()
    }

    /// Returns what is cancelled when the rest is cut.
    #[must_use]
    pub fn cutting(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Begins at the first SIGTERM or SIGINT and cuts at the second. Ends after that.
    ///
    /// # Errors
    /// When the operating system does not let us listen to signals.
    pub async fn on_signals(self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        for step in [Self::begin, Self::cut] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            tracing::info!(cut = self.has_begun(), "told to stop");
            step(&self);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use rustix::process::{Signal, getpid, kill_process};
    use std::time::Duration;

    #[tokio::test]
    async fn the_first_signal_drains_and_the_second_cuts() {
        let shutdown = Shutdown::new();
        let mut signals = Box::pin(shutdown.clone().on_signals());
        assert!((&mut signals).now_or_never().is_none());
        assert!(!shutdown.has_begun());

        kill_process(getpid(), Signal::TERM).unwrap();
        let first = tokio::time::timeout(Duration::from_secs(5), async {
            tokio::select! {
                _ = &mut signals => {}
                () = shutdown.draining().cancelled_owned() => {}
            }
        });
        assert!(first.await.is_ok());
        assert!(shutdown.has_begun() && !shutdown.cutting().is_cancelled());

        kill_process(getpid(), Signal::INT).unwrap();
        assert!(
            tokio::time::timeout(Duration::from_secs(5), signals)
                .await
                .unwrap()
                .is_ok()
        );
        assert!(shutdown.cutting().is_cancelled());
    }
}
