//! One attempt at something for all who want it. A success is kept until it is forgotten, a failure is not.
//! An attempt goes on when those who wait for it go away.

use std::sync::{Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use super::fault::Fault;
use crate::supervisor::Supervisor;

type Attempt<T, E> = Shared<BoxFuture<'static, Result<T, E>>>;

/// What came of an attempt, and which one it was.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Landed<T> {
    pub(in crate::upstream) value: T,
    attempt: u64,
}

#[derive(Debug)]
pub(in crate::upstream) struct Flight<T: Clone, E: Clone = Fault> {
    state: Mutex<State<T, E>>,
}

#[derive(Debug)]
struct State<T: Clone, E: Clone> {
    number: u64,
    attempt: Option<Attempt<T, E>>,
}

impl<T: Clone, E: Clone> Default for Flight<T, E> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                number: 0,
                attempt: None,
            }),
        }
    }
}

impl<T: Clone + Send + Sync + 'static, E: Clone + Send + Sync + 'static> Flight<T, E> {
    /// Returns what is kept, or joins the attempt that is under way, or starts one.
    pub(in crate::upstream) async fn get(
        &self,
        supervisor: &Supervisor,
        name: &'static str,
        start: impl FnOnce() -> BoxFuture<'static, Result<T, E>>,
    ) -> Result<Landed<T>, E> {
        let (number, attempt) = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(attempt) = &state.attempt {
                (state.number, attempt.clone())
            } else {
                let attempt = start().shared();
                state.number += 1;
                state.attempt = Some(attempt.clone());
                supervisor.spawn(name, attempt.clone().map(drop));
                (state.number, attempt)
            }
        };
        match attempt.await {
            Ok(value) => Ok(Landed {
                value,
                attempt: number,
            }),
            Err(fault) => {
                self.forget_number(number);
                Err(fault)
            }
        }
    }

    /// Returns what is kept, and of which attempt it came; most who want it find it there and need not wait.
    pub(in crate::upstream) fn landed(&self) -> Option<Landed<T>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let value = state.attempt.as_ref()?.peek()?.as_ref().ok()?.clone();
        Some(Landed {
            value,
            attempt: state.number,
        })
    }

    /// Returns what is kept.
    pub(in crate::upstream) fn kept(&self) -> Option<T> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.attempt.as_ref()?.peek()?.as_ref().ok().cloned()
    }

    /// Forgets what came of an attempt, unless a later one has replaced it; true when it was still kept.
    pub(in crate::upstream) fn forget(&self, landed: &Landed<T>) -> bool {
        self.forget_number(landed.attempt)
    }

    /// Forgets whatever is kept.
    pub(super) fn clear(&self) {
        self.take();
    }

    /// Forgets whatever is kept or under way, and returns what came of it.
    pub(in crate::upstream) async fn take_landed(&self) -> Option<T> {
        self.take()?.await.ok()
    }

    fn take(&self) -> Option<Attempt<T, E>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.attempt.take()
    }

    fn forget_number(&self, number: u64) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let same = state.number == number && state.attempt.is_some();
        if same {
            state.attempt = None;
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn all_who_wait_share_one_attempt_and_failures_are_not_kept() {
        let (flight, supervisor) = (Flight::<u32>::default(), Supervisor::new());
        let started = Arc::new(AtomicUsize::new(0));
        let start = |outcome: Result<u32, Fault>| {
            let started = Arc::clone(&started);
            move || {
                started.fetch_add(1, Ordering::SeqCst);
                async move {
                    tokio::task::yield_now().await;
                    outcome
                }
                .boxed()
            }
        };
        let bad = || start(Err(Fault::ShutDown));
        let (a, b) = tokio::join!(
            flight.get(&supervisor, "a", bad()),
            flight.get(&supervisor, "b", bad())
        );
        assert!(a.is_err() && b.is_err());
        assert_eq!(started.load(Ordering::SeqCst), 1);
        let first = flight.get(&supervisor, "c", start(Ok(1))).await.unwrap();
        assert_eq!(flight.kept(), Some(1));
        assert!(flight.forget(&first));
        let second = flight.get(&supervisor, "d", start(Ok(2))).await.unwrap();
        assert!(!flight.forget(&first), "a later attempt stays");
        assert_eq!((second.value, flight.kept()), (2, Some(2)));
        assert_eq!(started.load(Ordering::SeqCst), 3);
    }
}
