//! Decodes the peer's field sections, with the table that its encoder stream fills (RFC 9204 §2.2).

mod instruction;
mod section;
mod table;
#[cfg(test)]
mod tests;

use bytes::{Bytes, BytesMut};

use super::error::{DecodeError, Error};
use super::field::Sink;
use super::integer;
use section::{Prefix, Section};
use table::Table;

/// The decoder of a connection.
///
/// It holds the dynamic table, one incomplete instruction of the encoder stream (less than eight
/// times the table's limit) and a record for each blocked stream. The caller holds the blocked
/// sections.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The part of the encoder stream's last instruction that has arrived.
    partial: BytesMut,
    max_blocked: u64,
    blocked: Vec<BlockedStream>,
    /// The Known Received Count (RFC 9204 §2.1.4): the insertions that the peer knows to have
    /// arrived.
    acknowledged: u64,
    feedback: BytesMut,
}

/// The limits of a decoded section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all names and values, plus 32 for each field (RFC 9114 §4.2.2). The peer learns
    /// this limit by `SETTINGS_MAX_FIELD_SECTION_SIZE`. It bounds the memory of decoding.
    pub bytes: usize,
    /// Fields. Values beyond 24,576, the capacity of a `HeaderMap`, count as 24,576.
    pub fields: usize,
}

/// The size of a decoded section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes, counted as for [`Limits::bytes`].
    pub bytes: usize,
    /// Fields.
    pub fields: usize,
}

#[derive(Debug)]
struct BlockedStream {
    stream: u64,
    required: u64,
}

impl Decoder {
    /// Makes a decoder that offers the peer a table of `max_capacity` bytes and allows it
    /// `max_blocked` blocked streams. The peer learns them by `SETTINGS_QPACK_MAX_TABLE_CAPACITY`
    /// and `SETTINGS_QPACK_BLOCKED_STREAMS` (RFC 9204 §5).
    ///
    /// The table takes up to five times its capacity of memory if all its entries are small.
    pub fn new(max_capacity: usize, max_blocked: u64) -> Self {
        Self {
            table: Table::new(max_capacity),
            partial: BytesMut::new(),
            max_blocked,
            blocked: Vec::new(),
            acknowledged: 0,
            feedback: BytesMut::new(),
        }
    }

    /// Takes bytes of the peer's encoder stream, cut at any place.
    ///
    /// # Errors
    /// [`ErrorKind::EncoderStream`](super::ErrorKind::EncoderStream): the connection ends.
    pub fn encoder_stream(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.partial.is_empty() {
            let rest = Self::follow(bytes, &mut self.table)?;
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        self.partial.extend_from_slice(bytes);
        let rest = Self::follow(&self.partial, &mut self.table)?.len();
        // A new buffer, because the old one may be as large as the instruction was.
        self.partial = BytesMut::from(self.partial.split_off(self.partial.len() - rest).as_ref());
        Ok(())
    }

    /// The number of insertions that have arrived (the Insert Count, RFC 9204 §2.1.2). A blocked
    /// section waits until it is high enough.
    pub fn insert_count(&self) -> u64 {
        self.table.inserted()
    }

    /// Decodes a whole section of `stream` into `sink`.
    ///
    /// Values that are not Huffman-coded share `section`'s memory. A section that needs the dynamic
    /// table is acknowledged even if it is malformed or too large, because its references are then
    /// settled.
    ///
    /// # Errors
    /// [`DecodeError`]. After [`DecodeError::Blocked`] the sink has nothing; after the others it
    /// has the fields before the error.
    pub fn decode(
        &mut self,
        stream: u64,
        section: &Bytes,
        limits: Limits,
        sink: &mut impl Sink,
    ) -> Result<Decoded, DecodeError> {
        let (prefix, lines) = Prefix::decode(section, &self.table)?;
        if prefix.required > self.table.inserted() {
            return Err(self.block(stream, prefix.required));
        }
        self.blocked.retain(|blocked| blocked.stream != stream);
        let result = Section::new(&self.table, section, prefix, limits, sink).decode(lines);
        let is_settled = match result {
            Ok(_) | Err(DecodeError::Malformed(_) | DecodeError::TooLarge) => true,
            Err(DecodeError::Blocked(_) | DecodeError::Overflow | DecodeError::Connection(_)) => {
                false
            }
        };
        if prefix.required > 0 && is_settled {
            integer::encode(stream, 7, SECTION_ACKNOWLEDGMENT, &mut self.feedback);
            self.acknowledged = self.acknowledged.max(prefix.required);
        }
        result
    }

    /// Reports to the peer that `stream` was reset, or is read no further, before its end (RFC 9204
    /// §2.2.2.2). The stream is no longer blocked.
    pub fn cancel(&mut self, stream: u64) {
        self.blocked.retain(|blocked| blocked.stream != stream);
        if self.table.limit() > 0 {
            integer::encode(stream, 6, STREAM_CANCELLATION, &mut self.feedback);
        }
    }

    /// Whether [`Decoder::take_feedback`] would return bytes.
    pub fn has_feedback(&self) -> bool {
        !self.feedback.is_empty() || self.table.inserted() > self.acknowledged
    }

    /// Bytes of feedback that are not taken yet.
    pub fn unsent(&self) -> usize {
        self.feedback.len()
    }

    /// Returns the bytes for the decoder stream. They contain an acknowledgment for each section
    /// and a cancellation for each stream since the last call, and one count for all other
    /// insertions.
    ///
    /// The caller bounds the unsent bytes if the peer grants the stream no credit (RFC 9204 §7.3).
    pub fn take_feedback(&mut self) -> Option<Bytes> {
        let news = self.table.inserted() - self.acknowledged;
        if news > 0 {
            integer::encode(news, 6, INSERT_COUNT_INCREMENT, &mut self.feedback);
            self.acknowledged = self.table.inserted();
        }
        (!self.feedback.is_empty()).then(|| self.feedback.split().freeze())
    }

    fn follow<'a>(bytes: &'a [u8], table: &mut Table) -> Result<&'a [u8], Error> {
        let mut rest = bytes;
        while let Some(behind) = instruction::follow(rest, table)? {
            rest = behind;
        }
        Ok(rest)
    }

    fn block(&mut self, stream: u64, required: u64) -> DecodeError {
        let inserted = self.table.inserted();
        self.blocked.retain(|other| other.required > inserted && other.stream != stream);
        if self.blocked.len() as u64 >= self.max_blocked {
            return Error::decompression("more blocked streams than allowed").into();
        }
        self.blocked.push(BlockedStream { stream, required });
        DecodeError::Blocked(required)
    }
}

/// RFC 9204 §4.4.1.
const SECTION_ACKNOWLEDGMENT: u8 = 0x80;

/// RFC 9204 §4.4.2.
const STREAM_CANCELLATION: u8 = 0x40;

/// RFC 9204 §4.4.3.
const INSERT_COUNT_INCREMENT: u8 = 0x00;
