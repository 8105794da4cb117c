//! The streams of a connection that this side opens.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};

use super::{CLOSED, End};

/// A stream of ours, with the bytes that wait for the peer's credit.
pub(super) struct Outgoing {
    stream: quinn::SendStream,
    pub(super) waiting: Bytes,
    /// Completes when the peer asks to close the stream.
    stopped: Pin<Box<dyn Future<Output = Result<Option<quinn::VarInt>, quinn::StoppedError>>>>,
}

impl Outgoing {
    pub(super) fn new(stream: quinn::SendStream, waiting: Bytes) -> Self {
        let stopped = Box::pin(stream.stopped());
        Self { stream, waiting, stopped }
    }

    /// Writes the queued bytes; it is ready when none are left.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        if let Poll::Ready(stopped) = self.stopped.as_mut().poll(cx) {
            return Poll::Ready(Err(match stopped {
                Err(quinn::StoppedError::ConnectionLost(error)) => error.into(),
                // The peer must not ask to close a critical stream (RFC 9114 §6.2.1).
                Ok(_) | Err(_) => CLOSED.into(),
            }));
        }
        while !self.waiting.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting)) {
                Ok(written) => self.waiting.advance(written),
                Err(quinn::WriteError::ConnectionLost(error)) => {
                    return Poll::Ready(Err(error.into()));
                }
                Err(_) => return Poll::Ready(Err(CLOSED.into())),
            }
        }
        Poll::Ready(Ok(()))
    }
}
