//! One call on its way: the deadline runs, the client may cancel. All in the caller's own task. Events pass under the
//! eyes of [`Watched`] straight into the client's queue: while that is full the transport waits, so that a slow reader
//! slows its own call down and nothing else.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::deadline::Deadline;
use super::questions::Questions;
use crate::catalog::route::Route;
use crate::clock::{self, Instant};
use crate::exchange::{Answer, Call, CallError, Event, Watch};
use crate::protocol::method::Method;
use crate::upstream::transport::Transport;

/// An answer, and whether its time says nothing about the upstream: somebody was asked, or had to take it as it came.
#[derive(Debug)]
pub(super) struct Carried {
    pub(super) answer: Answer,
    pub(super) asked: bool,
}

/// Carries a call out. Dropping the future drops the transport's, which tells the upstream.
///
/// # Errors
/// Those of the transport, [`CallError::Timeout`], and [`CallError::Cancelled`] as soon as the client cancels.
pub(super) async fn carry(
    transport: &dyn Transport,
    route: &Route,
    limit: Duration,
    mut call: Box<Call>,
) -> Result<Carried, CallError> {
    let watched = Arc::new(Watched::new(clock::now(), limit));
    let watch: Arc<dyn Watch> = Arc::clone(&watched) as _;
    call.events = call.events.watched(watch);
    let cancel = call.cancel.clone();
    let mut cancelled = pin!(cancel.cancelled());
    let mut alarm = pin!(tokio::time::sleep_until(watched.deadline().at()));
    let mut work = transport.call(route, *call);
    loop {
        tokio::select! {
            biased;
            () = &mut cancelled => return Err(CallError::Cancelled),
            answer = &mut work => {
                let asked = watched.questions.any_asked();
                return answer.map(|answer| Carried {
                    asked: asked || answer.response.passed.is_some(),
                    answer,
                });
            }
            () = watched.questions.closed() => {
                if watched.questions.all_closed() {
                    watched.deadline().resume(clock::now());
                    alarm.as_mut().reset(watched.deadline().at());
                }
            }
            // It rings at the earliest moment that there was: progress and questions have moved it on since.
            () = &mut alarm => {
                let (now, deadline) = (clock::now(), *watched.deadline());
                if now < deadline.at() {
                    alarm.as_mut().reset(deadline.at());
                    continue;
                }
                return Err(CallError::Timeout {
                    gateway: route.gateway.clone(),
                    timeout_ms: u64::try_from(deadline.passed(now).as_millis()).unwrap_or(u64::MAX),
                });
            }
        }
    }
}

/// What the events of a call mean for its deadline.
#[derive(Debug)]
struct Watched {
    deadline: Mutex<Deadline>,
    questions: Questions,
}

impl Watched {
    fn new(now: Instant, limit: Duration) -> Self {
        Self {
            deadline: Mutex::new(Deadline::new(now, limit)),
            questions: Questions::default(),
        }
    }

    fn deadline(&self) -> MutexGuard<'_, Deadline> {
        self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch for Watched {
    fn see(&self, event: Event) -> Event {
        match event {
            Event::Notification(notification) => {
                if notification.method == Method::Progress {
                    self.deadline().progress(clock::now());
                }
                Event::Notification(notification)
            }
            Event::Question(question) => {
                self.deadline().pause(clock::now());
                Event::Question(self.questions.pass(question))
            }
            answer @ Event::Answer(_) => answer,
        }
    }

    fn alive(&self) {
        self.deadline().progress(clock::now());
    }
}
