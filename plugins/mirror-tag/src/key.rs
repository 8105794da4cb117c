//! What a request is chosen by, as a number that is spread evenly.

use std::net::IpAddr;

use weir_sdk::{FilterNeeds, Input, Request, host};

/// Where the number comes from.
#[derive(Debug)]
pub(crate) enum Key {
    Client { address: Input, basis: u64 },
    Value { input: Input, basis: u64 },
    Random(Generator),
}

impl Key {
    pub(crate) fn new(by: &str, salt: &str, needs: &mut FilterNeeds) -> Result<Key, String> {
        let is_of_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        let is_name = |name: &str| (1..=128).contains(&name.len()) && name.bytes().all(is_of_token);
        let basis = fnv(FNV_BASIS, salt.as_bytes());
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

    /// The number of a request; none if it lacks what it is chosen by.
    pub(crate) fn hash(&mut self, request: &Request<'_>) -> Option<u64> {
        match self {
            Key::Client { address, basis } => {
                let hash = match request.text(*address)?.parse() {
                    Ok(IpAddr::V4(address)) => fnv(*basis, &address.octets()),
                    // A client has a whole /64 as a rule, and changes its address in there.
                    Ok(IpAddr::V6(address)) => {
                        fnv(*basis, &(address.to_bits() >> 64).to_be_bytes())
                    }
                    Err(_) => return None,
                };
                Some(mixed(hash))
            }
            Key::Value { input, basis } => Some(mixed(fnv(*basis, request.bytes(*input)?))),
            Key::Random(generator) => Some(generator.next()),
        }
    }
}

/// SplitMix64: quick, and even enough for a share. Seeded once, since a call of the host for each request costs more.
#[derive(Debug)]
pub(crate) struct Generator(u64);

impl Generator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }
}

/// FNV-1a, from a basis.
fn fnv(basis: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(basis, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// Spreads a number over all bits (the finalizer of SplitMix64): the upper ones of FNV hardly change with the last byte.
fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
