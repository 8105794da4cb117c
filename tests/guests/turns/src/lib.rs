//! A balancer that logs each 64-bit number from the host, and chooses the first endpoint.
//! `x-do: break` is a bug. `tests/languages` has the same balancer in every other language.

use weir_sdk::host::{Level, log};
use weir_sdk::{Balancer, BalancerNeeds, Endpoint, Input, NoConfig, Outcome, Pick, Refused};

struct Turns(Input);

#[weir_sdk::balancer]
impl Balancer for Turns {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        needs.sequence();
        needs.outcomes();
        Ok(Turns(needs.header("x-do")))
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        assert!(pick.bytes(self.0).is_none(), "broken on purpose");
        log(Level::Info, &format!("pick {}", pick.sequence));
        Some(0)
    }

    fn observe(&mut self, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            log(Level::Info, &format!("observe {}", outcome.duration_us));
        }
    }
}
