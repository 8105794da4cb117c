//! The allowed origins, and the check of an origin.

/// The origins that may read responses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origins {
    /// `*`: every origin, with the same fields for all requests.
    Any,
    Listed {
        /// Serialized origins (HTML §7.5) and `null`, sorted.
        exact: Vec<String>,
        patterns: Vec<Pattern>,
    },
}

/// A set of origins of one scheme, with an open host or port.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    scheme: String,
    host: Host,
    port: Port,
}

#[derive(Debug, PartialEq, Eq)]
enum Host {
    Exact(String),
    /// With the leading dot.
    Below(String),
}

#[derive(Debug, PartialEq, Eq)]
enum Port {
    Any,
    /// The text. Empty for the default of the scheme, which a serialized origin omits.
    Exact(String),
}

impl Origins {
    /// Parses the list. An error names the item.
    pub(crate) fn new(list: &[String]) -> Result<Origins, String> {
        if list.is_empty() || list.len() > MAX_ORIGINS {
            return Err(format!("origins: must be 1 to {MAX_ORIGINS}"));
        }
        if let Some(at) = list.iter().position(|origin| origin == "*") {
            let is_alone = list.len() == 1;
            let error = || format!("origins[{at}]: * allows every origin and must stand alone");
            return is_alone.then_some(Origins::Any).ok_or_else(error);
        }
        let (mut exact, mut patterns) = (Vec::new(), Vec::new());
        for (at, origin) in list.iter().enumerate() {
            match parse(origin).map_err(|error| format!("origins[{at}]: {error}"))? {
                Parsed::Exact(origin) => exact.push(origin),
                Parsed::Pattern(pattern) => patterns.push(pattern),
            }
        }
        exact.sort_unstable();
        Ok(Origins::Listed { exact, patterns })
    }

    /// Whether the value of an Origin field is allowed. The comparison is by bytes: browsers send
    /// the serialized form, in lower case and without the default port.
    pub(crate) fn allows(&self, origin: &[u8]) -> bool {
        match self {
            Origins::Any => true,
            Origins::Listed { exact, patterns } => {
                exact.binary_search_by(|one| one.as_bytes().cmp(origin)).is_ok()
                    || (!patterns.is_empty() && is_matched(patterns, origin))
            }
        }
    }

    /// Whether the list has `null`, the origin of sandboxed frames and of files. Any page can take
    /// this origin.
    pub(crate) fn has_null(&self) -> bool {
        matches!(self, Origins::Listed { exact, .. } if exact.iter().any(|one| one == "null"))
    }
}

impl Pattern {
    fn matches(&self, scheme: &str, host: &str, port: &str) -> bool {
        let is_host = match &self.host {
            Host::Exact(exact) => host == exact,
            Host::Below(suffix) => host.strip_suffix(suffix.as_str()).is_some_and(are_labels),
        };
        let is_port = match &self.port {
            Port::Any => port.is_empty() || is_port_number(port),
            Port::Exact(exact) => port == exact,
        };
        scheme == self.scheme && is_host && is_port
    }
}

/// Returns the origin in the serialized form that a browser sends.
pub(crate) fn serialized(scheme: &str, authority: &str) -> String {
    let scheme = scheme.to_ascii_lowercase();
    let authority = authority.to_ascii_lowercase();
    let (host, port) = split_port(&authority);
    match port {
        "" => format!("{scheme}://{host}"),
        port if is_default(&scheme, port) => format!("{scheme}://{host}"),
        port => format!("{scheme}://{host}:{port}"),
    }
}

fn is_matched(patterns: &[Pattern], origin: &[u8]) -> bool {
    let Some((scheme, authority)) =
        std::str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    let (host, port) = split_port(authority);
    // `host:` without a port is not a serialized origin.
    let has_bare_colon = port.is_empty() && host.len() != authority.len();
    host.len() <= MAX_HOST
        && !has_bare_colon
        && patterns.iter().any(|pattern| pattern.matches(scheme, host, port))
}

enum Parsed {
    Exact(String),
    Pattern(Pattern),
}

fn parse(text: &str) -> Result<Parsed, String> {
    if text == "null" {
        return Ok(Parsed::Exact(text.to_owned()));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(format!("{text:?} is not an origin such as https://app.example.com"));
    };
    let (scheme, authority) = (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase());
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme {
        return Err(format!("{scheme:?} is not a scheme"));
    }
    let (host, port) = split_port(&authority);
    let port = match port {
        "*" => Port::Any,
        "" if host.len() == authority.len() => Port::Exact(String::new()),
        port if !is_port_number(port) => return Err(format!("{port:?} is not a port")),
        port if is_default(&scheme, port) => Port::Exact(String::new()),
        port => Port::Exact(port.to_owned()),
    };
    let host = match host.strip_prefix("*.") {
        Some(below) if is_name(below) => Host::Below(format!(".{below}")),
        None if is_name(host) || is_ipv6(host) => Host::Exact(host.to_owned()),
        _ => {
            return Err(format!(
                "{host:?} is not a host: a wildcard stands for whole labels, as in *.example.com, names outside \
                 ASCII are written as xn--…, and an origin has no path"
            ));
        }
    };
    Ok(match (host, port) {
        (Host::Exact(host), Port::Exact(port)) if port.is_empty() => {
            Parsed::Exact(format!("{scheme}://{host}"))
        }
        (Host::Exact(host), Port::Exact(port)) => {
            Parsed::Exact(format!("{scheme}://{host}:{port}"))
        }
        (host, port) => Parsed::Pattern(Pattern { scheme, host, port }),
    })
}

/// Splits an authority into host and port. An IPv6 address keeps its brackets.
fn split_port(authority: &str) -> (&str, &str) {
    let end_of_host = authority.rfind(']').unwrap_or(0);
    match authority.rfind(':') {
        Some(colon) if colon >= end_of_host => {
            let (host, port) = authority.split_at(colon);
            (host, port.strip_prefix(':').unwrap_or(port))
        }
        _ => (authority, ""),
    }
}

fn is_name(host: &str) -> bool {
    let is_label = |label: &str| !label.is_empty() && label.len() <= 63;
    host.len() <= MAX_HOST && host.split('.').all(is_label) && host.bytes().all(is_of_label_or_dot)
}

fn is_ipv6(host: &str) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// Whether the text is one label or several, as a wildcard requires. It can hide no slash, port or
/// user.
fn are_labels(text: &str) -> bool {
    text.split('.').all(|label| !label.is_empty()) && text.bytes().all(is_of_label_or_dot)
}

fn is_of_label_or_dot(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b)
}

fn is_port_number(port: &str) -> bool {
    let is_canonical = port.bytes().all(|b| b.is_ascii_digit()) && !port.starts_with('0');
    is_canonical && port.parse::<u16>().is_ok()
}

fn is_default(scheme: &str, port: &str) -> bool {
    matches!((scheme, port), ("https" | "wss", "443") | ("http" | "ws", "80"))
}

/// Enough for the domains of all customers. The list is searched only for requests with an Origin.
pub(crate) const MAX_ORIGINS: usize = 256;

/// The longest host name, in bytes (RFC 1035 §2.3.4).
const MAX_HOST: usize = 253;

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(list: &[&str]) -> Result<Origins, String> {
        let list: Vec<String> = list.iter().map(|one| (*one).to_owned()).collect();
        Origins::new(&list)
    }

    fn allows(list: &[&str], origin: &str) -> bool {
        origins(list).unwrap().allows(origin.as_bytes())
    }

    #[test]
    fn an_exact_origin_is_that_and_no_other() {
        let list = &["https://App.Example.com:443", "http://a.test:8080", "http://[::1]:3000"];
        for origin in ["https://app.example.com", "http://a.test:8080", "http://[::1]:3000"] {
            assert!(allows(list, origin), "{origin}");
        }
        let others = [
            "http://app.example.com",
            "https://app.example.com:444",
            "https://app.example.com.evil.test",
            "https://evil.test/https://app.example.com",
            "https://app.example.co",
            "https://xapp.example.com",
            "https://app.example.com/",
            "https://app.example.com ",
            "HTTPS://APP.EXAMPLE.COM",
            "http://a.test",
            "null",
            "",
        ];
        for origin in others {
            assert!(!allows(list, origin), "{origin}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_labels_below() {
        let list = &["https://*.example.com", "http://*.dev.test:8080"];
        for origin in
            ["https://a.example.com", "https://a.b-c.example.com", "http://x.dev.test:8080"]
        {
            assert!(allows(list, origin), "{origin}");
        }
        let others = [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evilexample.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com:",
            "https://a.example.com.evil.test",
            "https://evil.test/.example.com",
            "https://evil.test:1@a.example.com",
            "https://evil.test?.example.com",
            "https://evil.test#.example.com",
            "https://evil.test\\.example.com",
            "https://a.EXAMPLE.com",
            "https://[::1].example.com",
            "https://a.example.com]:443",
            "https://a.example.com]",
            "https://a,b.example.com",
            "http://x.dev.test",
        ];
        for origin in others {
            assert!(!allows(list, origin), "{origin}");
        }
        let long = format!("https://{}.example.com", "a.".repeat(121) + "a");
        assert!(!allows(list, &long), "a host has at most 253 bytes");
        let longest = format!("https://{}.example.com", "a.".repeat(120) + "a");
        assert!(allows(list, &longest));
        assert!(!origins(list).unwrap().allows(b"https://\xff.example.com"));
    }

    #[test]
    fn any_port_is_any_number_and_nothing_else() {
        let list = &["http://localhost:*"];
        for origin in ["http://localhost", "http://localhost:1", "http://localhost:65535"] {
            assert!(allows(list, origin), "{origin}");
        }
        for origin in [
            "http://localhost:",
            "http://localhost:65536",
            "http://localhost:080",
            "http://localhost:x",
            "http://localhost:1:2",
            "https://localhost:1",
            "http://localhost.evil.test:1",
        ] {
            assert!(!allows(list, origin), "{origin}");
        }
    }

    #[test]
    fn null_is_allowed_only_when_listed() {
        assert!(!allows(&["https://*.example.com"], "null"));
        let listed = origins(&["null"]).unwrap();
        assert!(listed.allows(b"null") && listed.has_null() && !listed.allows(b"Null"));
        assert!(allows(&["*"], "null"), "browsers take * for it as well");
    }

    #[test]
    fn mistakes_are_named_with_their_place() {
        for (list, place) in [
            (&["https://a.test", "*"][..], "origins[1]: *"),
            (&["https://a.test", "b.test"][..], "origins[1]:"),
            (&["https://a.test/"][..], "origins[0]:"),
            (&["https://a.test/path"][..], "origins[0]:"),
            (&["https://*"][..], "origins[0]:"),
            (&["https://*example.com"][..], "origins[0]:"),
            (&["https://a.*.com"][..], "origins[0]:"),
            (&["https://*.*.com"][..], "origins[0]:"),
            (&["*://a.test"][..], "origins[0]:"),
            (&["https://"][..], "origins[0]:"),
            (&["https://a.test:"][..], "origins[0]:"),
            (&["https://a.test:0"][..], "origins[0]:"),
            (&["https://a.test:99999"][..], "origins[0]:"),
            (&["https://user@a.test"][..], "origins[0]:"),
            (&["https://bücher.test"][..], "origins[0]:"),
            (&["https://[::1"][..], "origins[0]:"),
            (&[][..], "origins:"),
        ] {
            let error = origins(list).unwrap_err();
            assert!(error.starts_with(place), "{list:?}: {error}");
        }
    }

    #[test]
    fn an_origin_is_serialized_as_browsers_do() {
        assert_eq!(serialized("https", "Shop.test:443"), "https://shop.test");
        assert_eq!(serialized("https", "shop.test:8443"), "https://shop.test:8443");
        assert_eq!(serialized("http", "[::1]:80"), "http://[::1]");
        assert_eq!(serialized("http", "[::1]"), "http://[::1]");
    }
}
