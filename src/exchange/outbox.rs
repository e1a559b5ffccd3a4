//! The way of what belongs to no call to one client: bounded, and without memory while nothing waits in it, since each
//! session has one and most never hear anything.

use tokio::sync::mpsc::error::TryRecvError;

use super::queue::{self, Receiver, Sender};
use crate::protocol::message::Notification;

/// Takes notifications that belong to no call: resource updates, log messages outside of calls, the end of a url
/// elicitation. Bounded: what does not fit is dropped and counted, an upstream never waits here.
#[derive(Clone, Debug)]
pub struct Outbox(Sender<Notification>);

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub struct Inbox(Receiver<Notification>);

impl Outbox {
    /// Makes an outbox and its other end, which holds at most `capacity` notifications.
    #[must_use]
    pub fn new(capacity: usize) -> (Self, Inbox) {
        let (sender, receiver) = queue::bounded(capacity);
        (Self(sender), Inbox(receiver))
    }

    /// Puts a notification in; false when it was dropped.
    #[must_use]
    pub fn offer(&self, notification: Notification) -> bool {
        self.0.try_send(notification).is_ok()
    }

    /// Tells whether two outboxes lead to the same client.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.same_as(&other.0)
    }

    /// Tells whether nobody listens any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl Inbox {
    /// Waits for the next notification; `None` once every outbox is gone and nothing is left. Dropping the future loses
    /// nothing.
    pub async fn recv(&mut self) -> Option<Notification> {
        self.0.recv().await
    }

    /// Returns a notification that waits already.
    ///
    /// # Errors
    /// When none waits: now, or ever.
    pub fn try_recv(&mut self) -> Result<Notification, TryRecvError> {
        self.0.try_recv()
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
