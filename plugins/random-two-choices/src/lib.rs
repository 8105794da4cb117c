//! Random two choices: of two random endpoints, the one with fewer requests in flight for its
//! weight.
//!
//! The balance is nearly as even as with least connections. It reads two loads, for any number of
//! endpoints. Workers or nodes with stale loads do not all choose the same endpoint. An endpoint of
//! weight 0 gets no requests. An endpoint that this request already tried is used only if there is
//! no other.

use weir_sdk::{Balancer, BalancerNeeds, Endpoint, NoConfig, Pick, Refused, TRIED, host};

#[derive(Debug)]
struct RandomTwoChoices {
    endpoints: Vec<Candidate>,
    random: Random,
}

#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// The index in the last update, which is also the index of the load.
    index: usize,
    id: u32,
    weight: u32,
}

#[weir_sdk::balancer]
impl Balancer for RandomTwoChoices {
    type Config = NoConfig;

    fn new(_config: NoConfig, needs: &mut BalancerNeeds) -> Result<Self, Refused> {
        needs.loads();
        Ok(RandomTwoChoices { endpoints: Vec::new(), random: Random(host::random()) })
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let taking = endpoints.iter().enumerate().filter(|(_, endpoint)| endpoint.weight > 0);
        self.endpoints = taking
            .map(|(index, endpoint)| Candidate { index, id: endpoint.id, weight: endpoint.weight })
            .collect();
    }

    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32> {
        let count = self.endpoints.len();
        let first = self.random.below(count)?;
        // The second is any endpoint except the first: a random distance from it, modulo the count.
        let second = match self.random.below(count - 1) {
            Some(distance) => (first + 1 + distance) % count,
            None => first,
        };
        let (a, b) = (*self.endpoints.get(first)?, *self.endpoints.get(second)?);
        let (load_a, load_b) = (pick.load(a.index), pick.load(b.index));
        if load_a == TRIED && load_b == TRIED {
            return self.untried(first, pick).or(Some(a.id));
        }
        Some(if is_less((b, load_b), (a, load_a)) { b.id } else { a.id })
    }
}

impl RandomTwoChoices {
    /// Returns the next endpoint after `start` that the request has not tried.
    fn untried(&self, start: usize, pick: &Pick<'_>) -> Option<u32> {
        let (before, after) = self.endpoints.split_at_checked(start)?;
        let mut around = after.iter().chain(before);
        around.find(|candidate| pick.load(candidate.index) != TRIED).map(|candidate| candidate.id)
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

/// SplitMix64: eight bytes of state, and even enough. An attacker gains nothing by predicting it.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// Returns a number below `count`, or `None` if that is 0. The bias is below 2⁻³² for any count
    /// that fits in memory.
    fn below(&mut self, count: usize) -> Option<usize> {
        if count == 0 {
            return None;
        }
        Some((((self.next() >> 32) * count as u64) >> 32) as usize)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uses a fixed seed, so that a test either always passes or never.
    fn balancer(weights: &[u32]) -> RandomTwoChoices {
        let mut balancer = RandomTwoChoices { endpoints: Vec::new(), random: Random(7) };
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

    fn pick(balancer: &mut RandomTwoChoices, loads: &[u32]) -> Option<u32> {
        balancer.pick(&Pick { loads, ..Pick::default() })
    }

    #[test]
    fn idle_endpoints_are_chosen_evenly() {
        let mut balancer = balancer(&[1; 10]);
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[pick(&mut balancer, &[0; 10]).unwrap() as usize] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_most_loaded_of_all_is_never_chosen() {
        let mut balancer = balancer(&[1; 4]);
        assert!((0..1000).all(|_| pick(&mut balancer, &[1, 9, 1, 1]) != Some(1)));
    }

    #[test]
    fn requests_that_never_end_stay_close_to_even() {
        let mut balancer = balancer(&[1; 50]);
        let mut loads = [0; 50];
        for _ in 0..50_000 {
            loads[pick(&mut balancer, &loads).unwrap() as usize] += 1;
        }
        // With one choice the spread would be about ±100; with two it is a few.
        assert!(loads.iter().all(|load| (980..1020).contains(load)), "{loads:?}");
    }

    #[test]
    fn load_counts_relative_to_weight() {
        let mut balancer = balancer(&[1, 4]);
        assert!((0..100).all(|_| pick(&mut balancer, &[1, 3]) == Some(1)));
        assert!((0..100).all(|_| pick(&mut balancer, &[1, 5]) == Some(0)));
    }

    #[test]
    fn endpoints_that_were_tried_are_the_last_resort() {
        let mut balancer = balancer(&[1; 4]);
        assert!((0..100).all(|_| pick(&mut balancer, &[TRIED, TRIED, TRIED, 900]) == Some(3)));
        assert!(pick(&mut balancer, &[TRIED; 4]).is_some());
    }

    #[test]
    fn weight_zero_gets_nothing() {
        let mut balancer = balancer(&[0, 1, 0]);
        assert!((0..100).all(|_| pick(&mut balancer, &[0, 50, 0]) == Some(1)));
    }

    #[test]
    fn no_endpoints_no_choice() {
        assert_eq!(pick(&mut balancer(&[]), &[]), None);
        assert_eq!(pick(&mut balancer(&[0]), &[0]), None);
    }
}
