//! The body type of all protocols: from here on, every message has a [`Body`].

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::ahead::{Ahead, Reading};
use super::exchange::BodyFailure;

/// A body that streams under back-pressure. It stays on the thread that created it.
#[derive(Default)]
pub struct Body(BodyKind);

/// The source of a body.
#[derive(Default)]
enum BodyKind {
    #[default]
    Empty,
    Full(Option<Bytes>),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
    /// The body of a request on a connection with other requests.
    Among(Box<(Body, Reading)>),
}

/// The reason why a body ended early.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The sending peer reset the stream or closed the connection.
    #[error("the sender ended the body early")]
    Aborted,
    /// The body has more bytes than the configuration allows.
    #[error("body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The body has fewer or more bytes than its content-length (RFC 9110 §8.6).
    #[error("body does not match its content-length of {declared} bytes")]
    Length {
        /// The value of content-length.
        declared: u64,
    },
    /// The trailer fields break a rule or a limit.
    #[error("trailer section refused: {0}")]
    Trailers(&'static str),
    /// No byte arrived for too long.
    #[error("no byte of the body arrived in time")]
    Timeout,
    /// Fewer bytes per second arrive than the listener requires.
    #[error("the body arrives too slowly")]
    Slow,
    /// A filter stopped the body: no further byte is passed on.
    #[error("a filter stopped the body")]
    Stopped,
    /// A filter failed on the body.
    #[error("a filter failed on the body")]
    Filter,
    /// The request's body failed, so the origin cannot finish its response. Holds that failure.
    #[error("the request's body failed: {}", .0.label())]
    Request(BodyFailure),
    /// The client's message or connection broke; the cause is of the client's protocol.
    #[error("read the request's body")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The capsules of the client's tunnel are malformed (RFC 9297 §3.3).
    #[error("read the client's capsules")]
    Capsules(#[from] weir_h3::Violation),
    /// The origin's message or connection broke; the cause is of the origin's protocol.
    #[error("read the response's body")]
    Origin(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Body {
    /// Creates a body without bytes.
    pub fn empty() -> Self {
        Self(BodyKind::Empty)
    }

    /// Creates a body of known bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { BodyKind::Empty } else { BodyKind::Full(Some(bytes)) })
    }

    /// Creates a body from another producer of frames.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self(BodyKind::Stream(Box::pin(body)))
    }

    /// Reports to the other requests of the connection whether this body is read.
    pub(crate) fn among(self, others: &Rc<Ahead>) -> Self {
        match self.0 {
            BodyKind::Empty => self,
            _ => Self(BodyKind::Among(Box::new((self, others.begin())))),
        }
    }

    /// Returns whether the sender may be unable to send, because bytes that it sent ahead on the
    /// same connection stay unread.
    pub fn is_held_up(&self) -> bool {
        matches!(&self.0, BodyKind::Among(among) if among.1.is_held_up())
    }
}

impl BodyError {
    /// The client's message or connection broke.
    pub fn client(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Client(Box::new(cause))
    }

    /// The origin's message or connection broke.
    pub fn origin(cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Origin(Box::new(cause))
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            BodyKind::Empty => "Body::Empty",
            BodyKind::Full(_) => "Body::Full",
            BodyKind::Stream(_) => "Body::Stream",
            BodyKind::Among(_) => "Body::Among",
        })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            BodyKind::Empty => Poll::Ready(None),
            BodyKind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            BodyKind::Stream(body) => body.as_mut().poll_frame(cx),
            BodyKind::Among(among) => {
                let (body, reading) = &mut **among;
                let frame = Pin::new(body).poll_frame(cx);
                reading.note(matches!(frame, Poll::Ready(Some(_))));
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodyKind::Empty => true,
            BodyKind::Full(bytes) => bytes.is_none(),
            BodyKind::Stream(body) => body.is_end_stream(),
            BodyKind::Among(among) => among.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            BodyKind::Empty => SizeHint::with_exact(0),
            BodyKind::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            BodyKind::Stream(body) => body.size_hint(),
            BodyKind::Among(among) => among.0.size_hint(),
        }
    }
}
