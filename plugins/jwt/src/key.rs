//! Keys. Each key has one algorithm: a token never chooses the algorithm for a key (RFC 8725 §3.1).

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use p256::pkcs8::DecodePublicKey as _;
use rsa::BoxedUint;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use serde::Deserialize;
use serde_json::Value;
use sha2::Sha256;

/// A key with its name, if it has one.
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    pub(crate) algorithm: Algorithm,
    check: Check,
}

/// The supported algorithms of RFC 7518 and RFC 8037.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Hs256,
    Rs256,
    Es256,
    EdDsa,
}

enum Check {
    Hmac(Hmac<Sha256>),
    Rsa(Box<rsa::pkcs1v15::VerifyingKey<Sha256>>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// A JSON Web Key (RFC 7517 §4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    #[serde(default)]
    crv: String,
    #[serde(default)]
    x: String,
    #[serde(default)]
    y: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    #[serde(default)]
    k: String,
}

impl Algorithm {
    /// Returns the algorithm of a token's header. `none` and all others have no keys.
    pub(crate) fn named(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            // `Ed25519` is the name of RFC 9864.
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

impl Key {
    /// Makes a key of HS256 from a secret.
    pub(crate) fn secret(id: Option<String>, secret: &[u8]) -> Result<Key, String> {
        if secret.len() < SHORTEST_SECRET {
            return Err(format!(
                "a secret of HS256 must have at least {SHORTEST_SECRET} bytes: `openssl rand -hex 32` makes one"
            ));
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| "not a secret of HS256".to_owned())?;
        Ok(Key { id, algorithm: Algorithm::Hs256, check: Check::Hmac(mac) })
    }

    /// Parses a public key in PEM.
    pub(crate) fn pem(id: Option<String>, pem: &str) -> Result<Key, String> {
        let pem = pem.trim();
        if pem.matches("-----BEGIN").count() != 1 {
            return Err("there must be one PEM block, from -----BEGIN to -----END".to_owned());
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(
                "this is a private key: `openssl pkey -pubout` gives the public key".to_owned()
            );
        }
        if pem.contains("CERTIFICATE-----") {
            return Err(
                "this is a certificate: `openssl x509 -pubkey -noout` gives its key".to_owned()
            );
        }
        let rsa = rsa::PublicKey::from_public_key_pem(pem)
            .or_else(|_| rsa::PublicKey::from_pkcs1_pem(pem).map_err(|_| ()));
        if let Ok(key) = rsa {
            return Key::rsa(id, key);
        }
        if let Ok(key) = p256::ecdsa::VerifyingKey::from_public_key_pem(pem) {
            return Ok(Key::p256(id, key));
        }
        match ed25519_dalek::VerifyingKey::from_public_key_pem(pem) {
            Ok(key) => Key::ed25519(id, key),
            Err(_) => Err("not a public key of RSA, P-256 or Ed25519".to_owned()),
        }
    }

    fn jwk(value: &Value) -> Result<Key, String> {
        let jwk = Jwk::deserialize(value).map_err(|error| error.to_string())?;
        if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err("the key is not for signatures".to_owned());
        }
        if jwk.key_ops.as_ref().is_some_and(|all| !all.iter().any(|one| one == "verify")) {
            return Err("the key is not for verification".to_owned());
        }
        if value.get("d").is_some() {
            return Err("this is a private key".to_owned());
        }
        let id = jwk.kid.filter(|id| !id.is_empty());
        let key = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("oct", _) => Key::secret(id, &decoded("k", &jwk.k)?),
            ("RSA", _) => {
                let [n, e] = [decoded("n", &jwk.n)?, decoded("e", &jwk.e)?];
                let [n, e] = [&n, &e].map(|bytes| BoxedUint::from_be_slice_vartime(bytes));
                let key = rsa::PublicKey::new(n, e).map_err(|error| error.to_string())?;
                Key::rsa(id, key)
            }
            ("EC", "P-256") => {
                // The uncompressed point of SEC 1 §2.3.3.
                let mut point = vec![4];
                point.extend(coordinate("x", &jwk.x)?);
                point.extend(coordinate("y", &jwk.y)?);
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point);
                key.map(|key| Key::p256(id, key)).map_err(|_| "not a point of P-256".to_owned())
            }
            ("OKP", "Ed25519") => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(&coordinate("x", &jwk.x)?);
                Key::ed25519(id, key.map_err(|_| "not a point of Ed25519")?)
            }
            (kty, crv) => Err(format!("unknown kty {kty:?} with crv {crv:?}")),
        }?;
        match jwk.alg {
            Some(alg) if Algorithm::named(&alg) != Some(key.algorithm) => {
                Err(format!("alg {alg:?} does not fit the key"))
            }
            _ => Ok(key),
        }
    }

    fn rsa(id: Option<String>, key: rsa::PublicKey) -> Result<Key, String> {
        let bits = key.n().bit_width();
        if !(2048..=4096).contains(&bits) {
            return Err(format!("an RSA key must have 2048 to 4096 bits, this one has {bits}"));
        }
        let check = Check::Rsa(Box::new(rsa::pkcs1v15::VerifyingKey::new(key)));
        Ok(Key { id, algorithm: Algorithm::Rs256, check })
    }

    fn p256(id: Option<String>, key: p256::ecdsa::VerifyingKey) -> Key {
        Key { id, algorithm: Algorithm::Es256, check: Check::P256(Box::new(key)) }
    }

    fn ed25519(id: Option<String>, key: ed25519_dalek::VerifyingKey) -> Result<Key, String> {
        if key.is_weak() {
            return Err("the key is a point of low order, for which anybody can sign".to_owned());
        }
        Ok(Key { id, algorithm: Algorithm::EdDsa, check: Check::Ed25519(Box::new(key)) })
    }

    /// Whether a token of this algorithm and name can be signed with the key. A key or a token
    /// without a name fits any.
    pub(crate) fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_other = self.id.as_deref().zip(id).is_some_and(|(own, wanted)| own != wanted);
        self.algorithm == algorithm && !is_other
    }

    /// Whether the signature of a message was made with this key.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            // Compares in constant time.
            Check::Hmac(mac) => {
                let mut mac = mac.clone();
                mac.update(message);
                mac.verify_slice(signature).is_ok()
            }
            Check::Rsa(key) => rsa::pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Check::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Check::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {:?})", self.id, self.algorithm)
    }
}

/// The source of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration, which may have secrets.
    Own,
    /// An upstream. A secret that anybody can read is no secret.
    Fetched,
}

/// Parses the keys of a JWK or a JWKS, at most [`MOST_KEYS`]. Unusable keys are skipped (RFC 7517
/// §5). Without a usable key it returns an error.
pub(crate) fn document(text: &str, origin: Origin) -> Result<Vec<Key>, String> {
    let document: Value = serde_json::from_str(text).map_err(|_| "not JSON".to_owned())?;
    let values = match document.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        Some(_) => return Err("keys is not a list".to_owned()),
        None => std::slice::from_ref(&document),
    };
    let (mut keys, mut why) = (Vec::new(), "no keys".to_owned());
    for value in values {
        match Key::jwk(value) {
            Ok(key) if origin == Origin::Fetched && key.algorithm == Algorithm::Hs256 => {
                why = "only secrets".to_owned();
            }
            Ok(key) => keys.push(key),
            Err(reason) => why = reason,
        }
        if keys.len() == MOST_KEYS {
            break;
        }
    }
    if keys.is_empty() { Err(why) } else { Ok(keys) }
}

fn decoded(name: &str, text: &str) -> Result<Vec<u8>, String> {
    let bytes = Base64UrlUnpadded::decode_vec(text).unwrap_or_default();
    if bytes.is_empty() { Err(format!("{name} is missing or is not base64url")) } else { Ok(bytes) }
}

fn coordinate(name: &str, text: &str) -> Result<[u8; 32], String> {
    decoded(name, text)?.try_into().map_err(|_| format!("{name} does not have 32 bytes"))
}

/// The most keys of one document. Issuers have fewer, and a search through this many is quick.
pub(crate) const MOST_KEYS: usize = 32;

/// The shortest secret, in bytes (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;
