//! [`Health`]: whether a generation is to be called, or left alone for a while since it keeps failing.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::function::Function;

/// Back-off of a plugin that keeps failing. A few failures of one function in a row and that function is not called for
/// a while; then one call probes whether it works again. The pause doubles with each probe that fails.
///
/// By function, since a request leads to several: `on-request` that goes well says nothing of `on-response`.
#[derive(Debug, Default)]
pub struct Health {
    functions: [Streak; Function::COUNT],
    /// When a failure was logged last, in milliseconds since the start.
    told_at: AtomicU64,
}

#[derive(Debug, Default)]
struct Streak {
    /// Failures since the last success.
    in_a_row: AtomicU32,
    /// When the next probe is due, in milliseconds since the start; 0: not in quarantine.
    probe_at: AtomicU64,
}

impl Health {
    /// Whether one of its functions is not being called.
    pub fn is_quarantined(&self) -> bool {
        self.functions.iter().any(|streak| streak.probe_at.load(Ordering::Relaxed) != 0)
    }

    /// Whether a function may be called. In quarantine, who is told so makes the one call that probes.
    pub(super) fn admits(&self, function: Function) -> bool {
        let streak = function.of(&self.functions);
        let due = streak.probe_at.load(Ordering::Relaxed);
        if due == 0 {
            return true;
        }
        let now = now();
        // Whoever moves the date on is the probe; the others wait for what comes of it.
        now >= due
            && streak
                .probe_at
                .compare_exchange(due, now + millis(PROBE), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether [`Self::admits`] would, without being the probe.
    pub(super) fn would_admit(&self, function: Function) -> bool {
        let due = function.of(&self.functions).probe_at.load(Ordering::Relaxed);
        due == 0 || now() >= due
    }

    /// Whether the last call of a function went well.
    pub(super) fn is_well(&self, function: Function) -> bool {
        function.of(&self.functions).in_a_row.load(Ordering::Relaxed) == 0
    }

    /// Notes that a function works; whether this ended the last quarantine.
    pub(super) fn recover(&self, function: Function) -> bool {
        let streak = function.of(&self.functions);
        // One load on the way that every call takes.
        if streak.in_a_row.load(Ordering::Relaxed) == 0 {
            return false;
        }
        streak.in_a_row.store(0, Ordering::Relaxed);
        streak.probe_at.swap(0, Ordering::AcqRel) != 0 && !self.is_quarantined()
    }

    /// Counts a failure; the pause, if it begins or prolongs a quarantine.
    pub(super) fn suffer(&self, function: Function) -> Option<Duration> {
        let streak = function.of(&self.functions);
        let in_a_row = streak.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let beyond = in_a_row.checked_sub(PATIENCE)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(16)).min(LONGEST_PAUSE);
        streak.probe_at.store(now() + millis(pause), Ordering::Release);
        Some(pause)
    }

    /// Whether a failure is to be logged: one that comes with each request is told of now and then.
    pub(super) fn is_to_be_told(&self) -> bool {
        let (now, told) = (now(), self.told_at.load(Ordering::Relaxed));
        let is_due = told == 0 || now >= told + millis(TELL_EVERY);
        is_due
            && self
                .told_at
                .compare_exchange(told, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // From 1 on: 0 means never.
    millis(START.elapsed()).saturating_add(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Failures in a row before a function is left alone.
pub(super) const PATIENCE: u32 = 10;

/// How long it is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A probe that nothing is heard of (its request was cancelled) is repeated after this.
const PROBE: Duration = Duration::from_secs(1);

/// A plugin that fails with each request is told of this often; the counter has them all.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use Function::{Request, Response};

    #[test]
    fn a_plugin_that_keeps_failing_is_left_alone_until_a_probe_succeeds() {
        let health = Health::default();
        for _ in 1..PATIENCE {
            assert_eq!(health.suffer(Request), None);
            assert!(!health.is_well(Request));
            assert!(health.admits(Request));
        }
        assert_eq!(health.suffer(Request), Some(FIRST_PAUSE));
        assert!(health.is_quarantined());
        assert!(!health.admits(Request) && !health.would_admit(Request));
        while !health.would_admit(Request) {
            std::thread::yield_now();
        }
        assert!(health.admits(Request), "to look does not use up the probe");
        assert!(!health.admits(Request), "one probe at a time");
        assert_eq!(health.suffer(Request), Some(FIRST_PAUSE * 2));
        assert!(health.recover(Request));
        assert!(health.is_well(Request));
        assert!(health.admits(Request));
        assert!(!health.recover(Request));
    }

    #[test]
    fn a_function_that_works_does_not_speak_for_another() {
        let health = Health::default();
        for _ in 0..PATIENCE {
            assert!(!health.recover(Request));
            health.suffer(Response);
        }
        assert!(health.is_quarantined());
        assert!(health.admits(Request) && !health.admits(Response));
        assert!(!health.recover(Request) && health.is_quarantined());
        assert!(health.recover(Response) && !health.is_quarantined());
    }

    #[test]
    fn the_pause_is_bounded() {
        let health = Health::default();
        let pauses: Vec<_> = (0..200).filter_map(|_| health.suffer(Request)).collect();
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }
}
