//! Least connections: the endpoint with the fewest requests in flight for its weight.
//!
//! The host counts the loads over all workers. Endpoints with equal loads take turns by the
//! sequence number of the host, so an idle upstream is used evenly. An endpoint of weight 0 gets no
//! requests. An endpoint that this request already tried is used only if there is no other.

use weir_sdk::{Balancer, BalancerNeeds, Endpoint, NoConfig, Pick, Refused, TRIED};

#[derive(Debug)]
struct LeastConnections {
    endpoints: Vec<Candidate>,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The index in the last update, which is also the index of the load.
    index: usize,
    id: u32,
    weight: u32,
}

#[weir_sdk::balancer]
impl Balancer for LeastConnections {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        needs.sequence();
        needs.loads();
        Ok(LeastConnections { endpoints: Vec::new() })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let taking = endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.weight > 0);
        self.endpoints = taking
            .map(|(index, endpoint)| Candidate { index, id: endpoint.id, weight: endpoint.weight })
            .collect();
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        let turn = pick.sequence.wrapping_add(u64::from(pick.attempt));
        let start = turn.checked_rem(self.endpoints.len() as u64)? as usize;
        let (before, after) = self.endpoints.split_at_checked(start)?;
        let mut best: Option<(Candidate, u32)> = None;
        for candidate in after.iter().chain(before) {
            let load = pick.load(candidate.index);
            if best.is_none_or(|best| is_less((*candidate, load), best)) {
                best = Some((*candidate, load));
            }
        }
        best.map(|(candidate, _)| candidate.id)
    }
}

/// Whether the first has the lower load for its weight: `a / b < c / d`, without a division.
fn is_less((a, load_a): (Candidate, u32), (b, load_b): (Candidate, u32)) -> bool {
    match (load_a == TRIED, load_b == TRIED) {
        (false, true) => true,
        (true, _) => false,
        _ => u64::from(load_a) * u64::from(b.weight) < u64::from(load_b) * u64::from(a.weight),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balancer(weights: &[u32]) -> LeastConnections {
        let mut balancer = LeastConnections::new(NoConfig, &mut BalancerNeeds::default()).unwrap();
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

    fn pick(balancer: &mut LeastConnections, sequence: u64, loads: &[u32]) -> Option<u32> {
        balancer.pick(&Pick { sequence, loads, ..Pick::default() })
    }

    #[test]
    fn the_least_loaded_is_chosen() {
        let mut balancer = balancer(&[1, 1, 1]);
        for turn in 0..9 {
            assert_eq!(pick(&mut balancer, turn, &[3, 1, 2]), Some(1));
        }
    }

    #[test]
    fn load_counts_relative_to_weight() {
        let mut balancer = balancer(&[1, 4]);
        assert_eq!(pick(&mut balancer, 0, &[1, 3]), Some(1));
        assert_eq!(pick(&mut balancer, 0, &[1, 5]), Some(0));
    }

    #[test]
    fn requests_that_never_end_fill_endpoints_by_weight() {
        let mut balancer = balancer(&[1, 2, 5]);
        let mut loads = [0; 3];
        for turn in 0..800 {
            loads[pick(&mut balancer, turn, &loads).unwrap() as usize] += 1;
        }
        assert_eq!(loads, [100, 200, 500]);
    }

    #[test]
    fn equally_loaded_endpoints_take_turns() {
        let mut balancer = balancer(&[1, 1, 1]);
        let picks: Vec<_> = (0..6).filter_map(|turn| pick(&mut balancer, turn, &[0; 3])).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn an_endpoint_that_was_tried_is_the_last_resort() {
        let mut balancer = balancer(&[1000, 1]);
        assert_eq!(pick(&mut balancer, 0, &[TRIED, 5_000_000]), Some(1));
        assert!(pick(&mut balancer, 0, &[TRIED, TRIED]).is_some());
    }

    #[test]
    fn weight_zero_gets_nothing() {
        let mut balancer = balancer(&[0, 1]);
        assert_eq!(pick(&mut balancer, 0, &[0, 1000]), Some(1));
    }

    #[test]
    fn no_endpoints_no_choice() {
        assert_eq!(pick(&mut balancer(&[]), 0, &[]), None);
        assert_eq!(pick(&mut balancer(&[0]), 0, &[0]), None);
    }

    #[test]
    fn missing_loads_count_as_none() {
        assert!(pick(&mut balancer(&[1, 1]), 7, &[]).is_some());
    }
}
