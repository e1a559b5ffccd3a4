//! The one spawner. Every task of the house is started here, so that a panic is logged with the task's name and
//! shutdown can wait for what is still running.

mod hosted;

use std::any::Any;
use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::hosted::{Hosted, Lost};

/// Starts named tasks and waits for them at the end. Clones share the same tasks.
#[derive(Clone, Debug, Default)]
pub struct Supervisor {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Supervisor {
    /// Makes a supervisor without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    // A task is boxed first: each layer below would otherwise copy it, and some are as large as ten kilobytes.

    /// Starts a task. When the supervisor stops, the task is dropped at its next await.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (stop, task) = (self.stop.clone(), Box::pin(task));
        self.start(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Starts a task that looks at [`Self::stopping`] itself and must be let finish.
    pub fn spawn_until_done(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.start(name, Box::pin(task));
    }

    /// Lets work run inside whoever polls what this returns, and in a task once that is dropped. It begins at the first
    /// poll, or when it is dropped.
    pub fn host<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Hosted<T> {
        Hosted::new(name, self.clone(), Box::pin(work))
    }

    /// Returns a token that is cancelled when the house stops.
    #[must_use]
    pub fn stopping(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Ends all tasks and waits until they are gone.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    fn start(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let watched = self.tasks.track_future(task);
        tokio::spawn(async move {
            if let Err(panic) =
                futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(watched)).await
            {
                log_panic(name, &*panic);
            }
        });
    }
}

fn log_panic(name: &'static str, panic: &(dyn Any + Send)) {
    let text = panic.downcast_ref::<&str>().map_or_else(
        || panic.downcast_ref::<String>().cloned().unwrap_or_default(),
        ToString::to_string,
    );
    tracing::error!(task.name = name, panic = text, "a task panicked");
}
