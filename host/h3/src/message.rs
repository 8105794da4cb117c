//! The rules for messages (RFC 9114 §4): the rules about field sections that every version of HTTP
//! shares, and the assembly of a request or a response from a decoded section.
//!
//! The functions on a [`HeaderMap`] are independent of HTTP/3's framing. A proxy applies the same
//! rules to messages of other versions, and to the output of plugins.

mod response;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::net::Ipv6Addr;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::priority::Priority;
use crate::qpack::{Malformed, Pseudo, Sink, Text};

pub(crate) use response::ResponseSection;

/// Fields that belong to one connection of HTTP/1.1 (RFC 9110 §7.6.1, RFC 9114 §4.2).
pub static OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The `:protocol` of an extended CONNECT (RFC 9220 §3), among a request's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Protocol(Bytes);

impl Protocol {
    /// The token, such as `websocket`, `connect-udp` or `webtransport`.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Checks that fields contain none of those of connections, and no TE but `trailers`.
///
/// # Errors
/// The rule that is broken.
pub fn section(fields: &HeaderMap) -> Result<(), &'static str> {
    if OF_CONNECTIONS.iter().any(|name| fields.contains_key(name)) {
        return Err(OF_A_CONNECTION);
    }
    if fields.get_all(TE).iter().any(|te| te != "trailers") {
        return Err(OTHER_TE);
    }
    Ok(())
}

/// The value of Content-Length (RFC 9110 §8.6), if there is one.
///
/// # Errors
/// The value is not one number in digits.
pub fn content_length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let length = number(value)?;
    if values.next().is_none() { Ok(Some(length)) } else { Err(NO_LENGTH) }
}

fn number(value: &HeaderValue) -> Result<u64, &'static str> {
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    let digits = value.to_str().ok().filter(|_| is_number);
    digits.and_then(|digits| digits.parse().ok()).ok_or(NO_LENGTH)
}

/// Reads the authority of a Host field or `:authority`, and checks it with [`check_authority`].
///
/// # Errors
/// The rule that is broken.
pub fn authority(value: Bytes) -> Result<Authority, &'static str> {
    let authority = Authority::from_maybe_shared(value).map_err(|_| NO_AUTHORITY)?;
    check_authority(&authority)?;
    Ok(authority)
}

/// Checks that an authority is a host, never empty, without user information, with a port or none
/// (RFC 9110 §4.2.4, §7.2). Brackets hold an IPv6 address and nothing else (RFC 3986 §3.2.2): no
/// later version was ever defined.
///
/// # Errors
/// The rule that is broken.
pub fn check_authority(authority: &Authority) -> Result<(), &'static str> {
    if authority.as_str().contains('@') {
        return Err("user information in the authority");
    }
    let host = authority.host();
    // `Authority` accepts any text after the host that has only characters of authorities.
    let is_port = match authority.as_str().strip_prefix(host) {
        Some("" | ":") => true,
        Some(port) => {
            authority.port_u16().is_some() && port.bytes().skip(1).all(|b| b.is_ascii_digit())
        }
        None => false,
    };
    if host.is_empty() || !is_port || !is_host(host) { Err(NO_AUTHORITY) } else { Ok(()) }
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<Ipv6Addr>().is_ok()),
        None => !host.bytes().any(|byte| byte == b'[' || byte == b']'),
    }
}

/// Whether two authorities name one host and port. Case does not count. A port that is absent or
/// empty is the default port of `scheme` (RFC 9110 §4.2.3, RFC 9113 §8.3.1).
pub fn is_same_authority(one: &Authority, other: &Authority, scheme: Option<&Scheme>) -> bool {
    let default = scheme.and_then(default_port);
    let port = |authority: &Authority| authority.port_u16().or(default);
    // `Authority` compares as text, without regard to case.
    one == other || (one.host().eq_ignore_ascii_case(other.host()) && port(one) == port(other))
}

/// The port of a scheme of HTTP (RFC 9110 §4.2).
fn default_port(scheme: &Scheme) -> Option<u16> {
    match scheme.as_str() {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// Reads the path and query of a request target: from the first slash on, without a fragment (RFC
/// 9110 §7.1, RFC 9114 §4.3.1). `*` is valid for OPTIONS only.
///
/// # Errors
/// The rule that is broken.
pub fn path(value: Bytes, method: &Method) -> Result<PathAndQuery, &'static str> {
    if value.contains(&b'#') {
        return Err("the path has a fragment");
    }
    received_path(value, method)
}

/// Reads a path as [`path`] does, but from a client. A fragment is removed, not refused. The
/// parsers of the other versions of HTTP remove it before any check, and a request must mean the
/// same in each version.
fn received_path(value: Bytes, method: &Method) -> Result<PathAndQuery, &'static str> {
    match &*value {
        [b'/', ..] => {}
        b"*" if method == Method::OPTIONS => {}
        _ => return Err("the path does not begin with a slash"),
    }
    PathAndQuery::from_maybe_shared(value).map_err(|_| "the path has characters that none may have")
}

/// The authority of a connection's last request. The next request nearly always has the same one,
/// which then needs no check.
#[derive(Debug, Default)]
pub(crate) struct LastAuthority(RefCell<Option<Authority>>);

impl LastAuthority {
    /// Reads an authority as [`authority`] does, into memory of its own.
    fn read(&self, value: &[u8]) -> Result<Authority, &'static str> {
        if let Some(last) = &*self.0.borrow()
            && last.as_str().as_bytes() == value
        {
            return Ok(last.clone());
        }
        let authority = authority(Bytes::copy_from_slice(value))?;
        if value.len() <= LONGEST_KEPT {
            self.0.replace(Some(authority.clone()));
        }
        Ok(authority)
    }
}

/// Assembles a request from the fields of its section as they are decoded.
#[derive(Debug)]
pub(crate) struct RequestSection<'a> {
    request: &'a mut Request<()>,
    last: &'a LastAuthority,
    has_method: bool,
    scheme: Option<Scheme>,
    authority: Option<Authority>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    hosts: u32,
    noted: Noted,
}

/// The facts of a request's fields that the reader of the body needs.
#[derive(Debug, Default)]
pub(crate) struct Noted {
    /// The length of the content.
    pub(crate) length: Option<u64>,
    /// The urgency of the response (RFC 9218 §5).
    pub(crate) priority: Option<Priority>,
}

impl Sink for RequestSection<'_> {
    fn pseudo(&mut self, name: Pseudo, value: Text<'_>) -> Result<(), Malformed> {
        if !self.request.headers().is_empty() {
            return Err(Malformed::Refused("a pseudo-header field after other fields"));
        }
        let is_again = match name {
            Pseudo::Method => {
                *self.request.method_mut() = parse_method(&value).map_err(Malformed::Refused)?;
                std::mem::replace(&mut self.has_method, true)
            }
            Pseudo::Scheme => {
                let scheme = parse_scheme(&value).map_err(Malformed::Refused)?;
                self.scheme.replace(scheme).is_some()
            }
            Pseudo::Authority => {
                let authority = self.last.read(&value).map_err(Malformed::Refused)?;
                self.authority.replace(authority).is_some()
            }
            Pseudo::Path => self.path.replace(value.into_bytes()).is_some(),
            Pseudo::Protocol => self.protocol.replace(value.into_bytes()).is_some(),
            Pseudo::Status => return Err(Malformed::Refused(":status in a request")),
        };
        if is_again {
            return Err(Malformed::Refused("a pseudo-header field twice"));
        }
        Ok(())
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        // A look-up of these names afterwards takes as long as all the rest.
        match name.as_str() {
            "connection" | "keep-alive" | "proxy-connection" | "transfer-encoding" | "upgrade" => {
                return Err(Malformed::Refused(OF_A_CONNECTION));
            }
            "te" if value != "trailers" => return Err(Malformed::Refused(OTHER_TE)),
            "host" => self.hosts += 1,
            "content-length" => {
                let length = number(&value).map_err(Malformed::Refused)?;
                if self.noted.length.replace(length).is_some() {
                    return Err(Malformed::Refused(NO_LENGTH));
                }
            }
            "priority" => {
                let priority = || Priority::parse(value.as_bytes());
                self.noted.priority.get_or_insert_with(priority);
            }
            _ => {}
        }
        self.request.headers_mut().field(name, value)
    }
}

impl<'a> RequestSection<'a> {
    /// Starts the fields of `request`, which must be new.
    pub(crate) fn new(request: &'a mut Request<()>, last: &'a LastAuthority) -> Self {
        *request.version_mut() = Version::HTTP_3;
        Self {
            request,
            last,
            has_method: false,
            scheme: None,
            authority: None,
            path: None,
            protocol: None,
            hosts: 0,
            noted: Noted::default(),
        }
    }

    /// Completes the request. `extended` says whether this side has announced extended CONNECT.
    ///
    /// # Errors
    /// The reason why it is malformed (RFC 9114 §4.1.2).
    pub(crate) fn finish(self, extended: bool) -> Result<Noted, &'static str> {
        let Self { request, last, .. } = self;
        if !self.has_method {
            return Err("no :method");
        }
        let is_connect = request.method() == Method::CONNECT;
        if self.protocol.is_some() && !(is_connect && extended) {
            return Err(":protocol without CONNECT, or unannounced");
        }
        let host = match self.hosts {
            0 => None,
            1 => request.headers().get(HOST),
            _ => return Err("more than one Host"),
        };
        let authority = one_authority(self.authority, host, self.scheme.as_ref(), last)?;
        let uri = match (self.scheme, self.path) {
            // RFC 9114 §4.4
            (None, None) if is_connect && self.protocol.is_none() => Uri::from(authority),
            _ if is_connect && self.protocol.is_none() => {
                return Err("CONNECT with another target than an authority");
            }
            (Some(scheme), Some(path)) => {
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(scheme);
                parts.path_and_query = Some(received_path(path, request.method())?);
                parts.authority = Some(authority);
                Uri::from_parts(parts).map_err(|_| "the target is malformed")?
            }
            (None, _) => return Err("no :scheme"),
            (_, None) => return Err("no :path"),
        };
        *request.uri_mut() = uri;
        if let Some(protocol) = self.protocol {
            request.extensions_mut().insert(parse_protocol(protocol)?);
        }
        Ok(self.noted)
    }
}

/// Returns `:authority`, or Host, or the first if both name the same (RFC 9114 §4.3.1).
fn one_authority(
    pseudo: Option<Authority>,
    host: Option<&HeaderValue>,
    scheme: Option<&Scheme>,
    last: &LastAuthority,
) -> Result<Authority, &'static str> {
    match (pseudo, host) {
        (Some(pseudo), Some(host)) if host.as_bytes() != pseudo.as_str().as_bytes() => {
            let host = authority(Bytes::copy_from_slice(host.as_bytes()))?;
            let is_same = is_same_authority(&pseudo, &host, scheme);
            if is_same { Ok(pseudo) } else { Err(":authority and Host differ") }
        }
        (Some(authority), _) => Ok(authority),
        (None, Some(host)) => last.read(host.as_bytes()),
        (None, None) => Err("no authority"),
    }
}

fn parse_method(method: &[u8]) -> Result<Method, &'static str> {
    Method::from_bytes(method).map_err(|_| "the method is no token")
}

fn parse_scheme(scheme: &[u8]) -> Result<Scheme, &'static str> {
    match scheme {
        b"https" => Ok(Scheme::HTTPS),
        b"http" => Ok(Scheme::HTTP),
        // `Scheme` accepts an empty text, and a digit as first character (RFC 3986 §3.1).
        [b'a'..=b'z' | b'A'..=b'Z', ..] => Scheme::try_from(scheme).map_err(|_| NO_SCHEME),
        _ => Err(NO_SCHEME),
    }
}

fn parse_protocol(token: Bytes) -> Result<Protocol, &'static str> {
    // The characters of a token are those of a field's name, in either case (RFC 9110 §5.6.2).
    HeaderName::from_bytes(&token).map_err(|_| ":protocol is no token")?;
    Ok(Protocol(token))
}

/// Bytes of an authority that is stored, at most: more than a name can have (RFC 1035 §2.3.4).
const LONGEST_KEPT: usize = 256;

const OF_A_CONNECTION: &str = "a field of HTTP/1.1 connections";
const NO_AUTHORITY: &str = "the authority is none";
const NO_LENGTH: &str = "content-length is not one number";
const NO_SCHEME: &str = "the scheme is none";
const OTHER_TE: &str = "TE other than trailers";
