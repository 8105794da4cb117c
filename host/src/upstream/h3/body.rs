//! The body of a response of HTTP/3 on its way from the origin.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use weir_h3::{Code, Error, Part, Stream};

use super::connection::H3Connection;
use super::upload::H3Upload;
use crate::message::body::BodyError;
use crate::message::check;
use crate::message::exchange::BodyFailure;
use crate::upstream::InFlight;
use crate::upstream::response::Rest;
use crate::upstream::shared::SharedLease;

/// An exchange after the head of its response. Dropping it before its end resets the stream.
pub(super) struct H3Exchange {
    pub(super) stream: Rc<Stream>,
    /// The rest of the request to send.
    pub(super) upload: H3Upload,
    /// The part that was read to learn whether another one follows.
    pub(super) ahead: Option<Result<Option<Part>, Error>>,
    /// The place on the connection.
    #[allow(dead_code, reason = "counts until it is dropped")]
    pub(super) lease: SharedLease<H3Connection>,
    /// The load of the endpoint.
    #[allow(dead_code, reason = "counts until it is dropped")]
    pub(super) in_flight: InFlight,
}

impl H3Exchange {
    /// Looks for the end, if the whole content has come. Most responses end with it, and their
    /// connection is then free at once.
    pub(super) fn look_ahead(&mut self, cx: &mut Context<'_>) {
        if self.stream.remaining() == Some(0)
            && let Poll::Ready(part) = self.stream.poll_part(cx)
        {
            self.ahead = Some(part);
        }
    }
}

impl Rest for H3Exchange {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        if !self.upload.is_done() {
            let sent = self.upload.poll(cx);
            sent.map_err(|error| BodyError::Request(BodyFailure::from(&error)))?;
        }
        let part = match self.ahead.take() {
            Some(part) => part,
            None => ready!(self.stream.poll_part(cx)),
        };
        match part.map_err(BodyError::origin)? {
            None => {
                self.ahead = Some(Ok(None));
                Poll::Ready(Ok(None))
            }
            Some(Part::Data(data)) => {
                self.look_ahead(cx);
                Poll::Ready(Ok(Some(Frame::data(data))))
            }
            Some(Part::Trailers(trailers)) => {
                self.ahead = Some(Ok(None));
                let clean = check::clean_trailers(trailers).map_err(BodyError::Trailers)?;
                Poll::Ready(Ok(Some(Frame::trailers(clean))))
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.ahead, Some(Ok(None)))
    }

    fn is_sending(&self) -> bool {
        !self.upload.is_done()
    }

    fn remaining(&self) -> Option<u64> {
        self.stream.remaining()
    }

    fn end(self) {
        if self.upload.is_done() {
            self.stream.finish();
        } else {
            // A plain end would make a cut request look whole.
            self.stream.abort(Code::H3_REQUEST_CANCELLED);
        }
    }
}
