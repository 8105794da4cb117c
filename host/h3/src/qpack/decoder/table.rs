//! The dynamic table that the peer's encoder fills (RFC 9204 §3.2).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::qpack::error::Malformed;
use crate::qpack::field::{Line, Name, OVERHEAD};

/// Entries by age, within a capacity that the peer sets and a limit that this endpoint has set.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    inserted: u64,
    size: usize,
    capacity: usize,
    limit: usize,
}

/// An entry. An invalid name or value is still an entry: only messages that use the invalid part
/// are malformed.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    content: Content,
    name_length: usize,
    size: usize,
}

#[derive(Debug, Clone)]
enum Content {
    Line(Line),
    /// The value is malformed.
    Name(Name),
    /// The name is malformed.
    Nothing(Malformed),
}

impl Table {
    /// Makes an empty table that may grow to `limit` bytes, counted as in RFC 9204 §3.2.1.
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::new(), inserted: 0, size: 0, capacity: 0, limit }
    }

    /// The number of entries ever inserted.
    pub(super) fn inserted(&self) -> u64 {
        self.inserted
    }

    /// The largest capacity allowed.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The present capacity.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Changes the capacity. Returns `None` if it would pass the limit.
    pub(super) fn set_capacity(&mut self, capacity: u64) -> Option<()> {
        let capacity = usize::try_from(capacity).ok().filter(|capacity| *capacity <= self.limit)?;
        self.capacity = capacity;
        self.evict_to(capacity);
        Some(())
    }

    /// Adds an entry, and drops old ones to make room. Returns `None` if the entry is larger than
    /// the table.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<()> {
        let room = self.capacity.checked_sub(entry.size)?;
        self.evict_to(room);
        self.size += entry.size;
        self.entries.push_back(entry);
        self.inserted += 1;
        Some(())
    }

    /// The entry of an absolute index (RFC 9204 §3.2.4), unless it was dropped or has not arrived.
    #[inline]
    pub(super) fn absolute(&self, index: u64) -> Option<&Entry> {
        let dropped = self.inserted - self.entries.len() as u64;
        self.entries.get(usize::try_from(index.checked_sub(dropped)?).ok()?)
    }

    /// The entry of an index relative to the last insertion (RFC 9204 §3.2.5).
    pub(super) fn relative(&self, index: u64) -> Option<&Entry> {
        self.absolute(self.inserted.checked_sub(index)?.checked_sub(1)?)
    }

    fn evict_to(&mut self, room: usize) {
        while self.size > room {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size;
        }
    }
}

impl Entry {
    /// Makes an entry of a name with `name_length` bytes and a value as sent.
    pub(super) fn new(name: Result<Name, Malformed>, name_length: usize, value: &[u8]) -> Self {
        let content = match name {
            Ok(name) => match name.clone().with(Bytes::copy_from_slice(value)) {
                Ok(line) => Content::Line(line),
                Err(_) => Content::Name(name),
            },
            Err(malformed) => Content::Nothing(malformed),
        };
        Self { content, name_length, size: name_length + value.len() + OVERHEAD }
    }

    /// The whole line.
    #[inline]
    pub(super) fn line(&self) -> Result<&Line, Malformed> {
        match &self.content {
            Content::Line(line) => Ok(line),
            Content::Name(_) => Err(Malformed::Value),
            Content::Nothing(malformed) => Err(*malformed),
        }
    }

    /// The name alone.
    pub(super) fn name(&self) -> Result<Name, Malformed> {
        match &self.content {
            Content::Line(line) => Ok(line.name()),
            Content::Name(name) => Ok(name.clone()),
            Content::Nothing(malformed) => Err(*malformed),
        }
    }

    /// Bytes of the name.
    pub(super) fn name_length(&self) -> usize {
        self.name_length
    }

    /// Bytes of the name and of the value, and 32 (RFC 9204 §3.2.1).
    pub(super) fn size(&self) -> usize {
        self.size
    }
}
