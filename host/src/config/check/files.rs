//! The files that a configuration names: components, certificates and keys.

use std::fs;
use std::io;
use std::path::Path;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem;
use weir_runtime::with_causes;

use super::Check;
use crate::config::document::below;
use crate::config::{Certificate, Plugin, Source, file};
use crate::files;
use crate::oci::Digest;

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The chain cannot be read.
    #[error("cannot read certificates from \"{path}\"")]
    Chain {
        /// The file as it was written.
        path: String,
        /// The error of the reader.
        source: pem::Error,
    },
    /// The key cannot be read.
    #[error("cannot read a private key from \"{path}\"")]
    Key {
        /// The file as it was written.
        path: String,
        /// The error of the reader.
        source: pem::Error,
    },
    /// The chain's file has no certificate.
    #[error("no certificate in \"{0}\"")]
    Empty(String),
    /// The key is neither RSA, ECDSA (P-256, P-384) nor Ed25519, or it is damaged.
    #[error("cannot use the private key in \"{path}\"")]
    Unsupported {
        /// The file as it was written.
        path: String,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// The leaf is damaged.
    #[error("cannot use the certificate in \"{path}\"")]
    Invalid {
        /// The file as it was written.
        path: String,
        /// The error of rustls.
        source: rustls::Error,
    },
    /// Certificate and key are of different pairs.
    #[error("the certificate in \"{cert}\" does not match the key in \"{key}\"")]
    Mismatch {
        /// The chain's file as it was written.
        cert: String,
        /// The key's file as it was written.
        key: String,
    },
}

/// Checks that the files are a certificate chain and the key of its leaf.
///
/// # Errors
/// A file cannot be read, or the files are not of one pair.
pub fn certificate(pair: &Certificate) -> Result<(), CertificateError> {
    let cert = || pair.cert.display().to_string();
    let key = || pair.key.display().to_string();
    let chain = files::certificates(&pair.cert)
        .map_err(|source| CertificateError::Chain { path: cert(), source })?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(cert()));
    }
    let private = files::private_key(&pair.key)
        .map_err(|source| CertificateError::Key { path: key(), source })?;
    let private = any_supported_type(&private)
        .map_err(|source| CertificateError::Unsupported { path: key(), source })?;
    match CertifiedKey::new(chain, private).keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(CertificateError::Mismatch { cert: cert(), key: key() })
        }
        Err(source) => Err(CertificateError::Invalid { path: cert(), source }),
    }
}

impl Check<'_> {
    pub(super) fn certificate(&mut self, path: &str, files: file::Certificate) -> Certificate {
        let files =
            Certificate { cert: self.base.join(files.cert), key: self.base.join(files.key) };
        if let Err(error) = certificate(&files) {
            let part = match error {
                CertificateError::Key { .. } | CertificateError::Unsupported { .. } => "key",
                _ => "cert",
            };
            let path = below(path, part);
            self.problem(&path, format!("{path}: {}", with_causes(&error)));
        }
        files
    }

    pub(super) fn plugin(&mut self, path: &str, plugin: file::Plugin) -> Plugin {
        let source = match plugin.source.0 {
            Source::File(file) => Source::File(self.base.join(file)),
            other @ (Source::Builtin(_) | Source::Oci(_)) => other,
        };
        let sha256 = plugin.sha256.map(|digest| digest.0);
        match &source {
            Source::File(file) => self.component(path, file, sha256),
            Source::Oci(reference) if reference.digest.is_none() => self.tag(path, reference),
            Source::Oci(_) | Source::Builtin(_) => {}
        }
        Plugin {
            name: plugin.name.0,
            watch: plugin.watch && sha256.is_none() && matches!(source, Source::File(_)),
            source,
            sha256,
            config: plugin.config,
            limits: plugin.limits,
            on_failure: plugin.on_failure,
            reuse: plugin.reuse,
            // Resolved once the upstreams are known.
            upstreams: Vec::new(),
            spaces: plugin.allow.state.into_iter().map(|name| name.0).collect(),
            base: self.base.to_owned(),
            canary: plugin.canary,
        }
    }

    fn component(&mut self, path: &str, file: &Path, sha256: Option<Digest>) {
        let shown = file.display();
        let bytes = match read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                let path = below(path, "source");
                return self.problem(&path, format!("{path}: cannot read \"{shown}\": {error}"));
            }
        };
        let actual = Digest::of(&bytes);
        if sha256.is_some_and(|expected| expected != actual) {
            let path = below(path, "sha256");
            let message = format!("{path}: \"{shown}\" has the SHA-256 {}", actual.hex());
            self.problem(&path, message);
        }
    }
}

/// Reads a regular file only. A device or a pipe could be read for ever.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    if fs::metadata(file)?.is_file() { fs::read(file) } else { Err(io::Error::other("not a file")) }
}
