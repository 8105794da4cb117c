//! Datagrams of a tunnel over HTTP/3 (RFC 9297): QUIC datagrams outside, capsules inside.
//!
//! The rest of Weir knows tunnels as bytes. A client may send each datagram either way, and gets
//! them as QUIC datagrams if it takes these.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use weir_h3::capsule::{self, Capsule, Capsules};
use weir_h3::{DatagramError, Stream};

use crate::message::body::{Body, BodyError};

/// The capsules of a client, and its datagrams as capsules between them.
struct FromClient(Both);

/// The capsules for a client, without the datagrams that it gets outside of them.
struct TowardClient(Both);

/// The bytes of one direction, and the stream of the request.
struct Both {
    bytes: Body,
    capsules: Capsules,
    stream: Rc<Stream>,
}

/// Adds the datagrams of a request to its body.
pub(super) fn from_client(bytes: Body, stream: &Rc<Stream>) -> Body {
    // A client may send some before the answer.
    stream.accept_datagrams();
    Body::stream(FromClient(Both::new(bytes, stream)))
}

/// Sends the datagrams in the body of a response outside of it.
pub(super) fn toward_client(bytes: Body, stream: &Rc<Stream>) -> Body {
    Body::stream(TowardClient(Both::new(bytes, stream)))
}

impl Both {
    fn new(bytes: Body, stream: &Rc<Stream>) -> Self {
        Self { bytes, capsules: Capsules::default(), stream: Rc::clone(stream) }
    }

    /// Returns the next capsule, or `None` at the end.
    fn poll_capsule(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Capsule>, BodyError>> {
        loop {
            if let Some(capsule) = self.capsules.next()? {
                return Poll::Ready(Ok(Some(capsule)));
            }
            match ready!(Pin::new(&mut self.bytes).poll_frame(cx)?) {
                Some(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.capsules.push(&bytes);
                    }
                }
                None => return Poll::Ready(self.capsules.end().map(|()| None).map_err(Into::into)),
            }
        }
    }
}

impl Drop for FromClient {
    fn drop(&mut self) {
        self.0.stream.refuse_datagrams();
    }
}

impl http_body::Body for FromClient {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let both = &mut self.0;
        let bytes = match both.poll_capsule(cx)? {
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(Capsule::Datagram(payload))) => capsule::datagram(&payload),
            Poll::Ready(Some(Capsule::Other(bytes))) => bytes,
            // A datagram that arrives within a capsule waits for the end of it.
            Poll::Pending if !both.capsules.is_between() => return Poll::Pending,
            Poll::Pending => capsule::datagram(&ready!(both.stream.poll_datagram(cx))),
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

impl http_body::Body for TowardClient {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let both = &mut self.0;
        for _ in 0..BURST {
            let bytes = match ready!(both.poll_capsule(cx)?) {
                None => return Poll::Ready(None),
                Some(Capsule::Other(bytes)) => bytes,
                Some(Capsule::Datagram(payload)) => match both.stream.send_datagram(&payload) {
                    // A packet that does not fit is dropped. The client's ends find the size of
                    // packets by that (RFC 9297 §3.5).
                    Ok(()) | Err(DatagramError::TooLarge) => continue,
                    Err(DatagramError::Unsupported) => capsule::datagram(&payload),
                },
            };
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        // An origin can send tens of thousands of empty datagrams in one piece.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Datagrams that are sent before the other requests of the worker have their turn.
const BURST: usize = 64;
