//! Certificates and keys for tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ED25519,
};

use crate::config::Certificate;

/// An authority that issues certificates.
pub(super) type Authority = CertifiedIssuer<'static, KeyPair>;

/// Makes an authority with a new key. It is a root unless another one issues it.
pub(super) fn authority(name: &str, issuer: Option<&Authority>) -> Authority {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    match issuer {
        Some(issuer) => CertifiedIssuer::signed_by(params, key, issuer).unwrap(),
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
    }
}

/// Makes a leaf with the PEM of its key. `change` sets what the test is about.
pub(super) fn leaf(
    names: &[&str],
    key: &KeyPair,
    issuer: Option<&Authority>,
    change: impl FnOnce(&mut CertificateParams),
) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    change(&mut params);
    match issuer {
        Some(issuer) => params.signed_by(key, issuer).unwrap().pem(),
        None => params.self_signed(key).unwrap().pem(),
    }
}

/// Writes a chain and a key, and returns their paths.
pub(super) fn write(folder: &Path, file: &str, chain: &[&str], key: &KeyPair) -> Certificate {
    let (cert, secret) = (folder.join(format!("{file}.crt")), folder.join(format!("{file}.key")));
    fs::write(&cert, chain.concat()).unwrap();
    fs::write(&secret, key.serialize_pem()).unwrap();
    Certificate { cert, key: secret }
}

pub(super) fn ed25519() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

/// Makes an RSA key. Ring makes none, so openssl does.
pub(super) fn rsa() -> KeyPair {
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]);
    let made = openssl.output().unwrap();
    assert!(made.status.success(), "openssl genpkey");
    KeyPair::from_pem(str::from_utf8(&made.stdout).unwrap()).unwrap()
}
