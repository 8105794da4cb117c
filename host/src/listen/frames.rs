//! Detection of HTTP/2 clients that only keep the server busy, from the frames in both directions
//! (RFC 9113 §4.1).
//!
//! SETTINGS, PING, PRIORITY, WINDOW_UPDATE, unknown types and empty DATA cost the server some
//! hundred nanoseconds each, and their sender nothing. hyper answers any number of them. [`Frames`]
//! reads the nine bytes before each payload. It counts useless frames against useful ones, and ends
//! a connection that only keeps its server busy. It changes nothing else and stores no payload.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use weir_h3::Useless;

use super::effort::Effort;
use crate::message::peer::Protocol;
use crate::telemetry::metrics::{Cut, Reason};

/// A connection that ends when its client floods it.
pub(super) struct Frames<T> {
    io: T,
    read: Walker,
    written: Walker,
    useless: Useless,
    /// WINDOW_UPDATE and PING frames that the client may still send for the responses it was sent.
    /// It reads them later, and in pieces of a size that it chooses.
    earned: u32,
    effort: Effort,
    /// Bytes of responses that have been written.
    moved: Rc<Cell<u64>>,
    /// The last stream that the client opened.
    last: u32,
    is_over: bool,
    cut: Cut,
}

impl<T> Frames<T> {
    /// Creates a connection. `moved` counts the bytes of responses, and `cut` the connections that
    /// end because of a flood.
    pub(super) fn new(io: T, moved: Rc<Cell<u64>>, cut: Cut) -> Self {
        let read = Walker { preface: PREFACE, ..Walker::default() };
        let (written, useless) = (Walker::default(), Useless::default());
        let effort = Effort::new(PAID);
        let (earned, last, is_over) = (0, 0, false);
        Self { io, read, written, useless, earned, effort, moved, last, is_over, cut }
    }

    /// Follows the bytes that the client sends. Returns false if too many of its frames are
    /// useless.
    fn follow(&mut self, read: &[u8]) -> bool {
        let Self { read: walker, useless, earned, effort, last, .. } = self;
        let mut is_flood = false;
        walker.follow(read, |frame| {
            effort.add(1);
            match frame.use_to_server() {
                FrameUse::Some(worth) => useless.make_up(worth),
                FrameUse::Reading if *earned > 0 => *earned -= 1,
                FrameUse::Reading | FrameUse::None => is_flood |= useless.add(),
                FrameUse::Other => {}
            }
            if frame.kind == HEADERS {
                *last = frame.stream.max(*last);
            }
        });
        !is_flood
    }

    /// Follows the bytes that were written.
    fn wrote(&mut self, bytes: &[u8]) {
        let Self { written: walker, useless, earned, moved, cut, .. } = self;
        walker.follow(bytes, |frame| match frame.kind {
            DATA => {
                moved.set(moved.get() + u64::from(frame.length));
                // A client opens its windows a little with each piece that it has read.
                let worth = RESPONSE + frame.length / WINDOW_UPDATE_EACH;
                *earned = earned.saturating_add(worth).min(MOST_EARNED);
                useless.make_up(RESPONSE);
            }
            HEADERS => useless.make_up(RESPONSE),
            // h2 itself ends a connection that resets too many streams or continues a head
            // endlessly.
            GOAWAY if frame.code == ENHANCE_YOUR_CALM => cut.count(Protocol::H2, Reason::Flood),
            _ => {}
        });
    }
}

impl<T: AsyncWrite + Unpin> Frames<T> {
    /// Ends the connection. Sends GOAWAY if the last frame was written completely.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.is_over = true;
        self.cut.count(Protocol::H2, Reason::Flood);
        tracing::debug!("closing an HTTP/2 connection that sends useless frames");
        if self.written.is_between_frames() {
            let mut goaway =
                [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ENHANCE_YOUR_CALM];
            if let Some(last) = goaway.get_mut(9..13) {
                last.copy_from_slice(&self.last.to_be_bytes());
            }
            // GOAWAY is a courtesy, so its loss does not matter.
            let _ = Pin::new(&mut self.io).poll_write(cx, &goaway);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        ready!(this.effort.poll_paid(cx));
        if !this.is_over {
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buffer))?;
            if this.follow(buffer.filled().get(before..).unwrap_or_default()) {
                return Poll::Ready(Ok(()));
            }
            buffer.set_filled(before);
            this.end(cx);
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Frames<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if this.is_over {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = ready!(Pin::new(&mut this.io).poll_write_vectored(cx, buffers))?;
        let mut left = written;
        for buffer in buffers {
            let part = buffer.get(..left).unwrap_or(buffer);
            this.wrote(part);
            left -= part.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Finds the frames in one direction of a connection.
#[derive(Debug, Default)]
struct Walker {
    /// Bytes still to come before the first frame.
    preface: usize,
    /// The bytes before a payload, and the beginning of some payloads.
    head: [u8; LONGEST_HEAD],
    filled: usize,
    /// Bytes of the payload still to come.
    left: usize,
}

/// A frame, without its payload.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    length: u32,
    /// Bytes of content without padding. For DATA only.
    content: u32,
    /// The error code of a GOAWAY, if it is a registered one.
    code: u8,
}

/// The use of a client's frame to the server.
enum FrameUse {
    /// The frame is useful, and compensates for this number of useless ones.
    Some(u32),
    /// The frame belongs to reading responses, if the client has any.
    Reading,
    None,
    /// The frame is neither useful nor useless.
    Other,
}

impl Walker {
    fn follow(&mut self, bytes: &[u8], mut found: impl FnMut(Frame)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let skipped = if self.preface > 0 { &mut self.preface } else { &mut self.left };
            if *skipped > 0 {
                let count = rest.len().min(*skipped);
                *skipped -= count;
                rest = rest.split_at(count).1;
                continue;
            }
            let wanted = self.wanted();
            let Some(room) = self.head.get_mut(self.filled..wanted) else { return };
            let (taken, after) = rest.split_at(rest.len().min(room.len()));
            for (place, byte) in room.iter_mut().zip(taken) {
                *place = *byte;
            }
            self.filled += taken.len();
            rest = after;
            if self.filled == self.wanted() {
                let frame = Frame::parse(&self.head);
                self.left = (frame.length as usize).saturating_sub(self.filled - HEAD);
                self.filled = 0;
                found(frame);
            }
        }
    }

    /// Returns the number of bytes that identify the frame.
    fn wanted(&self) -> usize {
        if self.filled < HEAD {
            return HEAD;
        }
        let frame = Frame::parse(&self.head);
        let more = match frame.kind {
            DATA if frame.flags & PADDED != 0 => 1,
            GOAWAY => 8,
            _ => 0,
        };
        HEAD + more.min(frame.length as usize)
    }

    fn is_between_frames(&self) -> bool {
        self.preface == 0 && self.left == 0 && self.filled == 0
    }
}

impl Frame {
    fn parse(head: &[u8; LONGEST_HEAD]) -> Self {
        let [l1, l2, l3, kind, flags, s1, s2, s3, s4, pad, _, _, _, c1, c2, c3, c4] = *head;
        let length = u32::from_be_bytes([0, l1, l2, l3]);
        let padding = if flags & PADDED == 0 { 0 } else { 1 + u32::from(pad) };
        Self {
            kind,
            flags,
            stream: u32::from_be_bytes([s1, s2, s3, s4]) & (u32::MAX >> 1),
            length,
            content: length.saturating_sub(padding),
            code: u8::try_from(u32::from_be_bytes([c1, c2, c3, c4])).unwrap_or(u8::MAX),
        }
    }

    fn use_to_server(&self) -> FrameUse {
        match self.kind {
            DATA if self.content > 0 => FrameUse::Some(1),
            // The frame ends a request.
            DATA if self.flags & END_STREAM != 0 => FrameUse::Other,
            // The frame begins or ends a request. h2 counts the requests that lead to nothing.
            HEADERS => FrameUse::Some(REQUEST),
            // h2 bounds the total size of a head.
            CONTINUATION if self.length > 0 => FrameUse::Other,
            PING | WINDOW_UPDATE => FrameUse::Reading,
            _ => FrameUse::None,
        }
    }
}

/// Bytes before a payload.
const HEAD: usize = 9;

/// Bytes of a frame head together with a GOAWAY that has no debug data.
const LONGEST_HEAD: usize = 17;

/// Bytes before a client's first frame (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// Frames per unit of a task's budget. h2 spends some 10 µs on them.
const PAID: usize = 32;

/// Useless frames that a request compensates for: its priority, its window, its cancellation.
const REQUEST: u32 = 8;

/// Useless frames that one frame of a response compensates for. The client opens two windows, and
/// some clients ping with each.
const RESPONSE: u32 = 4;

/// Bytes of a response that allow the client another WINDOW_UPDATE. Clients that read in small
/// pieces open two windows for each piece of 4 KiB.
const WINDOW_UPDATE_EACH: u32 = 512;

/// Maximum number of frames that a client can earn: those for half a gibibyte that it has not read
/// yet.
const MOST_EARNED: u32 = 1 << 20;

const DATA: u8 = 0x0;
const HEADERS: u8 = 0x1;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;
const WINDOW_UPDATE: u8 = 0x8;
const CONTINUATION: u8 = 0x9;
const END_STREAM: u8 = 0x1;
const PADDED: u8 = 0x8;
const ENHANCE_YOUR_CALM: u8 = 0xb;

#[cfg(test)]
mod tests;
