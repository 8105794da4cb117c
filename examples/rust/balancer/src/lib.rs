//! Consistent hashing with bounded loads. `examples/README.md` describes it exactly.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{Balancer, BalancerNeeds, Endpoint, Input, Pick, Refused, TRIED};

/// The configuration, as it stands under `balancer_config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The input that decides the endpoint: client.address, :path, header:NAME, cookie:NAME.
    #[serde(default = "client")]
    by: String,
    /// How much more than its share of the requests in flight an endpoint may have.
    #[serde(default = "factor")]
    #[schemars(range(min = 1))]
    factor: f64,
}

fn client() -> String {
    "client.address".to_owned()
}

fn factor() -> f64 {
    1.25
}

#[derive(Debug)]
struct Bounded {
    factor: f64,
    by: Input,
    client: Input,
    members: Vec<Member>,
    /// Hashes, each with the index of its member.
    ring: Vec<(u32, usize)>,
}

#[derive(Debug)]
struct Member {
    id: u32,
    weight: u32,
    /// The index in the update, which is also the index of the load.
    index: usize,
}

#[weir_sdk::balancer]
impl Balancer for Bounded {
    type Config = Config;

    fn new(config: Config, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        if config.factor < 1.0 {
            return Err("factor: it must be at least 1".into());
        }
        needs.loads();
        let by = needs.input(config.by);
        let client = needs.client_address();
        Ok(Bounded { factor: config.factor, by, client, members: Vec::new(), ring: Vec::new() })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.members.clear();
        self.ring.clear();
        for (index, endpoint) in endpoints.iter().enumerate().filter(|(_, e)| e.weight > 0) {
            for point in 0..40 * endpoint.weight.min(25) {
                let hash = hash(format!("{}#{point}", endpoint.address).as_bytes());
                self.ring.push((hash, self.members.len()));
            }
            self.members.push(Member { id: endpoint.id, weight: endpoint.weight, index });
        }
        self.ring.sort_unstable();
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        let key = pick.bytes(self.by).or(pick.bytes(self.client)).unwrap_or_default();
        let hash = hash(key);
        let start = self.ring.partition_point(|(point, _)| *point < hash);
        let (before, after) = self.ring.split_at(start);
        let mut around = after.iter().chain(before).map(|(_, member)| &self.members[*member]);
        let first = around.clone().next()?;

        let (mut total, mut weights) = (0.0, 0.0);
        for member in self.members.iter().filter(|m| pick.load(m.index) != TRIED) {
            total += f64::from(pick.load(member.index));
            weights += f64::from(member.weight);
        }
        if weights == 0.0 {
            return Some(first.id);
        }
        let untried = around.clone().find(|m| pick.load(m.index) != TRIED);
        let roomy = around.find(|m| {
            let room = (self.factor * (total + 1.0) * f64::from(m.weight) / weights).ceil();
            f64::from(pick.load(m.index)) < room && pick.load(m.index) != TRIED
        });
        roomy.or(untried).map(|member| member.id)
    }
}

/// FNV-1a, then MurmurHash3's finalizer.
fn hash(bytes: &[u8]) -> u32 {
    let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
    let mut hash = bytes.iter().fold(2_166_136_261, fnv);
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_one_that_is_written_down() {
        assert_eq!(hash(b""), 0xab3e_7c0b);
        assert_eq!(hash(b"10.0.0.1:80#0"), 0xc049_c494);
    }

    #[test]
    fn a_factor_below_one_is_refused() {
        let config = Config { by: client(), factor: 0.5 };
        assert!(Bounded::new(config, &mut BalancerNeeds::default()).is_err());
    }
}
