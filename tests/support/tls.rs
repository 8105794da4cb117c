//! TLS to a Weir with an unsigned certificate.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rcgen::PublicKeyData as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A client configuration that accepts every certificate and offers `alpn`.
pub(crate) fn config(alpn: &[&[u8]]) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(any_certificate())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config
}

/// Connects to `address` as `localhost`.
pub(crate) async fn connect(
    address: SocketAddr,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    connect_as(address, alpn, "localhost").await
}

/// Connects to `address` with the server name `name`.
pub(crate) async fn connect_as(
    address: SocketAddr,
    alpn: &[&[u8]],
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    encrypt(TcpStream::connect(address).await?, alpn, name).await
}

/// Encrypts a connection as `localhost`.
pub(crate) async fn over(
    stream: TcpStream,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    encrypt(stream, alpn, "localhost").await
}

/// Connects to `address` as `localhost`, from a loopback address if one is given.
pub(crate) async fn connect_from(
    address: SocketAddr,
    alpn: &[&[u8]],
    source: Option<Ipv4Addr>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let Some(source) = source else { return connect(address, alpn).await };
    let socket = TcpSocket::new_v4()?;
    socket.bind((source, 0).into())?;
    encrypt(socket.connect(address).await?, alpn, "localhost").await
}

async fn encrypt(
    stream: TcpStream,
    alpn: &[&[u8]],
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config(alpn))).connect(name, stream).await
}

/// A verifier that accepts every certificate.
pub(crate) fn any_certificate() -> Arc<dyn ServerCertVerifier> {
    Arc::new(AnyCertificate(Arc::new(ring::default_provider())))
}

/// A certificate for `localhost` and its key, in files.
#[derive(Debug)]
pub(crate) struct Certificate {
    directory: TempDir,
    fingerprint: String,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let names = vec!["localhost".into(), "127.0.0.1".into()];
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        std::fs::write(directory.path().join("certificate.pem"), made.cert.pem()).unwrap();
        std::fs::write(directory.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        let digest = Sha256::digest(made.signing_key.subject_public_key_info());
        Self { directory, fingerprint: base64(&digest) }
    }

    /// The certificate's file.
    pub(crate) fn cert(&self) -> String {
        self.directory.path().join("certificate.pem").display().to_string()
    }

    /// The key's file.
    pub(crate) fn key(&self) -> String {
        self.directory.path().join("key.pem").display().to_string()
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        let pem = std::fs::read(self.cert()).unwrap();
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap()
    }

    /// The settings of a server with the certificate, and with these protocols. Clients must have
    /// the other certificate, if there is one.
    pub(crate) fn server(&self, alpn: &[&[u8]], client: Option<&Certificate>) -> ServerConfig {
        let key = PrivateKeyDer::from_pem_slice(&std::fs::read(self.key()).unwrap()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates(client.chain());
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(self.chain(), key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    /// The `tls` of a listener.
    pub(crate) fn config(&self) -> String {
        let (certificate, key) = (self.cert(), self.key());
        format!("tls: {{ certificates: [{{ cert: {certificate}, key: {key} }}] }}")
    }

    /// The SHA-256 of the public key, in base64, by which a browser can trust it.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quad = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(*three.get(at).unwrap_or(&0)));
        let digit = |at: usize| match at <= three.len() {
            true => char::from(DIGITS[bits >> (18 - 6 * at) & 63]),
            false => '=',
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(quad).collect()
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
