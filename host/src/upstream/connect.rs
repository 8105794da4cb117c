//! [`Connector`]: how an upstream's endpoints are connected to, and [`Transport`], a connection.

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Endpoint;
use super::h3::client_config;
use super::pool::ConnectError;
use super::preamble::preamble;
use crate::config::source::Stamp;
use crate::config::{self, ProxyVersion, UpstreamProtocol, UpstreamTls};
use crate::message::peer::Peer;
use crate::tls::{self, TlsError};

/// The protocol and the TLS toward the endpoints of an upstream. Connections of one connector serve
/// no request of another one.
pub struct Connector {
    protocol: UpstreamProtocol,
    proxy_protocol: Option<ProxyVersion>,
    tls: Option<Encryption>,
}

/// The TLS of a connector, and its source.
struct Encryption {
    source: UpstreamTls,
    /// The settings that offer all protocols.
    settings: Arc<ClientConfig>,
    /// The settings that offer HTTP/1.1 alone, for an endpoint that has chosen it before.
    h1: Arc<ClientConfig>,
    /// The settings of QUIC, if HTTP/3 may be used.
    quic: Option<quinn::ClientConfig>,
    /// The files, with stamps from before they were read.
    stamps: Vec<(PathBuf, Stamp)>,
}

/// The protocol that a new connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    H1,
    H2,
}

impl Connector {
    /// Reads the files of an upstream's TLS.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn new(config: &config::Upstream) -> Result<Self, TlsError> {
        let protocol = spoken(config.protocol, config.proxy_protocol);
        let alpn: &[&str] = match protocol {
            UpstreamProtocol::H1 => &["http/1.1"],
            UpstreamProtocol::H2 => &["h2"],
            UpstreamProtocol::Auto | UpstreamProtocol::H3 => &["h2", "http/1.1"],
        };
        let encryption = |source: &UpstreamTls| -> Result<_, TlsError> {
            let stamp = |file: PathBuf| (file.clone(), Stamp::of(&file));
            let stamps = tls::client::files_of(source).into_iter().map(stamp).collect();
            let settings = tls::client::config(source, alpn)?;
            let mut h1 = ClientConfig::clone(&settings);
            h1.alpn_protocols = vec![H1.to_vec()];
            let mut h3 = ClientConfig::clone(&settings);
            h3.alpn_protocols = vec![b"h3".to_vec()];
            let may_use = matches!(protocol, UpstreamProtocol::Auto | UpstreamProtocol::H3);
            let quic = may_use.then(|| client_config(Arc::new(h3)));
            let quic = quic.transpose()?;
            Ok(Encryption { source: source.clone(), settings, h1: Arc::new(h1), quic, stamps })
        };
        let tls = config.tls.as_ref().map(encryption).transpose()?;
        let (protocol, proxy_protocol) = (config.protocol, config.proxy_protocol);
        Ok(Self { protocol, proxy_protocol, tls })
    }

    /// Whether a connector of this configuration is the same, with the same files.
    pub fn is_of(&self, config: &config::Upstream) -> bool {
        let source = self.tls.as_ref().map(|tls| &tls.source);
        self.protocol == config.protocol
            && self.proxy_protocol == config.proxy_protocol
            && source == config.tls.as_ref()
            && self.is_fresh()
    }

    /// Returns whether the files are those that were read.
    pub fn is_fresh(&self) -> bool {
        self.files().iter().all(|(file, stamp)| Stamp::of(file) == *stamp)
    }

    /// Returns the files of the TLS, with stamps from before they were read.
    pub fn files(&self) -> &[(PathBuf, Stamp)] {
        self.tls.as_ref().map_or(&[], |tls| &tls.stamps)
    }

    /// Whether connections are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Returns the protocol of all connections. `None` if each endpoint chooses its own.
    pub(super) fn spoken(&self) -> Option<Spoken> {
        match (self.protocol(), &self.tls) {
            (UpstreamProtocol::H1, _) | (UpstreamProtocol::Auto | UpstreamProtocol::H3, None) => {
                Some(Spoken::H1)
            }
            (UpstreamProtocol::H2, _) => Some(Spoken::H2),
            (UpstreamProtocol::Auto | UpstreamProtocol::H3, Some(_)) => None,
        }
    }

    fn protocol(&self) -> UpstreamProtocol {
        spoken(self.protocol, self.proxy_protocol)
    }

    /// Whether a connection names its client, and therefore serves no other one.
    pub(super) fn names_clients(&self) -> bool {
        self.proxy_protocol.is_some()
    }

    /// Whether the configuration names a protocol that serves several requests at once.
    pub(super) fn is_fixed(&self) -> bool {
        matches!(self.protocol, UpstreamProtocol::H2 | UpstreamProtocol::H3)
    }

    /// Whether the endpoints serve HTTP/3 by configuration.
    pub(super) fn is_h3(&self) -> bool {
        self.protocol == UpstreamProtocol::H3
    }

    /// Whether the endpoints may tell that they serve HTTP/3.
    pub(super) fn learns_h3(&self) -> bool {
        // Without verification, anyone behind the endpoint could move all its requests elsewhere.
        let is_verified = self.tls.as_ref().is_some_and(|tls| tls.source.verify);
        self.protocol() == UpstreamProtocol::Auto && is_verified
    }

    /// Returns the name of an endpoint's certificate, and the settings of QUIC.
    ///
    /// # Errors
    /// HTTP/3 is not to be used.
    pub(super) fn quic(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(String, quinn::ClientConfig), ConnectError> {
        let tls = self.tls.as_ref().and_then(|tls| Some((tls, tls.quic.clone()?)));
        let (tls, config) = tls.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        Ok((tls.name(endpoint).to_owned(), config))
    }

    /// Opens a connection within `limit`, the handshake included. An endpoint that has chosen
    /// HTTP/1.1 before is `known` to speak it, and is offered no other protocol. The connection
    /// begins by naming its client, if the upstream wants that.
    pub(super) async fn connect(
        &self,
        endpoint: &Endpoint,
        limit: Duration,
        known: Option<Spoken>,
        client: Option<&Peer>,
    ) -> Result<(Transport, Spoken), ConnectError> {
        let connecting = async {
            let mut stream = TcpStream::connect(endpoint.address).await?;
            stream.set_nodelay(true)?;
            if let Some(version) = self.proxy_protocol {
                // Boxed, so that requests without it do not reserve room for it.
                Box::pin(announce(&mut stream, version, client)).await?;
            }
            match &self.tls {
                None => Ok((Transport::Plain(stream), self.spoken().unwrap_or(Spoken::H1))),
                // Boxed, so that requests over plain connections do not reserve room for it.
                Some(tls) => Box::pin(tls.encrypt(stream, endpoint, known)).await,
            }
        };
        let connected = tokio::time::timeout(limit, connecting).await;
        connected.map_err(|_| ConnectError::Timeout(limit))?
    }
}

/// Returns the protocol of an upstream. A connection that names its client serves one request.
fn spoken(protocol: UpstreamProtocol, proxy: Option<ProxyVersion>) -> UpstreamProtocol {
    if proxy.is_some() { UpstreamProtocol::H1 } else { protocol }
}

/// Names the client of a connection.
async fn announce(
    stream: &mut TcpStream,
    version: ProxyVersion,
    client: Option<&Peer>,
) -> io::Result<()> {
    stream.write_all(&preamble(version, client)).await
}

impl Encryption {
    /// Returns the name that the certificate of an endpoint must have.
    fn name<'a>(&'a self, endpoint: &'a Endpoint) -> &'a str {
        self.source.server_name.as_deref().unwrap_or(host(&endpoint.name))
    }

    async fn encrypt(
        &self,
        stream: TcpStream,
        endpoint: &Endpoint,
        known: Option<Spoken>,
    ) -> Result<(Transport, Spoken), ConnectError> {
        let name = ServerName::try_from(self.name(endpoint).to_owned())
            .map_err(|error| ConnectError::tls(io::Error::other(error)))?;
        let settings = if known == Some(Spoken::H1) { &self.h1 } else { &self.settings };
        let connector = TlsConnector::from(Arc::clone(settings));
        let stream = connector.connect(name, stream).await.map_err(ConnectError::tls)?;
        let spoken = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Spoken::H2,
            // HTTP/2 over TLS is agreed by ALPN only (RFC 9113 §3.2).
            _ if known == Some(Spoken::H2) => {
                let message = "the endpoint does not choose h2 (ALPN)";
                return Err(ConnectError::tls(io::Error::other(message)));
            }
            _ => Spoken::H1,
        };
        Ok((Transport::Tls(Box::new(stream)), spoken))
    }
}

/// The name of HTTP/1.1 in ALPN.
const H1: &[u8] = b"http/1.1";

/// Returns the host of `HOST:PORT`, without brackets.
pub(super) fn host(name: &str) -> &str {
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

/// A connection to an endpoint, encrypted or not.
#[derive(Debug)]
pub enum Transport {
    /// The bytes go as they are.
    Plain(TcpStream),
    /// The bytes go encrypted. Boxed, because the state of TLS is large.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Transport {
    /// Whether the bytes go encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Returns whether the endpoint has neither closed the idle connection nor sent anything on it.
    /// Costs no system call unless one of them happened.
    pub fn is_quiet(&mut self) -> bool {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match self {
            Self::Plain(stream) => match stream.poll_read_ready(&mut context) {
                Poll::Pending => true,
                Poll::Ready(Err(_)) => false,
                Poll::Ready(Ok(())) => {
                    let nothing = stream.try_read(&mut [0; 1]);
                    matches!(nothing, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
                }
            },
            // Session tickets and key updates are no data, and a read takes them in.
            Self::Tls(stream) => {
                let mut byte = [0; 1];
                Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
            }
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_endpoint_has_no_port_and_no_brackets() {
        for (name, expected) in
            [("app.internal:443", "app.internal"), ("10.0.0.1:80", "10.0.0.1"), ("[::1]:8", "::1")]
        {
            assert_eq!(host(name), expected);
        }
    }
}
