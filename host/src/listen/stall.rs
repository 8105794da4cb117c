//! Clients that take nothing: no connection and no stream waits for one without a bound.
//!
//! What a client does not read piles up: first in the kernel, then here, and at last an origin's connection waits with it.
//! [`Stalling`] bounds that for a TCP connection, [`Progress`] for one HTTP/2 stream among others, which its client can
//! hold up by flow control while the connection moves.

use std::cell::Cell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::{Body, BodyError};

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

/// What the bodies of one HTTP/2 connection tell the tasks of its streams. They run one at a time, on one thread, so one
/// place serves all of them.
#[derive(Default)]
pub(super) struct Progress {
    /// Whether the body that was asked last, in this poll of a stream, gave a frame; `None`: none was asked.
    gave: Cell<Option<bool>>,
}

impl Progress {
    /// Runs `stream` until it ends, or until its client has not taken a frame of its body for `limit`. Dropping it then
    /// resets the stream and cancels what it waits for.
    pub(super) async fn bound(&self, stream: impl Future<Output = ()>, limit: Duration) {
        let mut stream = pin!(stream);
        let mut patience = Patience::new(limit);
        let mut holds_frame = false;
        std::future::poll_fn(|cx| {
            self.gave.set(None);
            if stream.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // The next frame is asked for when the one before is on its way, so one that was given and not followed
            // by a question waits for the client.
            if let Some(gave) = self.gave.take() {
                holds_frame = gave;
                patience.restore();
            }
            if holds_frame { patience.poll_end(cx) } else { Poll::Pending }
        })
        .await;
    }

    /// Wraps the body of a response that a bounded stream sends.
    pub(super) fn watch(self: &Rc<Self>, body: Body) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::stream(Watched { body, progress: Rc::clone(self) })
    }
}

struct Watched {
    body: Body,
    progress: Rc<Progress>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        self.progress.gave.set(Some(matches!(frame, Poll::Ready(Some(Ok(_))))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Time that runs while somebody waits. Costs nothing until somebody does.
struct Patience {
    limit: Duration,
    is_running: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Patience {
    fn new(limit: Duration) -> Self {
        Self { limit, is_running: false, timer: None }
    }

    /// The wait is over; the next one has all of the time again.
    fn restore(&mut self) {
        self.is_running = false;
    }

    /// Ready when the wait, which begins with the first call, has taken too long.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let end = Instant::now() + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if !std::mem::replace(&mut self.is_running, true) {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}
