//! The choice of a certificate by the client's server name and signature schemes.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{SignatureAlgorithm, SignatureScheme};

/// The certificates of a listener by name.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    /// The certificates for clients that send no name, or a name that no certificate has.
    default: Siblings,
    exact: HashMap<String, Siblings>,
    /// `*.example.com` is under `example.com`.
    wildcard: HashMap<String, Siblings>,
}

/// The certificates of one name, the preferred one first. They differ in the kind of their keys.
#[derive(Debug, Default)]
struct Siblings(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Indexes pairs of a key and the names of its certificate. The first one is the default, with
    /// the others of exactly its names.
    pub(super) fn new(pairs: &[(Arc<CertifiedKey>, &[String])]) -> Self {
        let mut certificates = Self::default();
        let sorted = |names: &[String]| {
            let mut names = names.to_vec();
            names.sort_unstable();
            names.dedup();
            names
        };
        let first = pairs.first().map(|(_, names)| sorted(names)).unwrap_or_default();
        for (at, (key, names)) in pairs.iter().enumerate() {
            let names = sorted(names);
            // Certificates without names may be of different hosts.
            if at == 0 || (!names.is_empty() && names == first) {
                certificates.default.add(key);
            }
            for name in names {
                certificates.index(name, key);
            }
        }
        certificates
    }

    fn index(&mut self, name: String, key: &Arc<CertifiedKey>) {
        let (names, name) = match name.strip_prefix("*.") {
            Some(parent) => (&mut self.wildcard, parent.to_owned()),
            None => (&mut self.exact, name),
        };
        names.entry(name).or_default().add(key);
    }

    /// Returns the certificate for a server name. A wildcard stands for one label (RFC 9525 §6.3).
    fn choose(
        &self,
        name: Option<&str>,
        schemes: &[SignatureScheme],
    ) -> Option<&Arc<CertifiedKey>> {
        let name = name.map(str::to_ascii_lowercase);
        let name = name.as_deref();
        let parent = name.and_then(|name| name.split_once('.')).map(|(_, parent)| parent);
        let exact = name.and_then(|name| self.exact.get(name));
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        let mut named = [exact, wildcard].into_iter().flatten().peekable();
        // A client that can use no certificate of its name gets one of them all the same, and TLS
        // ends the handshake. The default certificate would hide the cause behind a wrong name.
        let Some(best) = named.peek() else { return self.default.choose(schemes) };
        let last = best.0.first();
        named.find_map(|siblings| siblings.usable(schemes)).or(last)
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).map(Arc::clone)
    }
}

impl Siblings {
    /// Adds a certificate after those that are preferred: ECDSA and Ed25519 cost the handshake less
    /// than RSA. Otherwise the order is that of the configuration.
    fn add(&mut self, key: &Arc<CertifiedKey>) {
        let is_rsa = |key: &CertifiedKey| key.key.algorithm() == SignatureAlgorithm::RSA;
        let at = self.0.partition_point(|other| is_rsa(other) <= is_rsa(key));
        self.0.insert(at, Arc::clone(key));
    }

    fn usable(&self, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        self.0.iter().find(|key| key.key.choose_scheme(schemes).is_some())
    }

    fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        self.usable(schemes).or(self.0.first())
    }
}

#[cfg(test)]
mod tests {
    use rustls::sign::CertifiedKey;

    use super::*;
    use crate::tls::testing::{ed25519, rsa};

    const ALL: &[SignatureScheme] = &[
        SignatureScheme::RSA_PSS_SHA256,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ED25519,
    ];
    const RSA_ONLY: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

    fn certified(key: &rcgen::KeyPair, names: &[&str]) -> (Arc<CertifiedKey>, Vec<String>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let params = rcgen::CertificateParams::new(names.clone()).unwrap();
        let chain = vec![params.self_signed(key).unwrap().der().clone()];
        let der = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = rustls::crypto::ring::default_provider();
        (Arc::new(CertifiedKey::from_der(chain, der, &provider).unwrap()), names)
    }

    fn ecdsa(names: &[&str]) -> (Arc<CertifiedKey>, Vec<String>) {
        certified(&rcgen::KeyPair::generate().unwrap(), names)
    }

    fn certificates(pairs: &[&(Arc<CertifiedKey>, Vec<String>)]) -> Certificates {
        let pairs: Vec<(Arc<CertifiedKey>, &[String])> =
            pairs.iter().map(|(key, names)| (Arc::clone(key), names.as_slice())).collect();
        Certificates::new(&pairs)
    }

    #[test]
    fn the_server_name_chooses_and_the_first_is_the_default() {
        let a = ecdsa(&["a.test"]);
        let (b, wild) = (ecdsa(&["b.test", "a.test"]), ecdsa(&["*.wild.test"]));
        let certificates = certificates(&[&a, &b, &wild]);

        let is = |name, one: &(Arc<CertifiedKey>, _)| {
            Arc::ptr_eq(certificates.choose(name, ALL).unwrap(), &one.0)
        };
        assert!(is(None, &a));
        assert!(is(Some("a.test"), &a));
        assert!(is(Some("B.Test"), &b));
        assert!(is(Some("x.wild.test"), &wild));
        assert!(is(Some("x.y.wild.test"), &a));
        assert!(is(Some("wild.test"), &a));
    }

    #[test]
    fn the_schemes_of_the_client_choose_among_certificates_of_one_name() {
        let rsa = rsa();
        let (old, new) = (certified(&rsa, &["a.test"]), ecdsa(&["a.test"]));
        for pairs in [[&old, &new], [&new, &old]] {
            let certificates = certificates(&pairs);
            for name in [None, Some("a.test"), Some("unknown.test")] {
                let is = |schemes, one: &(Arc<CertifiedKey>, _)| {
                    Arc::ptr_eq(certificates.choose(name, schemes).unwrap(), &one.0)
                };
                assert!(is(ALL, &new), "{name:?}");
                assert!(is(RSA_ONLY, &old), "{name:?}");
                assert!(is(&[SignatureScheme::ED25519], &new), "{name:?}: TLS refuses it");
            }
        }
    }

    #[test]
    fn a_wildcard_helps_a_client_that_cannot_use_the_exact_name() {
        let exact = certified(&ed25519(), &["x.wild.test"]);
        let wild = certified(&rsa(), &["*.wild.test"]);
        let certificates = certificates(&[&exact, &wild]);
        let chosen = |schemes| certificates.choose(Some("x.wild.test"), schemes).unwrap();
        assert!(Arc::ptr_eq(chosen(ALL), &exact.0));
        assert!(Arc::ptr_eq(chosen(RSA_ONLY), &wild.0));
    }

    #[test]
    fn a_certificate_with_other_names_is_no_sibling_of_the_default() {
        let first = ecdsa(&["a.test"]);
        let other = certified(&rsa(), &["a.test", "b.test"]);
        let certificates = certificates(&[&first, &other]);
        let chosen = |name| certificates.choose(name, RSA_ONLY).unwrap();
        assert!(Arc::ptr_eq(chosen(None), &first.0));
        assert!(Arc::ptr_eq(chosen(Some("a.test")), &other.0));
    }
}
