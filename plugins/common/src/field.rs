//! Names of header fields, and authorities, in configurations.

/// A header field's name in lower case, if a filter may touch it.
///
/// # Errors
/// What is wrong with it.
pub fn name(name: &str) -> Result<String, String> {
    if !is_token(name) || name.len() > LONGEST_NAME {
        return Err(format!("{name:?} is not the name of a header field"));
    }
    let name = name.to_ascii_lowercase();
    if FORBIDDEN.contains(&name.as_str()) {
        return Err(format!("{name} is the proxy's own"));
    }
    Ok(name)
}

/// Whether a text is a token (RFC 9110 §5.6.2).
pub fn is_token(text: &str) -> bool {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(is_token)
}

/// Whether a text is a host, by name or address, and a port or none.
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

/// The host of an authority, and its port if it has one.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The last colon of an IPv6 address is inside of its brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Bytes of a host's or a field's name (RFC 1035 §2.3.4 for the first).
const LONGEST_NAME: usize = 255;

/// Fields that frame or route a message.
const FORBIDDEN: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_and_not_the_proxy_s() {
        assert_eq!(name("X-Variant").as_deref(), Ok("x-variant"));
        for wrong in ["", "x a", "x:a", "Host", "Content-Length", "x\r\n"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

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
