//! [`Quic`]: the QUIC of one worker toward one endpoint.

use std::cell::OnceCell;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime, TransportConfig};
use socket2::{Domain, Protocol, Socket, Type};

use super::alternative::Alternative;
use super::connection::H3Connection;
use crate::upstream::pool::ConnectError;
use crate::upstream::shared::{CONNECTION_WINDOW, STREAM_WINDOW, Shared};

/// The connections of HTTP/3 to one endpoint, and the socket of all of them.
#[derive(Default)]
pub(in crate::upstream) struct Quic {
    connections: Shared<H3Connection>,
    alternative: Alternative,
    /// Opened with the first connection.
    endpoint: OnceCell<Endpoint>,
}

impl Quic {
    /// The connections to an endpoint that serves HTTP/3 at this port by configuration.
    pub(in crate::upstream) fn configured(port: u16) -> Self {
        Self { alternative: Alternative::configured(port), ..Self::default() }
    }

    /// Returns the connections.
    pub(in crate::upstream) fn connections(&self) -> &Shared<H3Connection> {
        &self.connections
    }

    /// Returns the knowledge about HTTP/3 at the endpoint.
    pub(in crate::upstream) fn alternative(&self) -> &Alternative {
        &self.alternative
    }

    /// Returns the QUIC endpoint for connections to this address.
    ///
    /// # Errors
    /// No socket can be opened.
    pub(super) fn endpoint(&self, address: SocketAddr) -> io::Result<&Endpoint> {
        match self.endpoint.get() {
            Some(endpoint) => Ok(endpoint),
            None => {
                let endpoint = open(address)?;
                Ok(self.endpoint.get_or_init(|| endpoint))
            }
        }
    }
}

/// Opens a QUIC endpoint for connections to this address.
///
/// # Errors
/// No socket can be opened.
pub(in crate::upstream) fn open(address: SocketAddr) -> io::Result<Endpoint> {
    let any: SocketAddr = match address {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = Socket::new(Domain::for_address(any), Type::DGRAM, Some(Protocol::UDP))?;
    for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
        // The system may allow less.
        let _ = set(&socket, UDP_BUFFER);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    let (config, runtime) = (EndpointConfig::default(), Arc::new(TokioRuntime));
    Endpoint::new(config, None, UdpSocket::from(socket), runtime)
}

/// Returns the settings of QUIC with these of TLS, which offer HTTP/3.
///
/// # Errors
/// The settings of TLS have no cipher suite for QUIC.
pub(in crate::upstream) fn client_config(
    tls: Arc<rustls::ClientConfig>,
) -> Result<ClientConfig, quinn::crypto::rustls::NoInitialCipherSuite> {
    let mut transport = TransportConfig::default();
    transport
        // Servers open no requests (RFC 9114 §6.1).
        .max_concurrent_bidi_streams(0_u8.into())
        .max_concurrent_uni_streams(UNIDIRECTIONAL.into())
        .max_idle_timeout(IDLE.try_into().ok())
        .keep_alive_interval(Some(PING_EVERY))
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport));
    Ok(config)
}

/// Returns the reason in the words of a connection over TCP.
pub(in crate::upstream) fn failure(error: quinn::ConnectionError, limit: Duration) -> ConnectError {
    let code = match &error {
        quinn::ConnectionError::TimedOut => return ConnectError::Timeout(limit),
        quinn::ConnectionError::TransportError(error) => Some(u64::from(error.code)),
        quinn::ConnectionError::ConnectionClosed(close) => Some(u64::from(close.error_code)),
        _ => None,
    };
    match code {
        // An alert of TLS (RFC 9001 §4.8).
        Some(0x100..=0x1ff) => ConnectError::tls(io::Error::other(error)),
        _ => io::Error::other(error).into(),
    }
}

/// Streams of an origin that are not responses: one control stream, two of QPACK, and room for
/// reserved types.
const UNIDIRECTIONAL: u32 = 8;

/// A connection on which nothing arrives for this time is lost.
const IDLE: Duration = Duration::from_secs(30);

/// The interval of pings. Only a ping detects that an origin is gone.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Bytes of requests that one connection keeps until they are acknowledged.
const SEND_WINDOW: u64 = 4 << 20;

/// Bytes of the buffers of a UDP socket: a few milliseconds at a gigabyte per second.
const UDP_BUFFER: usize = 2 << 20;
