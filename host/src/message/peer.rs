//! The client of a request, its protocol, and the request's id.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use http::Version;

use crate::config::ListenerId;

/// The client of a request, and the way by which the request came.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The client's address.
    pub client: SocketAddr,
    /// The address that the client connected to; over UDP the listener's, which may be unspecified.
    pub local: SocketAddr,
    /// The protocol, for records and metrics only.
    pub protocol: Protocol,
    /// The version of the request's message, for Via.
    pub version: Version,
    /// Whether the client's connection is encrypted.
    pub tls: bool,
    /// The listener that accepted the connection.
    pub listener: ListenerId,
    /// The trusted proxy that has sent the request and names the client.
    pub via: Option<IpAddr>,
}

/// The protocol of a request, for labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1.
    H1,
    /// HTTP/2.
    H2,
    /// HTTP/3.
    H3,
}

impl Protocol {
    /// Returns the value of the `protocol` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }
}

/// Names a request in responses, access records and logs. Displays as 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
