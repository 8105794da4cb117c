//! Frames (RFC 9114 §7): their types, and a reader that holds at most one frame of bounded size.

use bytes::{Buf, Bytes, BytesMut};

use crate::code::{Code, Violation};
use crate::varint;

/// The type of a frame (RFC 9114 §7.2, RFC 9218 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Data,
    Headers,
    CancelPush,
    Settings,
    PushPromise,
    Goaway,
    MaxPushId,
    /// PRIORITY_UPDATE of a request.
    PriorityRequest,
    /// PRIORITY_UPDATE of a push.
    PriorityPush,
    /// A type of HTTP/2 that must not be used (RFC 9114 §7.2.8).
    Http2,
    /// A type of an extension, or one reserved to be ignored (RFC 9114 §9).
    Unknown,
}

impl From<u64> for Kind {
    fn from(value: u64) -> Self {
        match value {
            0x00 => Self::Data,
            0x01 => Self::Headers,
            0x03 => Self::CancelPush,
            0x04 => Self::Settings,
            0x05 => Self::PushPromise,
            0x07 => Self::Goaway,
            0x0d => Self::MaxPushId,
            0x02 | 0x06 | 0x08 | 0x09 => Self::Http2,
            0xf_0700 => Self::PriorityRequest,
            0xf_0701 => Self::PriorityPush,
            _ => Self::Unknown,
        }
    }
}

/// The treatment of a frame, decided when its type and length are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Treatment {
    /// Its payload is handed on as it arrives.
    Stream,
    /// Its payload is collected and handed on whole, if it has at most this many bytes.
    Collect(usize),
    /// Its payload is discarded.
    Skip,
}

/// The next item of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A piece of a frame treated as [`Treatment::Stream`]; never empty.
    Piece(Bytes),
    /// A whole frame.
    Whole(Kind, Bytes),
    /// A frame to be collected that is too large; its payload is discarded.
    TooLarge(Kind),
}

/// Reads one stream frame by frame.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// Bytes read from the stream and not used yet.
    held: Bytes,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before a frame, or inside its type and length.
    Head(Head),
    Stream(u64),
    Skip(u64),
    /// This many bytes are missing from the frame of this type.
    Collect(Kind, u64, BytesMut),
}

impl Default for State {
    fn default() -> Self {
        Self::Head(Head::default())
    }
}

impl Frames {
    /// Adds bytes read from the stream; only after [`Frames::next`] returned `None`.
    pub(crate) fn push(&mut self, bytes: Bytes) {
        debug_assert!(self.held.is_empty());
        self.held = bytes;
    }

    /// Whether the stream may end here (RFC 9114 §7.1).
    ///
    /// # Errors
    /// [`Code::H3_FRAME_ERROR`] inside a frame.
    pub(crate) fn end(&self) -> Result<(), Violation> {
        match &self.state {
            State::Head(head) if head.filled == 0 => Ok(()),
            _ => Err(TRUNCATED),
        }
    }

    /// Bytes of the frame that is being collected.
    pub(crate) fn collected(&self) -> usize {
        match &self.state {
            State::Collect(_, _, collected) => collected.len(),
            _ => 0,
        }
    }

    /// Takes the next event from the pushed bytes, or returns `None` if more bytes are needed.
    /// `treat` decides about each frame.
    ///
    /// # Errors
    /// The violation that `treat` finds in a frame.
    pub(crate) fn next(
        &mut self,
        mut treat: impl FnMut(Kind, u64) -> Result<Treatment, Violation>,
    ) -> Result<Option<Event>, Violation> {
        while !self.held.is_empty() {
            match &mut self.state {
                State::Head(head) => {
                    let Some((kind, length)) = head.read(&mut self.held) else { return Ok(None) };
                    let kind = Kind::from(kind);
                    let treatment = treat(kind, length)?;
                    if let Some(event) = self.begin(kind, length, treatment) {
                        return Ok(Some(event));
                    }
                }
                State::Stream(left) => {
                    let piece = self.held.split_to(clamp(*left, self.held.len()));
                    *left -= piece.len() as u64;
                    if *left == 0 {
                        self.state = State::default();
                    }
                    return Ok(Some(Event::Piece(piece)));
                }
                State::Skip(left) => {
                    let count = clamp(*left, self.held.len());
                    self.held.advance(count);
                    *left -= count as u64;
                    if *left == 0 {
                        self.state = State::default();
                    }
                }
                State::Collect(kind, left, collected) => {
                    let piece = self.held.split_to(clamp(*left, self.held.len()));
                    collected.extend_from_slice(&piece);
                    *left -= piece.len() as u64;
                    if *left == 0 {
                        let whole = Event::Whole(*kind, std::mem::take(collected).freeze());
                        self.state = State::default();
                        return Ok(Some(whole));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Begins a frame after its type and length.
    #[inline]
    fn begin(&mut self, kind: Kind, length: u64, treatment: Treatment) -> Option<Event> {
        match treatment {
            Treatment::Collect(limit) if length > limit as u64 => {
                self.state = State::Skip(length);
                return Some(Event::TooLarge(kind));
            }
            // Nearly always the whole frame is here, and then nothing is copied.
            Treatment::Collect(_) if length <= self.held.len() as u64 => {
                let whole = self.held.split_to(clamp(length, self.held.len()));
                return Some(Event::Whole(kind, whole));
            }
            Treatment::Collect(_) => self.state = State::Collect(kind, length, BytesMut::new()),
            Treatment::Stream if length > 0 => self.state = State::Stream(length),
            Treatment::Skip if length > 0 => self.state = State::Skip(length),
            Treatment::Stream | Treatment::Skip => {}
        }
        None
    }
}

/// The bytes of a frame's type and length that have arrived: two integers of at most eight bytes.
#[derive(Debug, Default)]
struct Head {
    bytes: [u8; 16],
    filled: usize,
}

impl Head {
    /// Takes bytes until type and length are complete. Then it is empty again.
    fn read(&mut self, from: &mut Bytes) -> Option<(u64, u64)> {
        if self.filled == 0
            && let Some((kind, length, size)) = split(from)
        {
            from.advance(size);
            return Some((kind, length));
        }
        while !from.is_empty() {
            // Two integers have at most 16 bytes, so there is always room.
            *self.bytes.get_mut(self.filled)? = from.get_u8();
            self.filled += 1;
            if let Some((kind, length, _)) = split(self.bytes.get(..self.filled)?) {
                self.filled = 0;
                return Some((kind, length));
            }
        }
        None
    }
}

/// Returns type, length and the number of bytes that they take.
fn split(bytes: &[u8]) -> Option<(u64, u64, usize)> {
    let (kind, rest) = varint::decode(bytes)?;
    let (length, rest) = varint::decode(rest)?;
    Some((kind, length, bytes.len() - rest.len()))
}

fn clamp(left: u64, available: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(available)
}

const TRUNCATED: Violation =
    Violation::new(Code::H3_FRAME_ERROR, "the stream ended within a frame");

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn treat(kind: Kind, _: u64) -> Result<Treatment, Violation> {
        match kind {
            Kind::Data => Ok(Treatment::Stream),
            Kind::Headers => Ok(Treatment::Collect(100)),
            Kind::Unknown => Ok(Treatment::Skip),
            _ => Err(Violation::new(Code::H3_FRAME_UNEXPECTED, "test")),
        }
    }

    /// Feeds `input` in pieces of `size`; DATA comes out joined.
    fn feed(input: &[u8], size: usize) -> Result<(Vec<Event>, bool), Violation> {
        let mut frames = Frames::default();
        let mut out: Vec<Event> = Vec::new();
        for piece in input.chunks(size) {
            frames.push(Bytes::copy_from_slice(piece));
            while let Some(event) = frames.next(treat)? {
                match (out.last_mut(), event) {
                    (Some(Event::Piece(before)), Event::Piece(piece)) => {
                        *before = [&before[..], &piece].concat().into();
                    }
                    (_, event) => out.push(event),
                }
            }
        }
        Ok((out, frames.end().is_ok()))
    }

    fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        varint::encode(kind, &mut frame);
        varint::encode(payload.len() as u64, &mut frame);
        frame.extend(payload);
        frame
    }

    #[test]
    fn frames_are_read_however_they_are_cut() {
        let input = [
            frame(1, b"abc"),
            frame(0x21, b"zz"),
            frame(0, b""),
            frame(0, b"data"),
            frame(0x7fff, b""),
            frame(0, b"e"),
            frame(1, b""),
        ]
        .concat();
        for size in 1..=input.len() {
            let (out, is_whole) = feed(&input, size).unwrap();
            let want = [
                Event::Whole(Kind::Headers, "abc".into()),
                Event::Piece("datae".into()),
                Event::Whole(Kind::Headers, "".into()),
            ];
            assert_eq!(out, want, "pieces of {size}");
            assert!(is_whole);
        }
    }

    #[test]
    fn a_frame_that_is_too_large_is_told_at_its_length() {
        let mut input = vec![1];
        varint::encode(1 << 30, &mut input);
        assert_eq!(feed(&input, 1).unwrap().0, [Event::TooLarge(Kind::Headers)]);
        input.extend(vec![7; 1 << 20]);
        let mut frames = Frames::default();
        frames.push(input.into());
        assert_eq!(frames.next(treat), Ok(Some(Event::TooLarge(Kind::Headers))));
        assert_eq!(frames.next(treat), Ok(None));
        assert_eq!(frames.collected(), 0);
    }

    #[test]
    fn a_stream_may_end_only_between_frames() {
        for cut in [&[0x40][..], &[0], &[1, 3, 1, 1], &[0x21, 5, 1], &[0, 2, 1]] {
            assert!(!feed(cut, 10).unwrap().1, "{cut:?}");
        }
        assert!(feed(&[0, 1, 1], 10).unwrap().1);
        assert!(feed(&[], 10).unwrap().1);
    }

    #[test]
    fn types_are_those_of_the_registry() {
        for http2 in [0x2, 0x6, 0x8, 0x9] {
            assert_eq!(Kind::from(http2), Kind::Http2);
        }
        for grease in [0x21, 0x21 + 0x1f, 0x21 + 0x1f * 1000] {
            assert_eq!(Kind::from(grease), Kind::Unknown);
        }
        assert_eq!(Kind::from(0xf0700), Kind::PriorityRequest);
    }

    proptest! {
        #[test]
        fn no_input_holds_more_than_a_frame(input: Vec<u8>, size in 1usize..40) {
            let mut frames = Frames::default();
            'all: for piece in input.chunks(size) {
                frames.push(Bytes::copy_from_slice(piece));
                loop {
                    prop_assert!(frames.collected() <= 100);
                    match frames.next(treat) {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => break 'all,
                    }
                }
            }
        }
    }
}
