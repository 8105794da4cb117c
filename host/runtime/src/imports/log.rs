//! The guest's log. Its lines are bounded in length and rate, so that a guest cannot fill a disk or
//! hide other lines.

use std::time::{Duration, Instant};

/// The lines that a plugin may still write in this second.
#[derive(Debug, Default)]
pub(crate) struct LogBudget {
    window: Option<Instant>,
    lines: u32,
    dropped: u64,
}

impl LogBudget {
    /// Returns whether one more line may be written now, and counts a line that may not.
    pub(crate) fn admit(&mut self, plugin: &str, now: Instant) -> bool {
        let fresh = self.window.is_none_or(|start| now.duration_since(start) >= WINDOW);
        if fresh {
            if self.dropped > 0 {
                tracing::warn!(target: TARGET, plugin, lines = self.dropped, "log lines dropped");
            }
            *self = LogBudget { window: Some(now), lines: 0, dropped: 0 };
        }
        if self.lines == LINES {
            self.dropped += 1;
            return false;
        }
        self.lines += 1;
        true
    }
}

/// Cuts a message to its bound and puts it on one line, so that a guest cannot forge lines of the
/// log.
pub(crate) fn printable(message: &str) -> String {
    let message = message.get(..message.floor_char_boundary(LENGTH)).unwrap_or_default();
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

const TARGET: &str = "weir::plugin";

/// Lines in a [`WINDOW`]: enough to show why a configuration is refused, too few to fill a disk.
const LINES: u32 = 20;

const WINDOW: Duration = Duration::from_secs(1);

/// Bytes of one line.
const LENGTH: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_past_the_rate_are_dropped_until_the_next_second() {
        let mut budget = LogBudget::default();
        let start = Instant::now();
        let admitted = (0..100).filter(|_| budget.admit("p", start)).count();
        assert_eq!(admitted, 20);
        assert_eq!(budget.dropped, 80);
        assert!(budget.admit("p", start + WINDOW));
        assert_eq!(budget.dropped, 0);
    }

    #[test]
    fn a_line_stays_one_line_and_is_cut_between_characters() {
        assert_eq!(printable("a\nb\u{1b}[31m"), "a b [31m");
        let long = "é".repeat(3000);
        assert_eq!(printable(&long).len(), LENGTH);
        assert_eq!(printable(&("a".to_owned() + &long)).len(), LENGTH - 1);
    }
}
