//! The body of a request on its way to the origin. Counts and bounds it, and checks its length
//! against the declared one.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::config::ListenerLimits;
use crate::message::body::{Body, BodyError};
use crate::message::check;
use crate::message::exchange::{BodyFailure, Exchange};

/// Wraps the body of a client.
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
    pace: UploadPace,
    timer: Option<Pin<Box<Sleep>>>,
}

/// The rate of the client while the server waits for it. Time in which the body is not read does
/// not count against the client.
struct UploadPace {
    /// Bytes per second. 0 allows any rate.
    rate: u64,
    grace: Duration,
    /// Time of all earlier waits for the client.
    waited: Duration,
    /// The beginning of the present wait.
    since: Option<Instant>,
    /// Number of times that the client was spared since its last bytes, because it could not send.
    spared: u8,
}

impl RequestBody {
    /// Wraps `inner`, which has at most `limit` bytes. `declared` is the length from the client
    /// (RFC 9110 §8.6).
    ///
    /// # Errors
    ///
    /// [`BodyError::TooLarge`] if the declared length exceeds the limit.
    pub fn wrap(
        inner: Body,
        exchange: Rc<Exchange>,
        declared: Option<u64>,
        (limits, limit): (&ListenerLimits, u64),
        idle: Option<Duration>,
    ) -> Result<Body, BodyError> {
        if declared.is_some_and(|declared| declared > limit) {
            return Err(BodyError::TooLarge { limit });
        }
        if inner.is_end_stream() && declared.unwrap_or(0) == 0 {
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
            pace: UploadPace {
                rate: limits.upload_rate,
                grace: limits.rate_grace,
                waited: Duration::ZERO,
                since: None,
                spared: 0,
            },
            timer: None,
        }))
    }

    fn check(&mut self, frame: Option<Frame<Bytes>>) -> Result<Option<Frame<Bytes>>, BodyError> {
        let Some(frame) = frame else {
            self.finish()?;
            return Ok(None);
        };
        match frame.into_data() {
            Ok(data) => {
                self.seen += data.len() as u64;
                self.exchange.count(self.seen);
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
                check::within(&trailers, self.header_bytes, self.header_count)
                    .map_err(|_| BodyError::Trailers("too large"))?;
                let trailers = check::clean_request_trailers(trailers, self.underscores)
                    .map_err(BodyError::Trailers)?;
                Ok(Some(Frame::trailers(trailers)))
            }
        }
    }

    fn finish(&self) -> Result<(), BodyError> {
        match self.declared {
            Some(declared) if self.seen != declared => Err(BodyError::Length { declared }),
            _ => Ok(()),
        }
    }

    /// Ready when the wait for the client has taken too long. The first call after a frame begins
    /// the wait.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let mut since = *self.pace.since.get_or_insert_with(Instant::now);
        // The deadline only moves to later times, so the timer may fire early. It is then set
        // again.
        loop {
            if let Some(timer) = &mut self.timer {
                ready!(timer.as_mut().poll(cx));
            }
            let Some((at, error)) = self.deadline(since) else { return Poll::Pending };
            match &mut self.timer {
                Some(timer) if at <= Instant::now() => {
                    // A client could hold itself up with some requests, and occupy origins with the
                    // others.
                    if !self.inner.is_held_up() || self.pace.spared == MOST_SPARED {
                        return Poll::Ready(error);
                    }
                    self.pace.spared += 1;
                    // The client waits for origins of its other requests, so the wait for it
                    // restarts.
                    since = *self.pace.since.insert(Instant::now());
                    timer.as_mut().reset(since + self.pace.grace.max(SOON));
                }
                Some(timer) => timer.as_mut().reset(at),
                timer => *timer = Some(Box::pin(tokio::time::sleep_until(at))),
            }
        }
    }

    /// Returns the end of the wait that began at `since`, and its error.
    fn deadline(&self, since: Instant) -> Option<(Instant, BodyError)> {
        // Bytes from the origin keep an exchange alive too.
        let idle =
            self.idle.map(|idle| (since.max(self.exchange.moved()) + idle, BodyError::Timeout));
        let slow = (self.pace.rate > 0 && self.exchange.is_paced())
            .then(|| (since + self.pace.left(self.seen), BodyError::Slow));
        match (idle, slow) {
            (Some(idle), Some(slow)) => Some(if slow.0 < idle.0 { slow } else { idle }),
            (deadline, None) | (None, deadline) => deadline,
        }
    }
}

impl UploadPace {
    /// Notes that the client has sent something.
    fn end(&mut self, now: Instant) {
        self.spared = 0;
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// Returns the time that the client may still take after sending `sent` bytes.
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
                self.exchange.moved_at(now);
                self.pace.end(now);
                frame.transpose()
            }
            Poll::Pending => Err(ready!(self.poll_late(cx))),
        };
        let frame = frame.and_then(|frame| self.check(frame));
        if let Err(error) = &frame {
            self.exchange.fail(BodyFailure::from(error));
        }
        Poll::Ready(frame.transpose())
    }

    fn is_end_stream(&self) -> bool {
        // The end is certain only once it has been read and checked.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.declared.map_or_else(SizeHint::default, |declared| {
            SizeHint::with_exact(declared.saturating_sub(self.seen))
        })
    }
}

/// Maximum number of times that a client is spared in one wait, each for the grace time.
const MOST_SPARED: u8 = 30;

/// Minimum time before the next check whether a client can send.
const SOON: Duration = Duration::from_millis(100);

/// The longest time for a timer. Timers accept no more than a few years.
const LONGEST: Duration = Duration::from_secs(1 << 25);
