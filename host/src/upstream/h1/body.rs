//! The body of a response on its way from the origin. Bounds its time, and returns the connection
//! to its pool.

use std::future::Future as _;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::framing::{BodyPart, Decoder, FramingError};
use super::upload::Upload;
use crate::message::body::{Body, BodyError};
use crate::message::check;
use crate::message::exchange::{BodyFailure, Exchange};
use crate::upstream::InFlight;
use crate::upstream::lease::Deadlines;
use crate::upstream::pool::Connection;

/// An exchange after the head of its response.
pub(super) struct H1Exchange {
    /// The connection that carries the rest.
    pub(super) connection: Connection,
    /// Finds the end of the body.
    pub(super) decoder: Decoder,
    /// Whether the origin keeps the connection.
    pub(super) keep_alive: bool,
    /// The rest of the request to send.
    pub(super) upload: Upload,
    /// The load of the endpoint.
    pub(super) _in_flight: InFlight,
    /// The progress of the request's body.
    pub(super) exchange: Rc<Exchange>,
}

impl H1Exchange {
    /// Returns the response's body. A body that has fully arrived releases its connection at once.
    pub(super) fn into_body(mut self, bounds: Deadlines) -> Body {
        let buffer = self.connection.wire.buffer();
        let whole = self.decoder.remaining().and_then(|length| usize::try_from(length).ok());
        match whole {
            Some(length) if length <= buffer.len() && self.upload.is_done() => {
                let bytes = buffer.split_to(length).freeze();
                self.decoder = Decoder::empty();
                self.end();
                Body::full(bytes)
            }
            _ => Body::stream(ResponseBody {
                exchanged: Some(self),
                bounds,
                timer: None,
                progressed: false,
            }),
        }
    }

    /// Ends a complete exchange. Keeps the connection if another request may use it.
    fn end(mut self) {
        // Bytes after the response belong to no request. An origin that sends them must not get
        // another request on this connection.
        let reusable =
            self.keep_alive && self.upload.is_done() && self.connection.wire.buffer().is_empty();
        if reusable {
            self.connection.release();
        }
    }

    /// Takes the next piece of the body, and meanwhile sends the rest of the request.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyPart, BodyError>> {
        if !self.upload.is_done() {
            let sent = self.upload.poll(cx, self.connection.wire.stream());
            sent.map_err(|error| BodyError::Request(BodyFailure::from(&error)))?;
        }
        loop {
            let (wire, limits) = self.connection.bounded();
            match self.decoder.decode(wire.buffer(), limits).map_err(BodyError::origin)? {
                BodyPart::NeedMore => {}
                decoded => {
                    if !self.upload.is_done() {
                        self.exchange.restart();
                    }
                    return Poll::Ready(Ok(decoded));
                }
            }
            let room = read_room(&self.decoder);
            let read = ready!(self.connection.wire.poll_fill(cx, room));
            if read.map_err(|error| BodyError::origin(FramingError::Broken(error.kind())))? == 0 {
                self.decoder.close().map_err(BodyError::origin)?;
                self.keep_alive = false;
            }
        }
    }
}

/// Holds the endpoint's load and the connection until the last byte from the origin.
struct ResponseBody {
    /// Taken at the end of the exchange. Dropping it earlier closes the connection.
    exchanged: Option<H1Exchange>,
    bounds: Deadlines,
    timer: Option<Pin<Box<Sleep>>>,
    progressed: bool,
}

impl ResponseBody {
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
            let sent = self.exchanged.as_ref().filter(|exchanged| !exchanged.upload.is_done());
            let at = sent.zip(self.bounds.idle).map(|(sent, idle)| sent.exchange.moved() + idle);
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

impl http_body::Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        // A body with a next piece always ready never reaches the timer below.
        let total = self.bounds.total.filter(|_| self.exchanged.is_some());
        if total.is_some_and(|total| total <= Instant::now()) {
            self.exchanged = None;
            return Poll::Ready(Some(Err(BodyError::Timeout)));
        }
        let Some(exchanged) = &mut self.exchanged else { return Poll::Ready(None) };
        let decoded = match exchanged.poll_next(cx) {
            Poll::Ready(decoded) => decoded,
            Poll::Pending => {
                ready!(self.poll_timer(cx));
                Err(BodyError::Timeout)
            }
        };
        self.progressed = true;
        let frame = match decoded {
            Ok(BodyPart::Data(data)) => Some(Ok(Frame::data(data))),
            Ok(BodyPart::Trailers(fields)) => Some(
                check::clean_trailers(fields).map(Frame::trailers).map_err(BodyError::Trailers),
            ),
            Ok(BodyPart::End | BodyPart::NeedMore) => None,
            Err(error) => Some(Err(error)),
        };
        match &frame {
            Some(Err(error)) => {
                let cause = error as &dyn std::error::Error;
                if matches!(error, BodyError::Request(_)) {
                    tracing::debug!(error = cause, "request body ended early");
                } else {
                    tracing::warn!(error = cause, "response body ended early");
                }
                self.exchanged = None;
            }
            _ if self.exchanged.as_ref().is_some_and(|e| e.decoder.is_done()) => {
                if let Some(exchanged) = self.exchanged.take() {
                    exchanged.end();
                }
            }
            _ => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.exchanged.as_ref().is_none_or(|exchanged| exchanged.decoder.is_done())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.exchanged {
            None => SizeHint::with_exact(0),
            Some(exchanged) => {
                exchanged.decoder.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// Returns the room for the next read: the bytes to come, so that a small rest needs no large
/// buffer.
fn read_room(decoder: &Decoder) -> usize {
    let remaining = decoder.remaining().and_then(|left| usize::try_from(left).ok());
    remaining.unwrap_or(MAX_READ).clamp(MIN_READ, MAX_READ)
}

/// Minimum number of bytes of one read. The line ends of a chunk need room too.
const MIN_READ: usize = 4 * 1024;

/// Maximum number of bytes of one read. In profiles a larger read gains nothing, and each slow
/// client holds this much.
const MAX_READ: usize = 64 * 1024;
