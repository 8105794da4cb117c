//! A check of HTTP/1.1 request heads before hyper reads them (RFC 9112 §§2.2, 6.1, 6.3, 7.1).
//!
//! hyper accepts a lone line feed as the end of a line. If a head has Content-Length and
//! Transfer-Encoding, hyper keeps the second and hides the first. Another proxy or server before or
//! behind this one may then see other messages in the same bytes. Therefore the lines of heads,
//! chunk sizes and trailers pass a scanner. The bytes of a body are counted, not examined.
//!
//! The scanner and hyper find the same end of a message, because hyper is strict about everything
//! that the scanner does not check. A refused head reaches hyper with an end that it cannot parse.
//! hyper then answers 400 and closes.
//!
//! Each part of a message other than content has a bound. The bound is checked with every read,
//! even if no line ends in it. hyper examines each byte of a chunk size or a trailer separately,
//! which costs up to 50 ns per byte.
//!
//! The bytes of a tunnel pass no scanner: the tunnel takes the connection below it. A client that
//! sends them before the tunnel is open may be refused.

use std::io::{self, BufRead as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::effort::Effort;

/// A connection that passes no ambiguous request.
pub(super) struct Heads<T> {
    io: T,
    scanner: Scanner,
    effort: Effort,
    /// The reason why no more bytes are passed, after a refusal.
    refused: Option<Refused>,
}

/// The reason why a head is refused.
#[derive(Clone, Copy)]
enum Refused {
    /// A head was refused. Holds the number of bytes of [`POISON`] that were passed.
    Head(usize),
    /// The framing of a body was refused.
    Body,
}

impl<T> Heads<T> {
    /// Wraps a connection. `section` bounds the bytes of a head, and those of a trailer section.
    pub(super) fn new(io: T, section: usize) -> Self {
        Self { io, scanner: Scanner::new(section), effort: Effort::new(PAID), refused: None }
    }
}

impl<T> Heads<T> {
    /// Returns the connection.
    pub(super) fn into_inner(self) -> T {
        self.io
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heads<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.refused.is_none() {
            ready!(this.effort.poll_paid(cx));
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            let scanned = this.scanner.scan(read);
            this.effort.add(std::mem::take(&mut this.scanner.framing));
            let Err(refusal) = scanned else { return Poll::Ready(Ok(())) };
            buffer.set_filled(before + refusal.at);
            this.refused = Some(if refusal.is_head { Refused::Head(0) } else { Refused::Body });
            if refusal.at > 0 {
                return Poll::Ready(Ok(()));
            }
        }
        match &mut this.refused {
            Some(Refused::Head(given)) => {
                let poison = POISON.get(*given..).unwrap_or_default();
                let part = poison.get(..buffer.remaining()).unwrap_or(poison);
                buffer.put_slice(part);
                *given += part.len();
                Poll::Ready(Ok(()))
            }
            _ => Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heads<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Ends a head so that no parser accepts it. NUL occurs nowhere in a valid head. The empty line is
/// necessary, because hyper would wait for it before parsing.
const POISON: &[u8] = b"\0\r\n\r\n";

/// Bytes of chunk sizes and trailers per unit of a task's budget. hyper spends some 10 µs on them.
const PAID: usize = 256;

/// The position within the messages of a connection.
struct Scanner {
    part: Part,
    line: Line,
    head: Head,
    /// Bytes of the head or the trailer section that have arrived.
    seen: usize,
    /// Maximum number of these bytes.
    section: usize,
    /// Bytes of chunk sizes and trailers that are not paid for yet.
    framing: usize,
}

/// The part of a message that comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Part {
    #[default]
    Head,
    /// Remaining bytes of the body.
    Sized(u64),
    ChunkSize,
    /// Remaining bytes of a chunk, including the end of its line.
    Chunk(u64),
    Trailers,
}

/// The framing of the body, as far as the head has shown it.
#[derive(Default)]
struct Head {
    has_begun: bool,
    /// Number of empty lines before the head.
    empty: u8,
    length: Option<u64>,
    is_coded: bool,
}

/// A refusal: the scanned byte at this position must not pass.
#[derive(Debug, PartialEq)]
struct Refusal {
    at: usize,
    is_head: bool,
}

impl Scanner {
    fn new(section: usize) -> Self {
        let (part, line, head) = (Part::default(), Line::default(), Head::default());
        Self { part, line, head, seen: 0, section, framing: 0 }
    }

    fn scan(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if let Part::Sized(left) | Part::Chunk(left) = &mut self.part {
                let passed = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                *left -= passed as u64;
                rest = rest.split_at(passed).1;
                match self.part {
                    Part::Sized(0) => self.part = Part::Head,
                    Part::Chunk(0) => self.part = Part::ChunkSize,
                    _ => {}
                }
                continue;
            }
            let end = line_end(rest);
            let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
            self.line.push(line);
            let is_head = self.part == Part::Head;
            // Nothing more of a line without an end may pass.
            let at = bytes.len() - if end.is_some() { after.len() } else { rest.len() };
            let refusal = Refusal { at, is_head };
            if !self.within(line.len() + usize::from(end.is_some())) {
                return Err(refusal);
            }
            if end.is_some() {
                let next = self.after_line().ok_or(refusal)?;
                if next != self.part {
                    (self.part, self.seen) = (next, 0);
                }
                self.line.clear();
            }
            rest = after.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// Counts bytes of a line. Returns false if there are too many.
    fn within(&mut self, bytes: usize) -> bool {
        if self.part == Part::ChunkSize {
            self.framing += bytes;
            return self.line.length <= SIZE_LINE;
        }
        if self.part == Part::Trailers {
            self.framing += bytes;
        }
        self.seen = self.seen.saturating_add(bytes);
        self.seen <= self.section
    }

    /// Returns the part that follows the ended line, or `None` if that line is not allowed.
    fn after_line(&mut self) -> Option<Part> {
        let line = &self.line;
        let is_empty = line.length == 1;
        if line.last != b'\r' {
            return None;
        }
        match self.part {
            // RFC 9112 §2.2: empty lines before a request have no meaning. hyper reads all of them
            // again with each further one.
            Part::Head if is_empty && !self.head.has_begun => {
                self.head.empty += 1;
                (self.head.empty <= EMPTY_LINES).then_some(Part::Head)
            }
            Part::Head if is_empty => {
                self.seen = 0;
                std::mem::take(&mut self.head).body()
            }
            Part::Head => self.head.line(line).then_some(Part::Head),
            Part::ChunkSize => line.chunk_size().and_then(|size| match size {
                0 => Some(Part::Trailers),
                size => Some(Part::Chunk(size.checked_add(2)?)),
            }),
            Part::Trailers => Some(if is_empty { Part::Head } else { Part::Trailers }),
            Part::Sized(_) | Part::Chunk(_) => Some(self.part),
        }
    }
}

impl Head {
    /// Takes the request line, then the field lines. Returns false if a line makes the framing
    /// ambiguous.
    fn line(&mut self, line: &Line) -> bool {
        if !std::mem::replace(&mut self.has_begun, true) {
            return true;
        }
        let kept = line.kept();
        let Some(colon) = kept.iter().position(|byte| *byte == b':') else { return true };
        let (name, value) = kept.split_at(colon);
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.is_coded = true;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let length = line.is_whole().then(|| number(value, 10)).flatten();
            if length.is_none() || self.length.is_some() {
                return false;
            }
            self.length = length;
        }
        !(self.is_coded && self.length.is_some())
    }

    /// Returns the part that follows the head.
    fn body(self) -> Option<Part> {
        Some(match self.length {
            None if self.is_coded => Part::ChunkSize,
            None | Some(0) => Part::Head,
            Some(length) => Part::Sized(length),
        })
    }
}

/// Returns the position of the first line feed.
fn line_end(bytes: &[u8]) -> Option<usize> {
    // The search of the standard library examines many bytes at once.
    let mut after = bytes;
    let length = after.skip_until(b'\n').ok()?;
    let end = length.checked_sub(1)?;
    (bytes.get(end) == Some(&b'\n')).then_some(end)
}

/// Maximum length of a chunk size line, in bytes: sixteen digits, and extensions that are ignored.
/// The same as in responses.
const SIZE_LINE: usize = 1024;

/// Maximum number of empty lines before a request. A client that sends one after each body sends
/// one.
const EMPTY_LINES: u8 = 8;

/// A line as far as it has arrived. Only the beginning of a long line is kept.
struct Line {
    start: [u8; KEPT],
    length: usize,
    last: u8,
}

/// Bytes kept of a line: room for the longest valid length field and chunk size, and some white
/// space.
const KEPT: usize = 64;

impl Default for Line {
    fn default() -> Self {
        Self { start: [0; KEPT], length: 0, last: 0 }
    }
}

impl Line {
    fn push(&mut self, bytes: &[u8]) {
        let room = self.start.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(bytes) {
            *place = *byte;
        }
        self.length = self.length.saturating_add(bytes.len());
        self.last = bytes.last().copied().unwrap_or(self.last);
    }

    fn clear(&mut self) {
        (self.length, self.last) = (0, 0);
    }

    fn is_whole(&self) -> bool {
        self.length <= KEPT
    }

    /// Returns the beginning of the line, without the carriage return of a complete one.
    fn kept(&self) -> &[u8] {
        self.start.get(..self.length.saturating_sub(1)).unwrap_or(&self.start)
    }

    /// Returns the chunk size in the line (RFC 9112 §7.1). Ignores extensions.
    fn chunk_size(&self) -> Option<u64> {
        let digits = self.kept().split(|byte| b"; \t".contains(byte)).next()?;
        (digits.len() < KEPT).then(|| number(digits, 16))?
    }
}

/// Parses a number that consists only of digits.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let is_plain = text.iter().all(|byte| char::from(*byte).is_digit(radix));
    let text = std::str::from_utf8(text).ok().filter(|text| is_plain && !text.is_empty())?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests;
