//! Authorities in configurations.

/// Whether a text is a host name or address, with or without a port.
pub fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
            !host.is_empty() && host.len() <= LONGEST_NAME && host.bytes().all(is_name)
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0)
    };
    is_host && port.is_none_or(is_port)
}

/// Splits an authority into the host and the port, if it has one.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The last colon of an IPv6 address is inside the brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// The longest host name, in bytes (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_a_port() {
        for right in ["a", "a.example:81", "192.0.2.1:8443", "[2001:db8::1]", "[::1]:443"] {
            assert!(is_authority(right), "{right}");
        }
        for wrong in
            ["", ":80", "a:", "a:0", "a:65536", "a:+1", "u@a", "a/b", "a b", "[::1", "[a]", "a:1:2"]
        {
            assert!(!is_authority(wrong), "{wrong}");
        }
    }
}
