//! A stand-in for the host's state, in unit tests.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use crate::host::now;

/// Values, and the ends of their lives.
type Entries = HashMap<(String, String), (Vec<u8>, Option<Duration>)>;

thread_local! {
    static STATE: RefCell<Entries> = RefCell::default();
}

pub(super) fn add(space: &str, key: &str, by: i64, ttl_ms: u64) -> i64 {
    let old = live(space, key);
    let sum = old.as_ref().and_then(|(value, _)| std::str::from_utf8(value).ok()?.parse().ok());
    let sum = by.saturating_add(sum.unwrap_or(0)).clamp(-MOST_SUM, MOST_SUM);
    let expires = old.map_or_else(|| expiry(ttl_ms), |(_, expires)| expires);
    insert(space, key, sum.to_string().as_bytes(), expires);
    sum
}

pub(super) fn get(space: &str, key: &str) -> Option<Vec<u8>> {
    live(space, key).map(|(value, _)| value)
}

pub(super) fn set(space: &str, key: &str, value: &[u8], ttl_ms: u64) {
    insert(space, key, value, expiry(ttl_ms));
}

pub(super) fn replace(
    space: &str,
    key: &str,
    expected: Option<&[u8]>,
    value: &[u8],
    ttl_ms: u64,
) -> bool {
    let is_expected = get(space, key).as_deref() == expected;
    if is_expected {
        set(space, key, value, ttl_ms);
    }
    is_expected
}

pub(super) fn remove(space: &str, key: &str) {
    STATE.with_borrow_mut(|state| state.remove(&(space.to_owned(), key.to_owned())));
}

fn live(space: &str, key: &str) -> Option<(Vec<u8>, Option<Duration>)> {
    let entry =
        STATE.with_borrow(|state| state.get(&(space.to_owned(), key.to_owned())).cloned())?;
    entry.1.is_none_or(|end| end > now()).then_some(entry)
}

fn insert(space: &str, key: &str, value: &[u8], expires: Option<Duration>) {
    let key = (space.to_owned(), key.to_owned());
    STATE.with_borrow_mut(|state| state.insert(key, (value.to_vec(), expires)));
}

fn expiry(ttl_ms: u64) -> Option<Duration> {
    (ttl_ms != 0).then(|| now() + Duration::from_millis(ttl_ms))
}

/// The largest sum of a counter, and negated the least.
const MOST_SUM: i64 = (1 << 53) - 1;
