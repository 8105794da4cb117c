//! The body of a response on its way from an origin of any protocol. Bounds its time.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::lease::Deadlines;
use crate::message::body::{Body, BodyError};
use crate::message::exchange::Exchange;

/// The rest of an exchange after the head of its response. Dropping it gives the exchange up.
pub(super) trait Rest: Unpin + 'static {
    /// Takes the next frame of the response, and meanwhile sends the rest of the request. `None` is
    /// the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>>;

    /// Whether the last frame was taken.
    fn is_over(&self) -> bool;

    /// Whether a part of the request is still to be sent.
    fn is_sending(&self) -> bool;

    /// Returns the number of bytes to come, if it is known.
    fn remaining(&self) -> Option<u64>;

    /// Ends a complete exchange. The connection may serve others.
    fn end(self);
}

/// Maximum number of interim responses before a final one. An origin sends one or two.
pub(super) const MAX_INTERIM: u32 = 16;

/// Returns the response's body. A body that has fully arrived ends the exchange at once.
pub(super) fn into_body<R: Rest>(mut rest: R, exchange: Rc<Exchange>, bounds: Deadlines) -> Body {
    if rest.is_over() && !rest.is_sending() {
        rest.end();
        return Body::empty();
    }
    let mut first = None;
    // Nobody waits for a wake-up yet: the body is polled again before anything counts on one.
    if let Poll::Ready(frame) = rest.poll_next(&mut Context::from_waker(Waker::noop())) {
        if let Ok(Some(frame)) = &frame
            && rest.is_over()
            && !rest.is_sending()
            && let Some(data) = frame.data_ref()
        {
            let data = data.clone();
            rest.end();
            return Body::full(data);
        }
        first = Some(frame);
    }
    let rest = Some(rest);
    Body::stream(ResponseBody { rest, first, exchange, bounds, timer: None, progressed: false })
}

/// Holds the exchange until the last byte from the origin.
pub(super) struct ResponseBody<R> {
    /// Taken at the end of the exchange. Dropping it earlier gives the exchange up.
    rest: Option<R>,
    /// A frame that was taken already.
    first: Option<Result<Option<Frame<Bytes>>, BodyError>>,
    exchange: Rc<Exchange>,
    bounds: Deadlines,
    timer: Option<Pin<Box<Sleep>>>,
    progressed: bool,
}

impl<R: Rest> ResponseBody<R> {
    /// Makes the body of an exchange that has begun to stream.
    pub(super) fn new(rest: R, exchange: Rc<Exchange>, bounds: Deadlines) -> Self {
        Self { rest: Some(rest), first: None, exchange, bounds, timer: None, progressed: false }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.bounds.idle.map(|idle| Instant::now() + idle);
        let at = match (idle, self.bounds.total) {
            (Some(idle), Some(total)) => idle.min(total),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return Poll::Pending,
        };
        let progressed = std::mem::take(&mut self.progressed);
        let timer = match &mut self.timer {
            Some(timer) if progressed => {
                timer.as_mut().reset(at);
                timer
            }
            Some(timer) => timer,
            timer => timer.insert(Box::pin(tokio::time::sleep_until(at))),
        };
        loop {
            ready!(timer.as_mut().poll(cx));
            let now = Instant::now();
            // The rest of the request keeps the exchange alive too.
            let is_sending = self.rest.as_ref().is_some_and(Rest::is_sending);
            let idle = self.bounds.idle.filter(|_| is_sending);
            let at = idle.map(|idle| self.exchange.moved() + idle);
            let Some(at) = at.map(|at| self.bounds.total.map_or(at, |total| total.min(at))) else {
                return Poll::Ready(());
            };
            if at <= now {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

impl<R: Rest> http_body::Body for ResponseBody<R> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A body with a next piece always ready never reaches the timer below.
        let total = self.bounds.total.filter(|_| self.rest.is_some());
        if total.is_some_and(|total| total <= Instant::now()) {
            self.rest = None;
            return Poll::Ready(Some(Err(BodyError::Timeout)));
        }
        let this = &mut *self;
        let Some(rest) = &mut this.rest else { return Poll::Ready(None) };
        let next = match this.first.take() {
            Some(first) => Poll::Ready(first),
            None => rest.poll_next(cx),
        };
        let next = match next {
            Poll::Ready(next) => {
                if rest.is_sending() {
                    this.exchange.restart();
                }
                next
            }
            Poll::Pending => {
                ready!(this.poll_timer(cx));
                Err(BodyError::Timeout)
            }
        };
        this.progressed = true;
        match &next {
            Err(error) => {
                let cause = error as &dyn std::error::Error;
                if matches!(error, BodyError::Request(_)) {
                    tracing::debug!(error = cause, "request body ended early");
                } else {
                    tracing::warn!(error = cause, "response body ended early");
                }
                this.rest = None;
            }
            Ok(next) if next.is_none() || this.rest.as_ref().is_some_and(Rest::is_over) => {
                if let Some(rest) = this.rest.take() {
                    rest.end();
                }
            }
            Ok(_) => {}
        }
        Poll::Ready(next.transpose())
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.as_ref().is_none_or(Rest::is_over)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(rest) = &self.rest else { return SizeHint::with_exact(0) };
        let taken = match &self.first {
            Some(Ok(Some(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
            _ => 0,
        };
        rest.remaining().map_or_else(SizeHint::default, |left| SizeHint::with_exact(left + taken))
    }
}
