//! Signatures of packages, as cosign stores them.
//!
//! A payload names the digest of a package's manifest and the package's name. A signature is made
//! over the payload with a key of the publisher. Only keys that the configuration names are
//! accepted. Certificates and transparency logs are not checked.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Digest, Reference};

/// The signatures that are accepted.
#[derive(Debug, Clone)]
pub struct Policy {
    /// The keys; at least one. A signature by any of them is enough.
    pub keys: Vec<PublicKey>,
    /// Whether a package without a signature is refused.
    pub required: bool,
}

/// A key that verifies: Ed25519, or ECDSA on P-256 with SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    bytes: Vec<u8>,
}

/// A key that signs: Ed25519, or ECDSA on P-256 with SHA-256.
pub struct PrivateKey(Pair);

/// A payload and a signature over it, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Signed {
    /// The payload in base64.
    payload: String,
    /// The signature in base64.
    signature: String,
}

/// The reason why a package's signatures are not enough.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The package has no signature.
    #[error("it has no signature, and the configuration of {registry} requires one")]
    Missing {
        /// The host.
        registry: String,
    },
    /// No signature is by an accepted key.
    #[error(
        "none of its signatures ({count}) is of a key that the configuration of {registry} names"
    )]
    Unknown {
        /// The host.
        registry: String,
        /// The number of signatures.
        count: usize,
    },
    /// The key is right, but it signed another object.
    #[error("its signature is for something else: {0}")]
    Other(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ed25519,
    P256,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair, SystemRandom),
}

impl PublicKey {
    /// Reads a key in PEM (SubjectPublicKeyInfo, `BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// The fault of the text.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes())
            .map_err(|error| format!("no public key in PEM (\"BEGIN PUBLIC KEY\"): {error}"))?;
        for (kind, prefix, length) in
            [(Kind::Ed25519, &SPKI_ED25519[..], 32), (Kind::P256, &SPKI_P256[..], 65)]
        {
            let key = der.strip_prefix(prefix).filter(|key| key.len() == length);
            if let Some(key) = key {
                return Ok(Self { kind, bytes: key.to_vec() });
            }
        }
        Err("the public key is neither Ed25519 nor ECDSA P-256".to_owned())
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match self.kind {
            Kind::Ed25519 => &ED25519,
            Kind::P256 => &ECDSA_P256_SHA256_ASN1,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

impl PrivateKey {
    /// Reads a key in PEM (PKCS#8, `BEGIN PRIVATE KEY`), not encrypted.
    ///
    /// # Errors
    /// The fault of the text.
    pub fn from_pem(text: &str) -> Result<Self, String> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|error| format!("no private key in PEM (\"BEGIN PRIVATE KEY\"): {error}"))?;
        let der = der.secret_pkcs8_der();
        // The form of Ed25519 keys that OpenSSL writes does not contain the public key.
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Ok(Self(Pair::Ed25519(pair)));
        }
        let random = SystemRandom::new();
        match EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der, &random) {
            Ok(pair) => Ok(Self(Pair::P256(pair, random))),
            Err(_) => Err("the private key is neither Ed25519 nor ECDSA P-256".to_owned()),
        }
    }

    /// Signs a package's manifest. Returns `None` if the system has no randomness.
    pub(super) fn sign(&self, reference: &Reference, digest: Digest) -> Option<Signed> {
        let payload = payload(&reference.name(), digest);
        let signature = match &self.0 {
            Pair::Ed25519(pair) => pair.sign(&payload).as_ref().to_vec(),
            Pair::P256(pair, random) => pair.sign(random, &payload).ok()?.as_ref().to_vec(),
        };
        Some(Signed::new(&payload, BASE64_STANDARD.encode(signature)))
    }
}

impl Signed {
    /// Joins a payload and a signature in base64.
    pub(super) fn new(payload: &[u8], signature: String) -> Self {
        Self { payload: BASE64_STANDARD.encode(payload), signature }
    }

    /// Returns the payload, or `None` if it is not base64.
    pub(super) fn payload(&self) -> Option<Vec<u8>> {
        BASE64_STANDARD.decode(&self.payload).ok()
    }

    /// Returns the signature in base64.
    pub(super) fn signature(&self) -> &str {
        &self.signature
    }

    fn is_by(&self, keys: &[PublicKey]) -> bool {
        let signature = BASE64_STANDARD.decode(&self.signature);
        let (Some(payload), Ok(signature)) = (self.payload(), signature) else { return false };
        keys.iter().any(|key| key.verifies(&payload, &signature))
    }
}

impl Policy {
    /// Checks that one of the signatures is by one of the keys, for this manifest of this package.
    pub(super) fn check(
        &self,
        signed: &[Signed],
        reference: &Reference,
        digest: Digest,
    ) -> Result<(), SignatureError> {
        let registry = || reference.registry.clone();
        if signed.is_empty() {
            return Err(SignatureError::Missing { registry: registry() });
        }
        let count = signed.len();
        let mut error = SignatureError::Unknown { registry: registry(), count };
        for signed in signed.iter().filter(|signed| signed.is_by(&self.keys)) {
            match claims(&signed.payload().unwrap_or_default(), reference, digest) {
                Ok(()) => return Ok(()),
                Err(other) => error = SignatureError::Other(other),
            }
        }
        Err(error)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:?}, {})", self.kind, Digest::of(&self.bytes))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

/// Returns the tag with the signatures of a manifest. It is in the package's own repository.
pub(super) fn tag(digest: Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// Returns the payload to sign: "simple signing", a format of the tools for containers.
fn payload(name: &str, digest: Digest) -> Vec<u8> {
    let payload = json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest.to_string() },
            "type": TYPE,
        },
        "optional": null,
    });
    payload.to_string().into_bytes()
}

/// Checks that a payload is about this manifest of this package.
fn claims(payload: &[u8], reference: &Reference, digest: Digest) -> Result<(), String> {
    let value: serde_json::Value =
        serde_json::from_slice(payload).map_err(|error| format!("not JSON: {error}"))?;
    let text = |path: &str| {
        let text = value.pointer(path).and_then(serde_json::Value::as_str);
        text.ok_or_else(|| format!("{path} is missing"))
    };
    let kind = text("/critical/type")?;
    if kind != TYPE {
        return Err(format!("its type is {kind:?}"));
    }
    let signed = text("/critical/image/docker-manifest-digest")?;
    if signed != digest.to_string() {
        return Err(format!("the manifest {signed:?}"));
    }
    let identity = text("/critical/identity/docker-reference")?;
    let identity = identity
        .strip_prefix("index.")
        .filter(|rest| rest.starts_with("docker.io/"))
        .unwrap_or(identity);
    // Some tools write the tag as well.
    let rest = identity.strip_prefix(&reference.name());
    if rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@'])) {
        return Ok(());
    }
    Err(format!("the package {identity:?}"))
}

const TYPE: &str = "cosign container image signature";

/// The bytes before the 32 bytes of a key (RFC 8410 §4).
const SPKI_ED25519: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The bytes before the 65 bytes of an uncompressed point (RFC 5480 §2).
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

#[cfg(test)]
mod tests;
