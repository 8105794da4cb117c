//! Heads of HTTP/1.1 requests, looked at before hyper reads them (RFC 9112 §§2.2, 6.1, 6.3, 7.1).
//!
//! hyper takes a line feed alone for a line's end, and of Content-Length beside Transfer-Encoding it keeps the second and
//! hides that there was the first: whoever stands before or behind this proxy may read such bytes as other messages. So
//! the lines of heads, chunk sizes and trailers pass a scanner on their way; a body's bytes are counted, not looked at.
//! Where a message ends is what hyper finds as well, which is strict about all that the scanner does not check. A head
//! that is refused reaches hyper with an end that it cannot parse: it answers 400 and closes.
//!
//! What follows a request by which a connection becomes a tunnel would be scanned too; there are none.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection that lets no ambiguous request through.
pub(super) struct Heads<T> {
    io: T,
    scanner: Scanner,
    /// Why nothing more comes, once something was refused.
    refused: Option<Refused>,
}

#[derive(Clone, Copy)]
enum Refused {
    /// A head; so many bytes of [`POISON`] were given.
    Head(usize),
    /// The framing of a body.
    Body,
}

impl<T> Heads<T> {
    pub(super) fn new(io: T) -> Self {
        Self { io, scanner: Scanner::default(), refused: None }
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
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
            let read = buffer.filled().get(before..).unwrap_or_default();
            let Err(refusal) = this.scanner.scan(read) else { return Poll::Ready(Ok(())) };
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

/// Ends a head so that no parser takes it for one: NUL stands nowhere in a message's head, and without the empty line
/// hyper would wait for more before it parses.
const POISON: &[u8] = b"\0\r\n\r\n";

/// Where in the connection's stream of messages its bytes are.
#[derive(Default)]
struct Scanner {
    part: Part,
    line: Line,
    head: Head,
}

#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Part {
    #[default]
    Head,
    /// The body's bytes that are left.
    Sized(u64),
    ChunkSize,
    /// The bytes of a chunk that are left, its line's end included.
    Chunk(u64),
    Trailers,
}

/// What a head has said so far of the body's framing.
#[derive(Default)]
struct Head {
    has_begun: bool,
    length: Option<u64>,
    is_coded: bool,
}

/// The line feed at this place of what was scanned must not get through.
#[derive(Debug, PartialEq)]
struct Refusal {
    at: usize,
    is_head: bool,
}

impl Scanner {
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
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.line.push(rest);
                return Ok(());
            };
            let (line, after) = rest.split_at(end);
            self.line.push(line);
            let is_head = self.part == Part::Head;
            let at = bytes.len() - after.len();
            self.part = self.after_line().ok_or(Refusal { at, is_head })?;
            self.line.clear();
            rest = after.get(1..).unwrap_or_default();
        }
        Ok(())
    }

    /// What comes after the line that has just ended; `None`: that line must not be.
    fn after_line(&mut self) -> Option<Part> {
        let line = &self.line;
        let is_empty = line.length == 1;
        if line.last != b'\r' {
            return None;
        }
        match self.part {
            // RFC 9112 §2.2: empty lines before a request are nothing.
            Part::Head if is_empty && !self.head.has_begun => Some(Part::Head),
            Part::Head if is_empty => std::mem::take(&mut self.head).body(),
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
    /// Takes the request's line, then a field's; false when that makes the framing ambiguous.
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

    /// What comes after the head.
    fn body(self) -> Option<Part> {
        Some(match self.length {
            None if self.is_coded => Part::ChunkSize,
            None | Some(0) => Part::Head,
            Some(length) => Part::Sized(length),
        })
    }
}

/// A line as far as it has come; of a long one only the beginning is kept.
struct Line {
    start: [u8; KEPT],
    length: usize,
    last: u8,
}

/// Room for the longest length field and chunk size that mean something, and some white space.
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

    /// Its beginning, without the carriage return of a whole one.
    fn kept(&self) -> &[u8] {
        self.start.get(..self.length.saturating_sub(1)).unwrap_or(&self.start)
    }

    /// The size of the chunk that it announces (RFC 9112 §7.1), whatever its extensions.
    fn chunk_size(&self) -> Option<u64> {
        let digits = self.kept().split(|byte| b"; \t".contains(byte)).next()?;
        (digits.len() < KEPT).then(|| number(digits, 16))?
    }
}

/// Digits and nothing else.
fn number(text: &[u8], radix: u32) -> Option<u64> {
    let is_plain = text.iter().all(|byte| char::from(*byte).is_digit(radix));
    let text = std::str::from_utf8(text).ok().filter(|text| is_plain && !text.is_empty())?;
    u64::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `text` in pieces of `size` bytes; the place of the byte that was refused, over all pieces.
    fn scan(text: &str, size: usize) -> Result<Part, (usize, bool)> {
        let mut scanner = Scanner::default();
        for (piece, bytes) in text.as_bytes().chunks(size).enumerate() {
            let scanned = scanner.scan(bytes);
            scanned.map_err(|refusal| (piece * size + refusal.at, refusal.is_head))?;
        }
        Ok(scanner.part)
    }

    /// The same whatever the pieces.
    fn verdict(text: &str) -> Result<Part, (usize, bool)> {
        let whole = scan(text, text.len());
        for size in [1, 2, 3, 7, 64] {
            assert_eq!(scan(text, size), whole, "{size}: {text:?}");
        }
        whole
    }

    #[test]
    fn messages_are_followed_from_head_to_head() {
        let sized = "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:\t 3 \r\n\r\na\nb";
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\
            2;ext=\"x\"\r\n\n\n\r\n0A \r\n0123456789\r\n000\r\nX-T: 1\r\n\r\n";
        let bare = "\r\nGET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n";
        let long = format!("GET /{} HTTP/1.1\r\nX: {}\r\n\r\n", "p".repeat(300), "v".repeat(300));
        let all = format!("{sized}{chunked}{bare}{long}{chunked}{sized}");
        assert_eq!(verdict(&all), Ok(Part::Head));
        // Each in the middle of the others, where a bad head is found at its place.
        let bad = "GET / HTTP/1.1\r\nX: a\n";
        assert_eq!(verdict(&format!("{all}{bad}")), Err((all.len() + bad.len() - 1, true)));
    }

    #[test]
    fn an_ambiguous_head_is_refused_at_the_line_that_makes_it_so() {
        for (start, line) in [
            ("GET / HTTP/1.1", "\n"),
            ("GET / HTTP/1.1\r\n", "Host: a\n"),
            ("GET / HTTP/1.1\r\nHost: a\r\n", "\n"),
            ("", "\n"),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"),
            ("POST / HTTP/1.1\r\nTRANSFER-encoding: chunked\r\nX: a\r\n", "content-length:3\r\n"),
            ("POST / HTTP/1.1\r\nContent-Length: 3\r\n", "Content-Length: 3\r\n"),
            ("POST / HTTP/1.1\r\n", "Content-Length: +3\r\n"),
            ("POST / HTTP/1.1\r\n", "Content-Length: 3, 3\r\n"),
            ("POST / HTTP/1.1\r\n", "Content-Length: 18446744073709551616\r\n"),
            ("POST / HTTP/1.1\r\n", "Content-Length: \r\n"),
        ] {
            let text = format!("{start}{line}");
            assert_eq!(verdict(&text), Err((text.len() - 1, true)), "{text:?}");
        }
        let hidden = format!("POST / HTTP/1.1\r\nContent-Length:{}3\r\n", " ".repeat(64));
        assert_eq!(verdict(&hidden), Err((hidden.len() - 1, true)));
    }

    #[test]
    fn framing_that_hyper_would_not_read_alike_is_refused_in_bodies() {
        let head = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in
            ["2\n", "+2\r\n", "\r\n", "10000000000000000\r\n", "2;a\n", "0\r\nX: a\n", "0\r\n\n"]
        {
            let text = format!("{head}{body}");
            assert_eq!(verdict(&text), Err((text.len() - 1, false)), "{body:?}");
        }
        let padded = format!("{head}{}1\r\n", "0".repeat(64));
        assert_eq!(verdict(&padded), Err((padded.len() - 1, false)));
    }
}
