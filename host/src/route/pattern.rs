//! Patterns of hosts and paths. A match allocates nothing.

use std::fmt;

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
        }
    }
}

/// `/exact`, or `/prefix/*` for the prefix and all below it.
#[derive(Debug)]
pub(super) enum PathPattern {
    Any,
    Exact(String),
    /// The prefix without its final slash.
    Below(String),
}

impl PathPattern {
    pub(super) fn new(pattern: &str) -> Self {
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
        }
    }
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
}
