//! [`Key`]: the key that decides the group of a request.

use std::net::Ipv6Addr;

use weir_filter_common::hash::{hash, mix};
use weir_sdk::parse::is_token;
use weir_sdk::{FilterNeeds, Input, Request};

/// The key that decides the group of a request.
#[derive(Debug)]
pub(crate) struct Key {
    by: By,
    client: Option<Input>,
}

#[derive(Debug)]
enum By {
    Client,
    Value(Input),
    /// The state of a generator. A call of the host for each request would cost more than the
    /// choice.
    Random(u64),
}

impl Key {
    /// Parses `by`. `seed` starts the generator of `random`.
    pub(crate) fn new(
        by: &str,
        needs: &mut FilterNeeds,
        seed: impl FnOnce() -> u64,
    ) -> Result<Key, String> {
        let by = match by.split_once(':') {
            None if by == "random" => return Ok(Key { by: By::Random(seed()), client: None }),
            None if by == "client" => By::Client,
            Some(("header", name)) if is_token(name) => By::Value(needs.header(name)),
            Some(("cookie", name)) if is_token(name) => By::Value(needs.cookie(name)),
            _ => {
                let forms = "client, random, header:NAME and cookie:NAME";
                return Err(format!("by: {by:?} is none of {forms}"));
            }
        };
        Ok(Key { by, client: Some(needs.client_address()) })
    }

    /// Returns the hashed key of a request.
    pub(crate) fn of(&mut self, request: &Request<'_>) -> u64 {
        match &mut self.by {
            By::Random(state) => {
                *state = state.wrapping_add(GOLDEN);
                return mix(*state);
            }
            By::Value(input) => {
                if let Some(value) = request.bytes(*input).filter(|value| !value.is_empty()) {
                    return hash(value);
                }
            }
            By::Client => {}
        }
        let client = self.client.and_then(|client| request.text(client)).unwrap_or_default();
        // A client usually has a whole /64 and changes its address within it.
        match client.contains(':').then(|| client.parse::<Ipv6Addr>()) {
            Some(Ok(address)) => mix((address.to_bits() >> 64) as u64),
            _ => hash(client.as_bytes()),
        }
    }
}

/// The step of SplitMix64.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(by: &str, values: &[[Option<&str>; 2]]) -> Vec<u64> {
        let mut key = Key::new(by, &mut FilterNeeds::default(), || 7).unwrap();
        let of = |values: &[Option<&str>; 2]| {
            let inputs = values.map(|value| value.map(|value| value.as_bytes().to_vec()));
            key.of(&Request { inputs: &inputs })
        };
        values.iter().map(of).collect()
    }

    #[test]
    fn a_client_is_its_address_or_its_network() {
        let client = |address| [Some(address), None];
        let of = keys(
            "client",
            &[
                client("192.0.2.1"),
                client("192.0.2.2"),
                client("2001:db8::1"),
                client("2001:db8::ffff:2"),
                client("2001:db8:0:1::1"),
            ],
        );
        assert_ne!(of[0], of[1]);
        assert_eq!(of[2], of[3]);
        assert_ne!(of[2], of[4]);
    }

    #[test]
    fn without_the_field_the_client_counts() {
        let client = Some("192.0.2.1");
        for by in ["header:x-user", "cookie:user"] {
            let of = keys(
                by,
                &[[Some("ann"), client], [Some("ann"), None], [None, client], [Some(""), client]],
            );
            assert_eq!(of[0], of[1]);
            assert_ne!(of[0], of[2]);
            assert_eq!(of[2], of[3]);
        }
    }

    #[test]
    fn random_is_new_each_time() {
        let of = keys("random", &[[None, None], [None, None]]);
        assert_ne!(of[0], of[1]);
    }

    #[test]
    fn mistakes_are_named() {
        for by in ["", "clients", "header:", "header:a b", "cookie:a;b", "random:1"] {
            let error = Key::new(by, &mut FilterNeeds::default(), || 7).unwrap_err();
            assert!(error.starts_with("by: "), "{error}");
        }
    }
}
