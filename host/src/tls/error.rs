//! The reasons why a listener or an upstream cannot encrypt.

use std::path::{Path, PathBuf};

use quinn::crypto::rustls::NoInitialCipherSuite;

/// The reason why a listener or an upstream cannot encrypt. Positions in a file count from 1.
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
    /// A certificate of the chain does not parse.
    #[error("read certificate {position} in {path}")]
    Unreadable {
        /// The file, or the word for a certificate without one.
        path: String,
        /// The position of the certificate.
        position: usize,
        /// The error of the parser.
        source: x509_cert::der::Error,
    },
    /// A certificate is not the issuer of the one before it: the chain is in a wrong order, lacks a
    /// certificate, or has one too many.
    #[error(
        "certificate {position} in {path} is of \"{subject}\", but the one before it is issued by \
         \"{issuer}\""
    )]
    Order {
        /// The file.
        path: String,
        /// The position of the certificate.
        position: usize,
        /// The certificate's own name.
        subject: String,
        /// The name that the certificate before it gives for its issuer.
        issuer: String,
    },
    /// A self-signed certificate ends a chain, and another certificate follows it.
    #[error("certificate {position} in {path} follows a self-signed one, where the chain ends")]
    Extra {
        /// The file.
        path: String,
        /// The position of the certificate.
        position: usize,
    },
    /// The key of the next certificate did not sign this one.
    #[error(
        "the signature of certificate {position} in {path} is not by the key of the next certificate"
    )]
    Signature {
        /// The file.
        path: String,
        /// The position of the certificate.
        position: usize,
    },
    /// A certificate has expired, or is not valid yet.
    #[error(transparent)]
    Dates(#[from] DateFault),
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
    /// A certificate cannot serve as an authority.
    #[error("use the authorities in {}", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// The error of the TLS library.
        source: rustls::Error,
    },
    /// The system has no authorities, and no others are configured.
    #[error("the system has no certificate authorities; set ca")]
    NoAuthorities,
    /// The verification of certificates cannot be set up.
    #[error("set up the verification of certificates")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// The TLS library refused the settings.
    #[error("set up TLS")]
    Config(#[source] rustls::Error),
    /// The cipher suites lack the one that QUIC starts with.
    #[error("set up TLS for QUIC")]
    Quic(#[from] NoInitialCipherSuite),
    /// The keys of session tickets cannot be made.
    #[error("set up session tickets")]
    Tickets(#[from] super::TicketsError),
}

/// A certificate that clients refuse now because of its dates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DateFault {
    /// The last valid moment is over.
    #[error("certificate {position} in {path} has expired: it is valid until {date}")]
    Expired {
        /// The file.
        path: String,
        /// The position of the certificate.
        position: usize,
        /// The last valid moment (RFC 3339).
        date: String,
    },
    /// The first valid moment is in the future.
    #[error("certificate {position} in {path} is not valid yet: it is valid from {date}")]
    Early {
        /// The file.
        path: String,
        /// The position of the certificate.
        position: usize,
        /// The first valid moment (RFC 3339).
        date: String,
    },
}

/// Returns a file's name as messages, the admin API and metrics show it.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}
