//! Zone first: requests stay in one zone while it has a healthy endpoint, and go to the others only when it has none.

use serde::Deserialize;
use weir_sdk::{Balancer, Endpoint, Manifest, Needs, Pick};

/// Its configuration, as it stands under `balancer_config`.
#[derive(Debug, Deserialize)]
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

impl Balancer for ZoneFirst {
    type Config = Config;

    fn describe() -> Manifest {
        weir_sdk::manifest!(SCHEMA)
    }

    fn new(config: Config) -> Result<Self, String> {
        Ok(ZoneFirst { zone: config.zone, ids: Vec::new() })
    }

    fn needs(&self) -> Needs {
        Needs { inputs: Vec::new(), sequence: true, loads: false, outcomes: false }
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

weir_sdk::export_balancer!(ZoneFirst);

const SCHEMA: &str = r#"{
  "type": "object",
  "properties": { "zone": { "type": "string", "description": "The zone that comes first" } },
  "required": ["zone"],
  "additionalProperties": false
}"#;

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
        let mut balancer = ZoneFirst::new(Config { zone: "a".to_owned() }).unwrap();
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
