//! The rate at which a client takes the response of one HTTP/2 stream.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};

use super::Shared;
use crate::listen::stall::{Pace, Patience};
use crate::message::peer::Protocol;
use crate::telemetry::metrics::{self, Cut};

/// Waits for the client to open its windows, within a bound.
pub(super) struct Taking<'a> {
    patience: Patience,
    pace: Pace,
    /// Bytes of responses that the connection has written.
    moved: &'a Cell<u64>,
    /// Waiting streams of the connection.
    waiting: &'a Cell<usize>,
    cut: &'a Cut,
}

impl<'a> Taking<'a> {
    pub(super) fn new<H>(shared: &'a Shared<H>) -> Self {
        let Shared { service, waiting, moved, .. } = shared;
        let (pace, cut) = (service.edge.pace, &service.edge.cut);
        Self { patience: Patience::new(pace), pace, moved, waiting, cut }
    }

    /// Completes when the client allows a frame of the stream to begin.
    pub(super) async fn room(&mut self, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        let mut wait = None;
        poll_fn(|cx| {
            while stream.capacity() == 0 {
                match stream.poll_capacity(cx) {
                    Poll::Ready(Some(capacity)) => capacity.map(drop)?,
                    // The client or the end of the connection ended the stream.
                    Poll::Ready(None) => return Poll::Ready(Err(Reason::CANCEL.into())),
                    Poll::Pending => {
                        ready!(self.poll_end(cx, &mut wait));
                        return Poll::Ready(Err(Reason::CANCEL.into()));
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Notes that a frame of `bytes` bytes has begun.
    pub(super) fn restore(&mut self, bytes: usize) {
        self.patience.restore(bytes as u64);
    }

    /// Ready when the client has taken too little for too long.
    fn poll_end(&mut self, cx: &mut Context<'_>, wait: &mut Option<Wait<'a>>) -> Poll<()> {
        loop {
            let before = wait.get_or_insert_with(|| Wait::begin(self.waiting, self.moved)).before;
            ready!(self.patience.poll_end(cx));
            // A client behind a slow link takes from one stream after another.
            let due = self.pace.due(self.patience.waited(), self.waiting.get());
            if due.is_none_or(|due| self.moved.get() - before <= due) {
                self.cut.count(Protocol::H2, metrics::Reason::SlowResponse);
                return Poll::Ready(());
            }
            *wait = None;
            self.patience.renew();
        }
    }
}

/// A waiting stream, counted among those of its connection. Holds the bytes that the connection had
/// written when the wait began.
struct Wait<'a> {
    waiting: &'a Cell<usize>,
    before: u64,
}

impl<'a> Wait<'a> {
    fn begin(waiting: &'a Cell<usize>, moved: &Cell<u64>) -> Self {
        waiting.set(waiting.get() + 1);
        Self { waiting, before: moved.get() }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.waiting.set(self.waiting.get() - 1);
    }
}
