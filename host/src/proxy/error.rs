//! All errors that keep a request from its answer, and the meaning of each for the client and the
//! operator.

use std::sync::Arc;

use http::StatusCode;

use crate::message::body::BodyError;
use crate::message::check::CheckError;
use crate::message::exchange::{BodyFailure, Side};
use crate::telemetry::metrics::Reason;
use crate::upstream::error::{Cause, SendError};
use crate::upstream::pool::ConnectError;
use crate::upstream::udp::UdpError;

/// The reason why a request has no answer from an origin.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The request's head is refused.
    #[error(transparent)]
    Refused(#[from] CheckError),
    /// The request's body could not be read.
    #[error("read request body: {}", .0.label())]
    RequestBody(BodyFailure),
    /// A part of the configuration is absent from the state that serves. The request must not pass
    /// as if it had never been configured.
    #[error("the {0} is missing from the running configuration")]
    Missing(&'static str),
    /// A filter failed, and its plugin is closed on failure. Holds the name of the plugin and the
    /// kind of the failure.
    #[error("plugin {0} failed: {1}")]
    Filter(Arc<str>, &'static str),
    /// A component took too long. Holds its name.
    #[error("component {0} took too long")]
    ComponentTimeout(Arc<str>),
    /// The fields that filters added make a response's header section too large.
    #[error("header section of the response is too large after filters")]
    ResponseTooLarge,
    /// No route matches.
    #[error("no route matches")]
    NoRoute,
    /// The upstream gave no response.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A tunnel of UDP was not opened.
    #[error(transparent)]
    Udp(#[from] Box<UdpError>),
}

impl ProxyError {
    /// Returns the status for the client.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Refused(CheckError::Malformed(_)) => StatusCode::BAD_REQUEST,
            Self::Refused(CheckError::TooLarge) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Refused(CheckError::Unsupported(_)) => StatusCode::NOT_IMPLEMENTED,
            Self::RequestBody(failure) => of_body(*failure),
            Self::Missing(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Filter(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::ResponseTooLarge => StatusCode::BAD_GATEWAY,
            Self::ComponentTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Udp(error) => match &**error {
                UdpError::Forbidden(_) => StatusCode::FORBIDDEN,
                UdpError::Full(_) => StatusCode::SERVICE_UNAVAILABLE,
                UdpError::Lookup(..) | UdpError::Socket(..) => StatusCode::BAD_GATEWAY,
            },
            Self::Send(error) => match &error.cause {
                Cause::Missing(_) => StatusCode::INTERNAL_SERVER_ERROR,
                Cause::RequestBody(failure) => of_body(*failure),
                Cause::NoEndpoint(_) | Cause::Declined(_) => StatusCode::SERVICE_UNAVAILABLE,
                Cause::Connect { source, .. } => match source {
                    ConnectError::Saturated(_) | ConnectError::Share(_) => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    ConnectError::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
                    ConnectError::Io(_) | ConnectError::Tls(_) => StatusCode::BAD_GATEWAY,
                },
                Cause::Refused(_) | Cause::Closed(_) | Cause::Broken(_) => StatusCode::BAD_GATEWAY,
                Cause::FirstByteTimeout | Cause::TotalTimeout => StatusCode::GATEWAY_TIMEOUT,
            },
        }
    }

    /// The party at fault.
    pub fn side(&self) -> Side {
        match self {
            Self::Filter(..) | Self::ComponentTimeout(_) => Side::Plugin,
            Self::RequestBody(failure) => failure.side(),
            Self::Refused(_) => Side::Client,
            Self::Missing(_) | Self::NoRoute | Self::ResponseTooLarge => Side::Proxy,
            Self::Udp(error) => match &**error {
                UdpError::Forbidden(_) => Side::Client,
                UdpError::Full(_) => Side::Proxy,
                UdpError::Lookup(..) | UdpError::Socket(..) => Side::Upstream,
            },
            Self::Send(error) => match &error.cause {
                Cause::Missing(_) => Side::Proxy,
                Cause::Declined(_) => Side::Plugin,
                Cause::RequestBody(failure) => failure.side(),
                Cause::Connect { source: ConnectError::Share(_), .. } => Side::Client,
                _ => Side::Upstream,
            },
        }
    }

    /// Returns the reason for cutting the client off, if it was cut off.
    pub fn cut(&self) -> Option<Reason> {
        let cause = match self {
            Self::RequestBody(BodyFailure::Slow) => return Some(Reason::SlowRequest),
            Self::Send(error) => &error.cause,
            _ => return None,
        };
        match cause {
            Cause::RequestBody(BodyFailure::Slow) => Some(Reason::SlowRequest),
            Cause::Connect { source: ConnectError::Share(_), .. } => Some(Reason::Share),
            _ => None,
        }
    }

    /// Returns one word for access records and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Refused(CheckError::Malformed(_)) => "malformed",
            Self::Refused(CheckError::TooLarge) => "headers_too_large",
            Self::Refused(CheckError::Unsupported(_)) => "not_implemented",
            Self::RequestBody(failure) => failure.label(),
            Self::Missing(_) => "missing",
            Self::Filter(_, kind) => kind,
            Self::ComponentTimeout(_) => "timeout",
            Self::ResponseTooLarge => "response_headers_too_large",
            Self::NoRoute => "no_route",
            Self::Send(error) => error.kind(),
            Self::Udp(error) => error.kind(),
        }
    }
}

/// Returns the status for a failure of the request's body.
fn of_body(failure: BodyFailure) -> StatusCode {
    match failure {
        BodyFailure::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyFailure::Timeout | BodyFailure::Slow => StatusCode::REQUEST_TIMEOUT,
        BodyFailure::Stopped => StatusCode::FORBIDDEN,
        BodyFailure::Filter => StatusCode::SERVICE_UNAVAILABLE,
        BodyFailure::Aborted | BodyFailure::Length | BodyFailure::Trailers => {
            StatusCode::BAD_REQUEST
        }
    }
}

impl From<BodyError> for ProxyError {
    fn from(error: BodyError) -> Self {
        Self::RequestBody(BodyFailure::from(&error))
    }
}
