//! Closing a TCP connection so that the last response arrives (RFC 9112 §9.6).
//!
//! A socket that is closed with unread data in it resets the connection, and the client may lose what was sent before: a
//! 413 for an upload that it is still sending. So after the end of our side the client's is read for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long the client's end is awaited; that of a request over HTTP/3 too.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Bytes that are read and thrown away meanwhile.
pub(crate) const TOLERANCE: usize = 8 << 20;

/// A connection whose shutdown waits for the client's end.
pub(crate) struct Lingering<T> {
    io: T,
    last: Option<Last>,
}

/// What remains of a connection whose sending side is closed.
struct Last {
    deadline: Pin<Box<Sleep>>,
    left: usize,
}

impl<T> Lingering<T> {
    pub(crate) fn new(io: T) -> Self {
        Self { io, last: None }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Lingering<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<T> {
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
        let this = &mut *self;
        let last = match &mut this.last {
            Some(last) => last,
            None => {
                ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
                let deadline = Box::pin(sleep(PATIENCE));
                this.last.insert(Last { deadline, left: TOLERANCE })
            }
        };
        let mut space = [0; 4096];
        while last.left > 0 && last.deadline.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    last.left = last.left.saturating_sub(buffer.filled().len());
                }
                // The client's end, or that of the connection.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
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
