//! Header fields on their way out: connection fields are removed, forwarding fields added (RFC 9110
//! §7.6, RFC 7239).

use std::fmt::Write as _;
use std::net::IpAddr;

use bytes::BufMut as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Response, Version};

use super::body::Body;
use super::list;
use super::nominated::Nominated;
use super::peer::{Peer, Protocol};

/// Removes all fields of a client's request that are not for the origin. `TE` stays if it asks for
/// trailers.
///
/// The fields that `Connection` names are removed before filters or the proxy add any. A client
/// thus cannot have the added ones removed.
///
/// Without `underscores`, names with an underscore are removed too. Servers that pass fields on in
/// the form of CGI read `x_user` as `x-user` (RFC 9110 §17.10). Only the client would have set that
/// field.
pub fn from_client(fields: &mut HeaderMap, underscores: bool) -> Nominated {
    if !underscores {
        remove_underscores(fields);
    }
    let wants_trailers = wants_trailers(fields);
    let named = strip_connection(fields);
    if wants_trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    named
}

/// Turns a request head that [`from_client`] has left into the one that an origin gets, but for the
/// rules of the origin's protocol. `host` is the authority that the origin sees. Nearly always it
/// is the `authority` that the client asked for.
pub fn toward_upstream(head: &mut Parts, authority: &Authority, host: &Authority, peer: &Peer) {
    let fields = &mut head.headers;
    join_cookies(fields);
    // The listener itself answers 100-continue when the body is requested.
    fields.remove(header::EXPECT);
    add_forwarding(fields, authority, peer);
    add_via(fields, via(peer.version));
    // Balancers and components look for it here.
    if let Ok(host) = HeaderValue::from_str(host.as_str()) {
        fields.insert(header::HOST, host);
    }
}

/// Converts an origin's response to the one that the client gets.
pub fn toward_client(response: &mut Response<Body>) {
    // The alternatives of an origin are not those of this proxy (RFC 7838 §2).
    response.headers_mut().remove(header::ALT_SVC);
    strip_connection(response.headers_mut()).withhold(response.body_mut());
    let via = via(response.version());
    add_via(response.headers_mut(), via);
    // The client gets the version of its own connection.
    *response.version_mut() = Version::default();
}

/// Converts an interim response like [`toward_client`]. An interim response has no content, so the
/// fields of framing are removed.
pub fn interim_toward_client(head: &mut http::response::Parts) {
    // It has no trailers either, so the nominated fields are not needed.
    let _ = strip_connection(&mut head.headers);
    add_via(&mut head.headers, via(head.version));
    for name in [header::CONTENT_LENGTH, header::TRAILER, header::ALT_SVC] {
        head.headers.remove(name);
    }
}

/// Removes fields that concern only one connection (RFC 9110 §7.6.1): first those that `Connection`
/// names, then the known ones. Returns the named ones, because the message's trailers may contain
/// them as well.
pub fn strip_connection(fields: &mut HeaderMap) -> Nominated {
    let mut named = Vec::new();
    if fields.contains_key(header::CONNECTION) {
        named.extend(
            fields
                .get_all(header::CONNECTION)
                .iter()
                .flat_map(|value| value.as_bytes().split(|b| *b == b','))
                .map(<[u8]>::trim_ascii)
                .filter(|option| !is_known_option(option))
                .filter_map(|name| HeaderName::from_bytes(name).ok())
                // Some fields are not options of a connection, even if a client names them.
                .filter(|name| !PROTECTED.contains(name)),
        );
        for name in &named {
            fields.remove(name);
        }
    }
    for name in CONNECTION_FIELDS {
        fields.remove(name);
    }
    Nominated(named)
}

/// Returns whether an option of `Connection` names no field, or a field that is never passed on.
fn is_known_option(option: &[u8]) -> bool {
    let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
    is("close") || CONNECTION_FIELDS.iter().any(|name| is(name.as_str()))
}

/// Removes the fields with an underscore in their names.
pub fn remove_underscores(fields: &mut HeaderMap) {
    let ambiguous = fields.keys().filter(|name| name.as_str().contains('_'));
    for name in ambiguous.cloned().collect::<Vec<_>>() {
        tracing::debug!(field = name.as_str(), "removed because of its underscore");
        fields.remove(name);
    }
}

/// One Cookie field where HTTP/2 and HTTP/3 may have split it (RFC 9113 §8.2.3, RFC 9114 §4.2.1).
fn join_cookies(fields: &mut HeaderMap) {
    if fields.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<_> = fields.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(cookie) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        fields.insert(header::COOKIE, cookie);
    }
}

fn add_forwarding(fields: &mut HeaderMap, authority: &Authority, peer: &Peer) {
    // A proxy before this one has noted the client itself.
    let client = peer.via.unwrap_or(peer.client.ip()).to_canonical();
    let scheme = if peer.tls { "https" } else { "http" };
    list::append(fields, X_FORWARDED_FOR, |text| write!(text, "{client}"));
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    // A trusted proxy before this one knows the host that the client asked for.
    let is_known = peer.via.is_some() && fields.contains_key(X_FORWARDED_HOST);
    if !is_known && let Ok(host) = HeaderValue::from_str(authority.as_str()) {
        fields.insert(X_FORWARDED_HOST, host);
    }
    list::append(fields, header::FORWARDED, |text| match client {
        IpAddr::V4(client) => write!(text, "for={client};host=\"{authority}\";proto={scheme}"),
        IpAddr::V6(client) => {
            write!(text, "for=\"[{client}]\";host=\"{authority}\";proto={scheme}")
        }
    });
}

fn add_via(fields: &mut HeaderMap, via: HeaderValue) {
    if fields.contains_key(header::VIA) {
        list::append(fields, header::VIA, |text| {
            text.put_slice(via.as_bytes());
            Ok(())
        });
    } else {
        fields.insert(header::VIA, via);
    }
}

/// Returns whether a request is a gRPC or Connect call: a stream of messages that may be silent
/// between them. Over HTTP/1.1 there are none.
pub fn is_grpc(fields: &HeaderMap, protocol: Protocol) -> bool {
    let kind = fields.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let is =
        |stream: &&[u8]| kind.get(..stream.len()).is_some_and(|k| k.eq_ignore_ascii_case(stream));
    protocol != Protocol::H1 && STREAMS.iter().any(is)
}

/// Prefixes of the media types of gRPC, and of the streams of Connect.
const STREAMS: [&[u8]; 2] = [b"application/grpc", b"application/connect+"];

fn wants_trailers(fields: &HeaderMap) -> bool {
    fields
        .get_all(header::TE)
        .iter()
        .flat_map(|value| value.as_bytes().split(|b| *b == b','))
        .any(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

/// Returns the member of Via for a message of this version, which is the version of the sender (RFC
/// 9110 §7.6.3).
fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_10 => "1.0 weir",
        Version::HTTP_2 => "2 weir",
        Version::HTTP_3 => "3 weir",
        _ => "1.1 weir",
    })
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields that tell an origin about the client and its request.
pub const FORWARDING: [HeaderName; 5] =
    [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, header::FORWARDED, header::VIA];

const CONNECTION_FIELDS: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
];

/// Fields that `Connection` cannot remove: they carry framing, identity or credentials end to end
/// (RFC 9110 §7.6.1).
const PROTECTED: [HeaderName; 7] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::AUTHORIZATION,
    header::COOKIE,
    header::CACHE_CONTROL,
    header::VIA,
    header::FORWARDED,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenerId;

    fn head(fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().uri("https://shop.example:8443/a?b");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn forwarded(client: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        forwarded_as(Version::HTTP_3, client, fields)
    }

    fn forwarded_as(
        version: Version,
        client: &str,
        fields: &[(&'static str, &'static str)],
    ) -> Parts {
        let mut head = head(fields);
        let peer = Peer {
            client: client.parse().unwrap(),
            local: "127.0.0.1:8443".parse().unwrap(),
            protocol: Protocol::H3,
            version,
            tls: true,
            listener: ListenerId::new(0),
            via: None,
        };
        let authority = "shop.example:8443".parse().unwrap();
        drop(from_client(&mut head.headers, false));
        toward_upstream(&mut head, &authority, &authority, &peer);
        head
    }

    #[test]
    fn forwarding_fields_are_added_to_what_was_there() {
        let head =
            forwarded("192.0.2.7:999", &[("x-forwarded-for", "10.0.0.1"), ("via", "1.0 old")]);
        let field = |name: &str| head.headers.get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(field("x-forwarded-for"), "10.0.0.1, 192.0.2.7");
        assert_eq!(field("x-forwarded-proto"), "https");
        assert_eq!(field("x-forwarded-host"), "shop.example:8443");
        assert_eq!(field("forwarded"), "for=192.0.2.7;host=\"shop.example:8443\";proto=https");
        assert_eq!(field("via"), "1.0 old, 3 weir");
        assert_eq!(field("host"), "shop.example:8443");
    }

    #[test]
    fn via_tells_the_version_that_came() {
        for (version, via) in [
            (Version::HTTP_10, "1.0 weir"),
            (Version::HTTP_11, "1.1 weir"),
            (Version::HTTP_2, "2 weir"),
            (Version::HTTP_3, "3 weir"),
        ] {
            let head = forwarded_as(version, "192.0.2.7:999", &[]);
            assert_eq!(head.headers["via"], via);
        }
        for (version, via) in [(Version::HTTP_10, "1.0 weir"), (Version::HTTP_11, "1.1 weir")] {
            let mut response = Response::new(Body::empty());
            *response.version_mut() = version;
            toward_client(&mut response);
            assert_eq!(response.headers()["via"], via);
            assert_eq!(response.version(), Version::HTTP_11, "the client's connection decides");
        }
    }

    #[test]
    fn an_ipv6_client_is_quoted_and_a_mapped_one_is_ipv4() {
        let head = forwarded("[2001:db8::1]:5", &[]);
        assert!(head.headers["forwarded"].to_str().unwrap().starts_with("for=\"[2001:db8::1]\";"));
        let head = forwarded("[::ffff:192.0.2.7]:5", &[]);
        assert_eq!(head.headers["x-forwarded-for"], "192.0.2.7");
    }

    #[test]
    fn connection_cannot_remove_what_is_added_or_protected() {
        let head = forwarded(
            "192.0.2.7:999",
            &[
                ("connection", "close, X-Forwarded-For, x-secret, cookie"),
                ("x-forwarded-for", "6.6.6.6"),
                ("x-secret", "1"),
                ("cookie", "a=b"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
            ],
        );
        assert_eq!(head.headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(head.headers["cookie"], "a=b");
        for gone in ["connection", "x-secret", "keep-alive", "transfer-encoding"] {
            assert!(!head.headers.contains_key(gone), "{gone}");
        }
    }

    #[test]
    fn a_name_with_an_underscore_is_not_taken_for_another() {
        let fields = [("x_forwarded_for", "6.6.6.6"), ("x-api_key", "1"), ("x-own", "2")];
        let left = forwarded("192.0.2.7:999", &fields);
        assert_eq!(left.headers["x-forwarded-for"], "192.0.2.7");
        assert_eq!(left.headers["x-own"], "2");
        let underscored = |name: &HeaderName| name.as_str().contains('_');
        assert!(!left.headers.keys().any(underscored), "{:?}", left.headers);

        let mut kept = head(&fields).headers;
        drop(from_client(&mut kept, true));
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn te_is_kept_for_trailers_only() {
        let head = forwarded("192.0.2.7:999", &[("te", "gzip, trailers")]);
        assert_eq!(head.headers["te"], "trailers");
        let head = forwarded("192.0.2.7:999", &[("te", "gzip")]);
        assert!(!head.headers.contains_key("te"));
    }
}
