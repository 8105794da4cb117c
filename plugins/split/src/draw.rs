//! [`Draw`]: the group of a key.
//!
//! The method is weighted rendezvous hashing (C. Schindelhauer and G. Schomaker, "Weighted
//! Distributed Hash Tables", 2005). For a key each group draws a number, fixed by the key and the
//! group's name, and divides it by its weight. The least result wins. The order of the groups does
//! not matter. When a weight changes, keys move only from or to that group, and only as many as its
//! share changes by.

use weir_filter_common::hash::{hash, mix};

/// Groups of positive weight.
#[derive(Debug)]
pub(crate) struct Draw {
    salt: u64,
    /// The index, the hash of the name, and the weight.
    groups: Vec<(usize, u64, f64)>,
}

impl Draw {
    /// Makes a draw for groups with these names and weights. Groups of weight 0 take no part.
    pub(crate) fn new<'a>(salt: &str, groups: impl Iterator<Item = (&'a str, u32)>) -> Draw {
        let groups = groups.enumerate().filter(|(_, (_, weight))| *weight > 0);
        let groups =
            groups.map(|(index, (name, weight))| (index, hash(name.as_bytes()), f64::from(weight)));
        Draw { salt: hash(salt.as_bytes()), groups: groups.collect() }
    }

    /// Returns the index of the group of a key.
    pub(crate) fn of(&self, key: u64) -> usize {
        if let [(index, _, _)] = self.groups[..] {
            return index;
        }
        let key = mix(key ^ self.salt);
        let drawn = self
            .groups
            .iter()
            .map(|(index, name, weight)| (*index, -unit(mix(key ^ name)).ln() / weight));
        let least = drawn.min_by(|(_, a), (_, b)| a.total_cmp(b));
        least.map_or(0, |(index, _)| index)
    }
}

/// Returns a number above 0 and at most 1, from the upper 53 bits.
fn unit(hash: u64) -> f64 {
    ((hash >> 11) + 1) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 100_000;

    fn groups_of(draw: &Draw) -> Vec<usize> {
        (0..KEYS).map(|key| draw.of(hash(format!("192.0.2.{key}").as_bytes()))).collect()
    }

    fn draw(groups: &[(&str, u32)]) -> Draw {
        Draw::new("", groups.iter().copied())
    }

    fn count(groups: &[usize], group: usize) -> i64 {
        groups.iter().filter(|found| **found == group).count() as i64
    }

    #[test]
    fn keys_fall_by_weight() {
        for weights in [[90, 9, 1], [1, 1, 1], [1_000_000, 10_000, 1_000], [5, 0, 95]] {
            let named = [("a", weights[0]), ("b", weights[1]), ("c", weights[2])];
            let groups = groups_of(&draw(&named));
            let total: u32 = weights.iter().sum();
            for (group, weight) in weights.iter().enumerate() {
                let share = f64::from(*weight) / f64::from(total);
                let expected = share * f64::from(KEYS);
                // Five standard deviations of a binomial distribution.
                let bound = 5.0 * (expected * (1.0 - share)).sqrt();
                let off = (count(&groups, group) as f64 - expected).abs();
                assert!(off <= bound, "{weights:?}: {group} is off by {off}, bound {bound}");
            }
        }
    }

    #[test]
    fn a_weight_moves_keys_to_its_group_and_no_more_than_its_share() {
        let before = groups_of(&draw(&[("a", 90), ("b", 9), ("c", 1)]));
        let after = groups_of(&draw(&[("a", 90), ("b", 9), ("c", 11)]));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        let mut count = 0;
        for (_, to) in moved {
            assert_eq!(*to, 2, "a key moved between groups whose weights stayed");
            count += 1;
        }
        // The share grows from 1 % to 10 %.
        assert!((8_500..9_500).contains(&count), "{count} moved");
    }

    #[test]
    fn order_does_not_matter_and_a_salt_does() {
        let one = groups_of(&draw(&[("a", 1), ("b", 1)]));
        let other = groups_of(&draw(&[("b", 1), ("a", 1)]));
        assert!(one.iter().zip(&other).all(|(one, other)| *one == 1 - *other));
        let salted = Draw::new("x", [("a", 1), ("b", 1)].into_iter());
        let both =
            one.iter().zip(groups_of(&salted)).filter(|(one, other)| **one == *other).count();
        assert!((49_000..51_000).contains(&both), "{both} of 100000 are together under both salts");
    }

    #[test]
    fn the_ends_of_the_range_are_drawn_from() {
        assert!(unit(0) > 0.0 && unit(0).ln().is_finite());
        assert!(unit(u64::MAX) <= 1.0);
    }
}
