//! TLS toward origins: the authorities, the own certificate, and the verification.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::TlsError;
use crate::config::UpstreamTls;
use crate::files;

/// Returns the files that the settings are read from.
pub fn files_of(tls: &UpstreamTls) -> Vec<PathBuf> {
    let own = tls.certificate.iter().flat_map(|own| [own.cert.clone(), own.key.clone()]);
    tls.ca.iter().cloned().chain(own).collect()
}

/// Reads the files and builds the settings. `alpn` are the protocols to offer, in this order.
///
/// # Errors
/// Names the file that cannot be used. Without a `ca`, the system must have authorities.
pub fn config(tls: &UpstreamTls, alpn: &[&str]) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = if tls.verify {
        let roots = Arc::new(roots(tls)?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
        verifier.build().map_err(TlsError::Verifier)? as Arc<dyn ServerCertVerifier>
    } else {
        Arc::new(AnyCertificate(Arc::clone(&provider)))
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Config)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &tls.certificate {
        None => builder.with_no_client_auth(),
        Some(pair) => {
            let chain = files::certificates(&pair.cert)
                .map_err(|source| TlsError::ReadCertificates { path: pair.cert.clone(), source })?;
            let key = files::private_key(&pair.key)
                .map_err(|source| TlsError::ReadKey { path: pair.key.clone(), source })?;
            builder.with_client_auth_cert(chain, key).map_err(|source| TlsError::Unusable {
                cert: pair.cert.clone(),
                key: pair.key.clone(),
                source,
            })?
        }
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn roots(tls: &UpstreamTls) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err(TlsError::NoAuthorities);
            }
        }
        Some(path) => {
            let found = files::certificates(path)
                .map_err(|source| TlsError::ReadCertificates { path: path.clone(), source })?;
            for certificate in found {
                roots
                    .add(certificate)
                    .map_err(|source| TlsError::Authority { path: path.clone(), source })?;
            }
            if roots.is_empty() {
                return Err(TlsError::NoCertificate { path: path.clone() });
            }
        }
    }
    Ok(roots)
}

/// Accepts every certificate (`verify: false`). The signature of the handshake must still be by its
/// key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
