//! The rate at which a client takes the response of one HTTP/3 request.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use weir_h3::{Code, Error, Sending, Stream};

use super::Connection;
use crate::listen::stall::{Pace, Patience};
use crate::message::peer::Protocol;
use crate::telemetry::metrics::{Cut, Reason};

/// Waits for the client to take a response, within a bound.
pub(super) struct Taking<'a> {
    patience: Patience,
    pace: Pace,
    quic: &'a quinn::Connection,
    waiting: &'a Cell<usize>,
    cut: &'a Cut,
}

impl<'a> Taking<'a> {
    pub(super) fn new<H>(connection: &'a Connection<H>) -> Self {
        let Connection { handle, edge, waiting, .. } = connection;
        let (patience, pace) = (Patience::new(edge.pace), edge.pace);
        Self { patience, pace, quic: handle.quic(), waiting, cut: &edge.cut }
    }

    /// Sends a piece of the body.
    pub(super) async fn send(&mut self, sending: Sending<'_>) -> Result<(), Code> {
        let mut sending = pin!(sending);
        let mut left = sending.left();
        let step = |cx: &mut Context<'_>| {
            let sent = sending.as_mut().poll(cx);
            let taken = left.saturating_sub(sending.left());
            left -= taken;
            (taken as u64, sent)
        };
        self.wait(step).await
    }

    /// Sends the queued bytes.
    pub(super) async fn flush(&mut self, stream: &Stream) -> Result<(), Code> {
        self.wait(|cx| (0, stream.poll_flush(cx))).await
    }

    /// Runs `step` until it is done. Each step returns the number of bytes taken.
    async fn wait(
        &mut self,
        mut step: impl FnMut(&mut Context<'_>) -> (u64, Poll<Result<(), Error>>),
    ) -> Result<(), Code> {
        let mut wait = None;
        let ended = poll_fn(|cx| {
            let (taken, sent) = step(cx);
            if taken > 0 || sent.is_ready() {
                self.patience.restore(taken);
                wait = None;
            }
            if let Poll::Ready(sent) = sent {
                return Poll::Ready(sent.map_err(|_| Code::H3_INTERNAL_ERROR));
            }
            loop {
                wait.get_or_insert_with(|| Wait::begin(self.waiting, self.quic));
                ready!(self.patience.poll_end(cx));
                let due = self.pace.due(self.patience.waited(), self.waiting.get());
                let moved = wait.as_ref().map_or(0, |wait| wait.moved(self.quic));
                if due.is_none_or(|due| moved <= due) {
                    self.cut.count(Protocol::H3, Reason::SlowResponse);
                    return Poll::Ready(Err(Code::H3_REQUEST_CANCELLED));
                }
                wait = None;
                self.patience.renew();
            }
        });
        pin!(ended).await
    }
}

/// A waiting stream, counted among those of its connection. Holds the amount that the connection
/// had sent when the wait began.
struct Wait<'a> {
    waiting: &'a Cell<usize>,
    before: Sent,
}

/// The amount that a connection has sent.
struct Sent {
    bytes: u64,
    /// Pieces of streams. Acknowledgements and pings do not count.
    pieces: u64,
}

impl<'a> Wait<'a> {
    fn begin(waiting: &'a Cell<usize>, quic: &quinn::Connection) -> Self {
        waiting.set(waiting.get() + 1);
        Self { waiting, before: Sent::by(quic) }
    }

    /// Returns the approximate number of stream bytes that the connection has sent meanwhile. A
    /// client behind a slow link may have allowed far more than the link has carried. Its stream
    /// then waits for long, although the client takes all it can.
    fn moved(&self, quic: &quinn::Connection) -> u64 {
        let (now, before) = (Sent::by(quic), &self.before);
        let pieces = now.pieces.saturating_sub(before.pieces);
        now.bytes.saturating_sub(before.bytes).min(pieces.saturating_mul(PACKET))
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.waiting.set(self.waiting.get() - 1);
    }
}

impl Sent {
    fn by(quic: &quinn::Connection) -> Self {
        let stats = quic.stats();
        Self { bytes: stats.udp_tx.bytes, pieces: stats.frame_tx.stream }
    }
}

/// Approximate number of bytes of a packet that carries a piece of a stream.
const PACKET: u64 = 1200;
