//! The rules for a chain of certificates: the order, the signatures and the dates.

use rustls_pki_types::CertificateDer;

use super::error::{DateFault, TlsError};
use super::x509::{Algorithms, Parsed, Verdict, unix};

/// Parses the certificates of a chain. `path` is for messages.
pub(super) fn parse<'a>(
    path: &str,
    chain: &'a [CertificateDer<'_>],
) -> Result<Vec<Parsed<'a>>, TlsError> {
    let parse = |(at, bytes)| {
        Parsed::new(bytes).map_err(|source| TlsError::Unreadable {
            path: path.to_owned(),
            position: at + 1,
            source,
        })
    };
    chain.iter().enumerate().map(parse).collect()
}

/// Checks that each certificate was issued by the next one. The root may be absent, because clients
/// have their own.
pub(super) fn check(path: &str, chain: &[Parsed<'_>], known: &Algorithms) -> Result<(), TlsError> {
    for ((at, one), next) in chain.iter().enumerate().zip(chain.iter().skip(1)) {
        let (path, position) = (path.to_owned(), at + 1);
        if one.is_self_signed(known) {
            return Err(TlsError::Extra { path, position: position + 1 });
        }
        if one.issuer() != next.subject() {
            let (subject, issuer) = (next.subject().to_string(), one.issuer().to_string());
            return Err(TlsError::Order { path, position: position + 1, subject, issuer });
        }
        if one.verify(next, known) == Verdict::Bad {
            return Err(TlsError::Signature { path, position });
        }
    }
    Ok(())
}

/// Returns the certificates that are not valid at `now`, in Unix time.
pub(super) fn dates(path: &str, chain: &[Parsed<'_>], now: i64) -> Vec<DateFault> {
    let fault = |(at, one): (usize, &Parsed<'_>)| {
        let (path, position) = (path.to_owned(), at + 1);
        if now > unix(one.not_after()) {
            Some(DateFault::Expired { path, position, date: one.not_after().to_string() })
        } else if now < unix(one.not_before()) {
            Some(DateFault::Early { path, position, date: one.not_before().to_string() })
        } else {
            None
        }
    };
    chain.iter().enumerate().filter_map(fault).collect()
}
