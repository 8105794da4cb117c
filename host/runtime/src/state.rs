//! The state that instances share: [`SharedState`], and [`MemoryState`], which keeps it in this
//! process.
//!
//! Values outlive instances and swaps. Memory is bounded: a full shard drops entries that expired
//! or were not used for long. A hand that goes round the entries finds them (second chance).

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use crate::limits::MOST_WHOLE;

/// Counters and values with a time to live, by key. A call must not block for longer than the copy
/// of a value takes.
///
/// `now` is in nanoseconds since the Unix epoch, `ttl_ms` in milliseconds; a `ttl_ms` of 0 means no
/// end.
pub trait SharedState: Send + Sync {
    /// Adds to a counter and returns the sum, which stays within ±(2^53 - 1). A missing counter
    /// begins at 0 and only then gets the time to live.
    fn add(&self, key: &[u8], by: i64, ttl_ms: u64, now: u64) -> i64;
    /// Returns a value; a counter as decimal text.
    fn get(&self, key: &[u8], now: u64) -> Option<Vec<u8>>;
    /// Sets a value.
    fn set(&self, key: &[u8], value: &[u8], ttl_ms: u64, now: u64);
    /// Sets a value if the present one is `expected`. Returns whether it set the value.
    fn replace(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: u64,
        now: u64,
    ) -> bool;
    /// Removes a key.
    fn remove(&self, key: &[u8]);
}

/// An entry of a state, for another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateEntry {
    /// The key, with its space.
    pub key: Vec<u8>,
    /// The value.
    pub value: StateValue,
    /// The end of its life in nanoseconds since the Unix epoch; 0 for none.
    pub expires: u64,
}

/// The value of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateValue {
    /// A counter.
    Counter(i64),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// State in memory, shared by the workers of this process.
pub struct MemoryState {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
}

impl MemoryState {
    /// Keeps up to about `bytes` of keys, values and index.
    pub fn new(bytes: usize) -> Self {
        let shard = || Mutex::new(Shard { limit: bytes / SHARDS, ..Shard::default() });
        Self { shards: (0..SHARDS).map(|_| shard()).collect(), hasher: RandomState::new() }
    }

    /// Bytes that it keeps now, counted as for the bound.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).bytes).sum()
    }

    /// Returns all entries, for another process.
    pub fn export(&self) -> Vec<StateEntry> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = lock(shard);
            all.extend(shard.entries.iter().map(|(key, entry)| StateEntry {
                key: key.to_vec(),
                value: match &entry.value {
                    Value::Counter(sum) => StateValue::Counter(*sum),
                    Value::Bytes(bytes) => StateValue::Bytes(bytes.to_vec()),
                },
                expires: entry.expires,
            }));
        }
        all
    }

    /// Takes the entries of another process. They replace entries of the same keys.
    pub fn import(&self, entries: impl Iterator<Item = StateEntry>) {
        for StateEntry { key, value, expires } in entries {
            let value = match value {
                StateValue::Counter(sum) => Value::Counter(sum),
                StateValue::Bytes(bytes) => Value::Bytes(bytes.into()),
            };
            let mut shard = self.shard(&key);
            shard.insert(&key, value, 0, 0);
            if let Some(entry) = shard.entries.get_mut(key.as_slice()) {
                entry.expires = expires;
            }
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        #[allow(clippy::cast_possible_truncation, reason = "the remainder is below the shards")]
        let index = (self.hasher.hash_one(key) % SHARDS as u64) as usize;
        #[allow(clippy::indexing_slicing, reason = "there are as many as the divisor")]
        lock(&self.shards[index])
    }
}

impl SharedState for MemoryState {
    fn add(&self, key: &[u8], by: i64, ttl_ms: u64, now: u64) -> i64 {
        let mut shard = self.shard(key);
        if let Some(Entry { value: Value::Counter(sum), .. }) = shard.live(key, now) {
            *sum = within(sum.saturating_add(by));
            return *sum;
        }
        let by = within(by);
        shard.insert(key, Value::Counter(by), ttl_ms, now);
        by
    }

    fn get(&self, key: &[u8], now: u64) -> Option<Vec<u8>> {
        self.shard(key).live(key, now).map(|entry| entry.value.to_bytes())
    }

    fn set(&self, key: &[u8], value: &[u8], ttl_ms: u64, now: u64) {
        self.shard(key).insert(key, Value::Bytes(value.into()), ttl_ms, now);
    }

    fn replace(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: u64,
        now: u64,
    ) -> bool {
        let mut shard = self.shard(key);
        let is_expected = match (shard.live(key, now), expected) {
            (None, None) => true,
            (Some(entry), Some(expected)) => entry.value.is(expected),
            _ => false,
        };
        if is_expected {
            shard.insert(key, Value::Bytes(value.into()), ttl_ms, now);
        }
        is_expected
    }

    fn remove(&self, key: &[u8]) {
        self.shard(key).remove(key);
    }
}

#[derive(Default)]
struct Shard {
    entries: IndexMap<Box<[u8]>, Entry>,
    bytes: usize,
    limit: usize,
    /// The index where the next search for room begins.
    hand: usize,
}

struct Entry {
    value: Value,
    /// Nanoseconds since the Unix epoch; 0 for never.
    expires: u64,
    was_used: bool,
}

enum Value {
    Counter(i64),
    Bytes(Box<[u8]>),
}

impl Shard {
    fn live(&mut self, key: &[u8], now: u64) -> Option<&mut Entry> {
        let entry = self.entries.get_mut(key).filter(|entry| !entry.is_expired(now))?;
        entry.was_used = true;
        Some(entry)
    }

    fn insert(&mut self, key: &[u8], value: Value, ttl_ms: u64, now: u64) {
        self.remove(key);
        let cost = cost(key, &value);
        // Each insertion looks at two entries, so that expired entries do not fill the shard.
        for _ in 0..2 {
            self.advance(now, false);
        }
        while self.bytes + cost > self.limit && !self.entries.is_empty() {
            self.advance(now, true);
        }
        let expires = match ttl_ms {
            0 => 0,
            ms => now.saturating_add(ms.saturating_mul(1_000_000)),
        };
        self.bytes += cost;
        self.entries.insert(key.into(), Entry { value, expires, was_used: false });
    }

    /// Looks at one entry. Drops it if it expired or, when room is needed, if it was not used since
    /// the last look.
    fn advance(&mut self, now: u64, needs_room: bool) {
        if self.hand >= self.entries.len() {
            self.hand = 0;
        }
        let Some((_, entry)) = self.entries.get_index_mut(self.hand) else { return };
        let is_used = std::mem::take(&mut entry.was_used);
        if entry.is_expired(now) || (needs_room && !is_used) {
            if let Some((key, entry)) = self.entries.swap_remove_index(self.hand) {
                self.bytes -= cost(&key, &entry.value);
            }
        } else {
            entry.was_used = is_used && !needs_room;
            self.hand += 1;
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.swap_remove(key) {
            self.bytes -= cost(key, &entry.value);
        }
    }
}

impl Entry {
    fn is_expired(&self, now: u64) -> bool {
        self.expires != 0 && self.expires <= now
    }
}

impl Value {
    fn to_bytes(&self) -> Vec<u8> {
        match self {
            Value::Counter(sum) => sum.to_string().into_bytes(),
            Value::Bytes(bytes) => bytes.to_vec(),
        }
    }

    fn is(&self, expected: &[u8]) -> bool {
        match self {
            Value::Counter(sum) => sum.to_string().as_bytes() == expected,
            Value::Bytes(bytes) => **bytes == *expected,
        }
    }
}

/// Returns the closest sum that every language holds exactly.
fn within(sum: i64) -> i64 {
    let most = MOST_WHOLE.cast_signed();
    sum.clamp(-most, most)
}

fn cost(key: &[u8], value: &Value) -> usize {
    let value = match value {
        Value::Counter(_) => 0,
        Value::Bytes(bytes) => bytes.len(),
    };
    key.len() + value + OVERHEAD
}

/// A panic while a shard is locked cannot leave it in a harmful state: at worst a count is off.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// There are more shards than workers, so that two workers seldom use the same one.
const SHARDS: usize = 64;

/// Bytes of the table, the entry and two allocations.
const OVERHEAD: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_move_with_their_values_and_their_ends() {
        let (old, new) = (MemoryState::new(1 << 20), MemoryState::new(1 << 20));
        old.add(b"counter", 7, 0, 1);
        old.set(b"value", b"bytes", 5, 1_000_000);
        new.import(old.export().into_iter());
        assert_eq!(new.add(b"counter", 1, 0, 1), 8);
        assert_eq!(new.get(b"value", 5_999_999), Some(b"bytes".to_vec()));
        assert_eq!(new.get(b"value", 6_000_001), None);
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_counter_keeps_its_first_time_to_live() {
        let state = MemoryState::new(1 << 20);
        assert_eq!(state.add(b"k", 2, 10, 0), 2);
        assert_eq!(state.add(b"k", 3, 10, 9 * MS), 5);
        assert_eq!(state.get(b"k", 9 * MS), Some(b"5".to_vec()));
        assert_eq!(state.add(b"k", 1, 10, 10 * MS), 1);
        let most = MOST_WHOLE.cast_signed();
        assert_eq!(state.add(b"max", i64::MAX, 0, 0), most);
        assert_eq!(state.add(b"max", 1, 0, 0), most);
        assert_eq!(state.add(b"min", 1 - most, 0, 0), 1 - most);
        assert_eq!(state.add(b"min", i64::MIN, 0, 0), -most);
    }

    #[test]
    fn a_value_is_replaced_only_by_who_knows_it() {
        let state = MemoryState::new(1 << 20);
        assert!(state.replace(b"k", None, b"a", 0, 0));
        assert!(!state.replace(b"k", None, b"b", 0, 0));
        assert!(!state.replace(b"k", Some(b"x"), b"b", 0, 0));
        assert!(state.replace(b"k", Some(b"a"), b"b", 5, 0));
        assert!(state.replace(b"k", None, b"c", 0, 5 * MS), "an expired value is none");
        state.remove(b"k");
        assert_eq!(state.get(b"k", 0), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let state = MemoryState::new(64 * 40 * 200);
        state.set(b"kept", b"value", 0, 0);
        for n in 0..100_000u32 {
            state.set(&n.to_be_bytes(), &[0; 80], 0, 0);
            assert!(state.get(b"kept", 0).is_some());
        }
        assert!(state.bytes() <= 64 * 40 * 200, "{}", state.bytes());
        assert!(state.bytes() > 64 * 30 * 200, "{}", state.bytes());
    }

    #[test]
    fn what_expired_goes_without_pressure() {
        let state = MemoryState::new(1 << 30);
        for n in 0..100_000u64 {
            state.add(&n.to_be_bytes(), 1, 1, n * MS);
        }
        assert!(state.bytes() < 20_000 * OVERHEAD, "{}", state.bytes());
    }
}
