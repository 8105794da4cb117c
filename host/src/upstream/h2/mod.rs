//! HTTP/2 toward origins (RFC 9113). A connection serves many requests at once, and has a task that
//! drives it. The request itself drives its own stream.
//!
//! [`connection`] is one connection, [`shared`] the connections to one endpoint. [`mod@exchange`]
//! sends one request. [`upload`] is its body and [`body`] that of the response.

mod body;
mod connection;
mod exchange;
mod shared;
mod upload;

pub(super) use self::connection::H2Lease;
pub(super) use self::exchange::exchange;
pub(super) use self::shared::Shared;

/// Maximum number of requests of one connection at once. An origin may allow fewer.
///
/// Together with the windows it ensures that a client that reads nothing stops its own stream only:
/// the window of the connection has room for the windows of all streams.
pub(super) const MAX_STREAMS: usize = 128;

/// Bytes of a response that an origin may send ahead on one stream.
const STREAM_WINDOW: u32 = 256 << 10;

/// Bytes that an origin may send ahead on all streams of a connection.
const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;

/// Bytes of a request's body that may wait in the connection for the origin's window.
const SEND_BUFFER: usize = 400 << 10;
