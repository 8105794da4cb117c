//! The progress of a transfer, in the log.

use std::time::{Duration, Instant};

/// Logs the progress of a transfer, at most once a second.
pub(super) struct Progress {
    name: String,
    total: u64,
    told: Instant,
}

impl Progress {
    /// Logs that a transfer begins.
    pub(super) fn new(name: String, total: u64) -> Self {
        let progress = Self { name, total, told: Instant::now() };
        progress.say(0);
        progress
    }

    /// Logs the progress, unless the last line is less than a second old.
    pub(super) fn tell(&mut self, received: u64) {
        if self.told.elapsed() >= Duration::from_secs(1) {
            self.told = Instant::now();
            self.say(received);
        }
    }

    fn say(&self, received: u64) {
        tracing::info!("pulling {} ({})", self.name, amount(received, self.total));
    }
}

/// Returns `1.2 of 3.4 MiB`, or KiB for a small total.
fn amount(received: u64, total: u64) -> String {
    let (unit, name) = if total < 1 << 20 { (1 << 10, "KiB") } else { (1 << 20, "MiB") };
    let tenths = |bytes: u64| (bytes * 10 / unit / 10, bytes * 10 / unit % 10);
    let ((whole, part), (of, of_part)) = (tenths(received), tenths(total));
    format!("{whole}.{part} of {of}.{of_part} {name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_in_a_fitting_unit() {
        assert_eq!(amount(0, 20_480), "0.0 of 20.0 KiB");
        assert_eq!(amount(1_258_292, 3_565_159), "1.2 of 3.4 MiB");
    }
}
