//! The facts of a certificate that rustls does not tell: dates, names, kind of key, and the issuer.

use std::net::IpAddr;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm};
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{self, Decode as _, Encode as _, Header, Reader as _, SliceReader};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Time;

/// The algorithms of a provider that verify signatures.
pub(super) type Algorithms = [&'static dyn SignatureVerificationAlgorithm];

/// A certificate that has been parsed.
pub(super) struct Parsed<'a> {
    certificate: Certificate,
    /// The bytes that the signature is over. They are kept as they came, because a second encoding
    /// may differ.
    signed: &'a [u8],
    names: Vec<String>,
}

/// The result of verifying the signature of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The key made the signature.
    Good,
    /// The key did not make the signature.
    Bad,
    /// The provider does not know the algorithm. A client may know it.
    Unknown,
}

impl<'a> Parsed<'a> {
    pub(super) fn new(bytes: &'a CertificateDer<'_>) -> der::Result<Self> {
        let certificate = Certificate::from_der(bytes)?;
        let names = names(&certificate)?;
        let mut reader = SliceReader::new(bytes)?;
        reader.decode::<Header>()?;
        Ok(Self { certificate, signed: reader.tlv_bytes()?, names })
    }

    /// Returns the DNS names and addresses in lower case. Clients ignore the common name (RFC 9525
    /// §2), so it is not among them.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn subject(&self) -> &Name {
        self.certificate.tbs_certificate().subject()
    }

    pub(super) fn issuer(&self) -> &Name {
        self.certificate.tbs_certificate().issuer()
    }

    pub(super) fn not_before(&self) -> Time {
        self.certificate.tbs_certificate().validity().not_before
    }

    pub(super) fn not_after(&self) -> Time {
        self.certificate.tbs_certificate().validity().not_after
    }

    /// Returns the serial number in hexadecimal digits.
    pub(super) fn serial(&self) -> String {
        let serial = self.certificate.tbs_certificate().serial_number();
        serial.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Returns the kind and the size of the public key.
    pub(super) fn key_type(&self) -> String {
        key_type(self.public_key())
    }

    /// Verifies the signature with the key of another certificate.
    pub(super) fn verify(&self, issuer: &Self, known: &Algorithms) -> Verdict {
        let key = issuer.public_key();
        let signature = self.certificate.signature().as_bytes();
        let (Some(signature), Some(bits)) = (signature, key.subject_public_key.as_bytes()) else {
            return Verdict::Bad;
        };
        let (by, with) = (id(self.certificate.signature_algorithm()), id(&key.algorithm));
        let fits = |algorithm: &&&'static dyn SignatureVerificationAlgorithm| {
            by.as_deref() == Some(algorithm.signature_alg_id().as_ref())
                && with.as_deref() == Some(algorithm.public_key_alg_id().as_ref())
        };
        let mut verdict = Verdict::Unknown;
        // RSA has several algorithms for one identifier, one for each range of key sizes.
        for algorithm in known.iter().filter(fits) {
            match algorithm.verify_signature(bits, self.signed, signature) {
                Ok(()) => return Verdict::Good,
                Err(_) => verdict = Verdict::Bad,
            }
        }
        verdict
    }

    /// Returns whether the certificate is signed by its own key: it ends every chain.
    pub(super) fn is_self_signed(&self, known: &Algorithms) -> bool {
        self.issuer() == self.subject() && self.verify(self, known) == Verdict::Good
    }

    fn public_key(&self) -> &SubjectPublicKeyInfoOwned {
        self.certificate.tbs_certificate().subject_public_key_info()
    }
}

/// Returns Unix time.
pub(super) fn unix(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}

fn names(certificate: &Certificate) -> der::Result<Vec<String>> {
    let names = certificate.tbs_certificate().get_extension::<SubjectAltName>()?;
    let names = names.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    Ok(names.iter().filter_map(name).collect())
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = || <[u8; 4]>::try_from(bytes).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes).map(IpAddr::from);
            v4().or_else(|_| v6()).ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// Returns the contents of an algorithm identifier, the form in which providers name algorithms.
fn id(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    let mut bytes = algorithm.oid.to_der().ok()?;
    if let Some(parameters) = &algorithm.parameters {
        bytes.extend(parameters.to_der().ok()?);
    }
    Some(bytes)
}

fn key_type(key: &SubjectPublicKeyInfoOwned) -> String {
    let curve = || {
        let parameters = key.algorithm.parameters.as_ref()?;
        parameters.decode_as::<ObjectIdentifier>().ok().map(|curve| curve.to_string())
    };
    match key.algorithm.oid.to_string().as_str() {
        "1.2.840.10045.2.1" => match curve().as_deref() {
            Some("1.2.840.10045.3.1.7") => "ecdsa-p256".to_owned(),
            Some("1.3.132.0.34") => "ecdsa-p384".to_owned(),
            Some("1.3.132.0.35") => "ecdsa-p521".to_owned(),
            other => format!("ecdsa-{}", other.unwrap_or("unknown")),
        },
        "1.2.840.113549.1.1.1" => {
            let bits = key.subject_public_key.as_bytes().and_then(modulus_bits);
            bits.map_or_else(|| "rsa".to_owned(), |bits| format!("rsa-{bits}"))
        }
        "1.3.101.112" => "ed25519".to_owned(),
        other => other.to_owned(),
    }
}

/// Returns the size of an RSA key: the bits of its modulus (RFC 8017 appendix A.1.1).
fn modulus_bits(key: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(key).ok()?;
    reader.decode::<Header>().ok()?;
    let modulus = reader.decode::<UintRef<'_>>().ok()?;
    let first = modulus.as_bytes().first()?;
    Some(modulus.as_bytes().len() * 8 - first.leading_zeros() as usize)
}
