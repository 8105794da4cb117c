//! Weighted: endpoints get requests in turn and in proportion to their weights.
//!
//! The turns of one round are laid out when the endpoints change, and a request's turn is the host's sequence
//! number, which all workers share. So over all workers together every round is exact: an endpoint of weight
//! 3 gets three requests of it, spread as evenly as can be. An endpoint of weight 0 gets nothing.

mod schedule;

use schedule::Schedule;
use weir_sdk::{Balancer, Endpoint, Needs, NoConfig, Pick};

#[derive(Debug)]
struct Weighted {
    ids: Vec<u32>,
    schedule: Schedule,
}

#[weir_sdk::balancer]
impl Balancer for Weighted {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut Needs) -> Result<Self, String> {
        needs.sequence();
        Ok(Weighted { ids: Vec::new(), schedule: Schedule::new(&[]) })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let taking = || endpoints.iter().filter(|endpoint| endpoint.weight > 0);
        self.ids = taking().map(|endpoint| endpoint.id).collect();
        self.schedule =
            Schedule::new(&taking().map(|endpoint| endpoint.weight).collect::<Vec<_>>());
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        let first = self.schedule.at(pick.sequence)?;
        // A retry goes to the neighbours in turn: it must be another endpoint, its share matters less.
        let index = (first + pick.attempt as usize) % self.ids.len();
        self.ids.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(weights: &[u32]) -> Weighted {
        let mut balancer = Weighted::new(NoConfig, &mut Needs::default()).unwrap();
        let endpoint = |(id, weight): (usize, &u32)| Endpoint {
            id: id as u32,
            address: format!("10.0.0.{id}:80"),
            weight: *weight,
            zone: String::new(),
            labels: Vec::new(),
        };
        balancer.update(weights.iter().enumerate().map(endpoint).collect());
        balancer
    }

    fn pick(balancer: &mut Weighted, sequence: u64, attempt: u32) -> Option<u32> {
        balancer.pick(&Pick { sequence, attempt, ..Pick::default() })
    }

    #[test]
    fn workers_that_share_the_sequence_are_exact_together() {
        let mut workers = [balancer(&[5, 0, 1, 3]), balancer(&[5, 0, 1, 3])];
        let mut counts = [0; 4];
        for turn in 0..900 {
            let worker = &mut workers[(turn * turn / 3 % 2) as usize];
            counts[pick(worker, turn, 0).unwrap() as usize] += 1;
        }
        assert_eq!(counts, [500, 0, 100, 300]);
    }

    #[test]
    fn each_attempt_goes_elsewhere() {
        let mut balancer = balancer(&[9, 1, 2]);
        for turn in 0..12 {
            let mut picks: Vec<_> =
                (0..3).filter_map(|attempt| pick(&mut balancer, turn, attempt)).collect();
            picks.sort_unstable();
            assert_eq!(picks, [0, 1, 2]);
        }
    }

    #[test]
    fn no_endpoints_no_choice() {
        assert_eq!(pick(&mut balancer(&[]), 3, 0), None);
        assert_eq!(pick(&mut balancer(&[0, 0]), 3, 0), None);
    }
}
