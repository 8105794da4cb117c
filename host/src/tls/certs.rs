//! Certificates: read from PEM files or made in memory, and checked.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::chain;
use super::choice::Certificates;
use super::error::{DateFault, TlsError, shown};
use super::status::{CertificateStatus, SELF_SIGNED};
use crate::config::{Certificate, Tls};
use crate::files;

/// The certificates of a listener, and the facts about them.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) certificates: Certificates,
    /// In the order of the configuration.
    pub(super) statuses: Vec<CertificateStatus>,
    /// The certificates that are not valid now. The caller decides about them.
    pub(super) faults: Vec<DateFault>,
}

/// One certificate with its key.
struct Entry {
    key: Arc<CertifiedKey>,
    status: CertificateStatus,
    faults: Vec<DateFault>,
}

/// Reads or makes the certificates of `tls`, and checks keys, chains and dates.
pub(super) fn load(
    tls: &Tls,
    provider: &CryptoProvider,
    now: SystemTime,
) -> Result<Loaded, TlsError> {
    let entries = match tls {
        Tls::SelfSigned { names } => vec![self_signed(names, provider)?],
        Tls::Certificates(pairs) => {
            pairs.iter().map(|pair| read(pair, provider, now)).collect::<Result<_, _>>()?
        }
    };
    if entries.is_empty() {
        return Err(TlsError::Empty);
    }
    let pairs = entries.iter().map(|entry| (Arc::clone(&entry.key), &*entry.status.names));
    let certificates = Certificates::new(&pairs.collect::<Vec<_>>());
    let (mut statuses, mut faults) = (Vec::new(), Vec::new());
    for entry in entries {
        statuses.push(entry.status);
        faults.extend(entry.faults);
    }
    Ok(Loaded { certificates, statuses, faults })
}

fn read(pair: &Certificate, provider: &CryptoProvider, now: SystemTime) -> Result<Entry, TlsError> {
    let chain = files::certificates(&pair.cert)
        .map_err(|source| TlsError::ReadCertificates { path: pair.cert.clone(), source })?;
    let none = || TlsError::NoCertificate { path: pair.cert.clone() };
    let path = shown(&pair.cert);
    let parsed = chain::parse(&path, &chain)?;
    let (leaf, bytes) = parsed.first().zip(chain.first()).ok_or_else(none)?;
    chain::check(&path, &parsed, provider.signature_verification_algorithms.all)?;
    let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let faults = chain::dates(&path, &parsed, since_epoch.as_secs().cast_signed());
    let status = CertificateStatus::new(Some((path.clone(), shown(&pair.key))), leaf, bytes);
    let key = certified(pair, chain, provider)?;
    Ok(Entry { key: Arc::new(key), status, faults })
}

/// Reads the key of a chain, and checks that it is the leaf's.
fn certified(
    pair: &Certificate,
    chain: Vec<CertificateDer<'static>>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
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

/// Makes a certificate. Its dates are valid for as long as a process can live.
fn self_signed(names: &[String], provider: &CryptoProvider) -> Result<Entry, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|source| TlsError::SelfSigned { names: names.to_vec(), source })?;
    let chain = vec![made.cert.der().clone()];
    let parsed = chain::parse(SELF_SIGNED, &chain)?;
    let leaf = parsed.first().ok_or(TlsError::Empty)?;
    let status = CertificateStatus::new(None, leaf, made.cert.der());
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let key = CertifiedKey::from_der(chain, key, provider).map_err(TlsError::Config)?;
    Ok(Entry { key: Arc::new(key), status, faults: Vec::new() })
}
