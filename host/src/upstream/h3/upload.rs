//! The body of a request on its way to the origin, as the origin's credit allows.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http_body::Body as _;
use weir_h3::{Code, DataFrame, Stream};

use crate::message::body::{Body, BodyError};

/// The rest of a request to send, its head included.
pub(super) struct H3Upload {
    stream: Rc<Stream>,
    /// `None` once its end was queued.
    body: Option<Body>,
    /// A frame that waits for the origin's credit.
    waiting: Option<DataFrame>,
    /// Whether a frame of the body was taken.
    is_begun: bool,
    /// Whether the end was sent, or the origin takes no more bytes. It may still answer.
    is_over: bool,
}

impl H3Upload {
    /// Begins with the queued head. `body` is `None` if the request has no content.
    pub(super) fn new(stream: Rc<Stream>, body: Option<Body>) -> Self {
        Self { stream, body, waiting: None, is_begun: false, is_over: false }
    }

    /// Returns whether nothing is left to send.
    pub(super) fn is_done(&self) -> bool {
        self.is_over
    }

    /// Ends the request without the rest of its body.
    pub(super) fn cut(&mut self) {
        (self.body, self.waiting) = (None, None);
    }

    /// Returns the body, if nothing of it was taken.
    pub(super) fn into_untouched(self) -> Option<Body> {
        if self.is_begun { None } else { Some(self.body.unwrap_or_default()) }
    }

    /// Sends the head alone.
    pub(super) fn poll_head(&self, cx: &mut Context<'_>) {
        // A failure shows when the response is read.
        let _ = self.stream.poll_flush(cx);
    }

    /// Sends as much as possible now. An origin that takes no more bytes is no error, because it
    /// may already have answered.
    ///
    /// # Errors
    /// The client's body failed. The stream is reset: the origin must not regard the bytes that it
    /// has as complete.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        if self.is_over {
            return Ok(());
        }
        match self.poll_rest(cx) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.is_over = true;
                Ok(())
            }
            Poll::Ready(Err(error)) => {
                self.is_over = true;
                self.stream.abort(Code::H3_REQUEST_CANCELLED);
                Err(error)
            }
        }
    }

    /// Is ready when nothing is left to send.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        loop {
            if let Some(frame) = &mut self.waiting {
                if ready!(self.stream.poll_send(frame, cx)).is_err() {
                    return Poll::Ready(Ok(()));
                }
                self.waiting = None;
            }
            if self.body.as_ref().is_none_or(Body::is_end_stream) {
                if ready!(self.stream.poll_flush(cx)).is_ok() {
                    self.stream.end();
                }
                self.body = None;
                return Poll::Ready(Ok(()));
            }
            let Some(body) = &mut self.body else { continue };
            let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
                // The head must not wait for the body.
                let _ = ready!(self.stream.poll_flush(cx));
                return Poll::Pending;
            };
            self.is_begun = true;
            match frame.transpose()? {
                None => self.body = None,
                Some(frame) => match frame.into_data() {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => self.waiting = Some(self.stream.data(data)),
                    Err(frame) => {
                        self.stream.put_trailers(&frame.into_trailers().unwrap_or_default());
                        self.body = None;
                    }
                },
            }
        }
    }
}
