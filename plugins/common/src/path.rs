//! Paths of requests: splitting, making absolute, checking.

use crate::encode::is_whole;

/// Splits the target of a request into path and query, without the question mark.
pub fn split(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// Makes a path begin with exactly one slash. Some software reads a path with two slashes as a host
/// (RFC 3986 §4.2).
pub fn absolute(mut path: String) -> String {
    let slashes = path.bytes().take_while(|b| *b == b'/').count();
    match slashes {
        0 => path.insert(0, '/'),
        1 => {}
        _ => drop(path.drain(..slashes - 1)),
    }
    path
}

/// Checks that a path in a configuration is absolute and percent-encoded.
///
/// # Errors
/// Describes the fault.
pub fn is_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("{path:?} does not begin with a slash"));
    }
    is_encoded(path)
}

/// Checks that a piece of a path in a configuration is percent-encoded.
///
/// # Errors
/// Describes the fault.
pub fn is_encoded(path: &str) -> Result<(), String> {
    if path.len() > LONGEST {
        return Err(format!("more than {LONGEST} bytes"));
    }
    if !is_whole(path) {
        return Err("a percent sign without two hexadecimal digits is written %25".to_owned());
    }
    let stands = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/%".contains(&b);
    match path.chars().find(|c| !u8::try_from(*c).is_ok_and(stands)) {
        Some(wrong) => Err(format!("{wrong:?} must be percent-encoded in a path")),
        None => Ok(()),
    }
}

/// Whether some server could read the path as leading upwards. It has a segment `..`, with dots in
/// plain or percent-encoded form, between slashes or backslashes in either form, with or without
/// parameters after a semicolon.
pub fn climbs(path: &str) -> bool {
    // Most paths have neither.
    if !path.contains("..") && !path.contains("%2") {
        return false;
    }
    let mut rest = path.as_bytes();
    // The number of dots of the segment so far, or `None` if the segment has other bytes.
    let mut dots = Some(0_u8);
    while let Some((byte, after)) = unit(rest) {
        rest = after;
        match byte {
            b'/' | b'\\' | b';' => {
                if dots == Some(2) {
                    return true;
                }
                dots = (byte != b';').then_some(0);
            }
            b'.' => dots = dots.map(|dots| dots.saturating_add(1)),
            _ => dots = None,
        }
    }
    dots == Some(2)
}

/// Returns the first byte and the rest. A percent-encoded dot or separator is decoded.
fn unit(path: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', a, b, after @ ..] = path {
        match (a, b.to_ascii_lowercase()) {
            (b'2', b'e') => return Some((b'.', after)),
            (b'2', b'f') => return Some((b'/', after)),
            (b'5', b'c') => return Some((b'\\', after)),
            (b'3', b'b') => return Some((b';', after)),
            _ => {}
        }
    }
    path.split_first().map(|(first, after)| (*first, after))
}

/// The longest path in a configuration, in bytes.
const LONGEST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_slash_at_its_head() {
        for (path, made) in
            [("", "/"), ("a", "/a"), ("/a", "/a"), ("//a", "/a"), ("////", "/"), ("/a//b", "/a//b")]
        {
            assert_eq!(absolute(path.to_owned()), made);
        }
    }

    #[test]
    fn the_first_question_mark_parts() {
        assert_eq!(split("/a?b?c"), ("/a", Some("b?c")));
        assert_eq!(split("/a?"), ("/a", Some("")));
        assert_eq!(split("/a"), ("/a", None));
    }

    #[test]
    fn climbing_is_seen_through_encodings() {
        for path in [
            "/..",
            "/a/../b",
            "/a/..",
            "/a/%2e%2E/b",
            "/a/.%2e",
            "/a/..;x/b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/a%5C..",
            "/a/..%3Bx",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in ["/", "/...", "/a..", "/..a", "/a/.", "/%2e", "/a;..", "/%2e%2e%2e", "/a%2fb"] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn a_configured_path_is_encoded() {
        assert_eq!(is_path("/a/%20b"), Ok(()));
        for wrong in ["a", "", "/a b", "/a?b", "/a#b", "/a\\b", "/a%", "/a%2", "/ä", "/a\n"] {
            assert!(is_path(wrong).is_err(), "{wrong}");
        }
        assert!(is_path(&format!("/{}", "a".repeat(1024))).is_err());
    }
}
