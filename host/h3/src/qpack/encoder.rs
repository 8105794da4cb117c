//! Encodes field sections for the peer, with a table of repeated fields (RFC 9204 §2.1).

mod dynamic;
mod line;
mod recent;
mod table;
#[cfg(test)]
mod tests;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};

use super::error::Error;
use super::field::Pseudo;
use super::integer;
use dynamic::Dynamic;
use recent::Recent;

/// The encoder of a connection.
///
/// It never makes the peer wait: it refers only to insertions that the peer has acknowledged. The
/// peer's `SETTINGS_QPACK_BLOCKED_STREAMS` therefore does not matter. While the peer offers no
/// table, it holds the last line at each of a section's first places, except lines with
/// credentials: 16 KiB if all are long.
#[derive(Debug)]
pub struct Encoder {
    max_capacity: usize,
    dynamic: Option<Box<Dynamic>>,
    recent: Recent,
    /// The part of the decoder stream's last instruction that has arrived: less than eleven bytes.
    partial: Vec<u8>,
}

/// An instruction of the peer's decoder (RFC 9204 §4.4).
enum Instruction {
    SectionAcknowledgment { stream: u64 },
    StreamCancellation { stream: u64 },
    InsertCountIncrement { increment: u64 },
}

impl Encoder {
    /// Makes an encoder with a table of at most `max_capacity` bytes, even if the peer offers more.
    ///
    /// The table takes up to four times as much memory if all its entries are small; 3 KiB come on
    /// top.
    pub fn new(max_capacity: usize) -> Self {
        Self { max_capacity, dynamic: None, recent: Recent::default(), partial: Vec::new() }
    }

    /// Takes the peer's `SETTINGS_QPACK_MAX_TABLE_CAPACITY`. Must be called once, or never if the
    /// peer sends none.
    pub fn peer_settings(&mut self, max_table_capacity: u64) {
        if self.dynamic.is_none() {
            self.dynamic = Dynamic::new(max_table_capacity, self.max_capacity).map(Box::new);
            self.recent = Recent::default();
        }
    }

    /// Appends a response's field section, to be sent on `stream`. The caller must remove fields
    /// that belong to one connection only (RFC 9114 §4.2).
    pub fn encode_response(
        &mut self,
        stream: u64,
        status: StatusCode,
        headers: &HeaderMap,
        out: &mut BytesMut,
    ) {
        let start = begin(out);
        line::status(status, out);
        self.fields(stream, headers.iter(), start, out);
    }

    /// Appends a request's field section: `pseudo` first, in the order given. A Host field is left
    /// out, because `:authority` has its value (RFC 9114 §4.3.1).
    pub fn encode_request(
        &mut self,
        stream: u64,
        pseudo: &[(Pseudo, &[u8])],
        headers: &HeaderMap,
        out: &mut BytesMut,
    ) {
        let start = begin(out);
        for (name, value) in pseudo {
            line::pseudo(*name, value, out);
        }
        let lines = headers.iter().filter(|(name, _)| *name != HOST);
        self.fields(stream, lines, start, out);
    }

    /// Appends a section without pseudo-header fields: trailers.
    pub fn encode_fields(&mut self, stream: u64, headers: &HeaderMap, out: &mut BytesMut) {
        let start = begin(out);
        self.fields(stream, headers.iter(), start, out);
    }

    /// Takes bytes of the peer's decoder stream, cut at any place.
    ///
    /// # Errors
    /// [`ErrorKind::DecoderStream`](super::ErrorKind::DecoderStream): the connection ends.
    pub fn decoder_stream(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut bytes = bytes;
        // One byte at a time until the cut instruction is complete: at most ten.
        while !self.partial.is_empty() {
            let Some((byte, rest)) = bytes.split_first() else { return Ok(()) };
            self.partial.push(*byte);
            bytes = rest;
            if let Some((instruction, _)) = Instruction::decode(&self.partial)? {
                self.partial.clear();
                self.follow(&instruction)?;
            }
        }
        while let Some((instruction, rest)) = Instruction::decode(bytes)? {
            self.follow(&instruction)?;
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Returns the bytes for the encoder stream. The unsent bytes are never much more than the
    /// table's capacity: insertions that the peer has not acknowledged leave no room for others.
    pub fn take_instructions(&mut self) -> Option<Bytes> {
        self.dynamic.as_mut()?.take_instructions()
    }

    /// Whether [`Encoder::take_instructions`] would return bytes.
    pub fn has_instructions(&self) -> bool {
        self.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_instructions())
    }

    fn fields<'a>(
        &mut self,
        stream: u64,
        lines: impl Iterator<Item = (&'a HeaderName, &'a HeaderValue)>,
        start: usize,
        out: &mut BytesMut,
    ) {
        match &mut self.dynamic {
            Some(dynamic) => dynamic.fields(stream, lines, start, out),
            None => {
                for (place, (name, value)) in lines.enumerate() {
                    self.recent.field(place, name, value, out);
                }
            }
        }
    }

    fn follow(&mut self, instruction: &Instruction) -> Result<(), Error> {
        match (instruction, &mut self.dynamic) {
            (Instruction::SectionAcknowledgment { stream }, Some(dynamic)) => {
                dynamic.acknowledge(*stream)
            }
            (Instruction::InsertCountIncrement { increment }, Some(dynamic)) => {
                dynamic.increment(*increment)
            }
            (Instruction::StreamCancellation { stream }, dynamic) => {
                dynamic.iter_mut().for_each(|dynamic| dynamic.cancel(*stream));
                Ok(())
            }
            (_, None) => Err(Error::decoder_stream("acknowledgment of what was never sent")),
        }
    }
}

impl Instruction {
    /// Reads the first instruction of `input` and returns it with the bytes after it, or `None` if
    /// it is incomplete.
    fn decode(input: &[u8]) -> Result<Option<(Self, &[u8])>, Error> {
        let Some(first) = input.first() else { return Ok(None) };
        let prefix = if *first >= 0x80 { 7 } else { 6 };
        let decoded = integer::decode(input, prefix);
        let Some((value, rest)) =
            decoded.map_err(|_| Error::decoder_stream("integer past 62 bits"))?
        else {
            return Ok(None);
        };
        let instruction = match first {
            0x80.. => Self::SectionAcknowledgment { stream: value },
            0x40.. => Self::StreamCancellation { stream: value },
            _ => Self::InsertCountIncrement { increment: value },
        };
        Ok(Some((instruction, rest)))
    }
}

/// Reserves the shortest prefix, the one of a section without references: two zeros (RFC 9204
/// §4.5.1).
fn begin(out: &mut BytesMut) -> usize {
    out.put_slice(&[0; PREFIX]);
    out.len() - PREFIX
}

/// Bytes of the shortest prefix.
const PREFIX: usize = 2;
