//! The body of a request on its way to the origin: counted, bounded, and as long as it said.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::error::Side;
use super::message;
use crate::config::ListenerLimits;
use crate::listen::body::{Body, BodyError};

/// How far a request's body has come; shared by the body and by who waits for the answer.
#[derive(Debug)]
pub struct Exchange {
    moved: Cell<Instant>,
    done: Cell<bool>,
    /// Whether the client must keep to its listener's rate.
    is_paced: Cell<bool>,
    failure: Cell<Option<Failure>>,
    bytes: Rc<Cell<u64>>,
}

/// Why a request's body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The client went away or broke the framing.
    Aborted,
    /// Larger than the listener allows.
    TooLarge,
    /// Not as long as its content-length.
    Length,
    /// Trailers break a rule or a limit.
    Trailers,
    /// The client sent nothing for too long.
    Timeout,
    /// The client sent it below the listener's rate.
    Slow,
    /// A filter let nothing more of it pass.
    Stopped,
    /// A filter failed on it.
    Filter,
}

impl Failure {
    /// Who is at fault.
    pub fn side(self) -> Side {
        match self {
            Self::Filter => Side::Plugin,
            _ => Side::Client,
        }
    }

    /// One word for access records and metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::TooLarge => "body_too_large",
            Self::Length => "body_length",
            Self::Trailers => "trailers",
            Self::Timeout => "body_timeout",
            Self::Slow => "body_rate",
            Self::Stopped => "body_stopped",
            Self::Filter => "body_filter",
        }
    }
}

impl Exchange {
    /// Begins an exchange; `bytes` counts the body for the access record.
    pub fn start(done: bool, bytes: Rc<Cell<u64>>) -> Rc<Self> {
        let (moved, done) = (Cell::new(Instant::now()), Cell::new(done));
        let (is_paced, failure) = (Cell::new(true), Cell::new(None));
        Rc::new(Self { moved, done, is_paced, failure, bytes })
    }

    /// Lets the rest of the request come as slowly as it likes: it is answered already, or it is a
    /// stream of messages.
    pub fn unpace(&self) {
        self.is_paced.set(false);
    }

    /// When something moved last.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Begins to wait anew: what came before, such as a connection that could not be had, is not the origin's time.
    pub fn restart(&self) {
        self.moved.set(Instant::now());
    }

    /// Whether the request was read to its end.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Why reading it failed, if it did.
    pub fn failure(&self) -> Option<Failure> {
        self.failure.get()
    }

    /// Notes that the body failed on its further way.
    pub fn fail(&self, failure: Failure) {
        if self.failure.get().is_none() {
            self.failure.set(Some(failure));
        }
    }

    /// Completes when nothing of the request has moved for `limit`; never for `None`. Cancel safe.
    pub async fn stalled(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let at = self.moved.get() + limit;
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at).await;
        }
    }
}

/// Wraps a client's body.
pub struct RequestBody {
    inner: Body,
    exchange: Rc<Exchange>,
    declared: Option<u64>,
    seen: u64,
    limit: u64,
    header_bytes: usize,
    header_count: usize,
    underscores: bool,
    idle: Option<Duration>,
    pace: Pace,
    timer: Option<Pin<Box<Sleep>>>,
}

/// How fast the client sends while it is waited for. Time in which nobody asks for the body is not
/// the client's.
struct Pace {
    /// Bytes a second; 0: any.
    rate: u64,
    grace: Duration,
    /// Time that the client was waited for, before this wait.
    waited: Duration,
    /// When this wait began.
    since: Option<Instant>,
    /// Times that the client was spared since it sent something, as it could not send.
    spared: u8,
}

impl RequestBody {
    /// Wraps `inner`, of which the client `declared` the length (RFC 9110 §8.6).
    ///
    /// # Errors
    /// [`BodyError::TooLarge`] when it declares more than the limit.
    pub fn wrap(
        inner: Body,
        exchange: Rc<Exchange>,
        declared: Option<u64>,
        limits: &ListenerLimits,
        idle: Option<Duration>,
    ) -> Result<Body, BodyError> {
        let limit = limits.body;
        if declared.is_some_and(|declared| declared > limit) {
            return Err(BodyError::TooLarge { limit });
        }
        if inner.is_end_stream() && declared.unwrap_or(0) == 0 {
            exchange.done.set(true);
            return Ok(Body::empty());
        }
        let (header_bytes, header_count) = (limits.header_bytes, limits.header_count);
        Ok(Body::stream(Self {
            inner,
            exchange,
            declared,
            seen: 0,
            limit,
            header_bytes,
            header_count,
            underscores: limits.underscores_in_headers,
            idle,
            pace: Pace {
                rate: limits.upload_rate,
                grace: limits.rate_grace,
                waited: Duration::ZERO,
                since: None,
                spared: 0,
            },
            timer: None,
        }))
    }

    /// Waits until it is known whether there is a body at all.
    ///
    /// HTTP/2 and HTTP/3 may tell the end of a request after its head. Toward HTTP/1.1 a GET would then go out with an
    /// empty chunked body, which origins do not expect: some close the connection over it and cut their own response short.
    ///
    /// # Errors
    /// What is wrong with the body's beginning.
    pub async fn settle(mut body: Body) -> Result<Body, BodyError> {
        let first = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        Ok(match first.transpose()? {
            None => Body::empty(),
            Some(first) => Body::stream(Begun { first: Some(first), rest: body }),
        })
    }

    fn check(&mut self, frame: Option<Frame<Bytes>>) -> Result<Option<Frame<Bytes>>, BodyError> {
        let Some(frame) = frame else {
            self.finish()?;
            return Ok(None);
        };
        match frame.into_data() {
            Ok(data) => {
                self.seen += data.len() as u64;
                self.exchange.bytes.set(self.seen);
                if self.seen > self.limit {
                    return Err(BodyError::TooLarge { limit: self.limit });
                }
                match self.declared {
                    Some(declared) if self.seen > declared => Err(BodyError::Length { declared }),
                    _ => Ok(Some(Frame::data(data))),
                }
            }
            Err(frame) => {
                self.finish()?;
                let trailers = frame.into_trailers().unwrap_or_default();
                message::within(&trailers, self.header_bytes, self.header_count)
                    .map_err(|_| BodyError::Trailers("too large"))?;
                let trailers = message::clean_request_trailers(trailers, self.underscores)
                    .map_err(BodyError::Trailers)?;
                Ok(Some(Frame::trailers(trailers)))
            }
        }
    }

    fn finish(&self) -> Result<(), BodyError> {
        match self.declared {
            Some(declared) if self.seen != declared => Err(BodyError::Length { declared }),
            _ => {
                self.exchange.done.set(true);
                Ok(())
            }
        }
    }

    /// Ready when the client has been waited for too long, which begins with the first call after a
    /// frame.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let mut since = *self.pace.since.get_or_insert_with(Instant::now);
        // The deadline only moves away, so the timer may be early: it is set anew when it has run
        // out.
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
            }
            let Some((at, error)) = self.deadline(since) else { return Poll::Pending };
            match &mut self.timer {
                Some(timer) if at <= Instant::now() => {
                    // A client could hold itself up with some requests, and origins with the others.
                    if !self.inner.is_held_up() || self.pace.spared == MOST_SPARED {
                        return Poll::Ready(error);
                    }
                    self.pace.spared += 1;
                    // The client waits for origins of its other requests, and the wait for it
                    // begins anew.
                    since = *self.pace.since.insert(Instant::now());
                    timer.as_mut().reset(since + self.pace.grace.max(SOON));
                }
                Some(timer) => timer.as_mut().reset(at),
                timer => *timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
    }

    /// When the wait that began at `since` is over, and why.
    fn deadline(&self, since: Instant) -> Option<(Instant, BodyError)> {
        // What the origin says keeps an exchange alive too.
        let idle =
            self.idle.map(|idle| (since.max(self.exchange.moved.get()) + idle, BodyError::Timeout));
        let slow = (self.pace.rate > 0 && self.exchange.is_paced.get())
            .then(|| (since + self.pace.left(self.seen), BodyError::Slow));
        match (idle, slow) {
            (Some(idle), Some(slow)) => Some(if slow.0 < idle.0 { slow } else { idle }),
            (deadline, None) | (None, deadline) => deadline,
        }
    }
}

impl Pace {
    /// Notes that the client has sent something.
    fn end(&mut self, now: Instant) {
        self.spared = 0;
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Time that the client may still take, having sent so many bytes.
    fn left(&self, sent: u64) -> Duration {
        let earned = Duration::from_millis(sent.saturating_mul(1000) / self.rate.max(1));
        self.grace.saturating_add(earned).saturating_sub(self.waited).min(LONGEST)
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => {
                let now = Instant::now();
                self.exchange.moved.set(now);
                self.pace.end(now);
                frame.transpose()
            }
            Poll::Pending => Err(ready!(self.poll_late(cx))),
        };
        let frame = frame.and_then(|frame| self.check(frame));
        if let Err(error) = &frame {
            self.exchange.failure.set(Some(Failure::from(error)));
        }
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        // The end is only known to be right once it has been read and checked.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, |declared| {
            SizeHint::with_exact(declared.saturating_sub(self.seen))
        })
    }
}

/// Times that a client is spared in one wait, each for the time of grace.
const MOST_SPARED: u8 = 30;

/// Time after which it is looked again whether a client can send.
const SOON: Duration = Duration::from_millis(100);

/// Timers take no more than a few years.
const LONGEST: Duration = Duration::from_secs(1 << 25);

/// A body whose first frame was read already.
struct Begun {
    first: Option<Frame<Bytes>>,
    rest: Body,
}

impl http_body::Body for Begun {
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

impl From<&BodyError> for Failure {
    fn from(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { .. } => Self::TooLarge,
            BodyError::Length { .. } => Self::Length,
            BodyError::Trailers(_) => Self::Trailers,
            BodyError::Timeout => Self::Timeout,
            BodyError::Slow => Self::Slow,
            BodyError::Stopped => Self::Stopped,
            BodyError::Filter => Self::Filter,
            BodyError::Request(failure) => *failure,
            BodyError::Aborted
            | BodyError::Hyper(_)
            | BodyError::H2(_)
            | BodyError::Origin(_)
            | BodyError::H3(_) => Self::Aborted,
        }
    }
}
