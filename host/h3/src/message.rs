//! What a message must be (RFC 9114 §4): the rules about field sections that every version of HTTP shares, and requests
//! put together from a decoded section.
//!
//! The functions over a [`HeaderMap`] have no part in HTTP/3's framing: a proxy holds messages of other versions, and
//! what plugins make of them, to the same rules.

use std::cell::RefCell;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};

use crate::qpack::{Malformed, Pseudo, Sink};

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

/// Whether fields are free of those of connections, and of any TE but `trailers`.
///
/// # Errors
/// What is wrong.
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
/// It is not digits, once.
pub fn content_length(fields: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut values = fields.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let is_number = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    match value.to_str().ok().and_then(|digits| digits.parse().ok()) {
        Some(length) if is_number && values.next().is_none() => Ok(Some(length)),
        _ => Err("content-length is not one number"),
    }
}

/// The authority in a Host field or `:authority`, held to [`check_authority`].
///
/// # Errors
/// What is wrong.
pub fn authority(value: Bytes) -> Result<Authority, &'static str> {
    let authority = Authority::from_maybe_shared(value).map_err(|_| NO_AUTHORITY)?;
    check_authority(&authority)?;
    Ok(authority)
}

/// Whether an authority is a host, never empty, without user information, and with a port or none (RFC 9110 §4.2.4,
/// §7.2).
///
/// # Errors
/// What is wrong.
pub fn check_authority(authority: &Authority) -> Result<(), &'static str> {
    if authority.as_str().contains('@') {
        return Err("user information in the authority");
    }
    let host = authority.host();
    // `Authority` takes whatever follows the host, as long as it is made of characters of authorities.
    let is_port = match authority.as_str().strip_prefix(host) {
        Some("" | ":") => true,
        Some(port) => {
            authority.port_u16().is_some() && port.bytes().skip(1).all(|b| b.is_ascii_digit())
        }
        None => false,
    };
    if host.is_empty() || !is_port { Err(NO_AUTHORITY) } else { Ok(()) }
}

/// The path and query of a request target: from the first slash on, without a fragment (RFC 9110 §7.1, RFC 9114 §4.3.1).
/// `*` is one for OPTIONS only.
///
/// # Errors
/// What is wrong.
pub fn path(value: Bytes, method: &Method) -> Result<PathAndQuery, &'static str> {
    match &*value {
        [b'/', rest @ ..] if !rest.contains(&b'#') => {}
        b"*" if method == Method::OPTIONS => {}
        [b'/', ..] => return Err("the path has a fragment"),
        _ => return Err("the path does not begin with a slash"),
    }
    PathAndQuery::from_maybe_shared(value).map_err(|_| "the path has characters that none may have")
}

/// The authority of a connection's last request. The next one's is nearly always the same, and is then not checked again.
#[derive(Debug, Default)]
pub(crate) struct LastAuthority(RefCell<Option<Authority>>);

impl LastAuthority {
    /// As [`authority`], in memory of its own.
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

/// Gathers the fields of a request's section as they are decoded.
#[derive(Debug, Default)]
pub(crate) struct RequestSection {
    method: Option<Bytes>,
    scheme: Option<Bytes>,
    authority: Option<Bytes>,
    path: Option<Bytes>,
    protocol: Option<Bytes>,
    fields: HeaderMap,
}

impl Sink for RequestSection {
    fn pseudo(&mut self, name: Pseudo, value: Bytes) -> Result<(), Malformed> {
        if !self.fields.is_empty() {
            return Err(Malformed::Refused("a pseudo-header field after other fields"));
        }
        let slot = match name {
            Pseudo::Method => &mut self.method,
            Pseudo::Scheme => &mut self.scheme,
            Pseudo::Authority => &mut self.authority,
            Pseudo::Path => &mut self.path,
            Pseudo::Protocol => &mut self.protocol,
            Pseudo::Status => return Err(Malformed::Refused(":status in a request")),
        };
        match slot.replace(value) {
            None => Ok(()),
            Some(_) => Err(Malformed::Refused("a pseudo-header field twice")),
        }
    }

    fn field(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Malformed> {
        if OF_CONNECTIONS.contains(&name) {
            return Err(Malformed::Refused(OF_A_CONNECTION));
        }
        if name == TE && value != "trailers" {
            return Err(Malformed::Refused(OTHER_TE));
        }
        self.fields.field(name, value)
    }
}

impl RequestSection {
    /// The request; `extended` says whether this side has announced extended CONNECT.
    ///
    /// # Errors
    /// Why it is malformed (RFC 9114 §4.1.2).
    pub(crate) fn finish(
        self,
        extended: bool,
        last: &LastAuthority,
    ) -> Result<Request<()>, &'static str> {
        let method = self.method.ok_or("no :method")?;
        let method = Method::from_bytes(&method).map_err(|_| "the method is no token")?;
        let is_connect = method == Method::CONNECT;
        if self.protocol.is_some() && !(is_connect && extended) {
            return Err(":protocol without CONNECT, or unannounced");
        }
        let headers = self.fields;
        let authority = one_authority(self.authority, &headers, last)?;
        let uri = match (self.scheme, self.path) {
            // RFC 9114 §4.4
            (None, None) if is_connect && self.protocol.is_none() => Uri::from(authority),
            _ if is_connect && self.protocol.is_none() => {
                return Err("CONNECT with another target than an authority");
            }
            (Some(scheme), Some(path)) => {
                let mut parts = http::uri::Parts::default();
                parts.scheme = Some(parse_scheme(&scheme)?);
                parts.path_and_query = Some(self::path(path, &method)?);
                parts.authority = Some(authority);
                Uri::from_parts(parts).map_err(|_| "the target is malformed")?
            }
            (None, _) => return Err("no :scheme"),
            (_, None) => return Err("no :path"),
        };
        content_length(&headers)?;
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_3;
        *request.headers_mut() = headers;
        if let Some(protocol) = self.protocol {
            request.extensions_mut().insert(parse_protocol(protocol)?);
        }
        Ok(request)
    }
}

/// `:authority`, Host, or both if they are the same (RFC 9114 §4.3.1).
fn one_authority(
    pseudo: Option<Bytes>,
    fields: &HeaderMap,
    last: &LastAuthority,
) -> Result<Authority, &'static str> {
    let mut hosts = fields.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host");
    }
    match (pseudo, host) {
        (Some(authority), Some(host)) if host.as_bytes() != authority => {
            Err(":authority and Host differ")
        }
        (Some(authority), _) => last.read(&authority),
        (None, Some(host)) => last.read(host.as_bytes()),
        (None, None) => Err("no authority"),
    }
}

fn parse_scheme(scheme: &[u8]) -> Result<Scheme, &'static str> {
    match scheme {
        b"https" => Ok(Scheme::HTTPS),
        b"http" => Ok(Scheme::HTTP),
        // `Scheme` takes nothing at all for one, and a digit first (RFC 3986 §3.1).
        [b'a'..=b'z' | b'A'..=b'Z', ..] => Scheme::try_from(scheme).map_err(|_| NO_SCHEME),
        _ => Err(NO_SCHEME),
    }
}

fn parse_protocol(token: Bytes) -> Result<Protocol, &'static str> {
    // The characters of a token are those of a field's name, in either case (RFC 9110 §5.6.2).
    HeaderName::from_bytes(&token).map_err(|_| ":protocol is no token")?;
    Ok(Protocol(token))
}

/// Bytes of an authority that is kept, at most: more than a name can have (RFC 1035 §2.3.4).
const LONGEST_KEPT: usize = 256;

const OF_A_CONNECTION: &str = "a field of HTTP/1.1 connections";
const NO_AUTHORITY: &str = "the authority is none";
const NO_SCHEME: &str = "the scheme is none";
const OTHER_TE: &str = "TE other than trailers";

#[cfg(test)]
mod tests;
