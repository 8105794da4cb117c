//! Field lines that need no dynamic table (RFC 9204 §4.5.2, §4.5.4, §4.5.6).

use bytes::BytesMut;
use http::StatusCode;
use http::header::{
    HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE,
};

use crate::qpack::field::Pseudo;
use crate::qpack::static_table::{self, Found};
use crate::qpack::{integer, string};

/// The encoding of a field.
pub(super) enum Plan {
    /// The static table's line at this index.
    Static(u8),
    /// A literal that no intermediary may put into a table.
    Never(Found),
    /// Any encoding.
    Any(Found),
}

impl Plan {
    #[inline]
    pub(super) fn of(name: &HeaderName, value: &HeaderValue) -> Self {
        let found = static_table::find(name.as_str(), value.as_bytes());
        match found {
            _ if value.is_sensitive() => Self::Never(found),
            Found::Line(index) if !SECRET.contains(&index) => Self::Static(index),
            Found::Line(index) | Found::Name(index) if SECRET.contains(&index) => {
                Self::Never(found)
            }
            Found::Nothing if is_secret(name) => Self::Never(found),
            _ => Self::Any(found),
        }
    }
}

/// Appends a response's `:status`.
pub(super) fn status(status: StatusCode, out: &mut BytesMut) {
    match static_table::status(status.as_u16()) {
        Some(index) => indexed(index, out),
        None => {
            integer::encode(static_table::STATUS, 4, LITERAL_WITH_STATIC_NAME, out);
            string::encode(status.as_str().as_bytes(), 8, 0, out);
        }
    }
}

/// Appends a pseudo-header field.
pub(super) fn pseudo(name: Pseudo, value: &[u8], out: &mut BytesMut) {
    match static_table::find(name.as_str(), value) {
        Found::Line(index) => indexed(index, out),
        found => literal(name.as_str(), value, found, 0, out),
    }
}

/// Appends any other field. Returns whether it is one that must not be stored.
#[inline]
pub(super) fn field(name: &HeaderName, value: &HeaderValue, out: &mut BytesMut) -> bool {
    match Plan::of(name, value) {
        Plan::Static(index) => indexed(index, out),
        Plan::Any(found) => literal(name.as_str(), value.as_bytes(), found, 0, out),
        Plan::Never(found) => {
            never_indexed(name, value, found, out);
            return true;
        }
    }
    false
}

/// Appends a reference to the static table.
#[inline]
pub(super) fn indexed(index: u8, out: &mut BytesMut) {
    integer::encode(u64::from(index), 6, INDEXED_STATIC, out);
}

/// Appends a literal with the bit that forbids indexing (RFC 9204 §7.1.3).
pub(super) fn never_indexed(
    name: &HeaderName,
    value: &HeaderValue,
    found: Found,
    out: &mut BytesMut,
) {
    literal(name.as_str(), value.as_bytes(), found, 1, out);
}

/// Appends a literal with its name's entry in the static table, and 1 or 0 for `never`.
pub(super) fn literal(name: &str, value: &[u8], found: Found, never: u8, out: &mut BytesMut) {
    // Both strings, both lengths and the index: one check of the buffer's room is enough.
    out.reserve(name.len() + value.len() + 24);
    match found {
        Found::Line(index) | Found::Name(index) => {
            integer::encode(u64::from(index), 4, LITERAL_WITH_STATIC_NAME | never << 5, out);
        }
        Found::Nothing => string::encode(name.as_bytes(), 4, LITERAL | never << 4, out),
    }
    string::encode(value, 8, 0, out);
}

/// Credential fields outside the static table.
fn is_secret(name: &HeaderName) -> bool {
    [&PROXY_AUTHENTICATE, &PROXY_AUTHORIZATION, &WWW_AUTHENTICATE].contains(&name)
        || name.as_str() == "authentication-info"
}

/// RFC 9204 §4.5.2, with the static table.
const INDEXED_STATIC: u8 = 0xc0;

/// RFC 9204 §4.5.4, with the static table.
const LITERAL_WITH_STATIC_NAME: u8 = 0x50;

/// RFC 9204 §4.5.6.
const LITERAL: u8 = 0x20;

/// The static table's `cookie`, `set-cookie` and `authorization`: these are credentials.
const SECRET: [u8; 3] = [5, 14, 84];
