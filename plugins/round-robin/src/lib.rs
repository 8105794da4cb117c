//! Round robin: each endpoint gets the next request in turn.
//!
//! The turn is the sequence number of the host, which all workers share, so the distribution is
//! exact over all workers. An endpoint of weight 0 gets no requests. Other weights do not matter.

use weir_sdk::{Balancer, BalancerNeeds, Endpoint, NoConfig, Pick, Refused};

#[derive(Debug)]
struct RoundRobin {
    ids: Vec<u32>,
}

#[weir_sdk::balancer]
impl Balancer for RoundRobin {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        needs.sequence();
        Ok(RoundRobin { ids: Vec::new() })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let taking = endpoints.iter().filter(|endpoint| endpoint.weight > 0);
        self.ids = taking.map(|endpoint| endpoint.id).collect();
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

    fn balancer(weights: &[u32]) -> RoundRobin {
        let mut balancer = RoundRobin::new(NoConfig, &mut BalancerNeeds::default()).unwrap();
        let endpoint = |(id, weight): (usize, &u32)| Endpoint {
            id: id as u32 + 10,
            address: format!("10.0.0.{id}:80"),
            weight: *weight,
            zone: String::new(),
            labels: Vec::new(),
        };
        balancer.update(weights.iter().enumerate().map(endpoint).collect());
        balancer
    }

    fn pick(balancer: &mut RoundRobin, sequence: u64, attempt: u32) -> Option<u32> {
        balancer.pick(&Pick { sequence, attempt, ..Pick::default() })
    }

    #[test]
    fn endpoints_take_turns() {
        let mut balancer = balancer(&[1, 1, 1]);
        let picks: Vec<_> = (0..6).filter_map(|turn| pick(&mut balancer, turn, 0)).collect();
        assert_eq!(picks, [10, 11, 12, 10, 11, 12]);
    }

    #[test]
    fn workers_that_share_the_sequence_are_exact_together() {
        let mut workers = [balancer(&[1; 7]), balancer(&[1; 7]), balancer(&[1; 7])];
        let mut counts = [0; 7];
        for turn in 0..700 {
            // Any worker can take a request.
            let worker = &mut workers[(turn * turn % 3) as usize];
            counts[pick(worker, turn, 0).unwrap() as usize - 10] += 1;
        }
        assert_eq!(counts, [100; 7]);
    }

    #[test]
    fn each_attempt_goes_elsewhere() {
        let mut balancer = balancer(&[1, 1, 1]);
        let picks: Vec<_> = (0..3).filter_map(|attempt| pick(&mut balancer, 8, attempt)).collect();
        assert_eq!(picks, [12, 10, 11]);
    }

    #[test]
    fn weight_zero_gets_nothing() {
        let mut balancer = balancer(&[1, 0, 5]);
        let picks: Vec<_> = (0..4).filter_map(|turn| pick(&mut balancer, turn, 0)).collect();
        assert_eq!(picks, [10, 12, 10, 12]);
    }

    #[test]
    fn no_endpoints_no_choice() {
        assert_eq!(pick(&mut balancer(&[]), 3, 0), None);
        assert_eq!(pick(&mut balancer(&[0, 0]), 3, 0), None);
    }

    #[test]
    fn the_last_sequence_number_does_not_overflow() {
        assert!(pick(&mut balancer(&[1, 1, 1]), u64::MAX, 2).is_some());
    }
}
