//! Zone first: requests stay in one zone while it has a healthy endpoint, and go to the others only when it has none.

use schemars::JsonSchema;
use serde::Deserialize;
use weir_sdk::{Balancer, Endpoint, Needs, Pick};

/// Its configuration, as it stands under `balancer_config`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// The zone that comes first.
    zone: String,
}

#[derive(Debug)]
struct ZoneFirst {
    zone: String,
    ids: Vec<u32>,
}

#[weir_sdk::balancer]
impl Balancer for ZoneFirst {
    type Config = Config;

    fn new(config: Config, needs: &mut Needs) -> Result<Self, String> {
        needs.sequence();
        Ok(ZoneFirst { zone: config.zone, ids: Vec::new() })
    }

    // Called with the healthy endpoints whenever they change, so there is nothing to search for in `pick`.
    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let here: Vec<_> = endpoints.iter().filter(|e| e.zone == self.zone).map(|e| e.id).collect();
        self.ids = if here.is_empty() { endpoints.iter().map(|e| e.id).collect() } else { here };
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        let turn = pick.sequence.wrapping_add(u64::from(pick.attempt));
        let index = turn.checked_rem(self.ids.len() as u64)?;
        self.ids.get(index as usize).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: u32, zone: &str) -> Endpoint {
        Endpoint {
            id,
            address: format!("10.0.0.{id}:80"),
            weight: 1,
            zone: zone.to_owned(),
            labels: Vec::new(),
        }
    }

    fn picks(endpoints: Vec<Endpoint>) -> Vec<u32> {
        let mut balancer = {
            let config = Config { zone: "a".to_owned() };
            ZoneFirst::new(config, &mut Needs::default()).unwrap()
        };
        balancer.update(endpoints);
        (0..4).filter_map(|sequence| balancer.pick(&Pick { sequence, ..Pick::default() })).collect()
    }

    #[test]
    fn requests_stay_in_the_zone() {
        assert_eq!(picks(vec![endpoint(1, "a"), endpoint(2, "b"), endpoint(3, "a")]), [1, 3, 1, 3]);
    }

    #[test]
    fn an_empty_zone_gives_way_to_the_others() {
        assert_eq!(picks(vec![endpoint(2, "b"), endpoint(4, "c")]), [2, 4, 2, 4]);
        assert_eq!(picks(Vec::new()), []);
    }
}
