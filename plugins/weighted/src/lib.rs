//! Weighted: endpoints get requests in turn and in proportion to their weights.
//!
//! The turns of a round are laid out when the endpoints change. The turn of a request is the
//! sequence number of the host, which all workers share. Every round is therefore exact over all
//! workers together: an endpoint of weight 3 gets three requests of it, spread as evenly as
//! possible. An endpoint of weight 0 gets no requests.

mod schedule;

use schedule::Schedule;
use weir_sdk::{Balancer, BalancerNeeds, Endpoint, NoConfig, Pick, Refused};

#[derive(Debug)]
struct Weighted {
    ids: Vec<u32>,
    schedule: Schedule,
}

#[weir_sdk::balancer]
impl Balancer for Weighted {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
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
        let mut seen = vec![self.schedule.at(pick.sequence)?];
        // A retry goes to the next turn of an endpoint that was not tried. The turns after those of
        // a refusing endpoint belong to the others in proportion to their weights.
        let mut turn = pick.sequence;
        while seen.len() <= pick.attempt as usize && seen.len() < self.ids.len() {
            seen.push(self.other(&mut turn, &seen)?);
        }
        self.ids.get(*seen.last()?).copied()
    }
}

impl Weighted {
    /// Returns the next turn of an endpoint outside `seen`. If one weight is very large, the turns
    /// of the others are rare, and it returns the first other endpoint.
    fn other(&self, turn: &mut u64, seen: &[usize]) -> Option<usize> {
        for _ in 0..LOOKED_AT {
            *turn = turn.wrapping_add(1);
            let index = self.schedule.at(*turn)?;
            if !seen.contains(&index) {
                return Some(index);
            }
        }
        (0..self.ids.len()).find(|index| !seen.contains(index))
    }
}

/// The most turns that a retry examines. They take some microseconds, far less than a failed
/// connection.
const LOOKED_AT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(weights: &[u32]) -> Weighted {
        let mut balancer = Weighted::new(NoConfig, &mut BalancerNeeds::default()).unwrap();
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
    fn what_one_endpoint_refuses_goes_to_the_others_by_their_weights() {
        let weights = [5, 3, 2, 10];
        for refusing in 0..weights.len() as u32 {
            let (mut balancer, mut counts) = (balancer(&weights), [0_u32; 4]);
            for turn in 0..2000 {
                let first = pick(&mut balancer, turn, 0).unwrap();
                let id =
                    if first == refusing { pick(&mut balancer, turn, 1).unwrap() } else { first };
                counts[id as usize] += 1;
            }
            assert_eq!(counts[refusing as usize], 0);
            let rest = 20 - weights[refusing as usize];
            for (id, weight) in (0..).zip(weights).filter(|(id, _)| *id != refusing) {
                let (share, due) = (counts[id as usize], 2000 * weight / rest);
                assert!(share.abs_diff(due) <= 200, "{refusing} refuses, {counts:?}");
            }
        }
    }

    #[test]
    fn a_retry_ends_however_rare_the_other_turns_are() {
        let mut balancer = balancer(&[65_536, 1]);
        for turn in 0..100 {
            let picks = [0, 1, 2, 9].map(|attempt| pick(&mut balancer, turn, attempt).unwrap());
            assert_ne!(picks[0], picks[1]);
            assert_eq!(picks[1..3], picks[2..4], "when all were tried, the last again");
        }
    }

    #[test]
    fn no_endpoints_no_choice() {
        assert_eq!(pick(&mut balancer(&[]), 3, 0), None);
        assert_eq!(pick(&mut balancer(&[0, 0]), 3, 0), None);
    }
}
