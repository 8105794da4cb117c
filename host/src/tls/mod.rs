//! TLS of the listeners: one set of certificates for TCP and QUIC. [`client`] has the TLS toward
//! origins.
//!
//! It is built once for each listener, and again at each reload of its certificates. All workers
//! share it. The keys of session tickets are apart from it ([`Tickets`]), so a client resumes at
//! any worker that it reaches, also after a reload. The module knows no socket. `listen::Edge::new`
//! calls it.

mod certs;
mod chain;
mod choice;
pub mod client;
mod error;
mod status;
#[cfg(test)]
mod testing;
mod tickets;
mod x509;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;

use self::certs::Loaded;
use self::choice::Certificates;
pub use self::error::{DateFault, TlsError};
pub use self::status::CertificateStatus;
pub use self::tickets::{Tickets, TicketsError};
use crate::config::{Protocols, Tls};

/// The TLS settings of a listener.
#[derive(Clone)]
pub struct ServerConfigs {
    /// TLS 1.2 and 1.3 over TCP. ALPN offers `h2` and `http/1.1` if the listener serves them.
    pub tcp: Arc<ServerConfig>,
    /// TLS 1.3 inside QUIC. ALPN is `h3`, 0-RTT is off.
    pub quic: Arc<QuicServerConfig>,
    certificates: Arc<[CertificateStatus]>,
}

/// The treatment of certificates that have expired or are not valid yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dates {
    /// They are logged and used. At the start of a process, a site with an old certificate is
    /// better than no site.
    Warn,
    /// They are an error. At a reload, the certificates in use are better.
    Refuse,
}

/// Returns the files that the settings are read from, each once. A self-signed certificate has
/// none.
pub fn files(tls: &Tls) -> Vec<PathBuf> {
    let Tls::Certificates(pairs) = tls else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        pairs.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]).collect();
    files.sort_unstable();
    files.dedup();
    files
}

impl ServerConfigs {
    /// Loads or makes the certificates and builds both configurations from them.
    ///
    /// # Errors
    ///
    /// Names the file that cannot be read, is not PEM of the right kind, does not match its key, is
    /// no chain, or has a certificate whose dates are refused.
    pub fn new(
        tls: &Tls,
        protocols: Protocols,
        tickets: &Arc<Tickets>,
        dates: Dates,
    ) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let Loaded { certificates, statuses, faults } =
            certs::load(tls, &provider, SystemTime::now())?;
        for fault in faults {
            match dates {
                Dates::Warn => tracing::warn!("{fault}"),
                Dates::Refuse => return Err(fault.into()),
            }
        }
        let certificates = Arc::new(certificates);

        let mut tcp = server_config(&provider, rustls::ALL_VERSIONS, &certificates, tickets)?;
        tcp.alpn_protocols = [(protocols.h2, "h2"), (protocols.h1, "http/1.1")]
            .into_iter()
            .filter(|(served, _)| *served)
            .map(|(_, name)| name.into())
            .collect();

        let mut quic =
            server_config(&provider, &[&rustls::version::TLS13], &certificates, tickets)?;
        quic.alpn_protocols = vec![b"h3".to_vec()];
        quic.max_early_data_size = 0;
        let quic = QuicServerConfig::try_from(quic)?;

        Ok(Self { tcp: Arc::new(tcp), quic: Arc::new(quic), certificates: statuses.into() })
    }

    /// Returns the certificates in the order of the configuration.
    pub fn certificates(&self) -> &[CertificateStatus] {
        &self.certificates
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
    certificates: &Arc<Certificates>,
    tickets: &Arc<Tickets>,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)
        .map_err(TlsError::Config)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::clone(certificates) as _);
    // Tickets keep the sessions at the clients. A cache here would be a lock that all workers
    // share.
    config.ticketer = Arc::clone(tickets) as _;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(config)
}

#[cfg(test)]
mod tests;
