//! Frames that carry nothing, held against those that do something.

use std::time::{Duration, Instant};

/// Counts for one connection what costs time and means nothing. Padding, pings and priorities are
/// allowed, and nobody needs thousands of them for nothing.
#[derive(Debug)]
pub struct Useless {
    balance: u32,
    /// Until when time has been made up for.
    since: Instant,
}

impl Default for Useless {
    fn default() -> Self {
        Self { balance: 0, since: Instant::now() }
    }
}

impl Useless {
    /// Counts one frame that carries nothing, and says whether these are too many: more than 1,000
    /// ahead of what was useful, with 100 more each second.
    pub fn add(&mut self) -> bool {
        self.balance = self.balance.saturating_add(1);
        // The clock is read when it matters, and then once for many.
        self.balance > AHEAD && !self.forgive()
    }

    /// Something useful makes up for as many frames that carry nothing.
    pub fn make_up(&mut self, worth: u32) {
        self.balance = self.balance.saturating_sub(worth);
    }

    /// Makes up for the time that has passed; says whether that is enough.
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

/// Time that makes up for one.
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
