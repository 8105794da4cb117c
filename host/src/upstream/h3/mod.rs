//! HTTP/3 toward origins (RFC 9114), on `weir_h3`. A connection serves many requests at once, and
//! has a task that serves its control streams. The request itself drives its own stream.
//!
//! [`connection`] is one connection, [`alternative`] decides when an endpoint is reached by QUIC.
//! [`mod@exchange`] sends one request. [`upload`] is its body and [`body`] that of the response.

mod alternative;
mod body;
mod connection;
mod exchange;
mod quic;
mod upload;

pub(super) use self::connection::H3Lease;
pub(super) use self::exchange::{answer, send};
pub(super) use self::quic::{Quic, client_config, failure, open};
