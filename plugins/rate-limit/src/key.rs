//! What requests are counted by.

use std::net::IpAddr;

use weir_sdk::{FilterNeeds, Input, Request};

use crate::Missing;

/// Where the key of a request's bucket comes from.
#[derive(Debug)]
pub(crate) enum Key {
    Client { address: Input, ipv6_prefix: u8 },
    Value(Input),
    Global,
}

impl Key {
    pub(crate) fn new(by: &str, ipv6_prefix: u8, needs: &mut FilterNeeds) -> Result<Key, String> {
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        match by.split_once(':') {
            None if by == "client" => {
                Ok(Key::Client { address: needs.client_address(), ipv6_prefix })
            }
            None if by == "route" => Ok(Key::Value(needs.route_name())),
            None if by == "global" => Ok(Key::Global),
            Some(("header", name)) if !name.is_empty() && name.bytes().all(is_token) => {
                Ok(Key::Value(needs.header(name)))
            }
            _ => Err(format!("by: {by:?} is none of client, route, header:NAME and global")),
        }
    }

    /// The key; none for a request that is not limited. What a client sends is hashed, so that it cannot choose the
    /// length of a key, or meet the one of those that lack it.
    pub(crate) fn of(&self, request: &Request<'_>, missing: Missing) -> Option<String> {
        match self {
            Key::Global => Some("all".to_owned()),
            Key::Client { address, ipv6_prefix } => {
                Some(network(request.text(*address).unwrap_or_default(), *ipv6_prefix))
            }
            Key::Value(input) => match request.bytes(*input) {
                Some(value) if value.len() <= LONGEST => Some(format!("={}", hexadecimal(value))),
                Some(value) => {
                    let (a, b) = (hash(value, 0xcbf2_9ce4_8422_2325), hash(value, 0x9e37_79b9));
                    Some(format!("#{a:016x}{b:016x}"))
                }
                None if missing == Missing::Allow => None,
                None => Some("-".to_owned()),
            },
        }
    }
}

/// The client's network: an IPv4 address, or the first bits of an IPv6 one.
fn network(address: &str, ipv6_prefix: u8) -> String {
    match address.parse() {
        Ok(IpAddr::V6(address)) => {
            let bits = 128 - u32::from(ipv6_prefix.min(128));
            let mask = u128::MAX.checked_shl(bits).unwrap_or(0);
            format!("{:x}", address.to_bits() & mask)
        }
        _ => address.to_owned(),
    }
}

fn hexadecimal(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// FNV-1a, from a basis.
fn hash(value: &[u8], basis: u64) -> u64 {
    value.iter().fold(basis, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Bytes of a value that is a key as it is.
const LONGEST: usize = 256;
