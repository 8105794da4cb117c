//! Counts frames that carry nothing against useful ones.

use std::time::{Duration, Instant};

/// Counts, for one connection, frames that cost time and mean nothing. Padding, pings and
/// priorities are allowed, but thousands of them have no use.
#[derive(Debug)]
pub struct Useless {
    balance: u32,
    /// The time up to which elapsed time has been counted.
    since: Instant,
}

impl Default for Useless {
    fn default() -> Self {
        Self { balance: 0, since: Instant::now() }
    }
}

impl Useless {
    /// Counts one frame that carries nothing. Returns whether there are too many: more than 1,000
    /// ahead of useful frames, with 100 more each second.
    pub fn add(&mut self) -> bool {
        self.balance = self.balance.saturating_add(1);
        // The clock is read only when it matters, and then once for many frames.
        self.balance > AHEAD && !self.forgive()
    }

    /// Notes a useful event, which makes up for `worth` frames that carry nothing.
    pub fn make_up(&mut self, worth: u32) {
        self.balance = self.balance.saturating_sub(worth);
    }

    /// Makes up for the elapsed time. Returns whether that is enough.
    #[cold]
    fn forgive(&mut self) -> bool {
        let passed = self.since.elapsed();
        self.since += passed;
        let worth = u32::try_from(passed.as_millis() / EACH.as_millis()).unwrap_or(u32::MAX);
        self.make_up(worth);
        self.balance <= AHEAD
    }
}

/// Frames that may come ahead of anything useful.
const AHEAD: u32 = 1000;

/// The time that makes up for one frame.
const EACH: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_allowed_and_what_is_useful_makes_up_for_more() {
        let mut useless = Useless::default();
        // Some milliseconds may have passed.
        assert!((0..900).all(|_| !useless.add()));
        let mut flood = 900..;
        assert!(flood.find(|_| useless.add()).unwrap() < 5000);
        useless.make_up(500);
        assert!((0..499).all(|_| !useless.add()));
    }

    #[test]
    fn time_makes_up_for_some() {
        let mut useless = Useless { balance: AHEAD, ..Useless::default() };
        useless.since = useless.since.checked_sub(Duration::from_secs(3)).unwrap();
        assert!(!useless.add());
        assert_eq!(useless.balance, AHEAD + 1 - 300);
    }
}
