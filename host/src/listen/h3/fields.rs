//! What a field section may not contain in HTTP/3 and the h3 crate lets pass (RFC 9114 §4.2, §4.3.1).
//!
//! The crate itself refuses upper-case and invalid names, unknown pseudo-header fields, a missing authority, and one that
//! differs from Host.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Method, Request};

/// Fields that belong to one connection of HTTP/1.1.
static OF_CONNECTIONS: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Says why a request's head is malformed, if it is.
pub(super) fn request(request: &Request<()>) -> Result<(), &'static str> {
    let uri = request.uri();
    if request.method() == Method::CONNECT
        || request.extensions().get::<h3::ext::Protocol>().is_some()
    {
        return Err("CONNECT is not served");
    }
    let Some(authority) = uri.authority() else { return Err("no authority") };
    if authority.as_str().contains('@') {
        return Err("user information in the authority");
    }
    if uri.scheme().is_none() {
        return Err("no :scheme");
    }
    let is_asterisk = request.method() == Method::OPTIONS && uri.path() == "*";
    if !uri.path().starts_with('/') && !is_asterisk {
        return Err(":path does not start with a slash");
    }
    let headers = request.headers();
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err("more than one Host");
    }
    if headers.get_all(TE).iter().any(|te| te != "trailers") {
        return Err("TE other than trailers");
    }
    section(headers)
}

/// Says why fields are malformed that head or trailers may have, if they are.
pub(super) fn section(headers: &HeaderMap) -> Result<(), &'static str> {
    if OF_CONNECTIONS.iter().any(|name| headers.contains_key(name)) {
        return Err("a field of HTTP/1.1 connections");
    }
    Ok(())
}

/// Takes out of a response's head what HTTP/3 has no place for.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in &OF_CONNECTIONS {
        headers.remove(name);
    }
}

/// The value of content-length (RFC 9110 §8.6); `Err` unless it is one number, or absent.
pub(super) fn content_length(headers: &HeaderMap) -> Result<Option<u64>, &'static str> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let digits = value.as_bytes();
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    match value.to_str().ok().and_then(|digits| digits.parse().ok()) {
        Some(length) if is_number && values.next().is_none() => Ok(Some(length)),
        _ => Err("content-length is not one number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(field: &str, value: &str) -> Request<()> {
        Request::get("https://a.test/").header(field, value).body(()).unwrap()
    }

    #[test]
    fn fields_of_connections_are_malformed() {
        for field in
            ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"]
        {
            assert!(request(&get(field, "x")).is_err(), "{field}");
        }
        assert!(request(&get("te", "gzip")).is_err());
        assert!(request(&get("te", "trailers")).is_ok());
        assert!(request(&get("accept", "*/*")).is_ok());
    }

    #[test]
    fn the_target_must_be_whole() {
        let with = |method: Method, uri: &str| {
            request(&Request::builder().method(method).uri(uri).body(()).unwrap())
        };
        assert!(with(Method::CONNECT, "a.test:443").is_err());
        assert!(with(Method::GET, "a.test").is_err());
        assert!(with(Method::GET, "/only/a/path").is_err());
        assert!(with(Method::GET, "https://user@a.test/").is_err());
        assert!(with(Method::GET, "https://a.test/x?y").is_ok());
        let two = Request::get("https://a.test/").header("host", "a.test").header("host", "a.test");
        assert!(request(&two.body(()).unwrap()).is_err());
    }

    #[test]
    fn content_length_is_one_number() {
        let length = |value| content_length(get("content-length", value).headers());
        assert_eq!(length("12"), Ok(Some(12)));
        assert_eq!(content_length(&HeaderMap::new()), Ok(None));
        for value in ["", "+1", "-1", "1,1", "1 ", "0x1", "99999999999999999999"] {
            assert!(length(value).is_err(), "{value:?}");
        }
        let mut two = HeaderMap::new();
        two.append("content-length", "1".parse().unwrap());
        two.append("content-length", "1".parse().unwrap());
        assert!(content_length(&two).is_err());
    }
}
