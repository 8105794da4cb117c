//! The limits of a response's header section after filters and components.

use http::HeaderMap;

use crate::config::defaults;
use crate::message::check;
use crate::upstream::Reaches;

/// Returns whether a response's header section is larger than filters may make it. The limit
/// follows from the default limits of upstreams, or from larger configured ones.
pub(super) fn is_too_large(fields: &HeaderMap, reaches: &Reaches) -> bool {
    let is_beyond = |bytes, count| check::within(fields, bytes, count).is_err();
    is_beyond(RESPONSE_BYTES, RESPONSE_FIELDS) && {
        let limits = || reaches.iter().map(|reach| &reach.upstream().limits);
        let bytes = limits().map(|limits| limits.header_bytes).max().unwrap_or_default();
        let count = limits().map(|limits| limits.header_count).max().unwrap_or_default();
        is_beyond(BYTES_FACTOR * bytes, FIELDS_FACTOR * count)
    }
}

/// The limits as multiples of the bytes and the fields that the largest response of an origin may
/// have.
const BYTES_FACTOR: usize = 2;
const FIELDS_FACTOR: usize = 4;

/// Maximum number of bytes with the default limits of upstreams.
pub(in crate::proxy) const RESPONSE_BYTES: usize = BYTES_FACTOR * defaults::RESPONSE_HEADER_BYTES;

/// Maximum number of fields with the default limits of upstreams.
pub(in crate::proxy) const RESPONSE_FIELDS: usize = FIELDS_FACTOR * defaults::HEADER_COUNT;
