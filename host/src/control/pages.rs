//! Refuses requests that pages of other sites make a browser send here.
//!
//! A page can resolve a name of its own to this address (DNS rebinding). The browser then takes
//! both for one site, and only Host shows the difference. Without rebinding, the browser itself
//! reports another site: in Origin, or in Sec-Fetch-Site.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, Version};

/// The names that clients may use for a listener, in Host or in an absolute target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Names {
    /// An IP address or `localhost`, with any port: there may be a tunnel before the listener. No
    /// other name is accepted. `localhost.` and names below `localhost` are refused too, as some
    /// resolvers ask a server for them. A page of the same site, by the browser's Origin, may send
    /// requests too.
    Local,
    /// Any name. No page with an Origin may send requests.
    Any,
}

impl Names {
    /// Returns the names of a listener at `address` that demands no token.
    pub(crate) fn of(address: SocketAddr) -> Self {
        if address.ip().to_canonical().is_loopback() { Self::Local } else { Self::Any }
    }
}

/// The reason why a request is refused.
#[derive(Debug, PartialEq)]
pub(crate) struct Denial {
    pub(crate) status: StatusCode,
    pub(crate) reason: &'static str,
}

impl Denial {
    const fn malformed(reason: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, reason }
    }

    const fn forbidden(reason: &'static str) -> Self {
        Self { status: StatusCode::FORBIDDEN, reason }
    }
}

/// Checks the head of a request.
///
/// # Errors
/// [`Denial`]: 400 for a head without one clear host, 403 for a foreign name or page.
pub(super) fn check<B>(request: &Request<B>, names: Names) -> Result<(), Denial> {
    let host = host(request)?;
    let site = host.map(Site::parse);
    if names == Names::Local && site.as_ref().is_some_and(|site| !site.is_local()) {
        return Err(Denial::forbidden("Host must be an IP address or localhost"));
    }
    let fields = request.headers();
    let is_own = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        names == Names::Local && origin.is_some() && origin.map(Site::parse) == site
    };
    if !all(fields, &ORIGIN, is_own) {
        return Err(Denial::forbidden("Origin names another site"));
    }
    // `same-site` is another port of this machine.
    if !all(fields, &SEC_FETCH_SITE, |site| matches!(site.as_bytes(), b"none" | b"same-origin")) {
        return Err(Denial::forbidden("Sec-Fetch-Site names another site"));
    }
    Ok(())
}

/// Returns the one host of a request (RFC 9112 §3.2): that of an absolute target, else Host.
/// HTTP/1.0 needs none, and no browser speaks HTTP/1.0.
fn host<B>(request: &Request<B>) -> Result<Option<&str>, Denial> {
    let target = request.uri().authority().map(http::uri::Authority::as_str);
    if request.uri().scheme_str().is_some_and(|scheme| scheme != "http") {
        return Err(Denial::malformed("the scheme of the target must be http"));
    }
    let mut values = request.headers().get_all(HOST).iter();
    let (value, further) = (values.next(), values.next());
    if further.is_some() {
        return Err(Denial::malformed("there is more than one Host"));
    }
    // A value that is not text is an unknown name.
    let host = value.map(|value| value.to_str().unwrap_or_default());
    match (target, host) {
        (_, None) if request.version() > Version::HTTP_10 => {
            Err(Denial::malformed("Host is missing"))
        }
        (Some(target), Some(host)) if Site::parse(target) != Site::parse(host) => {
            Err(Denial::malformed("Host and the target are of different sites"))
        }
        (target, host) => Ok(target.or(host)),
    }
}

/// Whether a field is absent, or has one value that `is_good` accepts. Two values are never
/// accepted: another reader on the way may take the other one.
fn all(fields: &HeaderMap, name: &HeaderName, is_good: impl Fn(&HeaderValue) -> bool) -> bool {
    let mut values = fields.get_all(name).iter();
    values.next().is_none_or(is_good) && values.next().is_none()
}

/// A host and its port, in a form that can be compared.
#[derive(Debug, PartialEq)]
struct Site {
    host: Host,
    port: Option<u16>,
}

#[derive(Debug, PartialEq)]
enum Host {
    Address(IpAddr),
    /// The name in lower case.
    Name(String),
}

impl Site {
    /// Reads `HOST` or `HOST:PORT`. Any other text becomes a name, and it is not local.
    fn parse(text: &str) -> Self {
        let name = || Self { host: Host::Name(text.to_ascii_lowercase()), port: None };
        let (host, port) = match text.rfind(':') {
            Some(at) if !text.ends_with(']') => (text.get(..at), text.get(at + 1..)),
            _ => (Some(text), None),
        };
        let (Some(host), port) = (host, port.unwrap_or_default()) else { return name() };
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = if port.is_empty() { Some(HTTP) } else { port.parse().ok() };
        let Some(port) = port.filter(|_| is_number) else { return name() };
        let address = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        };
        let host = address.map_or_else(|| Host::Name(host.to_ascii_lowercase()), Host::Address);
        Self { host, port: Some(port) }
    }

    fn is_local(&self) -> bool {
        match &self.host {
            Host::Address(_) => true,
            Host::Name(name) => name == "localhost" && self.port.is_some(),
        }
    }
}

/// The port of a host without one (RFC 9110 §4.2.1).
const HTTP: u16 = 80;

/// The site that a browser's request comes from (Fetch Metadata §2.3). Browsers send it to loopback
/// addresses and over TLS.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the status for a head, 200 if it passes. The head is a target and `name: value`
    /// lines.
    fn status(names: Names, version: Version, target: &str, fields: &[&str]) -> u16 {
        let mut request = Request::get(target).version(version);
        for field in fields {
            let (name, value) = field.split_once(": ").unwrap();
            request = request.header(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let checked = check(&request.body(()).unwrap(), names);
        checked.map_or_else(|denial| denial.status.as_u16(), |()| 200)
    }

    fn local(fields: &[&str]) -> u16 {
        status(Names::Local, Version::HTTP_11, "/metrics", fields)
    }

    fn any(fields: &[&str]) -> u16 {
        status(Names::Any, Version::HTTP_11, "/metrics", fields)
    }

    const FOREIGN: [&str; 26] = [
        "evil.example",
        "evil.example:9091",
        "localhost.evil.example:9091",
        "localhost.",
        "localhost.:9091",
        "weir.localhost",
        "localhost..",
        ".localhost",
        "xlocalhost",
        "127.0.0.1.",
        "127.0.0.1.:9091",
        "127.0.0.1.nip.io",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "::1",
        "::1:9091",
        "[::1",
        "[::1%25lo]",
        "[localhost]",
        "[127.0.0.1]",
        "user@127.0.0.1",
        "127.0.0.1:80@evil.example",
        "localhost:port",
        "localhost:+80",
    ];

    #[test]
    fn local_names_are_addresses_and_localhost_at_any_port() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9091",
            "127.0.0.1:1",
            "127.0.0.2:9091",
            "10.0.0.7",
            "[::1]",
            "[::1]:9091",
            "[2001:db8::7]:80",
            "[::ffff:127.0.0.1]:9091",
            "localhost",
            "localhost:",
            "localhost:19091",
            "LOCALHOST:9091",
        ] {
            assert_eq!(local(&[&format!("host: {host}")]), 200, "{host}");
        }
        for host in
            FOREIGN.into_iter().chain(["", " ", "a b", "localhost:65536", "localhost:80:80"])
        {
            assert_eq!(local(&[&format!("host: {host}")]), 403, "{host}");
            assert_eq!(any(&[&format!("host: {host}")]), 200, "{host}");
        }
        assert_eq!(local(&["host: \u{e9}"]), 403);
    }

    #[test]
    fn a_request_has_one_host() {
        for names in [Names::Local, Names::Any] {
            let status =
                |version, target: &str, fields: &[&str]| status(names, version, target, fields);
            let one = Version::HTTP_11;
            assert_eq!(status(one, "/", &[]), 400);
            assert_eq!(status(Version::HTTP_10, "/", &[]), 200);
            assert_eq!(status(Version::HTTP_10, "/", &["host: 127.0.0.1", "host: 127.0.0.1"]), 400);
            assert_eq!(status(one, "/", &["host: 127.0.0.1", "host: evil.example"]), 400);
            assert_eq!(status(one, "/", &["host: 127.0.0.1", "host: 127.0.0.1"]), 400);
            let own = ["host: 127.0.0.1:9091"];
            assert_eq!(status(one, "http://127.0.0.1:9091/", &own), 200);
            assert_eq!(status(one, "http://evil.example/", &own), 400);
            assert_eq!(status(one, "http://127.0.0.1:9092/", &own), 400);
            assert_eq!(status(one, "https://127.0.0.1:9091/", &own), 400);
            assert_eq!(status(one, "http://127.0.0.1:9091/", &[]), 400);
            assert_eq!(status(one, "http://localhost:80/", &["host: LocalHost"]), 200);
        }
        let absolute = |target| status(Names::Local, Version::HTTP_10, target, &[]);
        assert_eq!(absolute("http://127.0.0.1:9091/"), 200);
        assert_eq!(absolute("http://evil.example/"), 403);
        assert_eq!(absolute("http://user@127.0.0.1/"), 403);
        let both = ["host: evil.example"];
        assert_eq!(status(Names::Local, Version::HTTP_11, "http://evil.example/", &both), 403);
    }

    #[test]
    fn a_local_page_asks_for_its_own_site_only() {
        let asks = |host: &str, origin: &str| {
            local(&[&format!("host: {host}"), &format!("origin: {origin}")])
        };
        for (host, origin) in [
            ("127.0.0.1:9091", "http://127.0.0.1:9091"),
            ("localhost:9091", "http://localhost:9091"),
            ("[::1]:9091", "http://[::1]:9091"),
            ("localhost:80", "http://localhost"),
            ("LOCALHOST:9091", "http://localhost:9091"),
        ] {
            assert_eq!(asks(host, origin), 200, "{host} {origin}");
        }
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1:9092",
            "http://127.0.0.1:90911",
            "http://127.0.0.1:9091.evil.example",
            "http://127.0.0.1:9091/",
            "http://127.0.0.1:9091@evil.example",
            "https://127.0.0.1:9091",
            "http://localhost:9091",
            "127.0.0.1:9091",
            "chrome-extension://aaaa",
            "http://127.0.0.1:9091 http://evil.example",
        ] {
            assert_eq!(asks("127.0.0.1:9091", origin), 403, "{origin}");
        }
        let own = "origin: http://127.0.0.1:9091";
        assert_eq!(local(&["host: 127.0.0.1:9091", own, "origin: null"]), 403);
        assert_eq!(local(&["host: 127.0.0.1:9091", own, own]), 403);
        assert_eq!(status(Names::Local, Version::HTTP_10, "/", &[own]), 403);
    }

    #[test]
    fn elsewhere_no_page_asks() {
        let host = "host: metrics.example:9090";
        assert_eq!(any(&[host]), 200);
        for origin in ["http://metrics.example:9090", "null", "http://evil.example", ""] {
            assert_eq!(any(&[host, &format!("origin: {origin}")]), 403, "{origin}");
        }
        assert_eq!(status(Names::Any, Version::HTTP_10, "/", &["origin: null"]), 403);
    }

    #[test]
    fn a_browser_says_that_another_site_asks() {
        for names in [Names::Local, Names::Any] {
            let asks = |fields: &[&str]| {
                let fields = [&["host: localhost:9090"], fields].concat();
                status(names, Version::HTTP_11, "/metrics", &fields)
            };
            for site in ["none", "same-origin"] {
                assert_eq!(asks(&[&format!("sec-fetch-site: {site}")]), 200, "{site}");
            }
            for site in ["cross-site", "same-site", "", "CROSS-SITE", "none, cross-site", "new"] {
                assert_eq!(asks(&[&format!("sec-fetch-site: {site}")]), 403, "{site}");
            }
            assert_eq!(asks(&["sec-fetch-site: none", "sec-fetch-site: cross-site"]), 403);
        }
    }

    #[test]
    fn a_loopback_address_has_local_names() {
        for address in ["127.0.0.1:9090", "127.9.9.9:1", "[::1]:9090", "[::ffff:127.0.0.1]:9090"] {
            assert_eq!(Names::of(address.parse().unwrap()), Names::Local, "{address}");
        }
        for address in ["0.0.0.0:9090", "[::]:9090", "10.0.0.7:9090", "[2001:db8::7]:9090"] {
            assert_eq!(Names::of(address.parse().unwrap()), Names::Any, "{address}");
        }
    }
}
