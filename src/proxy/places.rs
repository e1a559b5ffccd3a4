//! How many calls of one user are being answered, over all doors: `/mcp` and REST share them. Keeps nothing of a user
//! without calls.

use std::sync::Arc;

use dashmap::{DashMap, Entry};

use crate::ids::UserId;

/// Counts calls by user. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct Places(Arc<DashMap<UserId, usize>>);

/// A place of one user's call, until this is dropped.
#[derive(Debug)]
#[must_use = "the place is free again when this is dropped"]
pub struct Place {
    places: Places,
    user: UserId,
}

impl Places {
    /// Takes a place; `None` when `at_most` calls of the user are being answered.
    #[must_use]
    pub fn take(&self, user: &UserId, at_most: usize) -> Option<Place> {
        match self.0.entry(user.clone()) {
            Entry::Occupied(taken) if *taken.get() >= at_most => return None,
            Entry::Occupied(mut taken) => *taken.get_mut() += 1,
            Entry::Vacant(_) if at_most == 0 => return None,
            Entry::Vacant(free) => {
                free.insert(1);
            }
        }
        Some(Place {
            places: self.clone(),
            user: user.clone(),
        })
    }

    /// Returns how many calls of a user are being answered.
    #[must_use]
    pub fn taken(&self, user: &UserId) -> usize {
        self.0.get(user).map_or(0, |taken| *taken)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Entry::Occupied(mut taken) = self.places.0.entry(self.user.clone()) {
            *taken.get_mut() -= 1;
            if *taken.get() == 0 {
                taken.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_places_and_takes_none_of_another() {
        let places = Places::default();
        let (alice, bob) = (UserId::new("alice"), UserId::new("bob"));
        let first = places.take(&alice, 2);
        let second = places.take(&alice, 2);
        assert!(first.is_some() && second.is_some());
        assert!(places.take(&alice, 2).is_none());
        assert!(places.take(&bob, 2).is_some());
        drop(first);
        assert_eq!(places.taken(&alice), 1);
        assert!(places.take(&alice, 2).is_some());
        assert!(places.take(&bob, 0).is_none());
    }

    #[test]
    fn nothing_is_kept_of_a_user_without_calls() {
        let places = Places::default();
        let place = places.take(&UserId::new("alice"), 2);
        assert_eq!(places.0.len(), 1);
        drop(place);
        assert!(places.0.is_empty());
    }
}
