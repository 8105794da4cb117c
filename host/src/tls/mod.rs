//! TLS of the listeners: one set of certificates for TCP and QUIC.
//!
//! It is built once for each listener. All workers share it, session ticket keys included: a client
//! resumes at any worker that it reaches. The module knows no socket. `listen::Edge::new` calls it.

mod certs;

use std::path::PathBuf;
use std::sync::Arc;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::Ticketer;
use rustls::server::NoServerSessionStorage;

use crate::config::{Protocols, Tls};

/// The TLS settings of a listener.
#[derive(Clone)]
pub struct ServerConfigs {
    /// TLS 1.2 and 1.3 over TCP. ALPN offers `h2` and `http/1.1` if the listener serves them.
    pub tcp: Arc<ServerConfig>,
    /// TLS 1.3 inside QUIC. ALPN is `h3`, 0-RTT is off.
    pub quic: Arc<QuicServerConfig>,
}

impl ServerConfigs {
    /// Loads or makes the certificates and builds both configurations from them.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read, is not PEM of the right kind, or does not match its key.
    pub fn new(tls: &Tls, protocols: Protocols) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = Arc::new(certs::Certificates::load(tls, &provider)?);

        let mut tcp = server_config(&provider, rustls::ALL_VERSIONS, &certificates)?;
        tcp.alpn_protocols = [(protocols.h2, "h2"), (protocols.h1, "http/1.1")]
            .into_iter()
            .filter(|(served, _)| *served)
            .map(|(_, name)| name.into())
            .collect();

        let mut quic = server_config(&provider, &[&rustls::version::TLS13], &certificates)?;
        quic.alpn_protocols = vec![b"h3".to_vec()];
        quic.max_early_data_size = 0;
        let quic = QuicServerConfig::try_from(quic)?;

        Ok(Self { tcp: Arc::new(tcp), quic: Arc::new(quic) })
    }
}

impl std::fmt::Debug for ServerConfigs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfigs").finish_non_exhaustive()
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static rustls::SupportedProtocolVersion],
    certificates: &Arc<certs::Certificates>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Config)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificates) as _);
    // Tickets keep the sessions at the clients. A cache here would be a lock that all workers
    // share.
    config.ticketer = Ticketer::new().map_err(TlsError::Config)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

/// The reason why a listener cannot encrypt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificate file cannot be read, or is not PEM.
    #[error("read certificates from {}", path.display())]
    ReadCertificates {
        /// The file.
        path: PathBuf,
        /// The error of the system or the PEM parser.
        source: rustls_pki_types::pem::Error,
    },
    /// The certificate file has no certificate in it.
    #[error("read certificates from {}: no CERTIFICATE section in it", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key file cannot be read, or has no private key in it.
    #[error("read private key from {}", path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// The error of the system or the PEM parser.
        source: rustls_pki_types::pem::Error,
    },
    /// Certificate and key belong to different pairs.
    #[error("the key {} does not match the certificate {}", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The pair was read but cannot be used: the kind of key is unknown, or the certificate does
    /// not parse.
    #[error("use certificate {} with key {}", cert.display(), key.display())]
    Unusable {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The error of the TLS library.
        source: rustls::Error,
    },
    /// A name of the self-signed certificate is neither a DNS name nor an address.
    #[error("make a self-signed certificate for {}", names.join(", "))]
    SelfSigned {
        /// The names.
        names: Vec<String>,
        /// The error of the generator.
        source: rcgen::Error,
    },
    /// No certificate is configured.
    #[error("no certificate is configured")]
    Empty,
    /// The TLS library refused the settings, or the system has no randomness for ticket keys.
    #[error("set up TLS")]
    Config(#[source] rustls::Error),
    /// The cipher suites lack the one that QUIC starts with.
    #[error("set up TLS for QUIC")]
    Quic(#[from] NoInitialCipherSuite),
}

#[cfg(test)]
mod tests;
