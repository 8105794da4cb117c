//! The body of a response: bytes that are there, or a stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

/// The body of a response.
pub(crate) enum Answer {
    /// All of it. The client has a bounded time to take it.
    Whole(Full<Bytes>),
    /// Bytes that come over time. The client must take each piece within a bounded time.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = Infallible>>>),
}

impl Answer {
    pub(super) fn is_stream(&self) -> bool {
        matches!(self, Self::Stream(_))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// A response, and the time that it is held back.
pub(crate) struct HeldResponse {
    pub(crate) response: Response<Answer>,
    /// The delay of the response. During the delay, a new connection may take the place.
    pub(crate) delay: Duration,
}

impl From<Response<Answer>> for HeldResponse {
    fn from(response: Response<Answer>) -> Self {
        Self { response, delay: Duration::ZERO }
    }
}

impl From<Response<Full<Bytes>>> for HeldResponse {
    fn from(response: Response<Full<Bytes>>) -> Self {
        response.map(Answer::Whole).into()
    }
}
