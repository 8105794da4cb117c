//! The client behind trusted proxies, and fields that only they may set (RFC 7239).
//!
//! A client can send any field. A field about the client therefore counts only if a trusted proxy
//! sent the request. It is removed otherwise, so that no filter and no origin takes it for true.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

use super::peer::Peer;

/// Returns whether one of the networks has the address.
pub fn is_in(networks: &[IpNet], address: IpAddr) -> bool {
    networks.iter().any(|network| network.contains(&address))
}

/// Returns the peer with the client that the trusted proxies on the way name.
///
/// Each proxy appends the address that it got the request from. The client is thus the last address
/// that is not of a trusted proxy. `X-Forwarded-For` counts before `Forwarded`, since most proxies
/// set only the former and pass a client's `Forwarded` on.
pub fn resolve(fields: &HeaderMap, peer: Peer, trusted: &[IpNet]) -> Peer {
    if !is_in(trusted, peer.client.ip()) {
        return peer;
    }
    let mut client = peer.client;
    let hops = hops(fields);
    for hop in hops.iter().rev() {
        // A proxy that hides the address, or an unreadable one, ends the way back.
        let Some(address) = address(hop) else { break };
        client = address;
        if !is_in(trusted, address.ip()) {
            break;
        }
    }
    let scheme = last(fields, X_FORWARDED_PROTO).or_else(|| forwarded_proto(fields));
    let tls = match scheme {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => true,
        Some(scheme) if scheme.eq_ignore_ascii_case("http") => false,
        _ => peer.tls,
    };
    Peer { client, tls, via: Some(peer.client.ip()), ..peer }
}

/// Removes the fields about a client that only a trusted proxy may set.
pub fn remove_identity(fields: &mut HeaderMap) {
    // Most requests have none, and one look at each name costs less than a search for each field.
    if fields.keys().any(is_identity) {
        for name in IDENTITY {
            fields.remove(name);
        }
    }
}

fn is_identity(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(name.as_bytes().first(), Some(b'x' | b'f' | b't')) && IDENTITY.contains(&name)
}

/// Fields that origins take for facts about the client.
const IDENTITY: [&str; 10] = [
    "forwarded",
    "true-client-ip",
    "x-client-ip",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-proto",
    "x-real-ip",
];

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Returns the addresses on the way, the first proxy's client first.
fn hops(fields: &HeaderMap) -> Vec<&str> {
    let members = |name| {
        let lines = fields.get_all(name).iter().filter_map(|line| line.to_str().ok());
        lines.flat_map(|line| line.split(',')).map(str::trim).filter(|member| !member.is_empty())
    };
    let hops: Vec<&str> = members(X_FORWARDED_FOR).collect();
    if !hops.is_empty() {
        return hops;
    }
    members(header::FORWARDED)
        .map(|element| parameter(element, "for").unwrap_or_default())
        .collect()
}

/// Returns a parameter of an element of `Forwarded`, without quotes.
fn parameter<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut found = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
    found.next().map(|(_, value)| value.trim().trim_matches('"'))
}

fn forwarded_proto(fields: &HeaderMap) -> Option<&str> {
    parameter(last(fields, header::FORWARDED)?, "proto")
}

/// Returns the last member of a list field.
fn last(fields: &HeaderMap, name: HeaderName) -> Option<&str> {
    let line = fields.get_all(name).iter().next_back()?.to_str().ok()?;
    line.rsplit(',').next().map(str::trim)
}

/// Reads an address with or without a port, an IPv6 address with or without brackets.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim_matches('"');
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some(SocketAddr::new(address.ip().to_canonical(), address.port()));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip: IpAddr = bare.parse().ok()?;
    Some(SocketAddr::new(ip.to_canonical(), 0))
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Version};

    use super::*;
    use crate::config::ListenerId;
    use crate::message::peer::Protocol;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut map = HeaderMap::new();
        for (name, value) in fields.iter().map(pair) {
            map.append(name, value);
        }
        map
    }

    fn resolved(client: &str, sent: &[(&'static str, &'static str)]) -> (String, bool, bool) {
        let peer = Peer {
            client: SocketAddr::new(client.parse().unwrap(), 7),
            local: "192.0.2.1:443".parse().unwrap(),
            protocol: Protocol::H1,
            version: Version::HTTP_11,
            tls: false,
            listener: ListenerId::new(0),
            via: None,
        };
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = resolve(&fields(sent), peer, &trusted);
        (peer.client.to_string(), peer.tls, peer.via.is_some())
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let own = |text: &str| (text.to_owned(), false, true);
        for (sent, expected) in [
            (&[][..], "10.0.0.1:7"),
            (&[("x-forwarded-for", "198.51.100.1")], "198.51.100.1:0"),
            (&[("x-forwarded-for", "6.6.6.6, 198.51.100.1")], "198.51.100.1:0"),
            (&[("x-forwarded-for", "6.6.6.6, 198.51.100.1, 10.2.3.4")], "198.51.100.1:0"),
            (
                &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "198.51.100.1:99")],
                "198.51.100.1:99",
            ),
            (&[("x-forwarded-for", "10.9.9.9, 10.2.3.4")], "10.9.9.9:0"),
            (&[("x-forwarded-for", "6.6.6.6, unknown, 10.2.3.4")], "10.2.3.4:0"),
            (&[("x-forwarded-for", "6.6.6.6, ")], "6.6.6.6:0"),
            (&[("x-forwarded-for", "2001:db8::7")], "[2001:db8::7]:0"),
            (&[("x-forwarded-for", "::ffff:198.51.100.1")], "198.51.100.1:0"),
            (
                &[("forwarded", "for=6.6.6.6, for=\"[2001:db8::7]:80\";proto=http")],
                "[2001:db8::7]:80",
            ),
            (&[("forwarded", "for=_hidden")], "10.0.0.1:7"),
            (
                &[("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "198.51.100.1")],
                "198.51.100.1:0",
            ),
        ] {
            assert_eq!(resolved("10.0.0.1", sent), own(expected), "{sent:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        let sent = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "https")];
        assert_eq!(resolved("192.0.2.9", &sent), ("192.0.2.9:7".to_owned(), false, false));
        assert_eq!(resolved("fd00::1", &sent), ("198.51.100.1:0".to_owned(), true, true));
        let sent = [("forwarded", "for=198.51.100.1;proto=https")];
        assert_eq!(resolved("10.0.0.1", &sent), ("198.51.100.1:0".to_owned(), true, true));
    }

    #[test]
    fn fields_about_the_client_are_removed() {
        let mut sent =
            fields(&[("x-real-ip", "1.1.1.1"), ("accept", "*/*"), ("forwarded", "for=x")]);
        remove_identity(&mut sent);
        assert_eq!(sent.keys().collect::<Vec<_>>(), ["accept"]);
    }
}
