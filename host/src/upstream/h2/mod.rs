//! HTTP/2 toward origins (RFC 9113). A connection serves many requests at once, and has a task that
//! drives it. The request itself drives its own stream.
//!
//! [`connection`] is one connection. [`mod@exchange`] sends one request. [`upload`] is its body and
//! [`body`] that of the response.

mod body;
mod connection;
mod exchange;
mod upload;

pub(super) use self::connection::H2Connection;
pub(super) use self::exchange::{answer, send};

/// Bytes of a request's body that may wait in the connection for the origin's window.
const SEND_BUFFER: usize = 400 << 10;
