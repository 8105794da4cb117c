//! The body of a request as it arrives on its stream.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;
use weir_h3::{Error, Part, Stream};

use crate::listen::effort::Effort;
use crate::message::body::{Body, BodyError};

/// Reads a request after its head.
struct Incoming {
    stream: Rc<Stream>,
    /// The frame that was read in advance.
    first: Option<Frame<Bytes>>,
    is_over: bool,
    /// Maximum number of trailer fields.
    trailers: usize,
    /// Whether the client sends nothing before it has received 100.
    is_withheld: bool,
    /// Signals the end of reading when it is dropped with this body.
    reader: Option<oneshot::Sender<Infallible>>,
    effort: Effort,
}

/// Completes, with an error, when the body has been dropped.
pub(super) type Reading = oneshot::Receiver<Infallible>;

/// Creates the body of a request after its head. A withheld body begins with 100 (RFC 9110
/// §10.1.1).
///
/// The function checks whether the end has already arrived, as for nearly all requests without a
/// body. Only then can the body be passed on as empty, and only then does the end of the request
/// need no STOP_SENDING.
pub(super) async fn incoming(
    stream: &Rc<Stream>,
    trailers: usize,
    is_withheld: bool,
) -> Result<(Body, Option<Reading>), BodyError> {
    let stream = Rc::clone(stream);
    let effort = Effort::new(PAID);
    let (first, reader) = (None, None);
    let mut body =
        Incoming { stream, first, is_over: false, trailers, is_withheld, reader, effort };
    match poll_fn(|cx| Poll::Ready(body.poll_next(cx))).await {
        Poll::Pending => {}
        Poll::Ready(None) => return Ok((Body::empty(), None)),
        Poll::Ready(Some(Err(error))) => return Err(error),
        Poll::Ready(Some(Ok(frame))) => {
            body.first = Some(frame);
            body.is_withheld = false;
        }
    }
    let (reader, reading) = oneshot::channel();
    body.reader = Some(reader);
    Ok((Body::stream(body), Some(reading)))
}

/// Pieces per unit of a task's budget. Their reader spends some 10 µs on them.
const PAID: usize = 4;

impl Incoming {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        ready!(self.effort.poll_paid(cx));
        let part = ready!(self.stream.poll_part(cx));
        self.effort.add(1);
        self.is_over = !matches!(part, Ok(Some(Part::Data(_))));
        Poll::Ready(match part {
            Ok(Some(Part::Data(data))) => Some(Ok(Frame::data(data))),
            Ok(Some(Part::Trailers(trailers))) => Some(self.check(trailers)),
            Ok(None) => None,
            Err(error) => Some(Err(self.fail(error))),
        })
    }

    fn check(&self, trailers: HeaderMap) -> Result<Frame<Bytes>, BodyError> {
        if trailers.len() > self.trailers {
            return Err(BodyError::Trailers("too many fields"));
        }
        Ok(Frame::trailers(trailers))
    }

    fn fail(&self, error: Error) -> BodyError {
        match error {
            Error::Reset(_) | Error::Lost(_) => BodyError::Aborted,
            Error::TooLarge => BodyError::Trailers("too large"),
            error => BodyError::client(error),
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
        let next = self.poll_next(cx);
        // A client that has begun to send does not wait for 100 any more.
        if std::mem::take(&mut self.is_withheld)
            && next.is_pending()
            && self.stream.put_interim(StatusCode::CONTINUE, &HeaderMap::new())
        {
            // Sending the response shows whether the client still takes anything.
            let _ = self.stream.poll_flush(cx);
        }
        next
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.first.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held =
            self.first.as_ref().and_then(Frame::data_ref).map_or(0, |data| data.len() as u64);
        self.stream.remaining().map_or(SizeHint::new(), |left| SizeHint::with_exact(left + held))
    }
}
