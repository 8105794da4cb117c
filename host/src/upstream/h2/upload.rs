//! The body of a request on its way to the origin, as the origin's windows allow.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::message::body::{Body, BodyError};

/// The rest of a request to send.
pub(super) struct H2Upload {
    stream: SendStream<Bytes>,
    /// `None` once its end was sent.
    body: Option<Body>,
    /// A frame that waits for the origin's window.
    waiting: Option<Bytes>,
    /// Whether a frame of the body was taken.
    is_begun: bool,
    /// The origin takes no more bytes, but may still answer.
    is_broken: bool,
}

impl H2Upload {
    /// Begins after the head. `body` is `None` if the head was the end.
    pub(super) fn new(stream: SendStream<Bytes>, body: Option<Body>) -> Self {
        Self { stream, body, waiting: None, is_begun: false, is_broken: false }
    }

    /// Returns whether everything was handed to the connection.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.waiting.is_none() && !self.is_broken
    }

    /// Ends the request without the rest of its body.
    pub(super) fn cut(&mut self) {
        (self.body, self.waiting) = (None, None);
        self.send(Bytes::new(), true);
    }

    /// Returns the body, if nothing of it was sent.
    pub(super) fn into_untouched(self) -> Option<Body> {
        if self.is_begun || self.is_broken { None } else { Some(self.body.unwrap_or_default()) }
    }

    /// Sends as much as possible now. An origin that takes no more bytes is no error, because it
    /// may already have answered.
    ///
    /// # Errors
    /// The client's body failed. The stream is reset: the origin must not regard the bytes that it
    /// has as complete.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        while let Poll::Ready(is_open) = self.poll_step(cx)? {
            if !is_open {
                break;
            }
        }
        Ok(())
    }

    /// Makes one step. Ready with `false` at the end.
    fn poll_step(&mut self, cx: &mut Context<'_>) -> Result<Poll<bool>, BodyError> {
        if self.is_broken {
            return Ok(Poll::Ready(false));
        }
        if let Some(data) = self.waiting.take() {
            if !self.has_room(cx) {
                self.waiting = Some(data);
                return Ok(if self.is_broken { Poll::Ready(false) } else { Poll::Pending });
            }
            let is_over = self.body.as_ref().is_none_or(Body::is_end_stream);
            self.send(data, is_over);
            return Ok(Poll::Ready(!is_over));
        }
        let Some(body) = &mut self.body else { return Ok(Poll::Ready(false)) };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else { return Ok(Poll::Pending) };
        self.is_begun = true;
        match frame.transpose() {
            Err(error) => {
                self.is_broken = true;
                self.stream.send_reset(Reason::CANCEL);
                return Err(error);
            }
            Ok(None) => self.send(Bytes::new(), true),
            Ok(Some(frame)) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => self.waiting = Some(data),
                Err(frame) => {
                    self.body = None;
                    self.stream.reserve_capacity(0);
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.is_broken = self.stream.send_trailers(trailers).is_err();
                }
            },
        }
        Ok(Poll::Ready(true))
    }

    /// Returns whether the origin allows a frame to begin. One byte suffices: h2 requests the rest
    /// itself. A larger reservation would withhold the window from other streams.
    fn has_room(&mut self, cx: &mut Context<'_>) -> bool {
        self.stream.reserve_capacity(1);
        matches!(self.poll_room(cx), Poll::Ready(true))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                // The origin has ended the stream, perhaps after a response.
                None | Some(Err(_)) => {
                    self.is_broken = true;
                    return Poll::Ready(false);
                }
            }
        }
        Poll::Ready(true)
    }

    fn send(&mut self, data: Bytes, is_over: bool) {
        if is_over {
            self.body = None;
        }
        self.is_broken = self.stream.send_data(data, is_over).is_err();
    }
}
