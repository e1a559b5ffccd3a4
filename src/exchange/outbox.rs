//! The way of what belongs to no call to one client: bounded, and without memory while nothing waits in it, since each
//! session has one and most never hear anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::sync::mpsc::error::TryRecvError;

use crate::protocol::message::Notification;

/// Takes notifications that belong to no call: resource updates, log messages outside of calls, the end of a url
/// elicitation. Bounded: what does not fit is dropped and counted, an upstream never waits here.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Sending>);

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub struct Inbox(Arc<Mailbox>);

/// All clones of one outbox.
#[derive(Debug)]
struct Sending(Arc<Mailbox>);

#[derive(Debug)]
struct Mailbox {
    capacity: usize,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Notification>,
    /// Nobody can put anything in any more.
    ended: bool,
    /// Nobody reads any more.
    closed: bool,
}

impl Outbox {
    /// Makes an outbox and its other end, which holds at most `capacity` notifications.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Inbox) {
        let mailbox = Arc::new(Mailbox {
            capacity,
            state: Mutex::default(),
            news: Notify::new(),
        });
        (Self(Arc::new(Sending(mailbox.clone()))), Inbox(mailbox))
    }

    /// Puts a notification in; false when it was dropped.
    #[must_use]
    pub fn offer(&self, notification: Notification) -> bool {
        let mailbox = &self.0.0;
        {
            let mut state = mailbox.state();
            if state.closed || state.waiting.len() >= mailbox.capacity {
                return false;
            }
            state.waiting.push_back(notification);
        }
        mailbox.news.notify_one();
        true
    }

    /// Tells whether two outboxes lead to the same client.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Tells whether nobody listens any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.0.state().closed
    }
}

impl Inbox {
    /// Waits for the next notification; `None` once every outbox is gone and nothing is left. Dropping the future loses
    /// nothing.
    pub async fn recv(&mut self) -> Option<Notification> {
        loop {
            match self.try_recv() {
                Ok(notification) => return Some(notification),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            // What comes in between leaves its mark, and this returns at once.
            self.0.news.notified().await;
        }
    }

    /// Returns a notification that waits already.
    ///
    /// # Errors
    /// When none waits: now, or ever.
    pub fn try_recv(&mut self) -> Result<Notification, TryRecvError> {
        let mut state = self.0.state();
        let next = state.waiting.pop_front();
        if state.waiting.is_empty() {
            state.waiting = VecDeque::new();
        }
        next.ok_or(if state.ended {
            TryRecvError::Disconnected
        } else {
            TryRecvError::Empty
        })
    }
}

impl Mailbox {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.state().ended = true;
        self.0.news.notify_one();
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.waiting = VecDeque::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::Message;

    fn notification(n: usize) -> Notification {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":{n}}}}}"#);
        match Message::parse(text.into()) {
            Ok(Message::Notification(notification)) => notification,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_the_rest_comes_in_order() {
        let (outbox, mut inbox) = Outbox::new(2);
        for (n, taken) in [(1, true), (2, true), (3, false)] {
            assert_eq!(outbox.offer(notification(n)), taken);
        }
        for n in [1, 2] {
            assert_eq!(inbox.recv().await.unwrap().raw, notification(n).raw);
        }
        assert!(inbox.try_recv().is_err());
        assert!(outbox.offer(notification(4)), "there is room again");
    }

    #[tokio::test]
    async fn a_reader_that_waits_hears_what_comes_and_that_nothing_can_come() {
        let (outbox, mut inbox) = Outbox::new(1);
        let other = outbox.clone();
        let read = async { (inbox.recv().await, inbox.recv().await) };
        let write = async {
            tokio::task::yield_now().await;
            assert!(outbox.offer(notification(1)));
            drop(outbox);
            tokio::task::yield_now().await;
            drop(other);
        };
        let ((first, second), ()) = tokio::join!(read, write);
        assert_eq!(first.unwrap().raw, notification(1).raw);
        assert!(second.is_none());
    }

    #[test]
    fn nobody_is_told_once_the_reader_is_gone() {
        let (outbox, inbox) = Outbox::new(1);
        assert!(!outbox.is_closed() && outbox.same_as(&outbox.clone()));
        drop(inbox);
        assert!(outbox.is_closed() && !outbox.offer(notification(1)));
    }
}
