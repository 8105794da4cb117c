//! The body of a response of HTTP/1.1 on its way from the origin. Returns the connection to its
//! pool.

use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::framing::{BodyPart, Decoder, FramingError};
use super::upload::Upload;
use crate::message::body::{Body, BodyError};
use crate::message::check;
use crate::message::exchange::{BodyFailure, Exchange};
use crate::upstream::InFlight;
use crate::upstream::lease::Deadlines;
use crate::upstream::pool::Connection;
use crate::upstream::response::{ResponseBody, Rest};

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
            _ => {
                let exchange = Rc::clone(&self.exchange);
                Body::stream(ResponseBody::new(self, exchange, bounds))
            }
        }
    }
}

impl Rest for H1Exchange {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        if !self.upload.is_done() {
            let sent = self.upload.poll(cx, self.connection.wire.stream());
            sent.map_err(|error| BodyError::Request(BodyFailure::from(&error)))?;
        }
        loop {
            let (wire, limits) = self.connection.bounded();
            match self.decoder.decode(wire.buffer(), limits).map_err(BodyError::origin)? {
                BodyPart::NeedMore => {}
                BodyPart::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                BodyPart::Trailers(fields) => {
                    let clean = check::clean_trailers(fields).map_err(BodyError::Trailers)?;
                    return Poll::Ready(Ok(Some(Frame::trailers(clean))));
                }
                BodyPart::End => return Poll::Ready(Ok(None)),
            }
            let room = read_room(&self.decoder);
            let Poll::Ready(read) = self.connection.wire.poll_fill(cx, room) else {
                // A tunnel or an event stream may wait for hours.
                self.connection.wire.shed();
                return Poll::Pending;
            };
            if read.map_err(|error| BodyError::origin(FramingError::Broken(error.kind())))? == 0 {
                self.decoder.close().map_err(BodyError::origin)?;
                self.keep_alive = false;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.decoder.is_done()
    }

    fn is_sending(&self) -> bool {
        !self.upload.is_done()
    }

    fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }

    fn end(mut self) {
        // Bytes after the response belong to no request. An origin that sends them must not get
        // another request on this connection.
        let reusable =
            self.keep_alive && self.upload.is_done() && self.connection.wire.buffer().is_empty();
        if reusable {
            self.connection.release();
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
