//! The end of a body: by length, by chunks or by the end of the connection (RFC 9112 §6, §7).

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::UpstreamLimits;

/// Decodes the body of a response as it arrives.
#[derive(Debug)]
pub struct Decoder(BodyState);

/// The part of a body that comes next.
#[derive(Debug)]
enum BodyState {
    /// This number of bytes follows.
    Length(u64),
    /// The size line of a chunk follows.
    ChunkSize,
    /// This number of bytes of a chunk follows.
    ChunkData(u64),
    /// The line end after the data of a chunk follows.
    ChunkEnd,
    /// The trailer section follows.
    Trailers,
    /// All bytes until the end of the connection belong to the body.
    UntilClose,
    Done,
}

/// One step of decoding.
#[derive(Debug)]
pub enum BodyPart {
    /// Bytes of the body.
    Data(Bytes),
    /// The trailer section. The body has ended.
    Trailers(HeaderMap),
    /// The buffer holds no complete piece.
    NeedMore,
    /// The body has ended.
    End,
}

/// The reason why a body is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FramingError {
    /// A size line or a line end of the chunked coding is malformed.
    #[error("malformed chunk")]
    Chunk,
    /// The trailer section cannot be parsed.
    #[error("malformed trailer section")]
    Trailers,
    /// The trailer section is larger than the limit of the upstream. Holds the limit.
    #[error("trailer section is larger than {0} bytes (limits.header_bytes of the upstream)")]
    TooLarge(usize),
    /// The trailer section has more fields than the limit of the upstream. Holds the limit.
    #[error("trailer section has more than {0} fields (limits.header_count of the upstream)")]
    TooMany(usize),
    /// The connection failed.
    #[error("connection failed inside the body: {0}")]
    Broken(std::io::ErrorKind),
    /// The connection was closed before the end of the body.
    #[error("connection closed inside the body")]
    Truncated,
}

impl Decoder {
    /// Creates a decoder without a body.
    pub fn empty() -> Self {
        Self(BodyState::Done)
    }

    /// Creates a decoder for a body of a known length.
    pub fn length(length: u64) -> Self {
        Self(if length == 0 { BodyState::Done } else { BodyState::Length(length) })
    }

    /// Creates a decoder for a body in chunks.
    pub fn chunked() -> Self {
        Self(BodyState::ChunkSize)
    }

    /// Creates a decoder for a body that ends with the connection.
    pub fn until_close() -> Self {
        Self(BodyState::UntilClose)
    }

    /// Returns whether the body has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.0, BodyState::Done)
    }

    /// Returns whether the end of the connection ends the body, so that the connection cannot be
    /// kept.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.0, BodyState::UntilClose)
    }

    /// Returns the number of bytes still to come, if it is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.0 {
            BodyState::Length(length) => Some(length),
            BodyState::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece from the front of `buffer`. Trailers have the limits of heads.
    ///
    /// # Errors
    ///
    /// [`FramingError`] if the chunked coding is malformed.
    pub fn decode(
        &mut self,
        buffer: &mut BytesMut,
        limits: &UpstreamLimits,
    ) -> Result<BodyPart, FramingError> {
        loop {
            match self.0 {
                BodyState::Done => return Ok(BodyPart::End),
                _ if buffer.is_empty() => return Ok(BodyPart::NeedMore),
                BodyState::UntilClose => return Ok(BodyPart::Data(buffer.split().freeze())),
                BodyState::Length(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = if left == 0 { BodyState::Done } else { BodyState::Length(left) };
                    return Ok(BodyPart::Data(data));
                }
                BodyState::ChunkData(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 =
                        if left == 0 { BodyState::ChunkEnd } else { BodyState::ChunkData(left) };
                    return Ok(BodyPart::Data(data));
                }
                BodyState::ChunkSize => match chunk_size(buffer)? {
                    None => return Ok(BodyPart::NeedMore),
                    Some(0) => self.0 = BodyState::Trailers,
                    Some(size) => self.0 = BodyState::ChunkData(size),
                },
                BodyState::ChunkEnd => {
                    if !b"\r\n".starts_with(buffer.get(..2).unwrap_or(buffer)) {
                        return Err(FramingError::Chunk);
                    }
                    if buffer.len() < 2 {
                        return Ok(BodyPart::NeedMore);
                    }
                    buffer.advance(2);
                    self.0 = BodyState::ChunkSize;
                }
                BodyState::Trailers => {
                    let Some(trailers) = trailers(buffer, limits)? else {
                        return Ok(BodyPart::NeedMore);
                    };
                    self.0 = BodyState::Done;
                    let none = trailers.is_empty();
                    return Ok(if none { BodyPart::End } else { BodyPart::Trailers(trailers) });
                }
            }
        }
    }

    /// Notes that the connection was closed.
    ///
    /// # Errors
    ///
    /// [`FramingError::Truncated`] unless the end of the connection ends the body.
    pub fn close(&mut self) -> Result<(), FramingError> {
        match self.0 {
            BodyState::UntilClose | BodyState::Done => {
                self.0 = BodyState::Done;
                Ok(())
            }
            _ => Err(FramingError::Truncated),
        }
    }
}

fn take(buffer: &mut BytesMut, left: u64) -> (Bytes, u64) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
    (buffer.split_to(count).freeze(), left - count as u64)
}

/// Reads `1*HEXDIG [ chunk-ext ] CRLF` (RFC 9112 §7.1) and ignores extensions.
///
/// Spaces and tabs after the digits are accepted, with an extension or without. Old servers pad the
/// size with them, and every reader finds the same number. The proxy sends the body in its own
/// chunks.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, FramingError> {
    let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
        // The additional byte is for the carriage return. The result is then the same before and
        // after the arrival of the line feed.
        let is_long = buffer.len() > MAX_SIZE_LINE + 1;
        return if is_long { Err(FramingError::Chunk) } else { Ok(None) };
    };
    let line = buffer.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.filter(|line| line.len() <= MAX_SIZE_LINE).ok_or(FramingError::Chunk)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (size, rest) = line.split_at(digits);
    let padding = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let extension = rest.get(padding..).unwrap_or_default();
    if !(extension.is_empty() || extension.starts_with(b";")) || extension.contains(&b'\r') {
        return Err(FramingError::Chunk);
    }
    let size = std::str::from_utf8(size).ok().filter(|size| (1..=16).contains(&size.len()));
    let size =
        size.and_then(|size| u64::from_str_radix(size, 16).ok()).ok_or(FramingError::Chunk)?;
    buffer.advance(end + 1);
    Ok(Some(size))
}

fn trailers(
    buffer: &mut BytesMut,
    limits: &UpstreamLimits,
) -> Result<Option<HeaderMap>, FramingError> {
    // Nearly every chunked body ends without trailers.
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let (bytes, count) = (limits.header_bytes, limits.header_count);
    let mut fields = vec![httparse::EMPTY_HEADER; count];
    let (length, fields) = match httparse::parse_headers(buffer, &mut fields) {
        Ok(httparse::Status::Complete(parsed)) if parsed.0 <= bytes => parsed,
        Ok(httparse::Status::Partial) if buffer.len() < bytes => return Ok(None),
        Ok(_) => return Err(FramingError::TooLarge(bytes)),
        Err(httparse::Error::TooManyHeaders) => return Err(FramingError::TooMany(count)),
        Err(_) => return Err(FramingError::Trailers),
    };
    let mut map = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else { return Err(FramingError::Trailers) };
        map.append(name, value);
    }
    buffer.advance(length);
    Ok(Some(map))
}

/// Maximum length of a chunk size line, in bytes: sixteen digits, and an extension that is ignored.
const MAX_SIZE_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `step` bytes. Returns the body, the number of trailers, and the
    /// number of bytes left over.
    fn run(
        decoder: Decoder,
        text: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, usize, usize), FramingError> {
        run_within(&UpstreamLimits::default(), decoder, text, step)
    }

    fn run_within(
        limits: &UpstreamLimits,
        mut decoder: Decoder,
        text: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, usize, usize), FramingError> {
        let (mut buffer, mut body, mut trailers) = (BytesMut::new(), Vec::new(), 0);
        let mut pieces = text.chunks(step);
        loop {
            match decoder.decode(&mut buffer, limits)? {
                BodyPart::Data(data) => body.extend_from_slice(&data),
                BodyPart::Trailers(fields) => trailers = fields.len(),
                BodyPart::End => {
                    return Ok((
                        body,
                        trailers,
                        buffer.len() + pieces.map(<[u8]>::len).sum::<usize>(),
                    ));
                }
                BodyPart::NeedMore => match pieces.next() {
                    Some(piece) => buffer.extend_from_slice(piece),
                    None => decoder.close()?,
                },
            }
        }
    }

    #[test]
    fn chunks_come_out_whole_however_they_are_cut() {
        let text =
            b"5\r\nhello\r\n1;x=\"y\"\r\n \r\n0005\r\nworld\r\n0\r\nsum: 1\r\nmore: 2\r\n\r\nNEXT";
        for step in 1..text.len() {
            let (body, trailers, rest) = run(Decoder::chunked(), text, step).unwrap();
            assert_eq!((&body[..], trailers, rest), (&b"hello world"[..], 2, 4), "step {step}");
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for text in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhelloX\r\n0\r\n\r\n",
            b"\r\n",
            b"+5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b" 5\r\nhello\r\n",
            b"5 1\r\nhello\r\n",
            b"5 \r\r\nhello\r\n",
            b"5 \x0b\r\nhello\r\n",
            b"5 x;\r\nhello\r\n",
            b" \r\nhello\r\n",
            b"-1\r\n",
            b"11111111111111111\r\n",
            b"5\r\nhello\n0\r\n\r\n",
            b"5;\rx\r\nhello\r\n",
        ] {
            let result = run(Decoder::chunked(), text, text.len());
            assert_eq!(result, Err(FramingError::Chunk), "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_body_that_ends_early_is_truncated() {
        assert_eq!(run(Decoder::length(5), b"abc", 9), Err(FramingError::Truncated));
        assert_eq!(run(Decoder::chunked(), b"5\r\nabc", 9), Err(FramingError::Truncated));
        assert_eq!(run(Decoder::chunked(), b"1\r\na\r\n0\r\n", 9), Err(FramingError::Truncated));
        assert_eq!(run(Decoder::until_close(), b"abc", 2), Ok((b"abc".to_vec(), 0, 0)));
    }

    #[test]
    fn a_length_leaves_what_follows() {
        assert_eq!(run(Decoder::length(3), b"abcdef", 6), Ok((b"abc".to_vec(), 0, 3)));
    }

    #[test]
    fn spaces_behind_a_chunk_s_size_change_nothing() {
        let text =
            b"5 \r\nhello\r\n1   \t;x=\"y\"\r\n \r\n5\t ;\r\nworld\r\n0000  \r\nsum: 1\r\n\r\nNEXT";
        for step in 1..text.len() {
            let (body, trailers, rest) = run(Decoder::chunked(), text, step).unwrap();
            assert_eq!((&body[..], trailers, rest), (&b"hello world"[..], 1, 4), "step {step}");
        }
    }

    #[test]
    fn endless_lines_are_refused_and_long_ones_whatever_their_pieces() {
        let long = [b'1'; MAX_SIZE_LINE + 3];
        assert_eq!(run(Decoder::chunked(), &long, 64), Err(FramingError::Chunk));
        let line = |length: usize| format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(length - 2));
        for step in [1, 64, MAX_SIZE_LINE, MAX_SIZE_LINE + 1, 4096] {
            let run = |length| run(Decoder::chunked(), line(length).as_bytes(), step);
            assert_eq!(run(MAX_SIZE_LINE).unwrap().0, b"hello", "step {step}");
            assert_eq!(run(MAX_SIZE_LINE + 1), Err(FramingError::Chunk), "step {step}");
        }
    }

    #[test]
    fn a_trailer_section_is_bounded_whatever_its_pieces() {
        let limits =
            UpstreamLimits { header_bytes: 100, header_count: 3, ..UpstreamLimits::default() };
        let of_length = |length: usize| format!("0\r\nx: {}\r\n\r\n", "a".repeat(length - 7));
        let of_count = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
        for step in [1, 7, 50, 99, 100, 200] {
            let run = |text: String| run_within(&limits, Decoder::chunked(), text.as_bytes(), step);
            assert_eq!(run(of_length(100)), Ok((Vec::new(), 1, 0)), "step {step}");
            assert_eq!(run(of_length(101)), Err(FramingError::TooLarge(100)), "step {step}");
            assert_eq!(run(of_count(3)), Ok((Vec::new(), 3, 0)), "step {step}");
            assert_eq!(run(of_count(4)), Err(FramingError::TooMany(3)), "step {step}");
            assert_eq!(run("0\r\nx a\r\n\r\n".to_owned()), Err(FramingError::Trailers));
        }
    }
}
