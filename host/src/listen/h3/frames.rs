//! The frame layer between QUIC streams and the h3 crate (RFC 9114 §7.1).
//!
//! The crate buffers any frame but DATA whole, whatever length it declares, reads further than it consumes while DATA
//! frames are small, takes an empty DATA frame for the end of the body, and panics on one that the end of the stream
//! cuts short. So it gets frames one at a time from here: those that it would buffer up to a limit, unknown and empty
//! ones not at all, and never a byte of the next one before the last is used up.

use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

const DATA: u64 = 0x00;
const HEADERS: u64 = 0x01;
/// CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID, and those of HTTP/2 that are errors here.
const OTHERS: [u64; 9] = [0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0d];

/// Reads one stream frame by frame.
#[derive(Debug)]
pub(super) struct Frames {
    /// Read from the stream, not handed on.
    held: Bytes,
    state: State,
    header: Header,
    /// Payload that a frame which is buffered whole may have.
    limit: u64,
}

#[derive(Debug)]
enum State {
    /// Before a frame, or inside its type and length.
    Header,
    /// So many bytes of payload are to be handed on.
    Payload(u64),
    /// So many bytes are to be thrown away.
    Skip(u64),
}

/// Why a stream cannot be read on.
#[derive(Debug)]
pub(super) enum Fault {
    /// A frame larger than allowed.
    TooLarge,
    /// The stream ended within a frame.
    Truncated,
    /// The stream was reset, or the connection is gone.
    Stream(quinn::ReadError),
}

impl Frames {
    /// Reads frames whose payload, unless it is DATA, has at most `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self::resume(Bytes::new(), limit)
    }

    /// As [`Frames::new`], with what has been read of the stream already.
    pub(super) fn resume(held: Bytes, limit: usize) -> Self {
        let limit = limit as u64;
        Self { held, state: State::Header, header: Header::default(), limit }
    }

    /// The next bytes of one frame; `None` at the end of the stream. Cancel safe.
    pub(super) fn poll_bytes(
        &mut self,
        stream: &mut quinn::RecvStream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Fault>> {
        loop {
            if let Some(bytes) = self.next()? {
                return Poll::Ready(Ok(Some(bytes)));
            }
            // `held` is used up.
            match ready!(poll_chunk(stream, cx)).map_err(Fault::Stream)? {
                Some(bytes) => self.held = bytes,
                None if self.is_between_frames() => return Poll::Ready(Ok(None)),
                None => return Poll::Ready(Err(Fault::Truncated)),
            }
        }
    }

    /// What `held` has for the crate; `None` when more must be read.
    fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        while !self.held.is_empty() {
            match &mut self.state {
                State::Payload(left) => {
                    let bytes = self.held.split_to(clamp(*left, self.held.len()));
                    *left -= bytes.len() as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                    return Ok(Some(bytes));
                }
                State::Skip(left) => {
                    let count = clamp(*left, self.held.len());
                    self.held.advance(count);
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = State::Header;
                    }
                }
                State::Header => {
                    if let Some((kind, length)) = self.header.read(&mut self.held)
                        && let Some(header) = self.begin(kind, length)?
                    {
                        return Ok(Some(header));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Decides what becomes of a frame; the result is its header if it is to be handed on.
    fn begin(&mut self, kind: u64, length: u64) -> Result<Option<Bytes>, Fault> {
        let header = std::mem::take(&mut self.header);
        let is_known = kind == DATA || kind == HEADERS || OTHERS.contains(&kind);
        if !is_known || (kind == DATA && length == 0) {
            if length > 0 {
                self.state = State::Skip(length);
            }
            return Ok(None);
        }
        if kind != DATA && length > self.limit {
            return Err(Fault::TooLarge);
        }
        if length > 0 {
            self.state = State::Payload(length);
        }
        Ok(Some(header.encoded()))
    }

    fn is_between_frames(&self) -> bool {
        matches!(self.state, State::Header) && self.header.filled == 0
    }
}

/// Type and length of a frame as far as they have been read: two variable-length integers (RFC 9000 §16).
#[derive(Debug, Default, Clone)]
struct Header {
    bytes: [u8; 16],
    filled: usize,
}

impl Header {
    /// Takes bytes until type and length are whole.
    fn read(&mut self, from: &mut Bytes) -> Option<(u64, u64)> {
        loop {
            let bytes = self.bytes.get(..self.filled)?;
            if let Some((kind, rest)) = read_varint(bytes)
                && let Some((length, _)) = read_varint(rest)
            {
                return Some((kind, length));
            }
            if from.is_empty() {
                return None;
            }
            // Two integers have at most 16 bytes, so there is always room.
            *self.bytes.get_mut(self.filled)? = from.get_u8();
            self.filled += 1;
        }
    }

    fn encoded(&self) -> Bytes {
        Bytes::copy_from_slice(self.bytes.get(..self.filled).unwrap_or_default())
    }
}

/// The first variable-length integer of `bytes`, and what follows it.
pub(super) fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let (integer, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = integer.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    // The two highest bits of the first byte are the length.
    let bits = integer.len() * 8 - 2;
    Some((value & ((1 << bits) - 1), rest))
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

/// Reads a chunk without copying it.
pub(super) fn poll_chunk(
    stream: &mut quinn::RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, quinn::ReadError>> {
    // The future has no state between polls (it is quinn's `poll_read_chunk`, which is private), so a new one each time
    // loses nothing.
    let chunk = ready!(pin!(stream.read_chunk(usize::MAX, true)).poll(cx))?;
    Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `size` and returns what comes out.
    fn feed(input: &[u8], size: usize, limit: usize) -> Result<(Vec<Vec<u8>>, bool), Fault> {
        let mut frames = Frames::new(limit);
        let mut out = Vec::new();
        for piece in input.chunks(size) {
            frames.held = Bytes::copy_from_slice(piece);
            while let Some(bytes) = frames.next()? {
                out.push(bytes.to_vec());
            }
        }
        Ok((out, frames.is_between_frames()))
    }

    #[test]
    fn frames_come_one_at_a_time_however_they_are_cut() {
        // HEADERS(3), unknown(2), DATA(0), DATA(4), DATA(1)
        let input = [1, 3, 7, 8, 9, 0x21, 2, 1, 1, 0, 0, 0, 4, b'a', b'b', b'c', b'd', 0, 1, b'e'];
        let want: Vec<u8> = vec![1, 3, 7, 8, 9, 0, 4, b'a', b'b', b'c', b'd', 0, 1, b'e'];
        for size in 1..=input.len() {
            let (out, is_whole) = feed(&input, size, 100).unwrap();
            assert_eq!(out.concat(), want, "pieces of {size}");
            assert!(is_whole);
        }
        let (out, _) = feed(&input, input.len(), 100).unwrap();
        assert_eq!(out, [&want[..2], &want[2..5], &want[5..7], &want[7..11], &want[11..13], b"e"]);
    }

    #[test]
    fn a_long_frame_is_refused_at_its_header() {
        // HEADERS of 1 GiB
        let input = [&[1][..], &(0x8000_0000u32 | 1 << 29).to_be_bytes()].concat();
        assert!(matches!(feed(&input, 1, 1 << 16), Err(Fault::TooLarge)));
        // DATA of the same size is streamed
        let input = [&[0][..], &(0x8000_0000u32 | 1 << 29).to_be_bytes(), b"x"].concat();
        let (out, is_whole) = feed(&input, 10, 1 << 16).unwrap();
        assert_eq!(out.last().unwrap(), b"x");
        assert!(!is_whole);
    }

    #[test]
    fn a_cut_header_is_not_the_end() {
        assert!(!feed(&[0x40], 1, 10).unwrap().1);
        assert!(!feed(&[0x21, 5, 1], 1, 10).unwrap().1);
    }

    #[test]
    fn integers_of_all_lengths_are_read() {
        for (bytes, value) in [
            (&[0x25][..], 37),
            (&[0x7b, 0xbd], 15_293),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
        ] {
            assert_eq!(read_varint(bytes), Some((value, &[][..])));
            assert_eq!(read_varint(&bytes[..bytes.len() - 1]), None);
        }
    }
}
