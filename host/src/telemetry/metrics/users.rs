//! [`Users`]: counts the users of series by their labels, so that the last one removes them.
//!
//! A part of a configuration may leave and come back while a request still uses it. Its series then
//! have two users for a moment.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The users of series, by their labels. `V` are the values of further labels that occurred.
#[derive(Debug)]
pub(super) struct Users<K, V>(Mutex<HashMap<K, User<V>>>);

/// The number of users, and the further labels that occurred.
#[derive(Debug)]
struct User<V> {
    count: usize,
    further: HashSet<V>,
}

impl<K, V> Default for Users<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq, V: Hash + Eq> Users<K, V> {
    /// Adds a user and makes its series with `make`, which no removal can overtake. `make` gets
    /// whether this is the first user.
    pub(super) fn enter<T>(&self, key: K, make: impl FnOnce(bool) -> T) -> T {
        let mut users = self.lock();
        let user = users.entry(key).or_insert_with(|| User { count: 0, further: HashSet::new() });
        user.count += 1;
        let is_first = user.count == 1;
        make(is_first)
    }

    /// Notes that a series with further labels exists.
    pub(super) fn note(&self, key: &K, further: V) {
        if let Some(user) = self.lock().get_mut(key) {
            user.further.insert(further);
        }
    }

    /// Takes a user away. The last one removes the series with `remove`, which gets the further
    /// labels.
    pub(super) fn leave(&self, key: &K, remove: impl FnOnce(HashSet<V>)) {
        let mut users = self.lock();
        match users.get_mut(key) {
            Some(user) if user.count > 1 => user.count -= 1,
            _ => remove(users.remove(key).map(|user| user.further).unwrap_or_default()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, User<V>>> {
        // After a panic a number is too high or too low, and series end too late or too early.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn only_the_last_user_removes_the_series() {
        let users = Users::<&str, u8>::default();
        assert!(users.enter("a", |is_first| is_first));
        assert!(!users.enter("a", |is_first| is_first));
        users.note(&"a", 7);
        let removed = Cell::new(None);
        users.leave(&"a", |further| removed.set(Some(further)));
        assert!(removed.take().is_none());
        users.leave(&"a", |further| removed.set(Some(further)));
        assert_eq!(removed.take(), Some(HashSet::from([7])));
        assert!(users.lock().is_empty());
    }
}
