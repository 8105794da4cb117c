//! Certificates: read from PEM files or made in memory, selected by the client's server name.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

use super::TlsError;
use crate::config::{Certificate, Tls};
use crate::files;

/// The certificates of a listener by name.
#[derive(Debug)]
pub(super) struct Certificates {
    /// The certificate for clients that send no name, or a name that no certificate has.
    default: Arc<CertifiedKey>,
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// `*.example.com` is under `example.com`.
    wildcard: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads or makes the certificates of `tls`.
    pub(super) fn load(tls: &Tls, provider: &CryptoProvider) -> Result<Self, TlsError> {
        match tls {
            Tls::SelfSigned { names } => self_signed(names, provider).map(Self::single),
            Tls::Certificates(pairs) => {
                let mut keys = pairs.iter().map(|pair| read(pair, provider));
                let mut certificates = Self::single(keys.next().ok_or(TlsError::Empty)??);
                for key in keys {
                    certificates.index(&Arc::new(key?));
                }
                Ok(certificates)
            }
        }
    }

    fn single(key: CertifiedKey) -> Self {
        let default = Arc::new(key);
        let mut certificates =
            Self { default: Arc::clone(&default), exact: HashMap::new(), wildcard: HashMap::new() };
        certificates.index(&default);
        certificates
    }

    /// Adds a certificate under each of its DNS names. If two certificates have a name, the first
    /// one keeps it.
    fn index(&mut self, key: &Arc<CertifiedKey>) {
        let Some(leaf) = key.cert.first() else { return };
        // A certificate that does not parse has no name to select it by. It can only be the
        // default.
        let Ok(parsed) = webpki::EndEntityCert::try_from(leaf) else { return };
        for name in parsed.valid_dns_names() {
            let name = name.to_ascii_lowercase();
            let (names, name) = match name.strip_prefix("*.") {
                Some(parent) => (&mut self.wildcard, parent.to_owned()),
                None => (&mut self.exact, name),
            };
            names.entry(name).or_insert_with(|| Arc::clone(key));
        }
    }

    /// Returns the certificate for a server name. A wildcard stands for one label (RFC 6125
    /// §6.4.3).
    fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let parent = || name.split_once('.').and_then(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(&name).or_else(parent).unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name())))
    }
}

fn read(pair: &Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = files::certificates(&pair.cert)
        .map_err(|source| TlsError::ReadCertificates { path: pair.cert.clone(), source })?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: pair.cert.clone() });
    }
    let key = files::private_key(&pair.key)
        .map_err(|source| TlsError::ReadKey { path: pair.key.clone(), source })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|source| {
        let (cert, key) = (pair.cert.clone(), pair.key.clone());
        match source {
            rustls::Error::InconsistentKeys(_) => TlsError::Mismatch { cert, key },
            source => TlsError::Unusable { cert, key, source },
        }
    })
}

fn self_signed(names: &[String], provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|source| TlsError::SelfSigned { names: names.to_vec(), source })?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    CertifiedKey::from_der(vec![made.cert.der().clone()], key, provider).map_err(TlsError::Config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> CertifiedKey {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self_signed(&names, &rustls::crypto::ring::default_provider()).unwrap()
    }

    #[test]
    fn the_server_name_chooses_and_the_first_is_the_default() {
        let mut certificates = Certificates::single(made(&["a.test"]));
        let (b, wild) = (Arc::new(made(&["b.test", "a.test"])), Arc::new(made(&["*.wild.test"])));
        certificates.index(&b);
        certificates.index(&wild);

        let chosen = |name| certificates.choose(name);
        assert!(Arc::ptr_eq(chosen(None), &certificates.default));
        assert!(Arc::ptr_eq(chosen(Some("a.test")), &certificates.default));
        assert!(Arc::ptr_eq(chosen(Some("B.Test")), &b));
        assert!(Arc::ptr_eq(chosen(Some("x.wild.test")), &wild));
        assert!(Arc::ptr_eq(chosen(Some("x.y.wild.test")), &certificates.default));
        assert!(Arc::ptr_eq(chosen(Some("wild.test")), &certificates.default));
    }
}
