//! The owners of keys, and the requests that a key allows.

use sha2::{Digest as _, Sha256};

use crate::config::Rule;

/// The SHA-256 of a key. Nobody can construct another key with the same hash, and the search time
/// does not reveal how close a guess was.
pub(crate) type Fingerprint = [u8; 32];

/// The owner of a key, with the requests that the key allows.
#[derive(Debug)]
pub(crate) struct Owner {
    /// The name that the origin sees.
    pub(crate) name: String,
    paths: Option<Vec<String>>,
    methods: Option<Vec<String>>,
    pub(crate) upstream: Option<String>,
}

impl Owner {
    pub(crate) fn new(name: &str, rule: Rule) -> Result<Owner, String> {
        let name = rule.consumer.unwrap_or_else(|| name.to_owned());
        let is_inner = |b: u8| b.is_ascii_graphic() || b == b' ';
        if name.trim() != name || name.is_empty() || !name.bytes().all(is_inner) {
            return Err(format!("{name:?} cannot be the value of a header field"));
        }
        for (at, path) in rule.paths.iter().flatten().enumerate() {
            if !path.starts_with('/') || path.contains(['?', '#']) || is_ambiguous(path) {
                return Err(format!(
                    "paths[{at}]: {path:?} is not a plain path that begins with a slash"
                ));
            }
        }
        for (at, method) in rule.methods.iter().flatten().enumerate() {
            if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
                return Err(format!("methods[{at}]: {method:?} is not a method in upper case"));
            }
        }
        Ok(Owner { name, paths: rule.paths, methods: rule.methods, upstream: rule.upstream })
    }

    /// Whether the key allows every request.
    pub(crate) fn is_free(&self) -> bool {
        self.paths.is_none() && self.methods.is_none()
    }

    /// Whether the key allows this method and path.
    pub(crate) fn may(&self, method: &str, path: &str) -> bool {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let is_below = |prefix: &String| match path.strip_prefix(prefix.as_str()) {
            Some(rest) => rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/'),
            None => false,
        };
        let is_path = match &self.paths {
            Some(paths) => !is_ambiguous(path) && paths.iter().any(is_below),
            None => true,
        };
        is_path && self.methods.as_ref().is_none_or(|all| all.iter().any(|one| one == method))
    }
}

/// Returns the fingerprint of a key of the configuration, from its text or its SHA-256.
pub(crate) fn fingerprint(key: &str) -> Result<Fingerprint, String> {
    // Most files end with a line end. A key never does.
    let key = key.trim_end_matches(['\r', '\n']);
    if let Some(hex) = key.strip_prefix("sha256:") {
        return parse(hex).ok_or_else(|| "sha256: must have 64 hexadecimal digits".to_owned());
    }
    if !(SHORTEST..=LONGEST).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(format!("a key has {SHORTEST} to {LONGEST} visible ASCII characters"));
    }
    Ok(hash(key))
}

pub(crate) fn hash(key: &str) -> Fingerprint {
    Sha256::digest(key).into()
}

fn parse(hex: &str) -> Option<Fingerprint> {
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Whether origins can read a path differently (RFC 3986 §5.2.4). The path has dot segments, empty
/// segments or backslashes, or encoded dots, slashes, backslashes, percent signs or null bytes.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let encoded = ["%2e", "%2f", "%5c", "%25", "%00"];
    lower.split("/").any(is_dots)
        || lower.contains("//")
        || lower.contains('\\')
        || encoded.iter().any(|code| lower.contains(code))
}

/// Whether a segment is `.` or `..`, perhaps with parameters after a semicolon, which some origins
/// cut off.
fn is_dots(segment: &str) -> bool {
    matches!(segment.split(';').next(), Some("." | ".."))
}

/// The bounds of a key's length, in characters.
const SHORTEST: usize = 16;
pub(crate) const LONGEST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(paths: &[&str], methods: &[&str]) -> Owner {
        let list = |texts: &[&str]| {
            (!texts.is_empty()).then(|| texts.iter().map(|text| (*text).to_owned()).collect())
        };
        let rule = Rule { paths: list(paths), methods: list(methods), ..Rule::default() };
        Owner::new("a", rule).unwrap()
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let owner = owner(&["/ops", "/v1/"], &[]);
        for path in ["/ops", "/ops/a", "/ops?x=/../y", "/v1/", "/v1/a", "/ops/a;v=1"] {
            assert!(owner.may("GET", path), "{path}");
        }
        for path in ["/opsx", "/", "/OPS", "/v1", "/x/ops", "*", ""] {
            assert!(!owner.may("GET", path), "{path}");
        }
    }

    #[test]
    fn paths_that_origins_read_differently_are_refused() {
        let owner = owner(&["/ops"], &[]);
        for rest in [
            "/../admin",
            "/..",
            "/./x",
            "/%2e%2e/admin",
            "/.%2E/admin",
            "//admin",
            "/..;a=1/admin",
            "/a%2f..%2fb",
            "/a\\..\\b",
            "/%5c..",
            "/%252e%252e/admin",
            "/a%00",
        ] {
            assert!(!owner.may("GET", &format!("/ops{rest}")), "{rest}");
        }
        for rest in ["/...", "/a..b", "/.a", "/a%20b"] {
            assert!(owner.may("GET", &format!("/ops{rest}")), "{rest}");
        }
    }

    #[test]
    fn methods_are_compared_as_they_are() {
        let owner = owner(&[], &["GET", "HEAD"]);
        assert!(owner.may("GET", "/") && owner.may("HEAD", "/../"));
        assert!(!owner.may("POST", "/") && !owner.may("get", "/"));
        assert!(!owner.is_free());
    }

    #[test]
    fn keys_and_hashes_of_keys() {
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint(abc), Ok(hash("abc")));
        assert_eq!(fingerprint(&abc.to_uppercase().replace("SHA256", "sha256")), Ok(hash("abc")));
        assert_eq!(fingerprint("a-long-enough-key\r\n"), Ok(hash("a-long-enough-key")));
        for wrong in ["short", "with a space in it", "sha256:ba78", "sha256:", &"x".repeat(257)] {
            assert!(fingerprint(wrong).is_err(), "{wrong}");
        }
        let no_hex = "sha256:+a7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(fingerprint(no_hex).is_err());
    }
}
