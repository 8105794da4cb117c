//! The static table (RFC 9204 §3.1, Appendix A), parsed at compile time, with a search by name and
//! value.

use super::field::Line;

/// The match of a field line in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// The line itself, at this index.
    Line(u8),
    /// Its name, at this index.
    Name(u8),
    /// Nothing.
    Nothing,
}

/// Returns the line at `index`.
#[inline]
pub(super) fn line(index: u64) -> Option<&'static Line> {
    usize::try_from(index).ok().and_then(|index| LINES.get(index))
}

/// Finds a line by its name and value. The name must not be that of a pseudo-header field.
#[inline]
pub(super) fn find(name: &str, value: &[u8]) -> Found {
    let Some(index) = find_name(name) else { return Found::Nothing };
    let mut next = Some(index);
    while let Some(at) = next {
        match TEXT.get(usize::from(at)) {
            Some((_, text)) if text.as_bytes() == value => return Found::Line(at),
            _ => next = NEXT.get(usize::from(at)).copied().filter(|next| *next != NONE),
        }
    }
    Found::Name(index)
}

/// Returns the first index with this name.
#[inline]
pub(super) fn find_name(name: &str) -> Option<u8> {
    let index = *FIRST.get(slot(name.as_bytes()))?;
    let (found, _) = TEXT.get(usize::from(index))?;
    (*found == name).then_some(index)
}

/// Returns the index of a response's status if the table has it.
pub(super) fn status(status: u16) -> Option<u8> {
    Some(match status {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
        _ => return None,
    })
}

/// An index with the name `:status`.
pub(super) const STATUS: u64 = 24;

/// Returns the place of a name in [`FIRST`]. No two names of the table share a slot; `first` checks
/// this.
#[allow(clippy::indexing_slicing, reason = "seven eighths of a length are less than the length")]
const fn slot(name: &[u8]) -> usize {
    let [start, .., end] = name else { return 0 };
    let late = name[name.len() * 7 / 8];
    let mixed = (name.len() * 23) + *start as usize * 55 + *end as usize * 191 + late as usize * 38;
    mixed % SLOTS
}

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn first() -> [u8; SLOTS] {
    let mut first = [NONE; SLOTS];
    let mut index = 0;
    while index < LENGTH {
        let name = TEXT[index].0.as_bytes();
        let taken = first[slot(name)];
        if taken == NONE {
            first[slot(name)] = index as u8;
        } else {
            assert!(equal(name, TEXT[taken as usize].0.as_bytes()), "two names in one slot");
        }
        index += 1;
    }
    first
}

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn next() -> [u8; LENGTH] {
    let mut next = [NONE; LENGTH];
    let mut index = 0;
    while index < LENGTH {
        let mut later = index + 1;
        while later < LENGTH && !equal(TEXT[index].0.as_bytes(), TEXT[later].0.as_bytes()) {
            later += 1;
        }
        if later < LENGTH {
            next[index] = later as u8;
        }
        index += 1;
    }
    next
}

#[allow(clippy::indexing_slicing, reason = "evaluated at compile time")]
const fn equal(one: &[u8], other: &[u8]) -> bool {
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// Lines of the table.
const LENGTH: usize = 99;

/// Slots for its 52 names: the smallest power of two for which `slot` was found.
const SLOTS: usize = 128;

/// No index.
const NONE: u8 = u8::MAX;

/// The first index of the name in each slot.
static FIRST: [u8; SLOTS] = first();

/// For each index, the next one with the same name.
static NEXT: [u8; LENGTH] = next();

macro_rules! table {
    ($($name:literal = $value:literal,)*) => {
        const TEXT: [(&str, &str); LENGTH] = [$(($name, $value)),*];
        static LINES: [Line; LENGTH] = [$(Line::from_static($name, $value)),*];
    };
}

table! {
    ":authority" = "",
    ":path" = "/",
    "age" = "0",
    "content-disposition" = "",
    "content-length" = "0",
    "cookie" = "",
    "date" = "",
    "etag" = "",
    "if-modified-since" = "",
    "if-none-match" = "",
    "last-modified" = "",
    "link" = "",
    "location" = "",
    "referer" = "",
    "set-cookie" = "",
    ":method" = "CONNECT",
    ":method" = "DELETE",
    ":method" = "GET",
    ":method" = "HEAD",
    ":method" = "OPTIONS",
    ":method" = "POST",
    ":method" = "PUT",
    ":scheme" = "http",
    ":scheme" = "https",
    ":status" = "103",
    ":status" = "200",
    ":status" = "304",
    ":status" = "404",
    ":status" = "503",
    "accept" = "*/*",
    "accept" = "application/dns-message",
    "accept-encoding" = "gzip, deflate, br",
    "accept-ranges" = "bytes",
    "access-control-allow-headers" = "cache-control",
    "access-control-allow-headers" = "content-type",
    "access-control-allow-origin" = "*",
    "cache-control" = "max-age=0",
    "cache-control" = "max-age=2592000",
    "cache-control" = "max-age=604800",
    "cache-control" = "no-cache",
    "cache-control" = "no-store",
    "cache-control" = "public, max-age=31536000",
    "content-encoding" = "br",
    "content-encoding" = "gzip",
    "content-type" = "application/dns-message",
    "content-type" = "application/javascript",
    "content-type" = "application/json",
    "content-type" = "application/x-www-form-urlencoded",
    "content-type" = "image/gif",
    "content-type" = "image/jpeg",
    "content-type" = "image/png",
    "content-type" = "text/css",
    "content-type" = "text/html; charset=utf-8",
    "content-type" = "text/plain",
    "content-type" = "text/plain;charset=utf-8",
    "range" = "bytes=0-",
    "strict-transport-security" = "max-age=31536000",
    "strict-transport-security" = "max-age=31536000; includesubdomains",
    "strict-transport-security" = "max-age=31536000; includesubdomains; preload",
    "vary" = "accept-encoding",
    "vary" = "origin",
    "x-content-type-options" = "nosniff",
    "x-xss-protection" = "1; mode=block",
    ":status" = "100",
    ":status" = "204",
    ":status" = "206",
    ":status" = "302",
    ":status" = "400",
    ":status" = "403",
    ":status" = "421",
    ":status" = "425",
    ":status" = "500",
    "accept-language" = "",
    "access-control-allow-credentials" = "FALSE",
    "access-control-allow-credentials" = "TRUE",
    "access-control-allow-headers" = "*",
    "access-control-allow-methods" = "get",
    "access-control-allow-methods" = "get, post, options",
    "access-control-allow-methods" = "options",
    "access-control-expose-headers" = "content-length",
    "access-control-request-headers" = "content-type",
    "access-control-request-method" = "get",
    "access-control-request-method" = "post",
    "alt-svc" = "clear",
    "authorization" = "",
    "content-security-policy" = "script-src 'none'; object-src 'none'; base-uri 'none'",
    "early-data" = "1",
    "expect-ct" = "",
    "forwarded" = "",
    "if-range" = "",
    "origin" = "",
    "purpose" = "prefetch",
    "server" = "",
    "timing-allow-origin" = "*",
    "upgrade-insecure-requests" = "1",
    "user-agent" = "",
    "x-forwarded-for" = "",
    "x-frame-options" = "deny",
    "x-frame-options" = "sameorigin",
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qpack::field::{Name, Pseudo};

    #[test]
    fn every_line_is_found_at_its_index_or_an_equal_one() {
        for (index, (name, value)) in TEXT.iter().enumerate() {
            let found = find(name, value.as_bytes());
            assert_eq!(found, Found::Line(index as u8), "{name}: {value}");
        }
        assert_eq!(find("content-type", b"text/xml"), Found::Name(44));
        assert_eq!(find("content-typo", b"text/css"), Found::Nothing);
        assert_eq!(find("x", b""), Found::Nothing);
    }

    #[test]
    fn statuses_are_where_the_table_has_them() {
        for code in 0..1000 {
            let place = TEXT.iter().position(|line| *line == (":status", &code.to_string()[..]));
            assert_eq!(status(code).map(usize::from), place, "{code}");
        }
    }

    #[test]
    fn lines_are_parsed() {
        assert_eq!(line(1).unwrap().name(), Name::Pseudo(Pseudo::Path));
        assert_eq!(line(98).unwrap().size(), "x-frame-options".len() + "sameorigin".len() + 32);
        assert!(line(99).is_none());
        assert!(line(u64::MAX).is_none());
    }
}
