//! One piece of work at a time for each user.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::ids::UserId;

/// Who is being seen to: one piece of work at a time for each user. A project that replaces another takes it over.
#[derive(Debug, Default)]
pub(in crate::integrations) struct Turns(Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>);

impl Turns {
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
