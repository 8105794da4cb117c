//! The key that decides whether a request is marked, as an evenly spread number.

use std::net::IpAddr;

use weir_filter_common::hash::{BASIS, fnv, mix};
use weir_sdk::parse::is_token;
use weir_sdk::{FilterNeeds, Input, Request, host};

/// The source of the number.
#[derive(Debug)]
pub(crate) enum Key {
    Client { address: Input, basis: u64 },
    Value { input: Input, basis: u64 },
    Random(Generator),
}

impl Key {
    pub(crate) fn new(by: &str, salt: &str, needs: &mut FilterNeeds) -> Result<Key, String> {
        let is_name = |name: &str| is_token(name) && name.len() <= 128;
        let basis = fnv(BASIS, salt.as_bytes());
        match by.split_once(':') {
            None if by == "client" => Ok(Key::Client { address: needs.client_address(), basis }),
            None if by == "random" => Ok(Key::Random(Generator(host::random()))),
            Some(("header", name)) if is_name(name) => {
                Ok(Key::Value { input: needs.header(name), basis })
            }
            Some(("cookie", name)) if is_name(name) => {
                Ok(Key::Value { input: needs.cookie(name), basis })
            }
            _ => Err(format!("by: {by:?} is none of client, header:NAME, cookie:NAME and random")),
        }
    }

    /// Returns the number of a request, or `None` if the request lacks the key.
    pub(crate) fn hash(&mut self, request: &Request<'_>) -> Option<u64> {
        match self {
            Key::Client { address, basis } => {
                let hash = match request.text(*address)?.parse() {
                    Ok(IpAddr::V4(address)) => fnv(*basis, &address.octets()),
                    // A client usually has a whole /64 and changes its address within it.
                    Ok(IpAddr::V6(address)) => {
                        fnv(*basis, &(address.to_bits() >> 64).to_be_bytes())
                    }
                    Err(_) => return None,
                };
                Some(mix(hash))
            }
            Key::Value { input, basis } => Some(mix(fnv(*basis, request.bytes(*input)?))),
            Key::Random(generator) => Some(generator.next()),
        }
    }
}

/// SplitMix64: fast, and even enough for a share. The seed is drawn once, because a call of the
/// host per request costs more.
#[derive(Debug)]
pub(crate) struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}
