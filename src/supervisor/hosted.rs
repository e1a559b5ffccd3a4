//! Work that runs inside whoever waits for it, so that a short wait costs no task, and goes on as a task of its own once
//! nobody waits any more. Dropping it does not end it: what must end with its host has a token for that.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Instrument, Span};

use super::{Supervisor, log_panic};

type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Work with an outcome. Polled again after its outcome it is [`Lost`].
pub struct Hosted<T: Send + 'static> {
    name: &'static str,
    supervisor: Supervisor,
    place: Place<T>,
}

/// Where the work runs.
enum Place<T> {
    /// In whoever polls this. Never locked: a mutex makes shareable what only its owner touches.
    Here(Mutex<Work<T>>),
    /// In a task.
    Away(oneshot::Receiver<T>),
    /// It is over.
    Nowhere,
}

/// The task of the work ended without an outcome: it panicked, or the house stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost;

impl<T: Send + 'static> Hosted<T> {
    /// Takes work over. It begins when this is polled.
    pub(super) fn new(name: &'static str, supervisor: Supervisor, work: Work<T>) -> Self {
        let place = Place::Here(Mutex::new(work));
        Self {
            name,
            supervisor,
            place,
        }
    }

    /// Lets the work go on in a task, whether it is waited for or not.
    pub fn let_go(&mut self) {
        self.place = match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Here(work) => Place::Away(self.start(work)),
            elsewhere => elsewhere,
        };
    }

    fn start(&self, work: Mutex<Work<T>>) -> oneshot::Receiver<T> {
        let (tell, told) = oneshot::channel();
        let work = work.into_inner().unwrap_or_else(PoisonError::into_inner);
        let work = async move {
            let _ = tell.send(work.await);
        };
        // The span is the host's, of which the work was a part.
        self.supervisor.spawn(self.name, work.instrument(Span::current()));
        told
    }
}

impl<T: Send + 'static> Future for Hosted<T> {
    type Output = Result<T, Lost>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = match &mut self.place {
            Place::Here(work) => {
                let work = work.get_mut().unwrap_or_else(PoisonError::into_inner);
                // Its panic is its own end, not its host's: as it would be in a task.
                match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(outcome) => outcome.map(Ok),
                    Err(panic) => {
                        log_panic(self.name, &*panic);
                        Poll::Ready(Err(Lost))
                    }
                }
            }
            Place::Away(told) => Pin::new(told).poll(cx).map_err(|_| Lost),
            Place::Nowhere => Poll::Ready(Err(Lost)),
        };
        if outcome.is_ready() {
            self.place = Place::Nowhere;
        }
        outcome
    }
}

impl<T: Send + 'static> Drop for Hosted<T> {
    fn drop(&mut self) {
        // After the runtime's end there is nowhere to go on.
        if Handle::try_current().is_ok() {
            self.let_go();
        }
    }
}

impl<T: Send + 'static> std::fmt::Debug for Hosted<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hosted")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn counting(count: &Arc<AtomicUsize>) -> impl Future<Output = usize> + Send + use<> {
        let count = count.clone();
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            count.fetch_add(1, Ordering::SeqCst) + 1
        }
    }

    #[tokio::test]
    async fn work_that_is_waited_for_takes_no_task() {
        let (supervisor, count) = (Supervisor::new(), Arc::default());
        let hosted = supervisor.host("work", counting(&count));
        assert_eq!(hosted.await, Ok(2));
        assert_eq!(supervisor.tasks.len(), 0);
    }

    #[tokio::test]
    async fn work_whose_host_goes_away_goes_on_from_where_it_was() {
        let (supervisor, count) = (Supervisor::new(), Arc::<AtomicUsize>::default());
        let mut hosted = supervisor.host("work", counting(&count));
        assert!(futures_util::poll!(&mut hosted).is_pending());
        drop(hosted);
        assert_eq!(count.load(Ordering::SeqCst), 1);
        while !supervisor.tasks.is_empty() {
            tokio::task::yield_now().await;
        }
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn work_that_was_let_go_still_tells_its_outcome_once() {
        let (supervisor, count) = (Supervisor::new(), Arc::default());
        let mut hosted = supervisor.host("work", counting(&count));
        hosted.let_go();
        hosted.let_go();
        assert_eq!((&mut hosted).await, Ok(2));
        assert_eq!(hosted.await, Err(Lost));
    }

    #[tokio::test]
    async fn work_that_panics_is_lost_here_as_in_a_task() {
        let supervisor = Supervisor::new();
        for away in [false, true] {
            let mut hosted = supervisor.host("work", async { panic!("of the test") });
            if away {
                hosted.let_go();
            }
            assert_eq!(hosted.await, Err::<(), _>(Lost));
        }
    }
}
