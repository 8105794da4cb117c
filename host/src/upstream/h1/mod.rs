//! HTTP/1.1 toward origins (RFC 9112). The request itself drives the exchange, without a task and a
//! channel. A small exchange costs one write and one read.
//!
//! Messages are rebuilt, never passed on raw. [`head`] writes requests and reads responses.
//! [`framing`] finds the end of a response. [`upload`] sends the request's body while the response
//! is awaited. A connection is kept only after an exchange that both sides completed with no bytes
//! left over.

mod body;
mod exchange;
pub mod framing;
pub mod head;
mod settle;
mod tunnel;
pub mod upload;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::response;

pub(super) use self::exchange::exchange;
pub(super) use self::settle::settle;
pub(super) use self::tunnel::exchange as open;
use crate::config::UpstreamLimits;
use crate::message::body::Body;
use crate::message::tunnel::Upgrade;
use crate::upstream::connect::Transport;
use crate::upstream::response::MAX_INTERIM;
use framing::{Decoder, FramingError};
use head::{Head, HeadError, ResponseHead};
use upload::Upload;

/// A connection to an origin and the bytes read ahead from it.
#[derive(Debug)]
pub struct Wire {
    stream: Transport,
    buffer: BytesMut,
}

/// A response after its head.
#[derive(Debug)]
pub struct ResponseStart {
    /// Status and fields.
    pub head: response::Parts,
    /// Finds the end of the body.
    pub decoder: Decoder,
    /// Whether the origin keeps the connection.
    pub keep_alive: bool,
    /// The rest of the request to send.
    pub upload: Upload,
}

/// The reason why an exchange failed.
#[derive(Debug, thiserror::Error)]
pub enum H1Error {
    /// The origin closed the connection before its first byte. It may never have seen the request
    /// (RFC 9112 §9.3.1).
    #[error("connection closed before a response")]
    Closed,
    /// The origin closed the connection inside a message.
    #[error("connection closed inside the response")]
    Truncated,
    /// The connection failed.
    #[error("connection failed")]
    Io(#[source] io::Error),
    /// The response's head is malformed.
    #[error("malformed response")]
    Head(#[from] HeadError),
    /// The response's body is malformed.
    #[error("malformed response body")]
    Framing(#[from] FramingError),
    /// The request's body could not be read. The reader of the body knows the reason.
    #[error("read request body")]
    RequestBody,
}

impl Wire {
    /// Wraps a new connection.
    pub fn new(stream: Transport) -> Self {
        Self { stream, buffer: BytesMut::new() }
    }

    /// Returns whether the origin has neither closed the idle connection nor sent anything on it.
    /// Costs no system call unless one of them happened.
    pub fn is_quiet(&mut self) -> bool {
        self.buffer.is_empty() && self.stream.is_quiet()
    }

    /// Sends a request and waits for the response's head within `limits`. The body is sent
    /// meanwhile. Interim responses go to `inform` as they arrive.
    ///
    /// # Errors
    ///
    /// [`H1Error`]. The connection cannot be used any more.
    pub async fn exchange(
        &mut self,
        request: &Parts,
        body: Body,
        encoded: Bytes,
        limits: &UpstreamLimits,
        inform: &dyn Fn(response::Parts),
    ) -> Result<ResponseStart, H1Error> {
        let mut upload = Upload::new(encoded, body, head::is_chunked(request));
        let mut interim = InterimCount::default();
        let ResponseHead { head, decoder, keep_alive } = std::future::poll_fn(|cx| {
            if upload.poll(cx, &mut self.stream).is_err() {
                return Poll::Ready(Err(H1Error::RequestBody));
            }
            self.poll_head(cx, request, &mut interim, limits, inform)
        })
        .await?;
        Ok(ResponseStart { head, decoder, keep_alive, upload })
    }

    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        request: &Parts,
        interim: &mut InterimCount,
        limits: &UpstreamLimits,
        inform: &dyn Fn(response::Parts),
    ) -> Poll<Result<ResponseHead, H1Error>> {
        let (method, switches) = (&request.method, request.extensions.get::<Upgrade>().is_some());
        loop {
            let before = self.buffer.len();
            match head::parse(&mut self.buffer, method, switches, limits)? {
                Some(Head::Final(head)) => return Poll::Ready(Ok(head)),
                Some(Head::Interim(head)) => {
                    interim.count(before - self.buffer.len(), limits)?;
                    inform(head);
                    continue;
                }
                None => {}
            }
            // An origin that has sent anything, even an interim response, has begun with the
            // request. The request must not go to another connection then.
            let nothing = self.buffer.is_empty() && interim.heads == 0;
            let read = ready!(self.poll_fill(cx, HEAD_READ));
            if read.map_err(|error| broken(error, nothing))? == 0 {
                let error = if nothing { H1Error::Closed } else { H1Error::Truncated };
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Reads up to about `room` bytes into the buffer. Returns 0 at the end of the stream.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<io::Result<usize>> {
        self.buffer.reserve(room);
        tokio_util::io::poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.buffer)
    }

    /// Gives the memory of an empty buffer back.
    pub fn shed(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// Returns the bytes read ahead.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Returns the socket, to continue sending a request.
    pub fn stream(&mut self) -> &mut Transport {
        &mut self.stream
    }
}

/// The interim responses of one exchange. They may wait for a client that reads none of them.
#[derive(Default)]
struct InterimCount {
    heads: u32,
    bytes: usize,
}

impl InterimCount {
    /// Counts one interim response. All together have the byte limit of one head.
    fn count(&mut self, bytes: usize, limits: &UpstreamLimits) -> Result<(), HeadError> {
        self.heads += 1;
        self.bytes += bytes;
        let is_within = self.heads <= MAX_INTERIM && self.bytes <= limits.header_bytes;
        if is_within { Ok(()) } else { Err(HeadError::Interim) }
    }
}

/// Classifies an error. A reset before the first byte is a close that raced with the request.
fn broken(error: io::Error, nothing: bool) -> H1Error {
    if nothing && error.kind() == io::ErrorKind::ConnectionReset {
        H1Error::Closed
    } else {
        H1Error::Io(error)
    }
}

/// Bytes of one read: room for a head and a small body.
const HEAD_READ: usize = 8 * 1024;
