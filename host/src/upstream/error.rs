//! [`SendError`]: why an upstream gave no response, and how far the request came.

use std::sync::Arc;

use super::pool::ConnectError;
use crate::message::exchange::BodyFailure;

/// Why an upstream gave no response. Displays as its cause.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SendError {
    /// The event that ended the attempt.
    #[from]
    pub cause: Cause,
}

/// How far a request came: the one fact that decides whether it may be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reached {
    /// No byte of it left this process.
    Never,
    /// The origin may have seen it.
    Perhaps,
    /// The origin has begun to answer, or may have acted on it.
    Certainly,
}

/// The event that ended an attempt.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A part of the configuration is absent from the state that serves.
    #[error("the {0} is missing from the running configuration")]
    Missing(&'static str),
    /// No endpoint is healthy; the upstream's name.
    #[error("no healthy endpoint in upstream {0}")]
    NoEndpoint(Arc<str>),
    /// The balancer lets no endpoint take the request; the upstream's name.
    #[error("the balancer of upstream {0} lets no endpoint take the request")]
    Declined(Arc<str>),
    /// No connection to the endpoint could be had.
    #[error("connect to {endpoint}")]
    Connect {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// The reason.
        source: ConnectError,
    },
    /// The request's body could not be read.
    #[error("read request body: {}", .0.label())]
    RequestBody(BodyFailure),
    /// No response head came in time.
    #[error("no response head in time")]
    FirstByteTimeout,
    /// The whole exchange took too long.
    #[error("the exchange exceeds its total time")]
    TotalTimeout,
    /// The origin has told that it did not process the request (RFC 9113 §8.7).
    #[error("the origin refused the request unprocessed")]
    Refused(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The origin closed the connection before any byte of a response: it may never have seen the
    /// request (RFC 9112 §9.3.1).
    #[error("exchange with the origin")]
    Closed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The exchange with the origin broke; the cause is of the origin's protocol.
    #[error("exchange with the origin")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl SendError {
    /// Returns how far the request came.
    pub fn reached(&self) -> Reached {
        match self.cause {
            Cause::Missing(_)
            | Cause::NoEndpoint(_)
            | Cause::Declined(_)
            | Cause::Connect { .. }
            | Cause::Refused(_) => Reached::Never,
            Cause::Closed(_) => Reached::Perhaps,
            Cause::RequestBody(_)
            | Cause::FirstByteTimeout
            | Cause::TotalTimeout
            | Cause::Broken(_) => Reached::Certainly,
        }
    }

    /// Returns one word for access records: the `error` field.
    pub fn kind(&self) -> &'static str {
        match &self.cause {
            Cause::Missing(_) => "missing",
            Cause::NoEndpoint(_) => "no_endpoint",
            Cause::Declined(_) => "declined",
            Cause::Connect { source, .. } => match source {
                ConnectError::Io(_) => "connect",
                ConnectError::Tls(_) => "tls",
                ConnectError::Timeout(_) => "connect_timeout",
                ConnectError::Saturated(_) => "saturated",
                ConnectError::Share(_) => "client_share",
            },
            Cause::RequestBody(failure) => failure.label(),
            Cause::FirstByteTimeout => "first_byte_timeout",
            Cause::TotalTimeout => "total_timeout",
            Cause::Refused(_) => "refused",
            Cause::Closed(_) | Cause::Broken(_) => "exchange",
        }
    }
}
