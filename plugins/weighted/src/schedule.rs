//! [`Schedule`]: the order of turns in a round, in which each weight has as many turns as its
//! value.
//!
//! A short round is laid out turn by turn, so that no endpoint is ever a whole turn ahead of its
//! share or behind it (R. Tijdeman, "The chairman assignment problem", 1980). The k-th turn of
//! weight w of total t may come from turn ⌊kt/w⌋ on and is due before ⌈(k+1)t/w⌉. The turn that is
//! due first goes first. A long round, from weights like 10,000 and 9,999, would take too much time
//! and memory to lay out. Its turns come from a stride near the golden ratio that hits every turn
//! once. This is just as exact over a round, and within the round a few turns off at most.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Maps a sequence number to the index of a weight.
#[derive(Debug)]
pub(crate) enum Schedule {
    /// The round, turn by turn.
    LaidOut(Vec<u32>),
    /// The sums of the weights up to each one, and the stride.
    Strided { ends: Vec<u64>, stride: u64 },
}

impl Schedule {
    /// Makes a round for these weights, all of them positive.
    pub(crate) fn new(weights: &[u32]) -> Schedule {
        let divisor = weights.iter().fold(0, |a, b| divisor(a, u64::from(*b))).max(1);
        let weights: Vec<u64> = weights.iter().map(|weight| u64::from(*weight) / divisor).collect();
        let total: u64 = weights.iter().sum();
        if total <= LAID_OUT {
            return Schedule::LaidOut(lay_out(&weights, total));
        }
        let mut end = 0;
        let ends = weights.iter().map(|weight| {
            end += weight;
            end
        });
        Schedule::Strided { ends: ends.collect(), stride: stride(total) }
    }

    /// Returns the index of the weight that has this turn, or `None` if there are no weights.
    pub(crate) fn at(&self, sequence: u64) -> Option<usize> {
        match self {
            Schedule::LaidOut(round) => {
                let turn = sequence.checked_rem(round.len() as u64)?;
                round.get(turn as usize).map(|index| *index as usize)
            }
            Schedule::Strided { ends, stride } => {
                let total = *ends.last()?;
                let turn = u128::from(sequence % total) * u128::from(*stride) % u128::from(total);
                Some(ends.partition_point(|end| u128::from(*end) <= turn))
            }
        }
    }
}

fn lay_out(weights: &[u64], total: u64) -> Vec<u32> {
    let turn = |(index, weight): (usize, &u64), k: u64| {
        let (from, due) = (k * total / weight, ((k + 1) * total).div_ceil(*weight));
        (from, due, index, k)
    };
    // The queue is ordered by the earliest turn of each weight. Weights that may have the current
    // turn are then ordered by their due turn.
    let mut waiting: BinaryHeap<_> =
        weights.iter().enumerate().map(|weight| Reverse(turn(weight, 0))).collect();
    let mut ready = BinaryHeap::new();
    let mut round = Vec::with_capacity(total as usize);
    for now in 0..total {
        while let Some(Reverse((from, due, index, k))) = waiting.peek().copied() {
            if from > now {
                break;
            }
            waiting.pop();
            ready.push(Reverse((due, index, k)));
        }
        let Some(Reverse((_, index, k))) = ready.pop() else { break };
        round.push(index as u32);
        if let Some(weight) = weights.get(index).filter(|weight| k + 1 < **weight) {
            waiting.push(Reverse(turn((index, weight), k + 1)));
        }
    }
    round
}

/// Returns the first number from `total` times the golden ratio's fraction on that shares no
/// divisor with `total`.
fn stride(total: u64) -> u64 {
    let golden = ((u128::from(total) * 0x9e37_79b9_7f4a_7c15) >> 64) as u64;
    (golden..total).find(|stride| divisor(*stride, total) == 1).unwrap_or(1)
}

fn divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// The most turns that are laid out: 16 KiB, and a tenth of the usual time of a call.
const LAID_OUT: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(schedule: &Schedule, weights: &[u32], turns: std::ops::Range<u64>) -> Vec<u64> {
        let mut counts = vec![0; weights.len()];
        for turn in turns {
            counts[schedule.at(turn).unwrap()] += 1;
        }
        counts
    }

    /// Returns the largest distance of any weight from its share, in turns.
    fn deviation(weights: &[u32]) -> f64 {
        let schedule = Schedule::new(weights);
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0.0; weights.len()];
        let mut worst = 0.0_f64;
        for turn in 0..total {
            counts[schedule.at(turn.into()).unwrap()] += 1.0;
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(turn + 1) * f64::from(*weight) / f64::from(total);
                worst = worst.max((count - share).abs());
            }
        }
        worst
    }

    #[test]
    fn every_round_is_exact_wherever_it_starts() {
        for weights in [&[1, 1, 1][..], &[5, 1, 1], &[7, 3], &[1], &[100, 1, 1, 50], &[64; 40]] {
            let schedule = Schedule::new(weights);
            let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
            let expected: Vec<u64> = weights.iter().map(|weight| u64::from(*weight)).collect();
            for start in [0, 1, 17] {
                assert_eq!(counts(&schedule, weights, start..start + total), expected);
            }
        }
    }

    #[test]
    fn nobody_is_ever_a_whole_turn_from_its_share() {
        for weights in
            [&[5, 1, 1][..], &[3, 2, 1], &[97, 2, 1], &[13, 17, 19, 23], &[1000, 999, 998, 1]]
        {
            let deviation = deviation(weights);
            assert!(deviation < 1.0, "{weights:?}: {deviation}");
        }
    }

    #[test]
    fn a_heavy_endpoint_does_not_get_its_turns_in_one_run() {
        let round: Vec<_> = (0..7).filter_map(|turn| Schedule::new(&[5, 1, 1]).at(turn)).collect();
        assert_eq!(round, [0, 0, 0, 1, 0, 0, 2]);
    }

    #[test]
    fn a_long_round_is_exact_and_nearly_even() {
        let weights = [10_000, 9_999, 7];
        let schedule = Schedule::new(&weights);
        assert!(matches!(schedule, Schedule::Strided { .. }));
        assert_eq!(counts(&schedule, &weights, 5..20_011), [10_000, 9_999, 7]);
        let deviation = deviation(&weights);
        assert!(deviation < 10.0, "{deviation}");
    }

    #[test]
    fn weights_are_reduced_before_they_are_counted() {
        let schedule = Schedule::new(&[3_000_000, 1_000_000]);
        assert!(matches!(&schedule, Schedule::LaidOut(round) if round.len() == 4));
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        let weights = [u32::MAX, u32::MAX - 1, 1];
        assert!(Schedule::new(&weights).at(u64::MAX).is_some());
    }
}
