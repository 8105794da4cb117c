//! The body of a request as it arrives on its stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::fields;
use super::stream::{Half, Stream};
use crate::listen::body::{Body, BodyError};

/// Reads DATA frames and trailers, and holds the body to its content-length (RFC 9114 §4.1.2).
struct Incoming {
    recv: RequestStream<Half, Bytes>,
    stream: Rc<Stream>,
    /// Read before anyone asked.
    first: Option<Frame<Bytes>>,
    phase: Phase,
    length: Option<u64>,
    read: u64,
    /// Fields that the trailers may have.
    trailers: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Data,
    Trailers,
    Ended,
}

/// Makes the body of a request whose head has been read.
///
/// Looks whether the end is here already, as it is for nearly all requests without a body: only then can the body be
/// passed on as empty, and only then is no STOP_SENDING owed when the request ends.
pub(super) async fn incoming(
    recv: RequestStream<Half, Bytes>,
    stream: Rc<Stream>,
    length: Option<u64>,
    trailers: usize,
) -> Result<Body, BodyError> {
    let mut body =
        Incoming { recv, stream, first: None, phase: Phase::Data, length, read: 0, trailers };
    match poll_fn(|cx| Poll::Ready(body.poll_next(cx))).await {
        Poll::Pending => {}
        Poll::Ready(None) => return Ok(Body::empty()),
        Poll::Ready(Some(Err(error))) => return Err(error),
        Poll::Ready(Some(Ok(frame))) => body.first = Some(frame),
    }
    Ok(Body::stream(body))
}

impl Incoming {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.phase == Phase::Data {
            match ready!(self.recv.poll_recv_data(cx)) {
                Ok(Some(mut data)) => {
                    // The buffer is one `Bytes`, so this does not copy.
                    let data = data.copy_to_bytes(data.remaining());
                    return Poll::Ready(Some(self.count(data).map(Frame::data)));
                }
                Ok(None) if self.length.is_some_and(|length| length != self.read) => {
                    return Poll::Ready(Some(Err(self.malformed_length())));
                }
                Ok(None) => self.phase = Phase::Trailers,
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
        }
        if self.phase == Phase::Trailers {
            match ready!(self.recv.poll_recv_trailers(cx)) {
                Ok(trailers) => {
                    self.phase = Phase::Ended;
                    return Poll::Ready(trailers.map(|trailers| self.check(trailers)));
                }
                Err(error) => return Poll::Ready(Some(Err(self.fail(error)))),
            }
        }
        Poll::Ready(None)
    }

    fn count(&mut self, data: Bytes) -> Result<Bytes, BodyError> {
        self.read += data.len() as u64;
        if self.length.is_some_and(|length| self.read > length) {
            return Err(self.malformed_length());
        }
        Ok(data)
    }

    fn check(&mut self, trailers: HeaderMap) -> Result<Frame<Bytes>, BodyError> {
        if trailers.len() > self.trailers {
            return Err(BodyError::Trailers("too many fields"));
        }
        match fields::section(&trailers) {
            Ok(()) => Ok(Frame::trailers(trailers)),
            Err(reason) => {
                self.stream.condemn(Code::H3_MESSAGE_ERROR);
                Err(BodyError::Trailers(reason))
            }
        }
    }

    fn malformed_length(&mut self) -> BodyError {
        self.phase = Phase::Ended;
        self.stream.condemn(Code::H3_MESSAGE_ERROR);
        BodyError::Length { declared: self.length.unwrap_or(0) }
    }

    fn fail(&mut self, error: StreamError) -> BodyError {
        self.phase = Phase::Ended;
        match error {
            StreamError::RemoteTerminate { .. } | StreamError::ConnectionError { .. } => {
                BodyError::Aborted
            }
            StreamError::HeaderTooBig { .. } => BodyError::Trailers("too large"),
            error => BodyError::H3(Box::new(error)),
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        self.poll_next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.phase == Phase::Ended && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held =
            self.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        match self.length {
            Some(length) => SizeHint::with_exact(length.saturating_sub(self.read) + held),
            None => SizeHint::new(),
        }
    }
}
