//! The checks of a request before routing, the same for all protocols (RFC 9110, RFC 9112 §3.2, RFC
//! 9114 §4.3).
//!
//! The rules about fields of all versions are in `weir_h3`, which has already applied them to
//! HTTP/3. The parsers of the three protocols have refused violations of their own framing. The
//! checks here refuse messages that two readers could understand differently.

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Version};
use weir_h3::message as rules;

use super::{forwarded, headers};

/// The results of the check of a request's head.
#[derive(Debug)]
pub struct Checked {
    /// Host and port from the client.
    pub authority: Authority,
    /// Content-Length, if there is one.
    pub declared: Option<u64>,
}

/// Why a request's head is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CheckError {
    /// The request breaks a rule.
    #[error("malformed request: {0}")]
    Malformed(&'static str),
    /// The header section has too many fields, or too many bytes.
    #[error("header section exceeds the listener's limits")]
    TooLarge,
    /// A method that is not supported.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// Checks the head of a request. [`within`] checks its size. `own` returns the authority for a
/// request of HTTP/1.0 that names none (RFC 9112 §3.3).
///
/// # Errors
/// [`CheckError::Malformed`] or [`CheckError::Unsupported`].
pub fn check(head: &Parts, own: impl FnOnce() -> Option<Authority>) -> Result<Checked, CheckError> {
    if head.method == Method::CONNECT {
        return Err(CheckError::Unsupported("CONNECT"));
    }
    check_target(head)?;
    let authority = authority(head, own)?;
    let declared = rules::content_length(&head.headers).map_err(CheckError::Malformed)?;
    check_framing(head, declared)?;
    Ok(Checked { authority, declared })
}

/// Checks decoded fields against the limits. Each field counts 32 bytes more than its text (RFC
/// 9114 §4.2.2).
///
/// # Errors
/// [`CheckError::TooLarge`].
pub fn within(fields: &HeaderMap, bytes: usize, count: usize) -> Result<(), CheckError> {
    if fields.len() > count {
        return Err(CheckError::TooLarge);
    }
    let size: usize =
        fields.iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
    if size > bytes { Err(CheckError::TooLarge) } else { Ok(()) }
}

/// Returns whether a head declares a body of zero bytes.
pub fn is_empty(fields: &HeaderMap) -> bool {
    fields.get(header::CONTENT_LENGTH).is_some_and(|length| length == "0")
}

/// Removes fields that are forbidden in trailers (RFC 9110 §6.5.1): framing, routing and connection
/// fields.
///
/// # Errors
///
/// The reason, if a field would change the framing of the message.
pub fn clean_trailers(mut trailers: HeaderMap) -> Result<HeaderMap, &'static str> {
    if trailers.contains_key(header::CONTENT_LENGTH)
        || trailers.contains_key(header::TRANSFER_ENCODING)
    {
        return Err("framing fields in trailers");
    }
    // This comes first: fields that a misplaced Connection names here are removed too.
    drop(headers::strip_connection(&mut trailers));
    for name in FORBIDDEN_IN_TRAILERS {
        trailers.remove(name);
    }
    Ok(trailers)
}

/// Removes forbidden fields from the trailers of a client, like [`clean_trailers`].
///
/// The fields that identify the client to the origin are also removed: the proxy and its filters
/// set them in the head. Names with an underscore are treated as in heads.
///
/// # Errors
///
/// The same as of [`clean_trailers`].
pub fn clean_request_trailers(
    trailers: HeaderMap,
    underscores: bool,
) -> Result<HeaderMap, &'static str> {
    let mut trailers = clean_trailers(trailers)?;
    forwarded::remove_identity(&mut trailers);
    for name in headers::FORWARDING {
        trailers.remove(name);
    }
    if !underscores {
        headers::remove_underscores(&mut trailers);
    }
    Ok(trailers)
}

/// Copies the parts of a request's head that a plugin sees: method, target and fields.
pub fn copy(head: &Parts) -> Parts {
    let (mut copy, ()) = http::Request::new(()).into_parts();
    copy.method.clone_from(&head.method);
    copy.uri.clone_from(&head.uri);
    copy.headers.clone_from(&head.headers);
    copy
}

fn check_target(head: &Parts) -> Result<(), CheckError> {
    // `Uri::path` is not used, because it returns "/" if nothing precedes the query. The origin
    // gets the text that is checked here.
    let path = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if path.starts_with('/') || (path == "*" && head.method == Method::OPTIONS) {
        return Ok(());
    }
    Err(CheckError::Malformed("the request target is no path"))
}

/// Returns the single authority of a request, from the target or from Host (RFC 9112 §3.2, RFC 9113
/// §8.3.1, RFC 9114 §4.3.1). Host came with HTTP/1.1, so a request of HTTP/1.0 may omit it. Health
/// checkers do that.
fn authority(
    head: &Parts,
    own: impl FnOnce() -> Option<Authority>,
) -> Result<Authority, CheckError> {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(CheckError::Malformed("more than one Host"));
    }
    let is_old = head.version == Version::HTTP_10;
    let host = host.filter(|host| !(is_old && host.is_empty()));
    let host = host.map(|host| rules::authority(Bytes::copy_from_slice(host.as_bytes())));
    let host = host.transpose().map_err(CheckError::Malformed)?;
    let Some(target) = head.uri.authority() else {
        let own = || is_old.then(own).flatten();
        return host.or_else(own).ok_or(CheckError::Malformed("no authority"));
    };
    rules::check_authority(target).map_err(CheckError::Malformed)?;
    // An absolute target of HTTP/1.1 replaces Host. In the other protocols the two must not differ.
    if let Some(host) = host.filter(|_| head.version > Version::HTTP_11)
        && !rules::is_same_authority(target, &host, head.uri.scheme())
    {
        return Err(CheckError::Malformed(":authority and Host differ"));
    }
    Ok(target.clone())
}

fn check_framing(head: &Parts, declared: Option<u64>) -> Result<(), CheckError> {
    let fields = &head.headers;
    let mut codings = fields.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if declared.is_some() && coding.is_some() {
        return Err(CheckError::Malformed("content-length with transfer-encoding"));
    }
    if coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
        || codings.next().is_some()
    {
        return Err(CheckError::Malformed("transfer-encoding other than chunked"));
    }
    Ok(())
}

const FORBIDDEN_IN_TRAILERS: [HeaderName; 14] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::AUTHORIZATION,
    header::COOKIE,
    header::SET_COOKIE,
    header::CONTENT_ENCODING,
    header::CONTENT_TYPE,
    header::CONTENT_RANGE,
    header::CACHE_CONTROL,
    header::EXPECT,
    header::MAX_FORWARDS,
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head(version: Version, uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().version(version).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn verdict(
        version: Version,
        uri: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Result<Checked, CheckError> {
        check(&head(version, uri, fields), || "own.test:8080".parse().ok())
    }

    #[test]
    fn exactly_one_authority_is_needed() {
        let ok = verdict(Version::HTTP_11, "/", &[("host", "a:8080")]).unwrap();
        assert_eq!(ok.authority, "a:8080");
        for fields in
            [&[][..], &[("host", "a"), ("host", "a")], &[("host", "a b")], &[("host", "u@a")]]
        {
            assert!(verdict(Version::HTTP_11, "/", fields).is_err(), "{fields:?}");
        }
        for version in [Version::HTTP_2, Version::HTTP_3] {
            let host = |host| verdict(version, "https://a/", &[("host", host)]);
            assert!(host("b").is_err() && host("a:80").is_err() && host("").is_err());
            for same in ["a", "A", "a:443", "a:"] {
                assert_eq!(host(same).unwrap().authority, "a", "{same}");
            }
        }
        let absolute = verdict(Version::HTTP_11, "http://a/", &[("host", "b")]).unwrap();
        assert_eq!(absolute.authority, "a");
    }

    #[test]
    fn only_http_1_0_may_name_no_authority() {
        for fields in [&[][..], &[("host", "")]] {
            let old = verdict(Version::HTTP_10, "/", fields).unwrap();
            assert_eq!(old.authority, "own.test:8080", "{fields:?}");
            assert!(verdict(Version::HTTP_11, "/", fields).is_err(), "{fields:?}");
        }
        let named = verdict(Version::HTTP_10, "/", &[("host", "a")]).unwrap();
        assert_eq!(named.authority, "a");
        assert!(verdict(Version::HTTP_10, "/", &[("host", "a b")]).is_err());
        assert!(check(&head(Version::HTTP_10, "/", &[]), || None).is_err());
    }

    #[test]
    fn content_length_is_one_number() {
        let length = |fields: &[_]| {
            verdict(Version::HTTP_2, "https://a/", fields).map(|checked| checked.declared).ok()
        };
        assert_eq!(length(&[("content-length", "12")]), Some(Some(12)));
        for value in ["+1", "-1", "1,1", "", "0x1", "99999999999999999999999"] {
            assert_eq!(length(&[("content-length", value)]), None, "{value}");
        }
        assert_eq!(length(&[("content-length", "1"), ("content-length", "1")]), None);
    }

    #[test]
    fn trailers_lose_what_routes_and_refuse_what_frames() {
        let mut trailers = HeaderMap::new();
        trailers.insert("host", "x".parse().unwrap());
        trailers.insert("grpc-status", "0".parse().unwrap());
        let clean = clean_trailers(trailers.clone()).unwrap();
        assert_eq!(clean.len(), 1);
        trailers.insert("content-length", "5".parse().unwrap());
        assert!(clean_trailers(trailers).is_err());
    }

    #[test]
    fn a_client_s_trailers_tell_nobody_who_it_is() {
        let mut trailers = HeaderMap::new();
        for name in [
            "x-forwarded-for",
            "forwarded",
            "via",
            "keep-alive",
            "proxy-authorization",
            "x_user",
            "x-sum",
        ] {
            trailers.insert(name, HeaderValue::from_static("1"));
        }
        let left = |underscores| {
            let clean = clean_request_trailers(trailers.clone(), underscores).unwrap();
            let mut names: Vec<_> = clean.keys().map(|name| name.as_str().to_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(left(false), ["x-sum"]);
        assert_eq!(left(true), ["x-sum", "x_user"]);
    }

    #[test]
    fn a_target_has_a_path_before_its_query() {
        for (target, is_good) in
            [("http://a?x=1", false), ("http://a", true), ("http://a/?x", true)]
        {
            assert_eq!(
                verdict(Version::HTTP_11, target, &[("host", "a")]).is_ok(),
                is_good,
                "{target}"
            );
        }
    }
}
