//! [`Matcher`]: the paths of a rule.

use regex::bytes::{Captures, Regex, RegexBuilder};

use crate::path::is_path;

/// The paths of a rule. Paths are compared as the client sent them, with case and percent-encoding.
#[derive(Debug)]
pub enum Matcher {
    /// Every path.
    Any,
    /// Exactly this path.
    Exact(String),
    /// This path and every path below it.
    Below(String),
    /// Paths that contain a match of the expression.
    Regex(Box<Regex>),
}

/// A matched path, with the groups of an expression.
#[derive(Debug)]
pub struct Found<'a>(Option<Captures<'a>>);

impl Matcher {
    /// Makes the matcher of a rule that has at most one of these.
    ///
    /// # Errors
    /// The text begins with the key.
    pub fn new(
        prefix: Option<String>,
        path: Option<String>,
        regex: Option<&str>,
    ) -> Result<Matcher, String> {
        match (prefix, path, regex) {
            (None, None, None) => Ok(Matcher::Any),
            (Some(prefix), None, None) => {
                is_path(&prefix).map_err(|error| format!("prefix: {error}"))?;
                Ok(Matcher::Below(prefix))
            }
            (None, Some(path), None) => {
                is_path(&path).map_err(|error| format!("path: {error}"))?;
                Ok(Matcher::Exact(path))
            }
            (None, None, Some(pattern)) => compile(pattern).map(Box::new).map(Matcher::Regex),
            _ => Err("prefix: a rule may have only one of prefix, path and regex".to_owned()),
        }
    }

    /// Matches a path, without the query.
    pub fn find<'a>(&self, path: &'a str) -> Option<Found<'a>> {
        let found = match self {
            Matcher::Any => true,
            Matcher::Exact(exact) => path == exact,
            Matcher::Below(prefix) => strip(path, prefix).is_some(),
            Matcher::Regex(regex) => {
                return regex.captures(path.as_bytes()).map(|c| Found(Some(c)));
            }
        };
        found.then_some(Found(None))
    }

    /// Returns the number of a group, from its name or from its number as text.
    pub fn group(&self, name: &str) -> Option<usize> {
        let Matcher::Regex(regex) = self else { return None };
        if !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()) {
            return name.parse().ok().filter(|number| *number < regex.captures_len());
        }
        regex.capture_names().position(|known| known == Some(name))
    }
}

impl<'a> Found<'a> {
    /// Returns the text of a group, or nothing if it took no part.
    pub fn group(&self, number: usize) -> &'a [u8] {
        let found = self.0.as_ref().and_then(|captures| captures.get(number));
        found.map_or(b"", |found| found.as_bytes())
    }
}

/// Returns the rest after a prefix. The prefix must end with a whole segment: the rest is empty or
/// begins with a slash. After a prefix with a final slash any rest is allowed.
pub fn strip<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')).then_some(rest)
}

/// Compiles an expression over bytes: `.`, `\d` and `(?i)` mean ASCII, because URIs are ASCII.
fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST_PATTERN {
        return Err(format!("regex: more than {LONGEST_PATTERN} bytes"));
    }
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(COMPILED)
        .dfa_size_limit(LAZY)
        .nest_limit(NESTED)
        .build()
        .map_err(|error| format!("regex: {error}"))
}

/// The longest expression, in bytes.
const LONGEST_PATTERN: usize = 1024;

/// The largest compiled expression, in bytes: some hundred states. The search time grows with the
/// states, and an instance must be configured within milliseconds.
const COMPILED: usize = 32 << 10;

/// The bytes of states that a search may remember, per expression and direction.
const LAZY: usize = 64 << 10;

/// The deepest nesting of groups.
const NESTED: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(pattern: &str) -> Matcher {
        Matcher::new(None, None, Some(pattern)).unwrap()
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        let below = Matcher::new(Some("/api".to_owned()), None, None).unwrap();
        for path in ["/api", "/api/", "/api/a"] {
            assert!(below.find(path).is_some(), "{path}");
        }
        for path in ["/apis", "/", "//api", "/API", "/%61pi"] {
            assert!(below.find(path).is_none(), "{path}");
        }
        assert_eq!(strip("/api/a", "/api/"), Some("a"));
        assert_eq!(strip("/a", "/"), Some("a"));
    }

    #[test]
    fn exact_is_exact() {
        let exact = Matcher::new(None, Some("/a".to_owned()), None).unwrap();
        assert!(exact.find("/a").is_some());
        assert!(exact.find("/a/").is_none() && exact.find("/").is_none());
    }

    #[test]
    fn groups_go_by_number_and_name() {
        let matcher = regex(r"^/u/(?<id>\d+)(/x)?$");
        let (id, x) = (matcher.group("id").unwrap(), matcher.group("2").unwrap());
        let found = matcher.find("/u/42").unwrap();
        assert_eq!((found.group(id), found.group(x)), (&b"42"[..], &b""[..]));
        assert!(matcher.find("/u/4a").is_none());
        for unknown in ["3", "name", "", "-1", "+1"] {
            assert_eq!(matcher.group(unknown), None, "{unknown}");
        }
        assert_eq!(Matcher::Any.group("1"), None);
    }

    #[test]
    fn case_and_digits_are_those_of_ascii() {
        assert!(regex("(?i)^/admin$").find("/ADMIN").is_some());
        assert!(regex(r"^/\d$").find("/٣").is_none());
        assert!(regex("^/.+$").find("/ä").is_some());
    }

    #[test]
    fn mistakes_are_named() {
        for pattern in ["(", r"\p{Greek}", "((a{100}){100}){100}", &"(".repeat(20)] {
            let error = Matcher::new(None, None, Some(pattern)).unwrap_err();
            assert!(error.starts_with("regex: "), "{error}");
        }
        assert!(Matcher::new(None, None, Some(&"a".repeat(1025))).is_err());
        assert!(Matcher::new(Some("api".into()), None, None).unwrap_err().starts_with("prefix: "));
        assert!(Matcher::new(None, Some("/a b".into()), None).unwrap_err().starts_with("path: "));
        assert!(Matcher::new(Some("/a".into()), Some("/a".into()), None).is_err());
    }

    #[test]
    fn a_hostile_path_takes_time_in_proportion() {
        let matcher = regex("^/(a+)+$");
        let path = format!("/{}!", "a".repeat(4000));
        assert!(matcher.find(&path).is_none());
    }
}
