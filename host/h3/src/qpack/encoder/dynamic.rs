//! Decides when a field enters the dynamic table and when a line refers to it (RFC 9204 §2.1).

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{HeaderName, HeaderValue};

use super::PREFIX;
use super::line::{self, Plan};
use super::table::{Entry, Table, fingerprint};
use crate::qpack::error::Error;
use crate::qpack::field::OVERHEAD;
use crate::qpack::static_table::Found;
use crate::qpack::{integer, string};

/// The dynamic table, and the part of it that the peer is known to have.
#[derive(Debug)]
pub(super) struct Dynamic {
    table: Table,
    /// The range in which the peer expects the Required Insert Count. It depends on the peer's
    /// offer, not on the part of it in use.
    wrap: u64,
    is_announced: bool,
    /// The Known Received Count (RFC 9204 §2.1.4).
    known: u64,
    /// Sections with references that the peer has not acknowledged, oldest first.
    outstanding: VecDeque<Outstanding>,
    instructions: BytesMut,
    /// Insertions that were handed over to be sent. The peer cannot have more. Insertions that
    /// still wait stay in the table, and its size bounds them.
    handed: u64,
}

#[derive(Debug)]
struct Outstanding {
    stream: u64,
    references: References,
}

/// Absolute indices that a section refers to. Entries are dropped in order, so the oldest one
/// protects the rest.
#[derive(Debug, Clone, Copy)]
struct References {
    oldest: u64,
    newest: u64,
}

impl Dynamic {
    /// Makes the table. Returns `None` if the smaller of the peer's offer and `max_capacity` holds
    /// no entry.
    pub(super) fn new(offered: u64, max_capacity: usize) -> Option<Self> {
        let capacity = usize::try_from(offered).unwrap_or(usize::MAX).min(max_capacity);
        (capacity >= OVERHEAD).then(|| Self {
            table: Table::new(capacity),
            wrap: 2 * (offered / OVERHEAD as u64),
            is_announced: false,
            known: 0,
            outstanding: VecDeque::new(),
            instructions: BytesMut::new(),
            handed: 0,
        })
    }

    /// Appends these lines, and completes the section's prefix at `start`.
    pub(super) fn fields<'a>(
        &mut self,
        stream: u64,
        lines: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
        start: usize,
        out: &mut BytesMut,
    ) {
        let mut references = None;
        let may_refer = self.outstanding.len() < MAX_OUTSTANDING;
        for (name, value) in lines {
            match Plan::of(name, value) {
                Plan::Static(index) => line::indexed(index, out),
                Plan::Never(found) => line::never_indexed(name, value, found, out),
                Plan::Any(found) => {
                    let index = self.entry(name, value, found, references);
                    match index.filter(|_| may_refer) {
                        Some(index) => {
                            integer::encode(self.known - 1 - index, 6, INDEXED, out);
                            references = Some(References::including(references, index));
                        }
                        None => line::literal(name.as_str(), value.as_bytes(), found, 0, out),
                    }
                }
            }
        }
        if let Some(references) = references {
            self.prefix(references, start, out);
            self.outstanding.push_back(Outstanding { stream, references });
        }
    }

    /// RFC 9204 §4.4.1.
    pub(super) fn acknowledge(&mut self, stream: u64) -> Result<(), Error> {
        let position = self.outstanding.iter().position(|section| section.stream == stream);
        let section = position.and_then(|position| self.outstanding.remove(position));
        let section = section.ok_or(Error::decoder_stream("acknowledgment of no section"))?;
        self.known = self.known.max(section.references.newest + 1);
        Ok(())
    }

    /// RFC 9204 §4.4.2.
    pub(super) fn cancel(&mut self, stream: u64) {
        self.outstanding.retain(|section| section.stream != stream);
    }

    /// RFC 9204 §4.4.3.
    pub(super) fn increment(&mut self, increment: u64) -> Result<(), Error> {
        let known = self.known + increment;
        if increment == 0 || known > self.handed {
            return Err(Error::decoder_stream("increment of nothing, or past what was sent"));
        }
        self.known = known;
        Ok(())
    }

    pub(super) fn has_instructions(&self) -> bool {
        !self.instructions.is_empty()
    }

    pub(super) fn take_instructions(&mut self) -> Option<Bytes> {
        self.handed = self.table.inserted();
        (!self.instructions.is_empty()).then(|| self.instructions.split().freeze())
    }

    /// Returns the absolute index to refer to for a field. A field without an index now may have
    /// one at the next use.
    fn entry(
        &mut self,
        name: &HeaderName,
        value: &HeaderValue,
        found: Found,
        references: Option<References>,
    ) -> Option<u64> {
        let length = value.len();
        if length < SHORTEST || length > self.table.capacity() / LARGEST_SHARE {
            return None;
        }
        let fingerprint = fingerprint(name, value);
        let Some(index) = self.table.find(fingerprint, name, value) else {
            if self.table.was_seen(fingerprint) {
                let entry = Entry::new(fingerprint, name, value)?;
                if self.table.insert(entry, self.evictable(references)) {
                    self.announce();
                    insertion(name, value, found, &mut self.instructions);
                }
            }
            return None;
        };
        if index >= self.known {
            return None;
        }
        if self.table.is_draining(index) {
            let relative = self.table.inserted() - 1 - index;
            let copy = self.table.copy(index)?;
            if self.table.insert(copy, self.evictable(references)) {
                integer::encode(relative, 5, DUPLICATE, &mut self.instructions);
            }
            return None;
        }
        Some(index)
    }

    /// Returns the absolute index below which entries may be dropped (RFC 9204 §2.1.1). The peer
    /// has these entries, and no section that it may still decode refers to them.
    fn evictable(&self, references: Option<References>) -> u64 {
        let outstanding = self.outstanding.iter().map(|section| section.references);
        let oldest = outstanding.chain(references).map(|references| references.oldest).min();
        oldest.unwrap_or(self.known).min(self.known)
    }

    /// Sends the capacity before the first insertion, which needs it (RFC 9204 §3.2.2).
    fn announce(&mut self) {
        if !self.is_announced {
            self.is_announced = true;
            let capacity = self.table.capacity() as u64;
            integer::encode(capacity, 5, SET_CAPACITY, &mut self.instructions);
        }
    }

    /// Writes the prefix of a section with references (RFC 9204 §4.5.1). The base is the count that
    /// the peer is known to have, so that all references count down from it.
    fn prefix(&self, references: References, start: usize, out: &mut BytesMut) {
        let required = references.newest + 1;
        let mut prefix = BytesMut::with_capacity(16);
        integer::encode(required % self.wrap + 1, 8, 0, &mut prefix);
        integer::encode(self.known - required, 7, 0, &mut prefix);
        match out.get_mut(start..start + PREFIX) {
            Some(place) if prefix.len() == PREFIX => place.copy_from_slice(&prefix),
            _ => {
                let lines = out.split_off(start + PREFIX);
                out.truncate(start);
                out.put_slice(&prefix);
                out.put_slice(&lines);
            }
        }
    }
}

impl References {
    fn including(references: Option<Self>, index: u64) -> Self {
        let Self { oldest, newest } = references.unwrap_or(Self { oldest: index, newest: index });
        Self { oldest: oldest.min(index), newest: newest.max(index) }
    }
}

/// Appends the instruction that inserts a field (RFC 9204 §4.3.2, §4.3.3).
fn insertion(name: &HeaderName, value: &HeaderValue, found: Found, out: &mut BytesMut) {
    match found {
        Found::Line(index) | Found::Name(index) => {
            integer::encode(u64::from(index), 6, INSERT_WITH_STATIC_NAME, out);
        }
        Found::Nothing => string::encode(name.as_str().as_bytes(), 6, INSERT, out),
    }
    string::encode(value.as_bytes(), 8, 0, out);
}

/// RFC 9204 §4.5.2, with the dynamic table.
const INDEXED: u8 = 0x80;

/// RFC 9204 §4.3.1.
const SET_CAPACITY: u8 = 0x20;

/// RFC 9204 §4.3.2, with the static table.
const INSERT_WITH_STATIC_NAME: u8 = 0xc0;

/// RFC 9204 §4.3.3.
const INSERT: u8 = 0x40;

/// RFC 9204 §4.3.4.
const DUPLICATE: u8 = 0x00;

/// The fewest bytes of a value in the table: shorter values can be guessed (RFC 9204 §7.1.3) and
/// save little.
const SHORTEST: usize = 8;

/// The largest part of the table for one value, so that one value cannot empty it.
const LARGEST_SHARE: usize = 4;

/// Sections with recorded references: 6 KiB. While this many are unacknowledged, further sections
/// use no references.
const MAX_OUTSTANDING: usize = 256;
