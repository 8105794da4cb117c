//! [`Health`]: decides whether a function of a generation is called, or suspended for a while
//! because it keeps failing.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::function::Function;

/// The back-off of a plugin that keeps failing.
///
/// After several consecutive failures, a function is not called for a while. Then one call probes
/// whether it works again. The pause doubles with each failed probe.
///
/// The back-off is by function, because a request leads to several. A successful `on-request`
/// proves nothing about `on-response`.
#[derive(Debug, Default)]
pub struct Health {
    functions: [FunctionStreak; Function::COUNT],
    /// The failures that were logged lately.
    told: Mutex<Vec<Told>>,
}

/// A logged failure.
#[derive(Debug)]
struct Told {
    /// The fingerprint of its function and its reason.
    failure: u64,
    at: Instant,
    /// Failures of the same kind since then, which were not logged.
    more: u64,
}

/// The failures in a row of one function.
#[derive(Debug, Default)]
struct FunctionStreak {
    /// Number of failures since the last success.
    in_a_row: AtomicU32,
    /// The time of the next probe, in milliseconds since the start. 0 outside quarantine.
    probe_at: AtomicU64,
}

impl Health {
    /// Returns whether one of the functions is suspended.
    pub fn is_quarantined(&self) -> bool {
        self.functions.iter().any(|streak| streak.probe_at.load(Ordering::Relaxed) != 0)
    }

    /// Returns whether a function may be called. In quarantine, a caller that gets true makes the
    /// probing call.
    pub(super) fn admits(&self, function: Function) -> bool {
        let streak = function.of(&self.functions);
        let due = streak.probe_at.load(Ordering::Relaxed);
        if due == 0 {
            return true;
        }
        let now = now();
        // The caller that moves the time makes the probe. The other callers wait for its result.
        now >= due
            && streak
                .probe_at
                .compare_exchange(due, now + millis(PROBE), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Returns the same as [`Self::admits`], without starting a probe.
    pub(super) fn would_admit(&self, function: Function) -> bool {
        let due = function.of(&self.functions).probe_at.load(Ordering::Relaxed);
        due == 0 || now() >= due
    }

    /// Returns whether the last call of a function succeeded.
    pub(super) fn is_well(&self, function: Function) -> bool {
        function.of(&self.functions).in_a_row.load(Ordering::Relaxed) == 0
    }

    /// Notes that a function works. Returns whether this ended the last quarantine.
    pub(super) fn recover(&self, function: Function) -> bool {
        let streak = function.of(&self.functions);
        // Every call takes this path, so it costs only one load.
        if streak.in_a_row.load(Ordering::Relaxed) == 0 {
            return false;
        }
        streak.in_a_row.store(0, Ordering::Relaxed);
        streak.probe_at.swap(0, Ordering::AcqRel) != 0 && !self.is_quarantined()
    }

    /// Counts a failure. Returns the pause if the failure begins or extends a quarantine.
    pub(super) fn suffer(&self, function: Function) -> Option<Duration> {
        let streak = function.of(&self.functions);
        let in_a_row = streak.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let beyond = in_a_row.checked_sub(PATIENCE)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(16)).min(LONGEST_PAUSE);
        streak.probe_at.store(now() + millis(pause), Ordering::Release);
        Some(pause)
    }

    /// Returns whether a failure is to be logged, with the number of equal failures that were not
    /// logged since the last one. A plugin that fails with each request is logged at intervals.
    /// Each different failure is logged at once, up to a bound.
    pub(super) fn is_to_be_told(&self, function: Function, reason: &str) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        (function.name(), reason).hash(&mut hasher);
        let (failure, now) = (hasher.finish(), Instant::now());
        let is_over = |told: &Told| now.duration_since(told.at) >= TELL_EVERY;
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = all.iter_mut().find(|told| told.failure == failure) {
            if is_over(told) {
                told.at = now;
                return Some(std::mem::take(&mut told.more));
            }
            told.more += 1;
            return None;
        }
        all.retain(|told| !is_over(told));
        if all.len() >= MOST_TOLD {
            return None;
        }
        all.push(Told { failure, at: now, more: 0 });
        Some(0)
    }
}

fn now() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    // Values start at 1, because 0 means never.
    millis(START.elapsed()).saturating_add(1)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Consecutive failures before a function is suspended.
pub(super) const PATIENCE: u32 = 10;

/// The first and the longest pause.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Time after which a probe without a result is repeated. Its request may have been cancelled.
const PROBE: Duration = Duration::from_secs(1);

/// Time between two log messages about the same failure of a plugin that fails with each request.
/// The counter counts all failures.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// The most different failures that are logged in that time. A reason may have a part that differs
/// each time.
const MOST_TOLD: usize = 8;

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
    fn each_different_failure_is_told_at_once_and_an_equal_one_is_counted() {
        let health = Health::default();
        assert_eq!(health.is_to_be_told(Request, "panic"), Some(0));
        assert_eq!(health.is_to_be_told(Request, "panic"), None);
        assert_eq!(health.is_to_be_told(Request, "timeout"), Some(0));
        assert_eq!(health.is_to_be_told(Response, "panic"), Some(0));
        let told = health.told.lock().unwrap().iter().map(|told| told.more).collect::<Vec<_>>();
        assert_eq!(told, [1, 0, 0]);
        // A reason that differs each time fills no disk.
        let told = (0..100).filter_map(|n| health.is_to_be_told(Request, &n.to_string()));
        assert_eq!(told.count(), MOST_TOLD - 3);
        let earlier = Instant::now().checked_sub(TELL_EVERY).unwrap();
        health.told.lock().unwrap().iter_mut().for_each(|told| told.at = earlier);
        assert_eq!(health.is_to_be_told(Request, "panic"), Some(1));
        assert_eq!(health.is_to_be_told(Request, "new"), Some(0), "the others are over");
    }

    #[test]
    fn the_pause_is_bounded() {
        let health = Health::default();
        let pauses: Vec<_> = (0..200).filter_map(|_| health.suffer(Request)).collect();
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }
}
