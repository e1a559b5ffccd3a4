//! One piece of work at a time for each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::UserId;

/// Who is being seen to: one piece of work at a time for each user. A project that replaces another takes it over.
#[derive(Debug, Default)]
pub(in crate::integrations) struct Turns(Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>);

/// A user's turn; it ends when it is dropped.
#[derive(Debug)]
pub(in crate::integrations) struct Turn<'a> {
    turns: &'a Turns,
    user: UserId,
    held: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until it is a user's turn.
    pub(in crate::integrations) async fn wait(&self, user: &UserId) -> Turn<'_> {
        let mut turn = Turn {
            turns: self,
            user: user.clone(),
            held: None,
        };
        turn.held = Some(self.take(user).lock_owned().await);
        turn
    }

    pub(super) fn take(&self, user: &UserId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(user.clone()).or_default())
    }

    pub(super) fn end(&self, user: &UserId) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if turns.get(user).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(user);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.held = None;
        self.turns.end(&self.user);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn turns_of_one_user_come_one_by_one_and_leave_nothing_behind() {
        let (turns, alice) = (Turns::default(), UserId::new("alice"));
        let first = turns.wait(&alice).now_or_never().unwrap();
        let mut second = Box::pin(turns.wait(&alice));
        assert!(second.as_mut().now_or_never().is_none());
        assert!(turns.wait(&UserId::new("bob")).now_or_never().is_some());
        // One that is given up while it waits.
        drop(second);
        drop(first);
        assert!(turns.wait(&alice).now_or_never().is_some());
        assert_eq!(turns.0.lock().unwrap().len(), 0);
    }
}
