//! The one body type: whatever protocol a message came by, its body is a [`Body`] from here on.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::ahead::{Ahead, Reading};
use super::exchange::Failure;

/// A body that streams under back-pressure. Stays on the thread it was made on.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Option<Bytes>),
    Stream(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyError>>>),
    /// Of a request whose connection has others.
    Among(Box<(Body, Reading)>),
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The peer that sends it reset the stream or closed the connection.
    #[error("the sender ended the body early")]
    Aborted,
    /// More bytes than the configuration allows.
    #[error("body is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// Fewer or more bytes than its content-length (RFC 9110 §8.6).
    #[error("body does not match its content-length of {declared} bytes")]
    Length {
        /// What content-length said.
        declared: u64,
    },
    /// Trailer fields that break a rule or a limit.
    #[error("trailer section refused: {0}")]
    Trailers(&'static str),
    /// No byte for too long.
    #[error("no byte of the body in time")]
    Timeout,
    /// Fewer bytes a second than the listener asks for.
    #[error("the body comes too slowly")]
    Slow,
    /// A filter decided that nothing more of it goes on.
    #[error("a filter stopped the body")]
    Stopped,
    /// A filter failed on it.
    #[error("a filter failed on the body")]
    Filter,
    /// Of a response: what its request's body broke with, without which the origin cannot finish.
    #[error("the request's body broke: {}", .0.label())]
    Request(Failure),
    /// The client's message or connection broke; the cause is of the client's protocol.
    #[error("read the request's body")]
    Client(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The origin's message or connection broke; the cause is of the origin's protocol.
    #[error("read the response's body")]
    Origin(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Body {
    /// A body without bytes.
    pub fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body of known bytes.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self(if bytes.is_empty() { Kind::Empty } else { Kind::Full(Some(bytes)) })
    }

    /// A body that something else produces.
    pub fn stream(body: impl http_body::Body<Data = Bytes, Error = BodyError> + 'static) -> Self {
        Self(Kind::Stream(Box::pin(body)))
    }

    /// Tells others of the same connection how far this one is read.
    pub(crate) fn among(self, others: &Rc<Ahead>) -> Self {
        match self.0 {
            Kind::Empty => self,
            _ => Self(Kind::Among(Box::new((self, others.begin())))),
        }
    }

    /// Whether the sender may be unable to send: what it sent ahead on the same connection, nobody
    /// reads.
    pub fn is_held_up(&self) -> bool {
        matches!(&self.0, Kind::Among(among) if among.1.is_held_up())
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
            Kind::Empty => "Body::Empty",
            Kind::Full(_) => "Body::Full",
            Kind::Stream(_) => "Body::Stream",
            Kind::Among(_) => "Body::Among",
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
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Kind::Stream(body) => body.as_mut().poll_frame(cx),
            Kind::Among(among) => {
                let (body, reading) = &mut **among;
                let frame = Pin::new(body).poll_frame(cx);
                reading.note(matches!(frame, Poll::Ready(Some(_))));
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_none(),
            Kind::Stream(body) => body.is_end_stream(),
            Kind::Among(among) => among.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Kind::Stream(body) => body.size_hint(),
            Kind::Among(among) => among.0.size_hint(),
        }
    }
}
