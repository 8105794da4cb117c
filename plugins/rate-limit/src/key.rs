//! The key that requests are counted by.

use weir_filter_common::client::network;
use weir_filter_common::hash::{BASIS, fnv};
use weir_sdk::parse::is_token;
use weir_sdk::{FilterNeeds, Input, Request};

use crate::Missing;

/// The source of the key of a request's bucket.
#[derive(Debug)]
pub(crate) enum Key {
    Client { address: Input, ipv6_prefix: u8 },
    Value(Input),
    Global,
}

impl Key {
    pub(crate) fn new(by: &str, ipv6_prefix: u8, needs: &mut FilterNeeds) -> Result<Key, String> {
        match by.split_once(':') {
            None if by == "client" => {
                Ok(Key::Client { address: needs.client_address(), ipv6_prefix })
            }
            None if by == "route" => Ok(Key::Value(needs.route_name())),
            None if by == "global" => Ok(Key::Global),
            Some(("header", name)) if is_token(name) => Ok(Key::Value(needs.header(name))),
            _ => Err(format!("by: {by:?} is none of client, route, header:NAME and global")),
        }
    }

    /// Returns the key, or `None` for a request that is not limited. Header values get a prefix and
    /// are hex-encoded or hashed. A client can then neither choose the length of a key nor reach
    /// the key of requests without the header.
    pub(crate) fn of(&self, request: &Request<'_>, missing: Missing) -> Option<String> {
        match self {
            Key::Global => Some("all".to_owned()),
            Key::Client { address, ipv6_prefix } => {
                Some(network(request.text(*address).unwrap_or_default(), *ipv6_prefix))
            }
            Key::Value(input) => match request.bytes(*input) {
                Some(value) if value.len() <= LONGEST => Some(format!("={}", hexadecimal(value))),
                Some(value) => {
                    let (a, b) = (fnv(BASIS, value), fnv(0x9e37_79b9, value));
                    Some(format!("#{a:016x}{b:016x}"))
                }
                None if missing == Missing::Allow => None,
                None => Some("-".to_owned()),
            },
        }
    }
}

fn hexadecimal(value: &[u8]) -> String {
    value.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The longest value that becomes a key without a hash, in bytes.
const LONGEST: usize = 256;
