//! Patterns of hosts and paths. A match allocates nothing; captured parts are copied.

use std::fmt;

use crate::message::subject::Captures;

/// `example.com`, or `*.example.com` for any labels below it.
#[derive(Debug)]
pub(super) enum HostPattern {
    Any,
    Exact(String),
    /// The suffix with its leading dot.
    Below(String),
}

impl HostPattern {
    pub(super) fn new(pattern: &str) -> Self {
        match pattern.strip_prefix('*') {
            Some("") => Self::Any,
            Some(below) => Self::Below(below.to_ascii_lowercase()),
            None => Self::Exact(pattern.to_ascii_lowercase()),
        }
    }

    /// Compares without regard to case, port or a final dot (RFC 3986 §3.2.2).
    pub(super) fn matches(&self, authority: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(host) => host_of(authority).eq_ignore_ascii_case(host),
            Self::Below(suffix) => {
                let host = host_of(authority).as_bytes();
                host.len() > suffix.len()
                    && host
                        .get(host.len() - suffix.len()..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(suffix.as_bytes()))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(host) => f.write_str(host),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("/*"),
            Self::Exact(path) => f.write_str(path),
            Self::Below(prefix) => write!(f, "{prefix}/*"),
            Self::Segments(segments) => segments.iter().try_for_each(|segment| match segment {
                Segment::Text(text) => write!(f, "/{text}"),
                Segment::One(name) => write!(f, "/{{{name}}}"),
                Segment::Rest(Some(name)) => write!(f, "/{{*{name}}}"),
                Segment::Rest(None) => f.write_str("/*"),
            }),
        }
    }
}

/// `/exact`, `/prefix/*` for the prefix and all below it, or a path with captures.
#[derive(Debug)]
pub(super) enum PathPattern {
    Any,
    Exact(String),
    /// The prefix without its final slash.
    Below(String),
    /// At least one of them captures.
    Segments(Vec<Segment>),
}

/// The part of a path pattern between two slashes.
#[derive(Debug)]
pub(super) enum Segment {
    Text(String),
    /// `{name}`: any one segment that is not empty.
    One(String),
    /// `{*name}` or `*`: all segments that follow, or none.
    Rest(Option<String>),
}

impl Segment {
    fn new(text: &str) -> Self {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match (text, name) {
            ("*", _) => Self::Rest(None),
            (_, None) => Self::Text(text.to_owned()),
            (_, Some(name)) => match name.strip_prefix('*') {
                Some(name) => Self::Rest(Some(name.to_owned())),
                None => Self::One(name.to_owned()),
            },
        }
    }
}

impl PathPattern {
    pub(super) fn new(pattern: &str) -> Self {
        if pattern.contains('{') {
            let segments = pattern.split('/').skip(1);
            return Self::Segments(segments.map(Segment::new).collect());
        }
        match pattern.strip_suffix("/*") {
            Some("") => Self::Any,
            Some(prefix) => Self::Below(prefix.to_owned()),
            None => Self::Exact(pattern.to_owned()),
        }
    }

    pub(super) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => path == exact,
            Self::Below(prefix) => path
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
            Self::Segments(segments) => walk(segments, path, |_, _| {}),
        }
    }

    /// Returns the parts of a matching path that the pattern names, as they were sent.
    pub(super) fn captures(&self, path: &str) -> Captures {
        let mut captures = Captures::default();
        if let Self::Segments(segments) = self {
            walk(segments, path, |name, value| captures.push(name, value));
        }
        captures
    }
}

/// Returns whether a path has these segments. Calls `found` with the name and value of each capture
/// on the way.
fn walk(segments: &[Segment], path: &str, mut found: impl FnMut(&str, &str)) -> bool {
    let mut rest = path.strip_prefix('/');
    for segment in segments {
        if let Segment::Rest(name) = segment {
            if let Some(name) = name {
                found(name, rest.unwrap_or_default());
            }
            return true;
        }
        let Some(left) = rest else { return false };
        let (one, behind) =
            left.split_once('/').map_or((left, None), |(one, behind)| (one, Some(behind)));
        match segment {
            Segment::Text(text) if text == one => {}
            Segment::One(name) if !one.is_empty() => found(name, one),
            _ => return false,
        }
        rest = behind;
    }
    rest.is_none()
}

/// Returns the host of an authority, without port and without a final dot.
fn host_of(authority: &str) -> &str {
    let host = if authority.starts_with('[') {
        authority.split_inclusive(']').next().unwrap_or(authority)
    } else {
        authority.split(':').next().unwrap_or(authority)
    };
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_matches_without_case_port_or_final_dot() {
        let exact = HostPattern::new("Example.com");
        for authority in ["example.com", "EXAMPLE.COM:8443", "example.com."] {
            assert!(exact.matches(authority), "{authority}");
        }
        assert!(!exact.matches("www.example.com"));
        assert!(HostPattern::new("[::1]").matches("[::1]:443"));
    }

    #[test]
    fn a_wildcard_needs_a_label_before_the_dot() {
        let below = HostPattern::new("*.example.com");
        assert!(below.matches("a.example.com") && below.matches("a.b.example.com:1"));
        assert!(!below.matches("example.com") && !below.matches(".example.com"));
        assert!(!below.matches("badexample.com"));
    }

    #[test]
    fn a_prefix_ends_at_a_slash() {
        let below = PathPattern::new("/api/*");
        assert!(below.matches("/api") && below.matches("/api/") && below.matches("/api/a/b"));
        assert!(!below.matches("/apis") && !below.matches("/"));
        assert!(PathPattern::new("/x").matches("/x"));
        assert!(!PathPattern::new("/x").matches("/x/"));
    }

    #[test]
    fn a_capture_is_one_segment_or_the_rest() {
        let captured = |pattern: &str, path: &str| {
            let pattern = PathPattern::new(pattern);
            pattern.matches(path).then(|| {
                let captures = pattern.captures(path);
                let each = captures.iter().map(|(name, value)| format!("{name}={value}"));
                each.collect::<Vec<_>>().join(" ")
            })
        };
        let found = |text: &str| Some(text.to_owned());
        let orders = "/users/{id}/orders/{order}";
        assert_eq!(captured(orders, "/users/a%2Fb/orders/7"), found("id=a%2Fb order=7"));
        for path in
            ["/users//orders/7", "/users/5/orders", "/users/5/orders/7/", "/users/5/x/7", "/"]
        {
            assert_eq!(captured(orders, path), None, "{path}");
        }
        assert_eq!(captured("/users/{id}/", "/users/5/"), found("id=5"));
        assert_eq!(captured("/users/{id}/", "/users/5"), None);
        assert_eq!(captured("/users/{id}/*", "/users/5"), found("id=5"));
        assert_eq!(captured("/users/{id}/*", "/users/5/a/b"), found("id=5"));
        assert_eq!(captured("/users/{id}/*", "/users"), None);
        for (path, rest) in [("/files", ""), ("/files/", ""), ("/files/a/b", "a/b")] {
            assert_eq!(captured("/files/{*rest}", path), found(&format!("rest={rest}")), "{path}");
        }
        assert_eq!(captured("/files/{*rest}", "/filesystem"), None);
        assert_eq!(PathPattern::new("/a/{b}/{*c}").to_string(), "/a/{b}/{*c}");
        assert_eq!(PathPattern::new("/a/{b}/*").to_string(), "/a/{b}/*");
    }
}
