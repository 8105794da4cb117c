//! List fields (RFC 9110 §5.6.1): appends a member and removes empty ones.

use std::fmt;

use bytes::{BufMut as _, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

/// Appends a member to a list field, and joins the lines of the field (RFC 9110 §5.3).
///
/// A recipient ignores empty members, but a sender must not create any. Without this, an empty
/// field would become an empty member when the first member is appended.
pub(super) fn append(
    fields: &mut HeaderMap,
    name: HeaderName,
    member: impl FnOnce(&mut BytesMut) -> fmt::Result,
) {
    let mut text = BytesMut::with_capacity(64);
    for value in fields.get_all(&name) {
        put_members(&mut text, value.as_bytes());
    }
    if member(&mut text).is_ok()
        && let Ok(value) = HeaderValue::from_maybe_shared(text.freeze())
    {
        fields.insert(name, value);
    }
}

/// Writes the members of a line that are not empty, each followed by a comma.
fn put_members(text: &mut BytesMut, line: &[u8]) {
    let mut rest = line;
    loop {
        let (member, after) = rest.split_at(end_of_member(rest));
        let member = member.trim_ascii();
        if !member.is_empty() {
            text.put_slice(member);
            text.put_slice(b", ");
        }
        match after.split_first() {
            Some((_, after)) => rest = after,
            None => return,
        }
    }
}

/// Returns the position of the comma after a member, or of the line's end. Commas in a quoted
/// string or a comment do not count (RFC 9110 §5.6.4, §5.6.5).
fn end_of_member(line: &[u8]) -> usize {
    let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0_usize);
    let ends = |byte: &u8| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match byte {
            _ if was_escaped => {}
            b'\\' => is_escaped = is_quoted || depth > 0,
            b'"' if depth == 0 => is_quoted = !is_quoted,
            b'(' if !is_quoted => depth += 1,
            b')' if !is_quoted => depth = depth.saturating_sub(1),
            b',' => return !is_quoted && depth == 0,
            _ => {}
        }
        false
    };
    line.iter().position(ends).unwrap_or(line.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a field with these lines after `new` is appended.
    fn appended(lines: &[&str]) -> String {
        let name = HeaderName::from_static("via");
        let mut fields = HeaderMap::new();
        for line in lines {
            fields.append(&name, line.parse().unwrap());
        }
        append(&mut fields, name.clone(), |text| {
            text.put_slice(b"new");
            Ok(())
        });
        let mut values = fields.get_all(name).iter();
        let value = values.next().unwrap().to_str().unwrap().to_owned();
        assert!(values.next().is_none());
        value
    }

    #[test]
    fn a_member_is_appended_to_all_lines() {
        assert_eq!(appended(&[]), "new");
        assert_eq!(appended(&["a"]), "a, new");
        assert_eq!(appended(&["a,b", "c ,\td"]), "a, b, c, d, new");
    }

    #[test]
    fn empty_members_are_left_out() {
        for lines in [&[""][..], &["  \t"], &[","], &[" , ,"], &["", ""], &["", " ", ",,"]] {
            assert_eq!(appended(lines), "new", "{lines:?}");
        }
        assert_eq!(appended(&["", "a", " "]), "a, new");
        assert_eq!(appended(&[",a,,b, "]), "a, b, new");
    }

    #[test]
    fn commas_in_quoted_strings_and_comments_part_nothing() {
        for whole in [
            "for=\"a,,b\"",
            "1.1 a (,, b)",
            "1.1 a (b (,) \\),,)",
            "x=\"\\\",,\"",
            "x=\"(\"",
            "x=\",, never closed",
        ] {
            assert_eq!(appended(&[whole]), format!("{whole}, new"));
            assert_eq!(appended(&[&format!("{whole},,b")]).matches(whole).count(), 1);
        }
        assert_eq!(appended(&["a (b), ,c)d"]), "a (b), c)d, new");
    }
}
