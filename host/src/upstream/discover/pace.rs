//! The time between two lookups.

use std::time::Duration;

use rand::RngExt as _;

/// Decides when a name is looked up again.
#[derive(Debug)]
pub(super) struct Pace {
    floor: Duration,
    ceiling: Duration,
    /// Looks with a fault, in a row.
    faults: u32,
}

impl Pace {
    /// Makes a pace with the bounds of the time between two lookups.
    pub(super) fn new(floor: Duration, ceiling: Duration) -> Self {
        Self { floor, ceiling, faults: 0 }
    }

    /// Returns the time to wait after an answer that is valid for `ttl`.
    pub(super) fn after(&mut self, ttl: Duration) -> Duration {
        self.faults = 0;
        jitter(self.clamp(ttl))
    }

    /// Returns the time to wait after a fault. `ttl` is the validity of the parts that were
    /// answered, if there are any.
    pub(super) fn after_fault(&mut self, ttl: Option<Duration>) -> Duration {
        let steps = 1_u32.checked_shl(self.faults).unwrap_or(u32::MAX);
        self.faults = self.faults.saturating_add(1);
        let retry = self.floor.saturating_mul(steps).min(RETRY.max(self.floor));
        jitter(ttl.map_or(retry, |ttl| retry.min(self.clamp(ttl))))
    }

    fn clamp(&self, ttl: Duration) -> Duration {
        ttl.min(self.ceiling).max(self.floor)
    }
}

/// Adds up to a tenth, so that many nodes do not ask in one instant.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::rng().random_range(1.0..=1.1))
}

/// The longest time between two tries while lookups fail. A DNS server that returns is noticed
/// within it, and one that is overloaded gets few queries.
const RETRY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn is_about(wait: Duration, expected: u64) -> bool {
        wait >= seconds(expected) && wait <= seconds(expected).mul_f64(1.1)
    }

    #[test]
    fn a_ttl_is_kept_within_its_bounds() {
        let mut pace = Pace::new(seconds(5), seconds(300));
        for (ttl, expected) in [(0, 5), (4, 5), (60, 60), (300, 300), (86_400, 300)] {
            for _ in 0..100 {
                let wait = pace.after(seconds(ttl));
                assert!(is_about(wait, expected), "{ttl}: {wait:?}");
            }
        }
    }

    #[test]
    fn faults_are_retried_ever_more_rarely_until_an_answer() {
        let mut pace = Pace::new(seconds(5), seconds(300));
        for expected in [5, 10, 20, 30, 30] {
            let wait = pace.after_fault(None);
            assert!(is_about(wait, expected), "{wait:?}, not {expected}");
        }
        for _ in 0..100 {
            assert!(is_about(pace.after_fault(None), 30));
        }
        assert!(is_about(pace.after_fault(Some(seconds(7))), 7));
        pace.after(seconds(60));
        assert!(is_about(pace.after_fault(None), 5));
        let mut slow = Pace::new(seconds(120), seconds(300));
        assert!(is_about(slow.after_fault(None), 120));
        assert!(is_about(slow.after_fault(None), 120));
    }
}
