//! Changes to a text before the tests. Every transform borrows a text that it does not change.

use std::borrow::Cow;

type Text<'a> = Cow<'a, [u8]>;

/// Turns ASCII letters into lower case.
pub(crate) fn lower(text: Text<'_>) -> Text<'_> {
    if text.iter().any(u8::is_ascii_uppercase) {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    text
}

/// Decodes percent-encoding (RFC 3986 §2.1) and `%uHHHH` once. Invalid encodings stay.
pub(crate) fn url_decode(text: Text<'_>) -> Text<'_> {
    decode(text, false)
}

/// Decodes until nothing changes, at most three times.
pub(crate) fn url_decode_all(mut text: Text<'_>) -> Text<'_> {
    for _ in 0..DECODINGS {
        if !text.contains(&b'%') {
            break;
        }
        let length = text.len();
        text = decode(text, false);
        // Every encoding is longer than its decoded form.
        if text.len() == length {
            break;
        }
    }
    text
}

/// Decodes a part of a form (application/x-www-form-urlencoded): a plus is a space, then
/// percent-encoding is decoded once.
pub(crate) fn form_decode(text: &[u8]) -> Text<'_> {
    decode(Cow::Borrowed(text), true)
}

fn decode(text: Text<'_>, plus_is_space: bool) -> Text<'_> {
    if !text.iter().any(|b| *b == b'%' || (plus_is_space && *b == b'+')) {
        return text;
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match first {
            b'+' if plus_is_space => decoded.push(b' '),
            b'%' => match encoded(after) {
                Some((c, after)) => {
                    rest = after;
                    match c {
                        Decoded::Byte(byte) => decoded.push(byte),
                        Decoded::Char(c) => {
                            decoded.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                    }
                }
                None => decoded.push(b'%'),
            },
            byte => decoded.push(*byte),
        }
    }
    Cow::Owned(decoded)
}

enum Decoded {
    Byte(u8),
    Char(char),
}

/// Decodes the text after a percent sign. Returns the rest too.
fn encoded(text: &[u8]) -> Option<(Decoded, &[u8])> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    match text {
        [b'u' | b'U', a, b, c, d, rest @ ..] => {
            let mut digits = [*a, *b, *c, *d].into_iter();
            let code = digits.try_fold(0, |code, byte| Some(code << 4 | digit(byte)?))?;
            Some((Decoded::Char(char::from_u32(code)?), rest))
        }
        [a, b, rest @ ..] => {
            let byte = digit(*a)? << 4 | digit(*b)?;
            Some((Decoded::Byte(u8::try_from(byte).ok()?), rest))
        }
        _ => None,
    }
}

/// Removes empty and dot segments (RFC 3986 §5.2.4) and parameters of segments. A backslash becomes
/// a slash.
pub(crate) fn normalize_path(text: Text<'_>) -> Text<'_> {
    let is_slash = |b: &u8| *b == b'/' || *b == b'\\';
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in text.split(is_slash) {
        let name = segment.split(|b| *b == b';').next().unwrap_or_default();
        match name {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            name => segments.push(name),
        }
    }
    let mut path = Vec::with_capacity(text.len());
    for segment in segments {
        path.push(b'/');
        path.extend_from_slice(segment);
    }
    if path.is_empty() || text.last().is_some_and(is_slash) {
        path.push(b'/');
    }
    if path == *text { text } else { Cow::Owned(path) }
}

/// Normalizes a text to the form that an interpreter may read: decoded until stable, in lower case,
/// without null bytes, overlong UTF-8 and fullwidth letters as ASCII, white space and plus signs as
/// single spaces. A text with SQL comments gives a second text with a space for each comment. Rules
/// test both texts, because a comment in one language is code in another.
pub(crate) fn normalize_text(text: Text<'_>) -> (Text<'_>, Option<Vec<u8>>) {
    let text = url_decode_all(text);
    if is_normal(&text) {
        return (text, None);
    }
    let without_comments = without_comments(&text).map(|text| fold(&text));
    (Cow::Owned(fold(&text)), without_comments)
}

/// Whether a text needs no change and has no comment.
fn is_normal(text: &[u8]) -> bool {
    let mut before = 0;
    text.iter().all(|byte| {
        let is_normal = match byte {
            b'A'..=b'Z' | b'+' | 0..=0x1f | 0x80.. => false,
            b' ' => before != b' ',
            b'*' => before != b'/',
            _ => true,
        };
        before = *byte;
        is_normal
    })
}

fn fold(text: &[u8]) -> Vec<u8> {
    let mut folded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let (byte, after) = match ascii(rest) {
            Some((byte, length)) => (byte, rest.get(length..).unwrap_or_default()),
            None => (*first, after),
        };
        rest = after;
        match byte.to_ascii_lowercase() {
            0 => {}
            b' ' | b'+' | b'\t'..=b'\r' | 0xa0 => {
                if folded.last() != Some(&b' ') {
                    folded.push(b' ');
                }
            }
            // The continuation bytes of a letter without an ASCII form must not count as a Latin-1
            // space.
            lead @ 0xc2.. => {
                folded.push(lead);
                let more = rest.iter().take(3).take_while(|b| (0x80..0xc0).contains(*b)).count();
                let (letter, after) = rest.split_at(more);
                folded.extend_from_slice(letter);
                rest = after;
            }
            byte => folded.push(byte),
        }
    }
    folded
}

/// Returns the ASCII character that some software reads in a sequence of bytes, and the length of
/// the sequence.
fn ascii(text: &[u8]) -> Option<(u8, usize)> {
    let is_more = |byte: &u8| (0x80..0xc0).contains(byte);
    match text {
        [lead @ (0xc0 | 0xc1), a, ..] if is_more(a) => Some(((lead & 1) << 6 | a & 0x3f, 2)),
        [0xe0, a @ (0x80 | 0x81), b, ..] if is_more(b) => Some(((a & 1) << 6 | b & 0x3f, 3)),
        [0xf0, 0x80, a @ (0x80 | 0x81), b, ..] if is_more(b) => Some(((a & 1) << 6 | b & 0x3f, 4)),
        // No-break and ideographic space, and the fullwidth forms U+FF01 to U+FF5E.
        [0xc2, 0xa0, ..] => Some((b' ', 2)),
        [0xe3, 0x80, 0x80, ..] => Some((b' ', 3)),
        [0xef, 0xbc, a @ 0x81..=0xbf, ..] => Some((a - 0x60, 3)),
        [0xef, 0xbd, a @ 0x80..=0x9e, ..] => Some((a - 0x20, 3)),
        _ => None,
    }
}

/// Replaces each SQL comment by a space. Returns `None` if there is no comment. The code that MySQL
/// runs in `/*! … */` stays.
fn without_comments(text: &[u8]) -> Option<Vec<u8>> {
    let mut kept = Vec::with_capacity(text.len());
    let mut rest = text;
    let mut has_any = false;
    while let Some((first, after)) = rest.split_first() {
        let skipped = match rest {
            [b'/', b'*', b'!', code @ ..] => {
                let version = code.iter().take_while(|b| b.is_ascii_digit()).count();
                Some(3 + version)
            }
            [b'/', b'*', comment @ ..] => end(comment, b"*/").map(|length| length + 2),
            [b'*', b'/', ..] => Some(2),
            [b'-', b'-', comment @ ..] => end(comment, b"\n").map(|length| length + 2),
            [b'#', comment @ ..] => end(comment, b"\n").map(|length| length + 1),
            _ => None,
        };
        match skipped {
            Some(length) => {
                has_any = true;
                kept.push(b' ');
                rest = rest.get(length..).unwrap_or_default();
            }
            None => {
                kept.push(*first);
                rest = after;
            }
        }
    }
    has_any.then_some(kept)
}

/// Returns the length of a text up to the end of its first `mark`.
fn end(text: &[u8], mark: &[u8]) -> Option<usize> {
    Some(text.windows(mark.len()).position(|window| window == mark)? + mark.len())
}

/// The most rounds of decoding, more than servers and frameworks do.
const DECODINGS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn an_encoding_is_taken_off_once_or_until_stable() {
        let once = |given: &str| text(&url_decode(given.as_bytes().into()));
        let all = |given: &str| text(&url_decode_all(given.as_bytes().into()));
        assert_eq!(once("%3Cb%3e %2527"), "<b> %27");
        assert_eq!(once("%u003Cb%uFF1C"), "<b\u{ff1c}");
        assert_eq!(once("100% %zz %4 % %u12 %ud800+"), "100% %zz %4 % %u12 %ud800+");
        assert_eq!(all("%252527%2527%27"), "'''");
        assert_eq!(all("%25252527"), "%27");
        assert_eq!(all("%%33%63script"), "<script");
        assert_eq!(text(&form_decode(b"a+b%2Bc")), "a b+c");
        assert!(matches!(url_decode_all(Cow::Borrowed(b"100%")), Cow::Owned(_) | Cow::Borrowed(_)));
    }

    #[test]
    fn a_path_has_one_spelling() {
        for (given, path) in [
            ("/", "/"),
            ("", "/"),
            ("/a/b", "/a/b"),
            ("/a//b/./c/", "/a/b/c/"),
            ("/a/../../b", "/b"),
            ("\\a\\..\\b", "/b"),
            ("/a/..;x=1/b;y", "/b"),
            ("/a/..", "/"),
            ("/...", "/..."),
        ] {
            assert_eq!(text(&normalize_path(given.as_bytes().into())), path, "{given}");
        }
    }

    #[test]
    fn a_text_has_one_spelling() {
        for (given, expected) in [
            (&b"plain text"[..], "plain text"),
            (b"UNION  \t\r\n\x0b+SELECT", "union select"),
            (b"sel\0ect", "select"),
            (b"%252e%252e%252f", "../"),
            (b"\xc0\xaf\xc1\x9c\xe0\x80\xaf\xf0\x80\x80\xaf", "/\\//"),
            ("\u{ff1c}ＳＣＲＩＰＴ\u{ff1e}".as_bytes(), "<script>"),
            (b"a\xc2\xa0b\xa0c\xe3\x80\x80d", "a b c d"),
            ("voilà à É 日本".as_bytes(), "voilà à É 日本"),
            (b"\xc0", "\u{fffd}"),
        ] {
            let (normal, without_comments) = normalize_text(given.into());
            assert_eq!(text(&normal), expected);
            assert_eq!(without_comments, None);
        }
        assert!(matches!(normalize_text(Cow::Borrowed(b"a=1 2")), (Cow::Borrowed(_), None)));
    }

    #[test]
    fn comments_are_spaces_in_a_second_text() {
        for (given, with, without) in [
            ("union/**/select", "union/**/select", "union select"),
            ("union/*x%0a*/select", "union/*x */select", "union select"),
            ("/*!50000UNION*/ select", "/*!50000union*/ select", " union select"),
            ("union--x%0aselect", "union--x select", "union select"),
            ("union#%0aselect", "union# select", "union select"),
            ("/*<script>*/", "/*<script>*/", " "),
        ] {
            let (normal, second) = normalize_text(given.as_bytes().into());
            assert_eq!(text(&normal), with);
            assert_eq!(second.map(|second| text(&second)), Some(without.to_owned()), "{given}");
        }
        // A comment without an end is not a comment.
        assert_eq!(normalize_text(b"A/*b".as_slice().into()).1, None);
        assert_eq!(normalize_text(b"a -- B".as_slice().into()).1, None);
    }
}
