//! The open questions of one call. Each passes through here so that the call's deadline knows when people are asked.
//! Who gives up first is told to the other side: the client's silence reaches the upstream, and the other way round.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use crate::exchange::{Question, Reply};

/// The questions that wait for an answer. Their number is bounded where they are asked
/// ([`QUESTIONS_PER_CALL_MAX`](crate::limits::QUESTIONS_PER_CALL_MAX)).
#[derive(Debug, Default)]
pub(super) struct Questions(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    open: Vec<Open>,
    asked: bool,
    /// Who waits for one to close: one more question is one more thing to wait for.
    waiting: Option<Waker>,
}

#[derive(Debug)]
struct Open {
    from_client: oneshot::Receiver<Reply>,
    to_upstream: oneshot::Sender<Reply>,
}

impl Questions {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a question in and returns what the client gets.
    pub(super) fn pass(&self, question: Question) -> Question {
        let (reply, from_client) = oneshot::channel();
        let mut state = self.state();
        state.asked = true;
        state.open.push(Open {
            from_client,
            to_upstream: question.reply,
        });
        if let Some(waiting) = state.waiting.take() {
            waiting.wake();
        }
        Question {
            request: question.request,
            reply,
        }
    }

    /// Tells whether none is open.
    pub(super) fn all_closed(&self) -> bool {
        self.state().open.is_empty()
    }

    /// Tells whether there was ever one.
    pub(super) fn any_asked(&self) -> bool {
        self.state().asked
    }

    /// Waits until one is answered or given up. Never returns while none is open.
    pub(super) async fn closed(&self) {
        poll_fn(|cx| self.state().poll_closed(cx)).await;
    }
}

impl State {
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let found = self.open.iter_mut().enumerate().find_map(|(at, open)| {
            if open.to_upstream.poll_closed(cx).is_ready() {
                return Some((at, None));
            }
            match Pin::new(&mut open.from_client).poll(cx) {
                Poll::Ready(reply) => Some((at, reply.ok())),
                Poll::Pending => None,
            }
        });
        let Some((at, reply)) = found else {
            if !self
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.will_wake(cx.waker()))
            {
                self.waiting = Some(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let open = self.open.swap_remove(at);
        if let Some(reply) = reply {
            // An upstream that gave up meanwhile does not take it.
            let _ = open.to_upstream.send(reply);
        }
        Poll::Ready(())
    }
}
