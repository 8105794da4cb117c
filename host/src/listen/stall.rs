//! Clients that take nothing: no connection and no stream waits for one without a bound.
//!
//! What a client does not read piles up: first in the kernel, then here, and at last an origin's connection waits with it.
//! [`Stalling`] bounds that for a TCP connection. One HTTP/2 stream among others can be held up by flow control while the
//! connection moves, so its sender has a [`Patience`] of its own.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a client may take nothing of what waits for it. As nginx's `send_timeout`, and as HTTP/3 has it here.
pub(super) const STALLED: Duration = Duration::from_secs(60);

/// A connection whose writes fail once the client has taken nothing of them for a time.
pub(super) struct Stalling<T> {
    io: T,
    patience: Patience,
    written: Rc<Cell<u64>>,
}

impl<T> Stalling<T> {
    pub(super) fn new(io: T, limit: Duration) -> Self {
        Self { io, patience: Patience::new(limit), written: Rc::default() }
    }

    /// Counts the bytes that the client's side has taken.
    pub(super) fn written(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.written)
    }

    fn note(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.patience.restore();
                let bytes = *written.as_ref().unwrap_or(&0) as u64;
                self.written.set(self.written.get().saturating_add(bytes));
                Poll::Ready(written)
            }
            Poll::Pending => {
                self.patience.poll_end(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Stalling<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Stalling<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, buffers);
        self.note(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    // A socket buffers nothing on this side of the kernel: these two never wait.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Time that runs while somebody waits. Costs nothing until somebody does.
pub(super) struct Patience {
    limit: Duration,
    is_running: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, is_running: false, timer: None }
    }

    /// The wait is over; the next one has all of the time again.
    pub(super) fn restore(&mut self) {
        self.is_running = false;
    }

    /// Ready when the wait, which begins with the first call, has taken too long.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = Instant::now() + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if !std::mem::replace(&mut self.is_running, true) {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}
