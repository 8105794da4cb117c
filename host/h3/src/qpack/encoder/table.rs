//! The dynamic table that this endpoint fills (RFC 9204 §3.2), and the fields seen lately.

use std::collections::VecDeque;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};

use crate::qpack::field::OVERHEAD;

/// Entries by age, with an index to find them.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    inserted: u64,
    size: usize,
    capacity: usize,
    /// The absolute index plus one of the last entry in each slot. An entry that another displaced
    /// is not found again; that costs only compression.
    slots: [u64; SLOTS],
    /// Fingerprints of fields seen once lately: fields seen again are worth an entry.
    seen: [u32; SLOTS],
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    fingerprint: u32,
    name: HeaderName,
    value: HeaderValue,
    size: usize,
}

impl Table {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            inserted: 0,
            size: 0,
            capacity,
            slots: [0; SLOTS],
            seen: [0; SLOTS],
        }
    }

    /// The number of entries ever inserted.
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// The most bytes of entries.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Finds the absolute index of a field.
    pub(super) fn find(
        &self,
        fingerprint: u32,
        name: &HeaderName,
        value: &HeaderValue,
    ) -> Option<u64> {
        let index = self.slots.get(slot(fingerprint))?.checked_sub(1)?;
        let entry = self.absolute(index)?;
        let is_same =
            entry.fingerprint == fingerprint && entry.name == name && entry.value == value;
        is_same.then_some(index)
    }

    /// Returns whether the field was seen lately, and marks it as seen.
    pub(super) fn was_seen(&mut self, fingerprint: u32) -> bool {
        let slot = self.seen.get_mut(slot(fingerprint));
        slot.is_some_and(|seen| std::mem::replace(seen, fingerprint) == fingerprint)
    }

    /// Whether an entry is so old that new references would keep out new entries (RFC 9204
    /// §2.1.1.1). This is the older quarter of a table that is three quarters full.
    pub(super) fn is_draining(&self, index: u64) -> bool {
        let age = index - self.dropped();
        self.size > self.capacity / 4 * 3 && age < (self.entries.len() / 4) as u64
    }

    /// Copies the entry of an absolute index, to insert it again.
    pub(super) fn copy(&self, index: u64) -> Option<Entry> {
        self.absolute(index).cloned()
    }

    /// Adds an entry if entries below the absolute index `evictable` give enough room when dropped.
    pub(super) fn insert(&mut self, entry: Entry, evictable: u64) -> bool {
        let Some(room) = self.capacity.checked_sub(entry.size) else { return false };
        let (mut size, mut index) = (self.size, self.dropped());
        for oldest in &self.entries {
            if size <= room {
                break;
            }
            if index >= evictable {
                return false;
            }
            size -= oldest.size;
            index += 1;
        }
        while self.dropped() < index {
            self.entries.pop_front();
        }
        self.size = size + entry.size;
        self.inserted += 1;
        if let Some(slot) = self.slots.get_mut(slot(entry.fingerprint)) {
            *slot = self.inserted;
        }
        self.entries.push_back(entry);
        true
    }

    fn dropped(&self) -> u64 {
        self.inserted - self.entries.len() as u64
    }

    fn absolute(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.dropped())?).ok()?)
    }
}

impl Entry {
    /// Makes an entry with memory of its own, because a message's values may share a much larger
    /// buffer.
    pub(super) fn new(fingerprint: u32, name: &HeaderName, value: &HeaderValue) -> Option<Self> {
        let size = name.as_str().len() + value.len() + OVERHEAD;
        let value =
            HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value.as_bytes())).ok()?;
        Some(Self { fingerprint, name: name.clone(), value, size })
    }
}

/// Returns a hash of a field, never zero. Its quality affects only compression.
pub(super) fn fingerprint(name: &HeaderName, value: &HeaderValue) -> u32 {
    let hash = mix(mix(0, name.as_str().as_bytes()), value.as_bytes());
    ((hash >> 32) as u32).max(1)
}

fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ bytes.len() as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        hash = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(ODD);
        hash ^= hash >> 32;
    }
    for byte in rest {
        hash = hash.rotate_left(8);
        hash ^= u64::from(*byte);
    }
    hash = hash.wrapping_mul(ODD);
    hash ^ hash >> 29
}

fn slot(fingerprint: u32) -> usize {
    fingerprint as usize % SLOTS
}

/// Twice the entries that 4 KiB can hold.
const SLOTS: usize = 256;

/// The digits of the golden ratio, an odd number: the product spreads every bit of a word over its
/// upper half.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
