//! Closing a TCP connection so that the last response arrives (RFC 9112 §9.6).
//!
//! Closing a socket with unread data resets the connection. The client may then lose the response,
//! such as a 413 for an upload that it is still sending. Therefore, after closing its own side, the
//! server reads the client's side for a while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Time to wait for the client's end. Also for a request over HTTP/3.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Maximum number of bytes to read and discard meanwhile.
pub(crate) const TOLERANCE: usize = 8 << 20;

/// A connection with a shutdown that waits for the client's end.
pub(crate) struct Lingering<T> {
    io: T,
    last: Option<Last>,
}

/// The state of a connection with a closed sending side.
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
                // The client or the connection has ended.
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
