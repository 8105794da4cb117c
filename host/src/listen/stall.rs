//! A bound for clients that take too little, for every connection and every stream.
//!
//! Bytes that a client does not read accumulate: first in the kernel, then in this process. In the
//! end an origin's connection waits for the client too. [`Stalling`] bounds that for a TCP
//! connection. Flow control can hold up one stream of HTTP/2 or HTTP/3 while the connection moves.
//! Therefore the sender of a stream has its own [`Patience`] (`h2/taking.rs`, `h3/taking.rs`). Only
//! time in which bytes wait for the client counts, so an origin may be slow.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::ListenerLimits;

/// Time for which a client may take nothing of the waiting bytes, however much it has taken before.
/// The same as nginx's `send_timeout`.
const STALLED: Duration = Duration::from_secs(60);

/// Maximum number of streams of a connection that count when its client is behind a slow link.
const MOST_STREAMS: usize = 8;

/// The rate at which clients must take waiting bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Bytes per second. 0 allows any rate.
    rate: u64,
    /// Time before the first bytes must have been taken.
    grace: Duration,
    /// Maximum time without any byte taken.
    pub(super) most: Duration,
}

impl Pace {
    pub(super) fn new(limits: &ListenerLimits) -> Self {
        Self { rate: limits.download_rate, grace: limits.rate_grace, most: STALLED }
    }

    /// Returns the time that taking `bytes` bytes earns.
    fn worth(&self, bytes: u64) -> Duration {
        match self.rate {
            0 => self.most,
            rate => Duration::from_millis(bytes.saturating_mul(1000) / rate),
        }
    }

    /// Returns the bytes that `streams` streams must take in the time `waited`.
    pub(super) fn due(&self, waited: Duration, streams: usize) -> Option<u64> {
        let each = u64::try_from(waited.as_millis()).ok()?.saturating_mul(self.rate) / 1000;
        // Without this bound, a hundred streams would require more of a connection than the slowest
        // networks carry.
        (self.rate > 0).then(|| each.saturating_mul(streams.min(MOST_STREAMS) as u64))
    }
}

/// The time that a client may spend in waits. The client earns time by the bytes it takes. Costs
/// nothing until a wait begins.
pub(super) struct Patience {
    pace: Pace,
    left: Duration,
    /// The beginning of the present wait.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    pub(super) fn new(pace: Pace) -> Self {
        let left = if pace.rate == 0 { pace.most } else { pace.grace.min(pace.most) };
        Self { pace, left, since: None, timer: None }
    }

    /// Notes that the client has taken `taken` bytes, and ends the present wait.
    pub(super) fn restore(&mut self, taken: u64) {
        if let Some(since) = self.since.take() {
            self.left = self.left.saturating_sub(since.elapsed());
        }
        self.left = self.left.saturating_add(self.pace.worth(taken)).min(self.pace.most);
    }

    /// Ready when the wait has taken too long. The first call begins the wait.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let left = self.left;
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            match &mut self.timer {
                Some(timer) => timer.as_mut().reset(now + left),
                timer => *timer = Some(Box::pin(sleep_until(now + left))),
            }
        }
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Returns the duration of the present wait.
    pub(super) fn waited(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Restarts the present wait.
    pub(super) fn renew(&mut self) {
        *self = Self { timer: self.timer.take(), ..Self::new(self.pace) };
    }
}

/// A connection with writes that fail once the client takes too little of them.
pub(super) struct Stalling<T> {
    io: T,
    patience: Patience,
    written: Rc<Cell<u64>>,
    /// Whether a write failed for that reason.
    stalled: Rc<Cell<bool>>,
}

impl<T> Stalling<T> {
    pub(super) fn new(io: T, pace: Pace) -> Self {
        let (written, stalled) = (Rc::default(), Rc::default());
        Self { io, patience: Patience::new(pace), written, stalled }
    }

    /// Returns the counter of bytes that the client's side has taken.
    pub(super) fn written(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.written)
    }

    /// Returns the flag for a client that took too little.
    pub(super) fn stalled(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.stalled)
    }

    fn note(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                let bytes = *written.as_ref().unwrap_or(&0) as u64;
                self.patience.restore(bytes);
                self.written.set(self.written.get().saturating_add(bytes));
                Poll::Ready(written)
            }
            Poll::Pending => {
                ready!(self.patience.poll_end(cx));
                self.stalled.set(true);
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
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

    // A socket buffers nothing on this side of the kernel, so these two never wait.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
