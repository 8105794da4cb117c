//! Decodes one field section, line by line (RFC 9204 §4.5).

use bytes::{Bytes, BytesMut};

use super::table::{Entry, Table};
use super::{Decoded, Limits};
use crate::qpack::error::{DecodeError, Error, Malformed};
use crate::qpack::field::{Name, OVERHEAD, Sink, Text};
use crate::qpack::string::Literal;
use crate::qpack::{huffman, integer, static_table, string};

/// The prefix of a section (RFC 9204 §4.5.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefix {
    /// The number of insertions that must have arrived.
    pub(super) required: u64,
    base: u64,
}

/// A section being decoded.
pub(super) struct Section<'a, S> {
    table: &'a Table,
    section: &'a Bytes,
    prefix: Prefix,
    budget: Budget,
    /// Memory for decoded Huffman strings: allocated once, split into values.
    scratch: BytesMut,
    sink: &'a mut S,
}

/// The rest of the limits.
struct Budget {
    limits: Limits,
    left: Limits,
}

impl Prefix {
    /// Reads the prefix of `section` and returns the lines after it.
    pub(super) fn decode<'a>(
        section: &'a [u8],
        table: &Table,
    ) -> Result<(Self, &'a [u8]), DecodeError> {
        let (encoded, rest) = integer(section, 8)?;
        let is_negative = rest.first().is_some_and(|first| first & 0x80 != 0);
        let (delta, rest) = integer(rest, 7)?;
        let required = required_insert_count(encoded, table).ok_or(REQUIRED)?;
        let base = if is_negative {
            required.checked_sub(delta).and_then(|base| base.checked_sub(1)).ok_or(BASE)?
        } else {
            required + delta
        };
        Ok((Self { required, base }, rest))
    }
}

impl<'a, S: Sink> Section<'a, S> {
    pub(super) fn new(
        table: &'a Table,
        section: &'a Bytes,
        prefix: Prefix,
        limits: Limits,
        sink: &'a mut S,
    ) -> Self {
        let limits = Limits { fields: limits.fields.min(MAX_FIELDS), ..limits };
        let budget = Budget { limits, left: limits };
        Self { table, section, prefix, budget, scratch: BytesMut::new(), sink }
    }

    /// Decodes the lines in `rest`.
    pub(super) fn decode(mut self, mut rest: &[u8]) -> Result<Decoded, DecodeError> {
        while let Some(first) = rest.first() {
            rest = match first {
                0x80.. => self.indexed(rest, first & 0x40 != 0)?,
                0x40.. => self.literal_with_name_reference(rest, *first)?,
                0x20.. => self.literal_with_literal_name(rest, first & 0x10 != 0)?,
                0x10.. => self.indexed_post_base(rest)?,
                _ => self.literal_with_post_base_name_reference(rest, first & 0x08 != 0)?,
            };
        }
        Ok(self.budget.spent())
    }

    /// RFC 9204 §4.5.2.
    fn indexed<'b>(&mut self, input: &'b [u8], is_static: bool) -> Result<&'b [u8], DecodeError> {
        let (index, rest) = integer(input, 6)?;
        if is_static {
            let line = static_table::line(index).ok_or(UNKNOWN_STATIC)?;
            self.budget.spend(line.size())?;
            line.deliver(self.sink)?;
        } else {
            self.entry(self.below_base(index))?;
        }
        Ok(rest)
    }

    /// RFC 9204 §4.5.3.
    fn indexed_post_base<'b>(&mut self, input: &'b [u8]) -> Result<&'b [u8], DecodeError> {
        let (index, rest) = integer(input, 4)?;
        self.entry(self.above_base(index))?;
        Ok(rest)
    }

    /// RFC 9204 §4.5.4.
    fn literal_with_name_reference<'b>(
        &mut self,
        input: &'b [u8],
        first: u8,
    ) -> Result<&'b [u8], DecodeError> {
        let (index, rest) = integer(input, 4)?;
        let is_sensitive = first & 0x20 != 0;
        if first & 0x10 == 0 {
            return self.literal_with_entry_name(self.below_base(index), rest, is_sensitive);
        }
        let name = static_table::line(index).ok_or(UNKNOWN_STATIC)?.name();
        let length = name.as_str().len();
        self.literal(Ok(name), length, rest, is_sensitive)
    }

    /// RFC 9204 §4.5.5.
    fn literal_with_post_base_name_reference<'b>(
        &mut self,
        input: &'b [u8],
        is_sensitive: bool,
    ) -> Result<&'b [u8], DecodeError> {
        let (index, rest) = integer(input, 3)?;
        self.literal_with_entry_name(self.above_base(index), rest, is_sensitive)
    }

    /// RFC 9204 §4.5.6.
    fn literal_with_literal_name<'b>(
        &mut self,
        input: &'b [u8],
        is_sensitive: bool,
    ) -> Result<&'b [u8], DecodeError> {
        let (literal, rest) = literal(input, 4)?;
        let most = self.budget.string(0)?;
        let (name, length) = if literal.is_huffman {
            let scratch = self.scratch(&literal, rest, most);
            let length = huffman::decode(literal.bytes, scratch).map_err(string_fault)?;
            (Name::parse(scratch.get(..length).unwrap_or_default()), length)
        } else if literal.bytes.len() > most {
            return Err(DecodeError::TooLarge);
        } else {
            (Name::parse(literal.bytes), literal.bytes.len())
        };
        self.literal(name, length, rest, is_sensitive)
    }

    fn entry(&mut self, index: Option<u64>) -> Result<(), DecodeError> {
        let entry = self.referenced(index)?;
        self.budget.spend(entry.size())?;
        entry.line()?.deliver(self.sink)?;
        Ok(())
    }

    fn literal_with_entry_name<'b>(
        &mut self,
        index: Option<u64>,
        rest: &'b [u8],
        is_sensitive: bool,
    ) -> Result<&'b [u8], DecodeError> {
        let entry = self.referenced(index)?;
        self.literal(entry.name(), entry.name_length(), rest, is_sensitive)
    }

    /// Decodes the value of a literal line with a known name.
    fn literal<'b>(
        &mut self,
        name: Result<Name, Malformed>,
        name_length: usize,
        input: &'b [u8],
        is_sensitive: bool,
    ) -> Result<&'b [u8], DecodeError> {
        let (literal, rest) = literal(input, 8)?;
        let most = self.budget.string(name_length)?;
        let value = if literal.is_huffman {
            let scratch = self.scratch(&literal, rest, most);
            let length = huffman::decode(literal.bytes, scratch).map_err(string_fault)?;
            self.scratch.split_to(length).freeze().into()
        } else if literal.bytes.len() > most {
            return Err(DecodeError::TooLarge);
        } else {
            Text::of(self.section, literal.bytes)
        };
        self.budget.spend(name_length + value.len() + OVERHEAD)?;
        name?.deliver(value, is_sensitive, self.sink)?;
        Ok(rest)
    }

    /// Returns room for `literal` decoded, but for no more than `most` bytes.
    ///
    /// The first call also allocates for the rest of the section, within its limit, so that later
    /// calls do not allocate.
    fn scratch(&mut self, literal: &Literal<'_>, rest: &[u8], most: usize) -> &mut [u8] {
        let needed = literal.most().min(most);
        if self.scratch.len() < needed {
            let all = Literal { is_huffman: true, bytes: rest }.most() + literal.most();
            self.scratch = BytesMut::zeroed(all.min(self.budget.left.bytes).max(needed));
        }
        self.scratch.get_mut(..needed).unwrap_or_default()
    }

    fn referenced(&self, index: Option<u64>) -> Result<&'a Entry, DecodeError> {
        let index = index.filter(|index| *index < self.prefix.required).ok_or(BEYOND)?;
        Ok(self.table.absolute(index).ok_or(EVICTED)?)
    }

    fn below_base(&self, index: u64) -> Option<u64> {
        self.prefix.base.checked_sub(index)?.checked_sub(1)
    }

    fn above_base(&self, index: u64) -> Option<u64> {
        self.prefix.base.checked_add(index)
    }
}

impl Budget {
    /// Returns the most bytes of a string in a field that has `taken` bytes already.
    fn string(&self, taken: usize) -> Result<usize, DecodeError> {
        let left = self.left.bytes.checked_sub(OVERHEAD + taken);
        left.filter(|_| self.left.fields > 0).ok_or(DecodeError::TooLarge)
    }

    /// Counts a field of `size` bytes.
    #[inline]
    fn spend(&mut self, size: usize) -> Result<(), DecodeError> {
        let bytes = self.left.bytes.checked_sub(size).ok_or(DecodeError::TooLarge)?;
        let fields = self.left.fields.checked_sub(1).ok_or(DecodeError::TooLarge)?;
        self.left = Limits { bytes, fields };
        Ok(())
    }

    fn spent(&self) -> Decoded {
        Decoded {
            bytes: self.limits.bytes - self.left.bytes,
            fields: self.limits.fields - self.left.fields,
        }
    }
}

/// Undoes the wrapping of the Required Insert Count (RFC 9204 §4.5.1.1). Returns `None` if no
/// encoder sends this.
fn required_insert_count(encoded: u64, table: &Table) -> Option<u64> {
    if encoded == 0 {
        return Some(0);
    }
    let most_entries = (table.limit() / OVERHEAD) as u64;
    let range = 2 * most_entries;
    if encoded > range {
        return None;
    }
    let most = table.inserted() + most_entries;
    let wrapped = most / range * range;
    let required = wrapped + encoded - 1;
    let required = if required > most { required.checked_sub(range)? } else { required };
    (required > 0).then_some(required)
}

#[inline]
fn integer(input: &[u8], prefix: u32) -> Result<(u64, &[u8]), DecodeError> {
    integer::decode(input, prefix)
        .map_err(|_| DecodeError::Overflow)?
        .ok_or(DecodeError::Connection(TRUNCATED))
}

fn literal(input: &[u8], prefix: u32) -> Result<(Literal<'_>, &[u8]), DecodeError> {
    string::decode(input, prefix, usize::MAX)
        .map_err(|_| DecodeError::Overflow)?
        .ok_or(DecodeError::Connection(TRUNCATED))
}

fn string_fault(fault: huffman::Fault) -> DecodeError {
    match fault {
        huffman::Fault::Invalid => Error::decompression("invalid Huffman code").into(),
        huffman::Fault::Full => DecodeError::TooLarge,
    }
}

/// Names that a `HeaderMap` can hold; it panics beyond that.
const MAX_FIELDS: usize = 24_576;

const TRUNCATED: Error = Error::decompression("section ends inside a line");
const REQUIRED: Error = Error::decompression("impossible insert count");
const BASE: Error = Error::decompression("negative base");
const UNKNOWN_STATIC: Error = Error::decompression("no such entry in the static table");
const BEYOND: Error = Error::decompression("reference past the insert count");
const EVICTED: Error = Error::decompression("reference to an entry that was dropped");
