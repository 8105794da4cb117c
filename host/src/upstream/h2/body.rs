//! The body of a response of HTTP/2 on its way from the origin.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;

use super::connection::H2Connection;
use super::exchange::within;
use super::upload::H2Upload;
use crate::message::body::BodyError;
use crate::message::check;
use crate::message::exchange::BodyFailure;
use crate::upstream::InFlight;
use crate::upstream::response::Rest;
use crate::upstream::shared::SharedLease;

/// An exchange after the head of its response. Dropping it before its end resets the stream.
pub(super) struct H2Exchange {
    pub(super) stream: RecvStream,
    /// The rest of the request to send.
    pub(super) upload: H2Upload,
    /// Bytes of the body that are to come, if the origin has told.
    pub(super) length: Option<u64>,
    pub(super) is_data_over: bool,
    /// The place on the connection.
    pub(super) lease: SharedLease<H2Connection>,
    /// The load of the endpoint.
    #[allow(dead_code, reason = "counts until it is dropped")]
    pub(super) in_flight: InFlight,
}

impl Rest for H2Exchange {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, BodyError>> {
        if !self.upload.is_done() {
            let sent = self.upload.poll(cx);
            sent.map_err(|error| BodyError::Request(BodyFailure::from(&error)))?;
        }
        while !self.is_data_over {
            match ready!(self.stream.poll_data(cx)).transpose().map_err(BodyError::origin)? {
                Some(data) => {
                    // Reading gives the origin new room. The call fails only if the stream has
                    // ended.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    self.length = self.length.map(|left| left.saturating_sub(data.len() as u64));
                    if !data.is_empty() {
                        return Poll::Ready(Ok(Some(Frame::data(data))));
                    }
                }
                None => self.is_data_over = true,
            }
        }
        let trailers = ready!(self.stream.poll_trailers(cx)).map_err(BodyError::origin)?;
        let Some(trailers) = trailers else { return Poll::Ready(Ok(None)) };
        within(&trailers, self.lease.limits().header_count).map_err(BodyError::Trailers)?;
        let clean = check::clean_trailers(trailers).map_err(BodyError::Trailers)?;
        Poll::Ready(Ok(Some(Frame::trailers(clean))))
    }

    fn is_over(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn is_sending(&self) -> bool {
        !self.upload.is_done()
    }

    fn remaining(&self) -> Option<u64> {
        self.length
    }

    fn end(self) {
        // An unfinished request is reset by the drop of its stream.
    }
}
