//! The PROXY protocol toward endpoints: the preamble of a connection that names its client.

use std::net::{IpAddr, SocketAddr};

use crate::config::ProxyVersion;
use crate::message::peer::Peer;

/// The client of a connection, and the address that it connected to.
type Named = (SocketAddr, SocketAddr);

/// Returns the preamble. Without a client, the connection is one of this proxy's own, such as a
/// probe.
pub(super) fn preamble(version: ProxyVersion, client: Option<&Peer>) -> Vec<u8> {
    written(version, client.map(|peer| (peer.client, peer.local)))
}

fn written(version: ProxyVersion, named: Option<Named>) -> Vec<u8> {
    let named = named.map(of_one_family);
    match version {
        ProxyVersion::V1 => version_1(named),
        ProxyVersion::V2 => version_2(named),
    }
}

/// Writes both addresses in IPv6, if one of them is.
fn of_one_family((client, local): Named) -> Named {
    let (client, local) = (canonical(client), canonical(local));
    if client.is_ipv4() == local.is_ipv4() {
        return (client, local);
    }
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (mapped(client), mapped(local))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn version_1(named: Option<Named>) -> Vec<u8> {
    let Some((client, local)) = named else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (client.ip(), local.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
}

fn version_2(named: Option<Named>) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let Some((client, local)) = named else {
        // The command LOCAL, without addresses.
        out.extend([0x20, 0x00, 0, 0]);
        return out;
    };
    let mut addresses = Vec::with_capacity(36);
    for ip in [client.ip(), local.ip()] {
        match ip {
            IpAddr::V4(ip) => addresses.extend(ip.octets()),
            IpAddr::V6(ip) => addresses.extend(ip.octets()),
        }
    }
    for port in [client.port(), local.port()] {
        addresses.extend(port.to_be_bytes());
    }
    // The command PROXY, and TCP over IPv4 or IPv6.
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    out.extend([0x21, family, 0, addresses.len() as u8]);
    out.extend(addresses);
    out
}

/// The first bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn named(client: &str, local: &str) -> Option<Named> {
        Some((client.parse().unwrap(), local.parse().unwrap()))
    }

    #[test]
    fn version_1_is_a_line() {
        let line = |named| String::from_utf8(written(ProxyVersion::V1, named)).unwrap();
        let v4 = named("192.0.2.7:9", "198.51.100.1:443");
        assert_eq!(line(v4), "PROXY TCP4 192.0.2.7 198.51.100.1 9 443\r\n");
        let v6 = named("[2001:db8::7]:9", "[2001:db8::1]:443");
        assert_eq!(line(v6), "PROXY TCP6 2001:db8::7 2001:db8::1 9 443\r\n");
        assert_eq!(line(None), "PROXY UNKNOWN\r\n");
    }

    #[test]
    fn version_2_has_binary_addresses() {
        let bytes = written(ProxyVersion::V2, named("192.0.2.7:9", "198.51.100.1:443"));
        let (start, rest) = bytes.split_at(12);
        assert_eq!(start, SIGNATURE);
        assert_eq!(rest, [0x21, 0x11, 0, 12, 192, 0, 2, 7, 198, 51, 100, 1, 0, 9, 1, 187]);
        let bytes = written(ProxyVersion::V2, named("[::1]:9", "[::1]:443"));
        assert_eq!((bytes.len(), &bytes[12..16]), (12 + 4 + 36, &[0x21, 0x21, 0, 36][..]));
        assert_eq!(written(ProxyVersion::V2, None)[12..], [0x20, 0, 0, 0]);
    }

    #[test]
    fn both_addresses_are_of_one_family() {
        let line = |named| String::from_utf8(written(ProxyVersion::V1, named)).unwrap();
        // A socket of QUIC may know only that it listens on all addresses.
        let mixed = line(named("192.0.2.7:9", "[::]:443"));
        assert_eq!(mixed, "PROXY TCP6 ::ffff:192.0.2.7 :: 9 443\r\n");
        let mapped = line(named("[::ffff:192.0.2.7]:9", "198.51.100.1:443"));
        assert_eq!(mapped, "PROXY TCP4 192.0.2.7 198.51.100.1 9 443\r\n");
    }
}
