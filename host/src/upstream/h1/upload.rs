//! A request on its way to the origin: the head first, then the body, by length or in chunks, at
//! the rate of the origin.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::io::AsyncWrite as _;

use crate::message::body::{Body, BodyError};
use crate::upstream::connect::Transport;

/// The rest of a request to send.
#[derive(Debug)]
pub struct Upload {
    /// Encoded bytes that are not written yet: at most one frame of the body, and small frames
    /// before it.
    queue: VecDeque<Bytes>,
    body: Option<Body>,
    chunked: bool,
    /// Whether the connection may hold bytes that are not sent yet.
    flushes: bool,
    /// Whether the end of the body closes the sending side of the connection.
    closes: bool,
    /// The origin takes no more bytes, but may still answer.
    broken: bool,
}

impl Upload {
    /// Begins with an encoded head.
    pub fn new(head: Bytes, body: Body, chunked: bool) -> Self {
        let body = (!body.is_end_stream()).then_some(body);
        Self {
            queue: VecDeque::from([head]),
            body,
            chunked,
            flushes: true,
            closes: false,
            broken: false,
        }
    }

    /// Sends bytes as they are, and closes the sending side of the connection after them.
    pub fn raw(body: Body) -> Self {
        let (queue, body) = (VecDeque::new(), Some(body));
        Self { queue, body, chunked: false, flushes: true, closes: true, broken: false }
    }

    /// Returns whether every byte was sent.
    pub fn is_done(&self) -> bool {
        self.queue.is_empty() && self.body.is_none() && !self.flushes && !self.broken
    }

    /// Sends as much as possible now. An origin that takes no more bytes is no error, because it
    /// may already have answered.
    ///
    /// # Errors
    ///
    /// The client's body failed. The origin must not regard the bytes it has as complete.
    pub fn poll(&mut self, cx: &mut Context<'_>, stream: &mut Transport) -> Result<(), BodyError> {
        while !self.broken {
            // The head waits for the first frame of the body if that is ready: one write suffices
            // for both.
            if self.queue.len() <= 1
                && let Poll::Ready(()) = self.poll_body(cx)?
            {
                continue;
            }
            if self.queue.is_empty() {
                let is_last = self.closes && self.body.is_none();
                let stream = Pin::new(&mut *stream);
                let flushed =
                    if is_last { stream.poll_shutdown(cx) } else { stream.poll_flush(cx) };
                match flushed {
                    Poll::Pending => {}
                    Poll::Ready(flushed) => (self.flushes, self.broken) = (false, flushed.is_err()),
                }
                break;
            }
            self.flushes = true;
            match self.poll_write(cx, stream) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => self.broken = true,
            }
        }
        Ok(())
    }

    /// Queues the next frame. Ready if there was a frame or the end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, BodyError> {
        let Some(body) = &mut self.body else { return Ok(Poll::Pending) };
        match Pin::new(body).poll_frame(cx) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Some(Err(error))) => {
                self.broken = true;
                return Err(error);
            }
            Poll::Ready(None) => self.finish(None),
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.len() < SMALL => return self.gather(cx, data),
                Ok(data) => self.push(data),
                Err(frame) => self.finish(frame.trailers_ref()),
            },
        }
        Ok(Poll::Ready(()))
    }

    /// Queues small frames that are ready as one. A separate write would cost some hundred times as
    /// much as the content of such a frame.
    fn gather(&mut self, cx: &mut Context<'_>, first: Bytes) -> Result<Poll<()>, BodyError> {
        let mut gathered = BytesMut::new();
        let after = loop {
            let Some(body) = &mut self.body else { break None };
            let Poll::Ready(next) = Pin::new(body).poll_frame(cx) else { break None };
            match next.transpose().inspect_err(|_| self.broken = true)?.map(Frame::into_data) {
                Some(Ok(data)) if data.len() < SMALL => {
                    if gathered.is_empty() {
                        gathered.reserve(GATHERED + SMALL);
                        gathered.extend_from_slice(&first);
                    }
                    gathered.extend_from_slice(&data);
                    if gathered.len() >= GATHERED {
                        break None;
                    }
                }
                other => break Some(other),
            }
        };
        self.push(if gathered.is_empty() { first } else { gathered.freeze() });
        match after {
            None => {}
            Some(None) => self.finish(None),
            Some(Some(Ok(data))) => self.push(data),
            Some(Some(Err(frame))) => self.finish(frame.trailers_ref()),
        }
        Ok(Poll::Ready(()))
    }

    fn push(&mut self, data: Bytes) {
        if data.is_empty() {
            return;
        }
        if self.chunked {
            self.queue.push_back(Bytes::from(format!("{:x}\r\n", data.len())));
            self.queue.push_back(data);
            self.queue.push_back(Bytes::from_static(b"\r\n"));
        } else {
            self.queue.push_back(data);
        }
    }

    fn finish(&mut self, trailers: Option<&HeaderMap>) {
        self.body = None;
        self.flushes = true;
        if !self.chunked {
            return;
        }
        let mut end = b"0\r\n".to_vec();
        for (name, value) in trailers.into_iter().flatten() {
            end.extend_from_slice(name.as_str().as_bytes());
            end.extend_from_slice(b": ");
            end.extend_from_slice(value.as_bytes());
            end.extend_from_slice(b"\r\n");
        }
        end.extend_from_slice(b"\r\n");
        self.queue.push_back(Bytes::from(end));
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, stream: &mut Transport) -> Poll<io::Result<()>> {
        let mut slices = [IoSlice::new(&[]); 4];
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
        }
        let mut written = ready!(Pin::new(stream).poll_write_vectored(cx, &slices))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        while let Some(front) = self.queue.front_mut() {
            if written < front.len() {
                front.advance(written);
                break;
            }
            written -= front.len();
            self.queue.pop_front();
        }
        Poll::Ready(Ok(()))
    }
}

/// Frames below this number of bytes are gathered.
const SMALL: usize = 1024;

/// Maximum number of gathered bytes.
const GATHERED: usize = 4 * 1024;
