//! When a field goes into the dynamic table and when it is referred to (RFC 9204 §2.1).

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::PREFIX;
use super::line::{self, Plan};
use super::table::{Entry, Table, fingerprint};
use crate::qpack::error::Error;
use crate::qpack::field::OVERHEAD;
use crate::qpack::static_table::Found;
use crate::qpack::{integer, string};

/// The dynamic table, and what the peer is known to have of it.
#[derive(Debug)]
pub(super) struct Dynamic {
    table: Table,
    /// The range in which the peer expects the Required Insert Count: it depends on what the peer offers, not on
    /// what is used of it.
    wrap: u64,
    is_announced: bool,
    /// The Known Received Count (RFC 9204 §2.1.4).
    known: u64,
    /// Sections with references that the peer has not acknowledged, oldest first.
    outstanding: VecDeque<Outstanding>,
    instructions: BytesMut,
    /// Insertions that were handed over to be sent. The peer can have no more, so that what waits to be sent stays in the table,
    /// and is bounded as that is.
    handed: u64,
}

#[derive(Debug)]
struct Outstanding {
    stream: u64,
    references: References,
}

/// Absolute indices that a section refers to. As entries are dropped in order, the oldest one protects the rest.
#[derive(Debug, Clone, Copy)]
struct References {
    oldest: u64,
    newest: u64,
}

impl Dynamic {
    /// `None` if the smaller of what the peer offers and `max_capacity` holds no entry.
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

    /// Appends the lines of `headers`, and completes the section's prefix, which is at `start`.
    pub(super) fn fields(
        &mut self,
        stream: u64,
        headers: &HeaderMap,
        start: usize,
        out: &mut BytesMut,
    ) {
        let mut references = None;
        let may_refer = self.outstanding.len() < MAX_OUTSTANDING;
        for (name, value) in headers {
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

    /// The absolute index to refer to for a field. If there is none yet, it may be there next time.
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

    /// Entries below this absolute index may be dropped (RFC 9204 §2.1.1): the peer has them, and no section that
    /// it may still have to decode refers to them.
    fn evictable(&self, references: Option<References>) -> u64 {
        let outstanding = self.outstanding.iter().map(|section| section.references);
        let oldest = outstanding.chain(references).map(|references| references.oldest).min();
        oldest.unwrap_or(self.known).min(self.known)
    }

    /// The first insertion comes with the capacity it needs (RFC 9204 §3.2.2).
    fn announce(&mut self) {
        if !self.is_announced {
            self.is_announced = true;
            let capacity = self.table.capacity() as u64;
            integer::encode(capacity, 5, SET_CAPACITY, &mut self.instructions);
        }
    }

    /// Writes the prefix of a section with references (RFC 9204 §4.5.1). The base is what the peer is known to
    /// have, so that all references count down from it.
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

/// Bytes of a value that goes into the table, at least: shorter ones can be guessed (RFC 9204 §7.1.3) and gain
/// little.
const SHORTEST: usize = 8;

/// A value takes this part of the table at most, so that one cannot empty it.
const LARGEST_SHARE: usize = 4;

/// Sections whose references are remembered: 6 KiB. With more on their way, further ones do without.
const MAX_OUTSTANDING: usize = 256;
