//! Waiting until it is known whether a request has a body at all.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame};

use crate::message::body::{Body, BodyError};

/// Waits for the body's first frame, or its end.
///
/// HTTP/2 and HTTP/3 may tell the end of a request after its head. Toward HTTP/1.1 a GET would then
/// go out with an empty chunked body. Origins do not expect one: some close the connection over it
/// and cut their own response short.
///
/// # Errors
/// The fault of the body's beginning.
pub(in crate::upstream) async fn settle(mut body: Body) -> Result<Body, BodyError> {
    let first = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
    Ok(match first.transpose()? {
        None => Body::empty(),
        Some(first) => Body::stream(PeekedBody { first: Some(first), rest: body }),
    })
}

/// A body and its first frame, which was read already.
struct PeekedBody {
    first: Option<Frame<Bytes>>,
    rest: Body,
}

impl http_body::Body for PeekedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}
