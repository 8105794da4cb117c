//! A balancer whose summary is longer than is allowed.

use weir_sdk::{Balancer, Endpoint, Manifest, NoConfig, Pick};

struct Boast;

impl Balancer for Boast {
    type Config = NoConfig;

    fn describe() -> Manifest {
        Manifest {
            summary: "I am the best. ".repeat(1000),
            ..weir_sdk::manifest!(NoConfig::SCHEMA)
        }
    }

    fn new(_config: NoConfig) -> Result<Self, String> {
        Ok(Boast)
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, _pick: &Pick<'_>) -> Option<u32> {
        None
    }
}

weir_sdk::export_balancer!(Boast);
