//! [`Exchange`]: how far a request's body has come, and [`BodyFailure`]: why it came no further.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::body::BodyError;

/// How far a request's body has come. The body and the waiter for the response share it.
#[derive(Debug)]
pub struct Exchange {
    moved: Cell<Instant>,
    /// Whether the client must keep to its listener's rate.
    is_paced: Cell<bool>,
    failure: Cell<Option<BodyFailure>>,
    bytes: Rc<Cell<u64>>,
}

/// The party that is at fault for a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client's request.
    Client,
    /// The origin or the way to it.
    Upstream,
    /// This proxy or its configuration.
    Proxy,
    /// A plugin.
    Plugin,
}

impl Side {
    /// Returns the word in access records.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
            Self::Plugin => "plugin",
        }
    }
}

/// Why a request's body ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFailure {
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

impl BodyFailure {
    /// Returns the party at fault.
    pub fn side(self) -> Side {
        match self {
            Self::Filter => Side::Plugin,
            _ => Side::Client,
        }
    }

    /// Returns one word for access records and metrics.
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

impl From<&BodyError> for BodyFailure {
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
            | BodyError::Client(_)
            | BodyError::Capsules(_)
            | BodyError::Origin(_) => Self::Aborted,
        }
    }
}

impl Exchange {
    /// Begins an exchange; `bytes` counts the body for the access record.
    pub fn start(bytes: Rc<Cell<u64>>) -> Rc<Self> {
        let moved = Cell::new(Instant::now());
        let (is_paced, failure) = (Cell::new(true), Cell::new(None));
        Rc::new(Self { moved, is_paced, failure, bytes })
    }

    /// Lifts the listener's rate from the rest of the request: a response has begun, or the request
    /// is a stream of messages.
    pub fn unpace(&self) {
        self.is_paced.set(false);
    }

    /// Whether the client must keep to its listener's rate.
    pub fn is_paced(&self) -> bool {
        self.is_paced.get()
    }

    /// Returns when something moved last.
    pub fn moved(&self) -> Instant {
        self.moved.get()
    }

    /// Notes that the body moved, or that a wait begins anew: time that was spent before, on a
    /// connection for example, is not the origin's.
    pub fn restart(&self) {
        self.moved.set(Instant::now());
    }

    /// Notes that the body moved at this time.
    pub fn moved_at(&self, now: Instant) {
        self.moved.set(now);
    }

    /// Notes how many bytes of the body have come.
    pub fn count(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// Returns why reading the body failed, if it did.
    pub fn failure(&self) -> Option<BodyFailure> {
        self.failure.get()
    }

    /// Notes that the body failed. The first failure counts.
    pub fn fail(&self, failure: BodyFailure) {
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
