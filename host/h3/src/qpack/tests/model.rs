//! An encoder that uses everything that RFC 9204 allows, at its caller's command: it refers to
//! entries that the peer may not have, counts from any base, and duplicates at will. It ignores
//! efficiency.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::support::raw;
use crate::qpack::{integer, static_table};

type Entry = (String, Vec<u8>);

pub(super) struct Model {
    limit: usize,
    capacity: usize,
    entries: VecDeque<Entry>,
    inserted: u64,
    known: u64,
    outstanding: Vec<(u64, Vec<u64>)>,
    stream: BytesMut,
}

pub(super) struct Section<'a> {
    model: &'a mut Model,
    base: u64,
    references: Vec<u64>,
    lines: BytesMut,
}

impl Model {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            capacity: 0,
            entries: VecDeque::new(),
            inserted: 0,
            known: 0,
            outstanding: Vec::new(),
            stream: BytesMut::new(),
        }
    }

    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// The valid absolute indices.
    pub(super) fn indices(&self) -> std::ops::Range<u64> {
        self.inserted - self.entries.len() as u64..self.inserted
    }

    pub(super) fn entry(&self, index: u64) -> &Entry {
        &self.entries[usize::try_from(index - self.indices().start).unwrap()]
    }

    /// Streams with sections that the peer may be unable to decode.
    pub(super) fn at_risk(&self) -> Vec<u64> {
        let mut streams: Vec<u64> = self
            .outstanding
            .iter()
            .filter(|(_, references)| references.iter().any(|index| *index >= self.known))
            .map(|(stream, _)| *stream)
            .collect();
        streams.sort_unstable();
        streams.dedup();
        streams
    }

    pub(super) fn take_stream(&mut self) -> Bytes {
        self.stream.split().freeze()
    }

    /// Sets the capacity unless this would drop entries in use.
    pub(super) fn set_capacity(&mut self, capacity: usize) {
        let capacity = capacity.min(self.limit);
        if self.make_room(capacity) {
            self.capacity = capacity;
            integer::encode(capacity as u64, 5, 0x20, &mut self.stream);
        }
    }

    pub(super) fn insert_static(&mut self, index: u64, name: &str, value: &[u8]) {
        self.insert((name.to_owned(), value.to_vec()), |out, _| {
            integer::encode(index, 6, 0xc0, out);
            out.put_slice(&raw(value));
        });
    }

    pub(super) fn insert_dynamic(&mut self, index: u64, value: &[u8]) {
        let name = self.entry(index).0.clone();
        self.insert((name, value.to_vec()), |out, inserted| {
            integer::encode(inserted - 1 - index, 6, 0x80, out);
            out.put_slice(&raw(value));
        });
    }

    pub(super) fn insert_literal(&mut self, name: &str, value: &[u8]) {
        self.insert((name.to_owned(), value.to_vec()), |out, _| {
            integer::encode(name.len() as u64, 5, 0x40, out);
            out.put_slice(name.as_bytes());
            out.put_slice(&raw(value));
        });
    }

    pub(super) fn duplicate(&mut self, index: u64) {
        self.insert(self.entry(index).clone(), |out, inserted| {
            integer::encode(inserted - 1 - index, 5, 0, out);
        });
    }

    pub(super) fn section(&mut self, base: u64) -> Section<'_> {
        Section { model: self, base, references: Vec::new(), lines: BytesMut::new() }
    }

    /// Follows whole instructions of the decoder stream.
    pub(super) fn feedback(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            let prefix = if *first >= 0x80 { 7 } else { 6 };
            let (value, rest) = integer::decode(bytes, prefix).unwrap().unwrap();
            match first {
                0x80.. => {
                    let at = self.outstanding.iter().position(|(stream, _)| *stream == value);
                    let (_, references) =
                        self.outstanding.remove(at.expect("an acknowledged section"));
                    self.known = self.known.max(references.iter().max().unwrap() + 1);
                }
                0x40.. => self.outstanding.retain(|(stream, _)| *stream != value),
                _ => self.known += value,
            }
            assert!(self.known <= self.inserted);
            bytes = rest;
        }
    }

    fn insert(&mut self, entry: Entry, write: impl FnOnce(&mut BytesMut, u64)) {
        let size = entry.0.len() + entry.1.len() + 32;
        let inserted = self.inserted;
        if size <= self.capacity && self.make_room(self.capacity - size) {
            write(&mut self.stream, inserted);
            self.entries.push_back(entry);
            self.inserted += 1;
        }
    }

    fn make_room(&mut self, room: usize) -> bool {
        let mut size: usize =
            self.entries.iter().map(|(name, value)| name.len() + value.len() + 32).sum();
        let mut drop = 0;
        for (index, (name, value)) in self.indices().zip(&self.entries) {
            if size <= room {
                break;
            }
            let is_used =
                self.outstanding.iter().any(|(_, references)| references.contains(&index));
            if is_used || index >= self.known {
                return false;
            }
            size -= name.len() + value.len() + 32;
            drop += 1;
        }
        self.entries.drain(..drop);
        true
    }
}

impl Section<'_> {
    pub(super) fn indexed_static(&mut self, index: u64) {
        integer::encode(index, 6, 0xc0, &mut self.lines);
    }

    pub(super) fn literal_static(&mut self, index: u64, value: &[u8]) {
        assert!(static_table::line(index).is_some());
        integer::encode(index, 4, 0x50, &mut self.lines);
        self.lines.put_slice(&raw(value));
    }

    pub(super) fn literal(&mut self, name: &[u8], value: &[u8]) {
        integer::encode(name.len() as u64, 3, 0x20, &mut self.lines);
        self.lines.put_slice(name);
        self.lines.put_slice(&super::support::literal(value));
    }

    pub(super) fn indexed(&mut self, index: u64) {
        self.references.push(index);
        match index.checked_sub(self.base) {
            Some(above) => integer::encode(above, 4, 0x10, &mut self.lines),
            None => integer::encode(self.base - 1 - index, 6, 0x80, &mut self.lines),
        }
    }

    pub(super) fn literal_dynamic(&mut self, index: u64, value: &[u8]) {
        self.references.push(index);
        match index.checked_sub(self.base) {
            Some(above) => integer::encode(above, 3, 0, &mut self.lines),
            None => integer::encode(self.base - 1 - index, 4, 0x40, &mut self.lines),
        }
        self.lines.put_slice(&super::support::literal(value));
    }

    pub(super) fn finish(self, stream: u64) -> Bytes {
        let mut out = BytesMut::new();
        match self.references.iter().max() {
            None => out.put_slice(&[0, 0]),
            Some(newest) => {
                let required = newest + 1;
                let range = 2 * (self.model.limit as u64 / 32);
                integer::encode(required % range + 1, 8, 0, &mut out);
                match self.base.checked_sub(required) {
                    Some(delta) => integer::encode(delta, 7, 0, &mut out),
                    None => integer::encode(required - self.base - 1, 7, 0x80, &mut out),
                }
                self.model.outstanding.push((stream, self.references));
            }
        }
        out.put_slice(&self.lines);
        out.freeze()
    }
}
