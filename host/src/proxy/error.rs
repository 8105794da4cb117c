//! Everything that can keep a request from its answer, and what each case means to the client and to the operator.

use std::sync::Arc;

use http::StatusCode;

use super::body::{Exchange, Failure};
use crate::listen::body::BodyError;
use crate::telemetry::metrics::Reason;
use crate::upstream::connect::ConnectError;
use crate::upstream::h1::H1Error;

/// Why a request has no answer from an origin.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The request breaks a rule.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// Too many or too large fields.
    #[error("header section exceeds the listener's limits")]
    HeadersTooLarge,
    /// A method or feature that is not supported.
    #[error("{0} is not supported")]
    NotImplemented(&'static str),
    /// The request's body could not be read.
    #[error("read request body: {}", .0.label())]
    RequestBody(Failure),
    /// A filter failed, and its plugin is closed on failure; its name, and how.
    #[error("plugin {0} failed: {1}")]
    Filter(Arc<str>, &'static str),
    /// A component took too long; its name.
    #[error("component {0} took too long")]
    ComponentTimeout(Arc<str>),
    /// A response's header section is too large with what filters added.
    #[error("header section of the response is too large with what filters added")]
    ResponseTooLarge,
    /// No route matches.
    #[error("no route matches")]
    NoRoute,
    /// No endpoint is healthy.
    #[error("no healthy endpoint in upstream {0}")]
    NoEndpoint(Arc<str>),
    /// The balancer lets no endpoint take the request.
    #[error("the balancer of upstream {0} lets no endpoint take the request")]
    Declined(Arc<str>),
    /// Every connection that the configuration allows is in use.
    #[error("connect to {endpoint}")]
    Saturated {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// What happened.
        source: ConnectError,
    },
    /// The client's network uses its share of the connections, and they are scarce.
    #[error("connect to {endpoint}")]
    Share {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// What happened.
        source: ConnectError,
    },
    /// The endpoint could not be connected to.
    #[error("connect to {endpoint}")]
    Connect {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// What happened.
        source: ConnectError,
    },
    /// The endpoint did not answer the connection in time.
    #[error("connect to {endpoint}")]
    ConnectTimeout {
        /// The endpoint's name.
        endpoint: Arc<str>,
        /// What happened.
        source: ConnectError,
    },
    /// No response head in time.
    #[error("no response head in time")]
    FirstByteTimeout,
    /// The whole exchange took too long.
    #[error("the exchange exceeds its total time")]
    TotalTimeout,
    /// The exchange with the origin broke.
    #[error("exchange with the origin")]
    Exchange(#[source] H1Error),
}

/// Who is at fault.
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
    /// The word in access records.
    pub fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
            Self::Plugin => "plugin",
        }
    }
}

impl ProxyError {
    /// Why no connection to `endpoint` could be had.
    pub fn connect(endpoint: &Arc<str>, source: ConnectError) -> Self {
        let endpoint = Arc::clone(endpoint);
        match source {
            ConnectError::Timeout(_) => Self::ConnectTimeout { endpoint, source },
            ConnectError::Saturated(_) => Self::Saturated { endpoint, source },
            ConnectError::Share(_) => Self::Share { endpoint, source },
            ConnectError::Io(_) => Self::Connect { endpoint, source },
        }
    }

    /// Why an exchange broke: the request's body, if that failed, or the origin.
    pub fn exchange(error: H1Error, exchange: &Exchange) -> Self {
        match exchange.failure() {
            Some(failure) => Self::RequestBody(failure),
            None => Self::Exchange(error),
        }
    }

    /// The status that the client gets.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HeadersTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Self::RequestBody(failure) => match failure {
                Failure::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Failure::Timeout | Failure::Slow => StatusCode::REQUEST_TIMEOUT,
                Failure::Stopped => StatusCode::FORBIDDEN,
                Failure::Filter => StatusCode::SERVICE_UNAVAILABLE,
                Failure::Aborted | Failure::Length | Failure::Trailers => StatusCode::BAD_REQUEST,
            },
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::NoEndpoint(_)
            | Self::Declined(_)
            | Self::Saturated { .. }
            | Self::Share { .. }
            | Self::Filter(..) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Connect { .. } | Self::Exchange(_) | Self::ResponseTooLarge => {
                StatusCode::BAD_GATEWAY
            }
            Self::ConnectTimeout { .. }
            | Self::FirstByteTimeout
            | Self::TotalTimeout
            | Self::ComponentTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// Who is at fault.
    pub fn side(&self) -> Side {
        match self {
            Self::Filter(..) | Self::Declined(_) | Self::ComponentTimeout(_) => Side::Plugin,
            Self::RequestBody(failure) => failure.side(),
            Self::Malformed(_)
            | Self::HeadersTooLarge
            | Self::NotImplemented(_)
            | Self::Share { .. } => Side::Client,
            Self::NoRoute | Self::ResponseTooLarge => Side::Proxy,
            _ => Side::Upstream,
        }
    }

    /// Why the client was cut off, if it was.
    pub fn cut(&self) -> Option<Reason> {
        match self {
            Self::RequestBody(Failure::Slow) => Some(Reason::SlowRequest),
            Self::Share { .. } => Some(Reason::Share),
            _ => None,
        }
    }

    /// One word for access records and metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::HeadersTooLarge => "headers_too_large",
            Self::NotImplemented(_) => "not_implemented",
            Self::RequestBody(failure) => failure.label(),
            Self::Filter(_, kind) => kind,
            Self::ComponentTimeout(_) => "timeout",
            Self::ResponseTooLarge => "response_headers_too_large",
            Self::NoRoute => "no_route",
            Self::NoEndpoint(_) => "no_endpoint",
            Self::Declined(_) => "declined",
            Self::Saturated { .. } => "saturated",
            Self::Share { .. } => "client_share",
            Self::Connect { .. } => "connect",
            Self::ConnectTimeout { .. } => "connect_timeout",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::TotalTimeout => "total_timeout",
            Self::Exchange(_) => "exchange",
        }
    }
}

impl From<BodyError> for ProxyError {
    fn from(error: BodyError) -> Self {
        Self::RequestBody(Failure::from(&error))
    }
}
