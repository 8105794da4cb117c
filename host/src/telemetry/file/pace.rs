//! Bounds on how often something happens.

use std::time::{Duration, SystemTime};

/// The time since a mark. A clock that goes back counts as any time.
#[derive(Debug, Default)]
pub(super) struct Pace(Option<SystemTime>);

/// A failure that is told when it begins, and at most once in [`TELL_EVERY`].
#[derive(Debug, Default)]
pub(super) struct Complaint {
    lasts: bool,
    told: Pace,
}

impl Pace {
    /// Sets the mark.
    pub(super) fn mark(&mut self, now: SystemTime) {
        self.0 = Some(now);
    }

    /// Whether there is no mark, or `interval` has passed since.
    pub(super) fn has_passed(&self, now: SystemTime, interval: Duration) -> bool {
        let since = |mark| now.duration_since(mark).ok();
        self.0.and_then(since).is_none_or(|since| since >= interval)
    }
}

impl Complaint {
    /// Notes a failure. Returns whether to tell it.
    pub(super) fn begins(&mut self, now: SystemTime) -> bool {
        let tells = !self.lasts && self.told.has_passed(now, TELL_EVERY);
        self.lasts = true;
        if tells {
            self.told.mark(now);
        }
        tells
    }

    /// Notes a success.
    pub(super) fn ends(&mut self) {
        self.lasts = false;
    }
}

/// Time between two reports. A disk that is nearly full takes one line and refuses the next.
const TELL_EVERY: Duration = Duration::from_secs(60);
