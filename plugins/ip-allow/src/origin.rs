//! The address that a request comes from.

use std::net::{IpAddr, SocketAddr};

use weir_sdk::parse::is_token;
use weir_sdk::{FilterNeeds, Input, Request};

use crate::networks::Networks;

/// The source of the address.
#[derive(Debug)]
pub(crate) enum Origin {
    /// The connection.
    Peer(Input),
    /// A header field that trusted proxies append to. The input is all fields: `header:NAME` has
    /// only the first field. A client can send the first field, and the proxy can add a second one.
    Forwarded { peer: Input, headers: Input, name: Vec<u8>, trusted: Networks<()> },
}

impl Origin {
    pub(crate) fn peer(needs: &mut FilterNeeds) -> Self {
        Origin::Peer(needs.client_address())
    }

    /// Takes the address from the fields `name`, to which the proxies in `trusted` append.
    pub(crate) fn forwarded(
        name: &str,
        trusted: Networks<()>,
        needs: &mut FilterNeeds,
    ) -> Result<Self, String> {
        if !is_token(name) {
            return Err(format!("from_header: {name:?} is not the name of a header field"));
        }
        if name.eq_ignore_ascii_case("forwarded") {
            return Err("from_header: forwarded (RFC 7239) is not a list of addresses".to_owned());
        }
        let name = name.to_ascii_lowercase().into_bytes();
        Ok(Origin::Forwarded {
            peer: needs.client_address(),
            headers: needs.headers(),
            name,
            trusted,
        })
    }

    /// Returns the address, or `None` if there is no readable address.
    pub(crate) fn of(&self, request: &Request<'_>) -> Option<IpAddr> {
        match self {
            Origin::Peer(peer) => request.text(*peer)?.parse().ok(),
            Origin::Forwarded { peer, headers, name, trusted } => {
                let peer = request.text(*peer)?.parse().ok()?;
                hops(peer, request.bytes(*headers).unwrap_or_default(), name, trusted)
            }
        }
    }
}

/// Follows the hops from the last to the first. Returns the first untrusted hop, or the first of
/// the list if all are trusted. Returns `None` if a hop on the way is not an address. Entries
/// before an untrusted hop may be invented and are ignored.
fn hops(peer: IpAddr, headers: &[u8], name: &[u8], trusted: &Networks<()>) -> Option<IpAddr> {
    let mut address = peer;
    let fields = headers.rsplit(|b| *b == b'\n').filter_map(|line| value(line, name));
    let hops = fields.flat_map(|field| field.rsplit(|b| *b == b',')).map(<[u8]>::trim_ascii);
    // A list may have empty elements (RFC 9110 §5.6.1.2).
    for hop in hops.filter(|hop| !hop.is_empty()) {
        if trusted.find(address).is_none() {
            break;
        }
        address = hop_address(hop)?;
    }
    Some(address)
}

/// Returns the value of a line of header fields, if it has this name.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    found.eq_ignore_ascii_case(name).then(|| value.strip_prefix(b":")).flatten()
}

/// Parses an address, also with a port or in brackets, as some proxies write it.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || hop.parse().ok().map(|address: SocketAddr| address.ip());
    hop.parse().ok().or_else(bracketed).or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::networks::parse;

    fn found(peer: &str, headers: &str) -> Option<String> {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|net| (parse(net).unwrap(), ()));
        let trusted = Networks::new(trusted);
        let found = hops(peer.parse().unwrap(), headers.as_bytes(), b"x-forwarded-for", &trusted);
        found.map(|address| address.to_string())
    }

    #[test]
    fn the_last_untrusted_hop_is_the_client() {
        for (peer, headers, client) in [
            // An untrusted peer is the client, for any field that it sends.
            ("192.0.2.1", "x-forwarded-for: 10.0.0.1\n", "192.0.2.1"),
            ("10.0.0.1", "x-forwarded-for: 192.0.2.9\n", "192.0.2.9"),
            ("10.0.0.1", "x-forwarded-for: 198.51.100.1, 192.0.2.9, 10.0.0.2\n", "192.0.2.9"),
            // The client's own field stands before the proxy's.
            ("10.0.0.1", "x-forwarded-for: 10.9.9.9\nx-forwarded-for: 192.0.2.9\n", "192.0.2.9"),
            ("10.0.0.1", "accept: */*\nX-Forwarded-For:192.0.2.9 , ,\nvia: a\n", "192.0.2.9"),
            // Garbage before the client is ignored.
            ("10.0.0.1", "x-forwarded-for: unknown, 192.0.2.9\n", "192.0.2.9"),
            ("10.0.0.1", "x-forwarded-for: 192.0.2.9:1234\n", "192.0.2.9"),
            ("10.0.0.1", "x-forwarded-for: [2001:db9::1]:1234\n", "2001:db9::1"),
            ("10.0.0.1", "x-forwarded-for: [2001:db9::1]\n", "2001:db9::1"),
            ("2001:db8::1", "x-forwarded-for: ::ffff:192.0.2.9\n", "::ffff:192.0.2.9"),
            ("10.0.0.1", "x-forwarded-for: 10.0.0.3, 10.0.0.2\n", "10.0.0.3"),
            ("10.0.0.1", "x-forwarded-for-not: 192.0.2.9\n", "10.0.0.1"),
            ("10.0.0.1", "x-forwarded-for:\n", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            assert_eq!(found(peer, headers).as_deref(), Some(client), "{peer} {headers:?}");
        }
    }

    #[test]
    fn a_hop_that_is_no_address_fails() {
        for hop in [
            "unknown",
            "_hidden",
            "192.0.2.9, for=1.2.3.4",
            "192.0.2.256",
            "fe80::1%eth0",
            "\u{fc}",
        ] {
            assert_eq!(found("10.0.0.1", &format!("x-forwarded-for: {hop}\n")), None, "{hop}");
        }
    }
}
