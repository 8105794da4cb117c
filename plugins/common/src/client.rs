//! Clients, by their addresses.

use std::net::IpAddr;

/// Returns the network of a client: the whole IPv4 address, or the first bits of an IPv6 address.
pub fn network(address: &str, ipv6_prefix: u8) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let bits = 128 - u32::from(ipv6_prefix.min(128));
            let mask = u128::MAX.checked_shl(bits).unwrap_or(0);
            format!("{:x}", address.to_bits() & mask)
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_client_is_its_network() {
        assert_eq!(network("192.0.2.7", 64), "192.0.2.7");
        assert_eq!(network("2001:db8::1", 64), network("2001:db8::2", 64));
        assert_ne!(network("2001:db8::1", 128), network("2001:db8::2", 128));
        assert_eq!(network("2001:db8::1", 0), "0");
    }
}
