//! What a response's header section may grow to by filters, and by components.

use http::HeaderMap;

use crate::config::defaults;
use crate::message::check;
use crate::upstream::Reaches;

/// Whether a response's header section is larger than filters may make one: by what origins may send by default, or by
/// what an upstream is configured to let through.
pub(super) fn is_too_large(fields: &HeaderMap, reaches: &Reaches) -> bool {
    let is_beyond = |bytes, count| check::within(fields, bytes, count).is_err();
    is_beyond(RESPONSE_BYTES, RESPONSE_FIELDS) && {
        let limits = || reaches.iter().map(|reach| &reach.upstream().limits);
        let bytes = limits().map(|limits| limits.header_bytes).max().unwrap_or_default();
        let count = limits().map(|limits| limits.header_count).max().unwrap_or_default();
        is_beyond(BYTES_FACTOR * bytes, FIELDS_FACTOR * count)
    }
}

/// So many times the bytes and the fields of the largest that is taken of an origin.
const BYTES_FACTOR: usize = 2;
const FIELDS_FACTOR: usize = 4;

/// Bytes, by the default of upstreams.
pub(in crate::proxy) const RESPONSE_BYTES: usize = BYTES_FACTOR * defaults::RESPONSE_HEADER_BYTES;

/// Fields, by the default of upstreams.
pub(in crate::proxy) const RESPONSE_FIELDS: usize = FIELDS_FACTOR * defaults::HEADER_COUNT;
