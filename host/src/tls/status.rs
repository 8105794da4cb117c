//! Certificates as the admin API and metrics show them.

use serde::Serialize;

use super::x509::{Parsed, unix};
use crate::oci::Digest;

/// A certificate that a listener uses, without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateStatus {
    /// The file of the chain. A self-signed certificate has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<String>,
    /// The file of the private key. A self-signed certificate has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// DNS names and IP addresses, in lower case.
    pub names: Vec<String>,
    /// The name of the holder (RFC 4514).
    pub subject: String,
    /// The name of the issuer (RFC 4514).
    pub issuer: String,
    /// The kind and the size of the key: `ecdsa-p256`, `rsa-2048`, `ed25519`.
    pub key_type: String,
    /// The first valid second, Unix time.
    pub not_before: i64,
    /// The last valid second, Unix time.
    pub not_after: i64,
    /// The serial number in hexadecimal digits.
    pub serial: String,
    /// The SHA-256 of the certificate in hexadecimal digits.
    pub sha256: String,
}

impl CertificateStatus {
    /// Describes a leaf. `files` are those of the chain and the key.
    pub(super) fn new(files: Option<(String, String)>, leaf: &Parsed<'_>, bytes: &[u8]) -> Self {
        let (cert, key) = files.unzip();
        Self {
            cert,
            key,
            names: leaf.names().to_vec(),
            subject: leaf.subject().to_string(),
            issuer: leaf.issuer().to_string(),
            key_type: leaf.key_type(),
            not_before: unix(leaf.not_before()),
            not_after: unix(leaf.not_after()),
            serial: leaf.serial(),
            sha256: Digest::of(bytes).hex(),
        }
    }

    /// Returns the value of the `certificate` label: the file of the chain, or `self_signed`.
    pub fn label(&self) -> &str {
        self.cert.as_deref().unwrap_or(SELF_SIGNED)
    }
}

/// The name of a certificate without a file.
pub(super) const SELF_SIGNED: &str = "self_signed";
