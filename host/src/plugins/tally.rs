//! [`Tally`]: failures and times of a generation's calls, for the comparison with another
//! generation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::function::Function;

/// The calls of a generation: all failures, and the times of timed calls. Sums of all workers since
/// loading.
#[derive(Debug, Default)]
pub struct Tally {
    /// Failed calls.
    pub failures: AtomicU64,
    /// Calls during the trial.
    pub trial_calls: AtomicU64,
    /// Times by function, because a slow function would hide behind a quick one that is called as
    /// often.
    times: [Times; Function::COUNT],
}

/// A function that takes too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slower {
    pub(super) function: Function,
    pub(super) now: Duration,
    pub(super) before: Duration,
}

impl Tally {
    /// Adds a timed call.
    pub fn time(&self, function: Function, duration: Duration) {
        function.of(&self.times).add(duration);
    }

    /// Returns the typical time of a call, if enough calls were timed.
    pub fn mean(&self) -> Option<Duration> {
        let mut all = Counts::default();
        self.times.iter().for_each(|times| all.add(times));
        all.mean()
    }

    /// Returns whether the generation has served enough calls to be relied on.
    pub(super) fn is_proven(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0
            && self.trial_calls.load(Ordering::Relaxed) >= PROVEN
    }

    /// Returns a function that takes much longer than `before`, if there is one.
    pub(super) fn slower(&self, before: &Tally) -> Option<Slower> {
        let slower = |function: Function| {
            let (own, old) =
                (function.of(&self.times).counts(), function.of(&before.times).counts());
            let (now, before) = match (own.mean(), old.mean()) {
                (Some(now), Some(before)) if now > before * 2 + SLACK => (now, before),
                (Some(_), Some(_)) => return None,
                // With few calls, even the quickest must be far slower than before.
                _ => {
                    let (now, before) = (own.quickest()?, old.mean().or_else(|| old.slowest())?);
                    (now > before * 8 + SLACK * 5).then_some((now, before))?
                }
            };
            Some(Slower { function, now, before })
        };
        Function::ALL.into_iter().find_map(slower)
    }
}

impl std::fmt::Display for Slower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { function, now, before } = self;
        let name = function.name();
        write!(f, "a call of {name} takes {now:.1?}, and {before:.1?} in the previous generation")
    }
}

/// The times of one function's calls, in steps of a fifth.
#[derive(Debug)]
struct Times([AtomicU64; STEPS]);

impl Default for Times {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Times {
    fn add(&self, duration: Duration) {
        if let Some(step) = self.0.get(step(duration)) {
            step.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        counts.add(self);
        counts
    }
}

/// A snapshot of [`Times`].
struct Counts([u64; STEPS]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; STEPS])
    }
}

impl Counts {
    fn add(&mut self, times: &Times) {
        for (sum, count) in self.0.iter_mut().zip(&times.0) {
            *sum += count.load(Ordering::Relaxed);
        }
    }

    fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the mean without the slowest tenth. A thread that had to wait for its processor says
    /// nothing about the plugin.
    fn mean(&self) -> Option<Duration> {
        let total = self.total();
        if total < ENOUGH {
            return None;
        }
        let kept = total - total / 10;
        let (mut left, mut sum) = (kept, 0_u64);
        for (step, count) in self.0.iter().enumerate() {
            let taken = left.min(*count);
            sum = sum.saturating_add(taken.saturating_mul(nanos(step)));
            left -= taken;
        }
        Some(Duration::from_nanos(sum / kept))
    }

    /// Returns the time of the quickest call, if there were at least [`A_FEW`].
    fn quickest(&self) -> Option<Duration> {
        let step = self.0.iter().position(|count| *count > 0)?;
        (self.total() >= A_FEW).then(|| Duration::from_nanos(nanos(step)))
    }

    /// Returns the time of the slowest call, if there were at least [`A_FEW`].
    fn slowest(&self) -> Option<Duration> {
        let step = self.0.iter().rposition(|count| *count > 0)?;
        (self.total() >= A_FEW).then(|| Duration::from_nanos(nanos(step)))
    }
}

/// Returns the step of a time. Each power of two has four steps.
fn step(duration: Duration) -> usize {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(4);
    let power = nanos.ilog2();
    let quarter = (nanos >> (power - 2)) & 3;
    (power as usize * 4 + usize::try_from(quarter).unwrap_or(0)).min(STEPS - 1)
}

/// Returns the middle of a step.
fn nanos(step: usize) -> u64 {
    let (power, quarter) = (step / 4, (step % 4) as u64);
    // Computed in eighths: 4 to 7 quarters of the power, plus half a quarter.
    (1_u64 << power) / 8 * (8 + 2 * quarter + 1)
}

/// Number of steps, up to four seconds. No call may take that long.
const STEPS: usize = 128;

/// Timed calls of a function that suffice for a mean, and for the quickest call.
const ENOUGH: u64 = 50;
const A_FEW: u64 = 5;

/// First calls of a seat, all of which are timed. With two functions, each has [`ENOUGH`] of them.
pub(crate) const TIMED_FIRST: u32 = 102;

/// Afterwards one call in this many is timed, because reading the clock twice costs a fifth of a
/// call.
pub(crate) const TIMED_EVERY: u32 = 16;

/// Time that a call may take beyond twice the time of the old generation.
const SLACK: Duration = Duration::from_micros(20);

/// Calls without a failure after which a generation is relied on before the end of its trial.
const PROVEN: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    const MICRO: Duration = Duration::from_micros(1);

    fn tally(function: Function, times: &[(u64, Duration)]) -> Tally {
        let tally = Tally::default();
        for (count, duration) in times {
            (0..*count).for_each(|_| tally.time(function, *duration));
        }
        tally
    }

    #[test]
    fn a_mean_takes_enough_calls_and_is_about_right() {
        assert_eq!(tally(Function::Pick, &[(ENOUGH - 1, MICRO)]).mean(), None);
        for nanos in [180, 500, 2_000, 33_000, 1_500_000] {
            let mean = tally(Function::Pick, &[(ENOUGH, Duration::from_nanos(nanos))]).mean();
            let share = mean.unwrap().as_nanos() as f64 / nanos as f64;
            assert!((0.85..1.15).contains(&share), "{nanos}: {mean:?}");
        }
    }

    #[test]
    fn a_thread_that_had_to_wait_does_not_make_a_generation_slow() {
        let before = tally(Function::Request, &[(1000, MICRO)]);
        for calls in [ENOUGH, 200, 1000] {
            let waits = (calls / 20, Duration::from_millis(5));
            let own = tally(Function::Request, &[(calls - calls / 20, MICRO), waits]);
            assert_eq!(own.slower(&before), None, "{calls}");
        }
    }

    #[test]
    fn a_function_that_takes_longer_shows_beside_one_that_does_not() {
        let before = tally(Function::Request, &[(ENOUGH, MICRO)]);
        let own = tally(Function::Request, &[(ENOUGH, MICRO)]);
        for (tally, time) in [(&before, MICRO), (&own, MICRO * 30)] {
            (0..ENOUGH).for_each(|_| tally.time(Function::Response, time));
        }
        assert_eq!(own.slower(&before).unwrap().function, Function::Response);
        let some = [(ENOUGH / 2, MICRO), (ENOUGH / 2, MICRO * 100)];
        assert!(tally(Function::Request, &some).slower(&before).is_some(), "every other call");
    }

    #[test]
    fn little_more_than_before_is_allowed() {
        let before = tally(Function::Pick, &[(ENOUGH, MICRO * 40)]);
        assert_eq!(tally(Function::Pick, &[(ENOUGH, MICRO * 80)]).slower(&before), None);
        assert!(tally(Function::Pick, &[(ENOUGH, MICRO * 130)]).slower(&before).is_some());
    }

    #[test]
    fn a_few_calls_tell_what_is_out_of_all_proportion() {
        let few = tally(Function::Request, &[(A_FEW, MICRO)]);
        let many = tally(Function::Request, &[(1000, MICRO)]);
        for before in [&few, &many] {
            let slow = tally(Function::Request, &[(A_FEW, MICRO * 1000)]);
            assert!(slow.slower(before).is_some());
            let mixed = tally(Function::Request, &[(A_FEW, MICRO * 1000), (1, MICRO * 2)]);
            assert_eq!(mixed.slower(before), None, "one was quick");
            let too_few = tally(Function::Request, &[(A_FEW - 1, MICRO * 1000)]);
            assert_eq!(too_few.slower(before), None);
        }
    }
}
