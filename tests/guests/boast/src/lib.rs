//! A balancer with a summary longer than the limit.

use weir_sdk::{Balancer, BalancerNeeds, Endpoint, Manifest, NoConfig, Pick, Refused};

struct Boast;

#[weir_sdk::balancer]
impl Balancer for Boast {
    type Config = NoConfig;

    fn describe(package: Manifest) -> Manifest {
        Manifest { summary: "I am the best. ".repeat(1000), ..package }
    }

    fn new(_config: NoConfig, _needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        Ok(Boast)
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, _pick: &Pick<'_>) -> Option<u32> {
        None
    }
}
