//! Where a body ends: by length, by chunks or by the connection's close (RFC 9112 §6, §7).

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::config::UpstreamLimits;

/// Takes a response's body apart as it comes.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    /// This many bytes are to come.
    Length(u64),
    /// A chunk's size line is next.
    ChunkSize,
    /// This many bytes of a chunk are to come.
    ChunkData(u64),
    /// The line end behind a chunk's data is next.
    ChunkEnd,
    /// The trailer section is next.
    Trailers,
    /// All that comes until the connection is closed.
    UntilClose,
    Done,
}

/// One step of decoding.
#[derive(Debug)]
pub enum Decoded {
    /// Bytes of the body.
    Data(Bytes),
    /// The trailer section; the body has ended.
    Trailers(HeaderMap),
    /// The buffer holds nothing whole.
    NeedMore,
    /// The body has ended.
    End,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FramingError {
    /// A size line or a line end of the chunked coding.
    #[error("malformed chunk")]
    Chunk,
    /// A trailer section that cannot be read.
    #[error("malformed trailer section")]
    Trailers,
    /// A trailer section that is larger than the upstream's limit, which it names.
    #[error("trailer section is larger than {0} bytes (limits.header_bytes of the upstream)")]
    TooLarge(usize),
    /// A trailer section with more fields than the upstream's limit, which it names.
    #[error("trailer section has more than {0} fields (limits.header_count of the upstream)")]
    TooMany(usize),
    /// The connection broke.
    #[error("connection broke inside the body: {0}")]
    Broken(std::io::ErrorKind),
    /// The connection closed before the body's end.
    #[error("connection closed inside the body")]
    Truncated,
}

impl Decoder {
    /// No body.
    pub fn empty() -> Self {
        Self(State::Done)
    }

    /// A body of a known length.
    pub fn length(length: u64) -> Self {
        Self(if length == 0 { State::Done } else { State::Length(length) })
    }

    /// A body in chunks.
    pub fn chunked() -> Self {
        Self(State::ChunkSize)
    }

    /// A body that ends with the connection.
    pub fn until_close() -> Self {
        Self(State::UntilClose)
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Whether the connection's close ends the body, so that it cannot be kept.
    pub fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::UntilClose)
    }

    /// Bytes that are still to come, if that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self.0 {
            State::Length(length) => Some(length),
            State::Done => Some(0),
            _ => None,
        }
    }

    /// Takes the next piece from the front of `buffer`. Trailers have the limits of heads.
    ///
    /// # Errors
    /// [`FramingError`] when the chunked coding is malformed.
    pub fn decode(
        &mut self,
        buffer: &mut BytesMut,
        limits: &UpstreamLimits,
    ) -> Result<Decoded, FramingError> {
        loop {
            match self.0 {
                State::Done => return Ok(Decoded::End),
                _ if buffer.is_empty() => return Ok(Decoded::NeedMore),
                State::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                State::Length(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = if left == 0 { State::Done } else { State::Length(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkData(left) => {
                    let (data, left) = take(buffer, left);
                    self.0 = if left == 0 { State::ChunkEnd } else { State::ChunkData(left) };
                    return Ok(Decoded::Data(data));
                }
                State::ChunkSize => match chunk_size(buffer)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(0) => self.0 = State::Trailers,
                    Some(size) => self.0 = State::ChunkData(size),
                },
                State::ChunkEnd => {
                    if !b"\r\n".starts_with(buffer.get(..2).unwrap_or(buffer)) {
                        return Err(FramingError::Chunk);
                    }
                    if buffer.len() < 2 {
                        return Ok(Decoded::NeedMore);
                    }
                    buffer.advance(2);
                    self.0 = State::ChunkSize;
                }
                State::Trailers => {
                    let Some(trailers) = trailers(buffer, limits)? else {
                        return Ok(Decoded::NeedMore);
                    };
                    self.0 = State::Done;
                    let none = trailers.is_empty();
                    return Ok(if none { Decoded::End } else { Decoded::Trailers(trailers) });
                }
            }
        }
    }

    /// Tells that the connection has closed.
    ///
    /// # Errors
    /// [`FramingError::Truncated`] unless that is how the body ends.
    pub fn close(&mut self) -> Result<(), FramingError> {
        match self.0 {
            State::UntilClose | State::Done => {
                self.0 = State::Done;
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

/// Reads `1*HEXDIG [ chunk-ext ] CRLF` (RFC 9112 §7.1). Extensions mean nothing here. Spaces and tabs after the digits are
/// let pass, with an extension or without: old servers pad the size with them, every reader finds the same number, and the
/// body goes out in chunks of the proxy's own.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, FramingError> {
    let Some(end) = buffer.iter().position(|byte| *byte == b'\n') else {
        // With room for the carriage return: the outcome is the same whether the line feed is here yet.
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
    // Nearly every chunked body ends without.
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

/// Bytes of a chunk's size line, at most: sixteen digits and an extension that nobody reads.
const MAX_SIZE_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `text` in pieces of `step` bytes; returns the body, the trailers' count, and what is left over.
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
                Decoded::Data(data) => body.extend_from_slice(&data),
                Decoded::Trailers(fields) => trailers = fields.len(),
                Decoded::End => {
                    return Ok((
                        body,
                        trailers,
                        buffer.len() + pieces.map(<[u8]>::len).sum::<usize>(),
                    ));
                }
                Decoded::NeedMore => match pieces.next() {
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
