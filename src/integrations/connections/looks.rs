//! Which looks at a user's toolkits are under way, and what was settled since they began: a look that is older than that
//! saw what is no more, and writes nothing. Remembers nothing of users at whom nobody looks.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::ids::UserId;
use crate::store::connections::Place;

/// The looks that are under way.
#[derive(Debug, Default)]
pub(super) struct Looks(Mutex<HashMap<UserId, Looked>>);

#[derive(Debug, Default)]
struct Looked {
    under_way: usize,
    settled: u64,
    /// When something was settled last, by gateway and toolkit.
    last: HashMap<Place, u64>,
}

/// A look; it ends when it is dropped.
#[derive(Debug)]
pub(super) struct Look<'a> {
    looks: &'a Looks,
    user: UserId,
    began: u64,
}

impl Looks {
    /// Begins a look, before Composio is asked.
    pub(super) fn begin(&self, user: &UserId) -> Look<'_> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = all.entry(user.clone()).or_default();
        looked.under_way += 1;
        Look {
            looks: self,
            user: user.clone(),
            began: looked.settled,
        }
    }

    /// Notes that what a user has at a place was settled otherwise; before it is written.
    pub(super) fn settled(&self, place: &Place) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(looked) = all.get_mut(&place.user) {
            looked.settled += 1;
            looked.last.insert(place.clone(), looked.settled);
        }
    }
}

impl Look<'_> {
    /// Tells whether something was settled at a place since the look began.
    pub(super) fn is_older(&self, place: &Place) -> bool {
        let all = self.looks.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.get(&self.user).and_then(|looked| looked.last.get(place));
        last.is_some_and(|last| *last > self.began)
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut all = self.looks.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(looked) = all.get_mut(&self.user) {
            looked.under_way -= 1;
            if looked.under_way == 0 {
                all.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GatewayId;

    #[test]
    fn a_look_is_older_than_what_was_settled_after_it_began_and_nothing_is_remembered_in_the_end() {
        let (looks, alice) = (Looks::default(), UserId::new("alice"));
        let place = |toolkit: &str| Place {
            gateway: GatewayId::new("g"),
            user: alice.clone(),
            toolkit: toolkit.to_owned(),
        };
        let (gmail, slack) = (place("gmail"), place("slack"));
        looks.settled(&gmail);
        let first = looks.begin(&alice);
        assert!(!first.is_older(&gmail), "that was before");
        looks.settled(&gmail);
        let second = looks.begin(&alice);
        assert!(first.is_older(&gmail) && !first.is_older(&slack) && !second.is_older(&gmail));
        drop(first);
        looks.settled(&gmail);
        assert!(second.is_older(&gmail));
        drop(second);
        assert!(looks.0.lock().unwrap().is_empty());
        assert!(!looks.begin(&alice).is_older(&gmail));
    }
}
