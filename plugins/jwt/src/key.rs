//! Keys, each of which is of one algorithm: a token never says which algorithm a key is used with (RFC 8725 §3.1).

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

/// The algorithms of RFC 7518 and RFC 8037 that are spoken here.
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
    /// The algorithm of a token's header; `none` and all others are nothing that a key could be of.
    pub(crate) fn named(name: &str) -> Option<Algorithm> {
        match name {
            "HS256" => Some(Algorithm::Hs256),
            "RS256" => Some(Algorithm::Rs256),
            "ES256" => Some(Algorithm::Es256),
            // The latter by RFC 9864.
            "EdDSA" | "Ed25519" => Some(Algorithm::EdDsa),
            _ => None,
        }
    }
}

impl Key {
    /// The secret of HS256.
    pub(crate) fn secret(id: Option<String>, secret: &[u8]) -> Result<Key, String> {
        if secret.len() < SHORTEST_SECRET {
            return Err(format!(
                "a secret of HS256 has at least {SHORTEST_SECRET} bytes, such as `openssl rand -hex 32` makes"
            ));
        }
        let mac = Hmac::new_from_slice(secret).map_err(|_| "no secret of HS256".to_owned())?;
        Ok(Key { id, algorithm: Algorithm::Hs256, check: Check::Hmac(mac) })
    }

    /// A public key in PEM.
    pub(crate) fn pem(id: Option<String>, pem: &str) -> Result<Key, String> {
        let pem = pem.trim();
        if pem.matches("-----BEGIN").count() != 1 {
            return Err("there must be one PEM block, from -----BEGIN to -----END".to_owned());
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(
                "it is a private key; `openssl pkey -pubout` gives the public one".to_owned()
            );
        }
        if pem.contains("CERTIFICATE-----") {
            return Err(
                "it is a certificate; `openssl x509 -pubkey -noout` gives its key".to_owned()
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
            Err(_) => Err("it is no public key of RSA, P-256 or Ed25519".to_owned()),
        }
    }

    fn jwk(value: &Value) -> Result<Key, String> {
        let jwk = Jwk::deserialize(value).map_err(|error| error.to_string())?;
        if jwk.usage.as_ref().is_some_and(|usage| usage != "sig") {
            return Err("it is not for signatures".to_owned());
        }
        if jwk.key_ops.as_ref().is_some_and(|all| !all.iter().any(|one| one == "verify")) {
            return Err("it is not to verify with".to_owned());
        }
        if value.get("d").is_some() {
            return Err("it is a private key".to_owned());
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
                key.map(|key| Key::p256(id, key)).map_err(|_| "it is no point of P-256".to_owned())
            }
            ("OKP", "Ed25519") => {
                let key = ed25519_dalek::VerifyingKey::from_bytes(&coordinate("x", &jwk.x)?);
                Key::ed25519(id, key.map_err(|_| "it is no point of Ed25519")?)
            }
            (kty, crv) => Err(format!("kty {kty:?} crv {crv:?} is none that is known")),
        }?;
        match jwk.alg {
            Some(alg) if Algorithm::named(&alg) != Some(key.algorithm) => {
                Err(format!("alg {alg:?} is none that is known for it"))
            }
            _ => Ok(key),
        }
    }

    fn rsa(id: Option<String>, key: rsa::PublicKey) -> Result<Key, String> {
        let bits = key.n().bit_width();
        if !(2048..=4096).contains(&bits) {
            return Err(format!("an RSA key has 2048 to 4096 bits, this has {bits}"));
        }
        let check = Check::Rsa(Box::new(rsa::pkcs1v15::VerifyingKey::new(key)));
        Ok(Key { id, algorithm: Algorithm::Rs256, check })
    }

    fn p256(id: Option<String>, key: p256::ecdsa::VerifyingKey) -> Key {
        Key { id, algorithm: Algorithm::Es256, check: Check::P256(Box::new(key)) }
    }

    fn ed25519(id: Option<String>, key: ed25519_dalek::VerifyingKey) -> Result<Key, String> {
        if key.is_weak() {
            return Err("it is a point of low order, for which everybody can sign".to_owned());
        }
        Ok(Key { id, algorithm: Algorithm::EdDsa, check: Check::Ed25519(Box::new(key)) })
    }

    /// Whether it may be the key of a token of this algorithm and name: a key or a token without a name goes with any.
    pub(crate) fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let is_other = self.id.as_deref().zip(id).is_some_and(|(own, wanted)| own != wanted);
        self.algorithm == algorithm && !is_other
    }

    /// Whether the signature of a message was made with it.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.check {
            // In constant time.
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

/// Whose keys a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The configuration's, which may have secrets.
    Own,
    /// Fetched: what everybody can read is no secret.
    Fetched,
}

/// The keys of a JWK or a JWKS, at most [`MOST_KEYS`]. Those that are of no use here are left out (RFC 7517 §5); an error if
/// there are no others.
pub(crate) fn document(text: &str, origin: Origin) -> Result<Vec<Key>, String> {
    let document: Value = serde_json::from_str(text).map_err(|_| "it is no JSON".to_owned())?;
    let values = match document.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        Some(_) => return Err("keys is no list".to_owned()),
        None => std::slice::from_ref(&document),
    };
    let (mut keys, mut why) = (Vec::new(), "it has no keys".to_owned());
    for value in values {
        match Key::jwk(value) {
            Ok(key) if origin == Origin::Fetched && key.algorithm == Algorithm::Hs256 => {
                why = "it has only secrets".to_owned();
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
    if bytes.is_empty() { Err(format!("{name} is missing or no base64url")) } else { Ok(bytes) }
}

fn coordinate(name: &str, text: &str) -> Result<[u8; 32], String> {
    decoded(name, text)?.try_into().map_err(|_| format!("{name} has not 32 bytes"))
}

/// Keys of one document. More than issuers have, and little to look through.
pub(crate) const MOST_KEYS: usize = 32;

/// Bytes of a secret (RFC 7518 §3.2).
const SHORTEST_SECRET: usize = 32;
