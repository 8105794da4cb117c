//! [`Trial`]: a generation beside the serving one, and the conditions of its end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::generation::Generation;
use super::health::Health;
use super::tally::Tally;
use crate::config::{Canary, NoTraffic};
use crate::telemetry::metrics::Swap;

/// A generation on trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The generation on trial.
    pub generation: Arc<Generation>,
    /// The kind of the trial.
    pub mode: Mode,
    /// Its end if no request reached it.
    pub on_no_traffic: NoTraffic,
    pub(super) ends: Instant,
}

/// The kind of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// The generation serves this share of requests, in ten-thousandths.
    Share(u32),
    /// The generation is called beside the serving one, and decides nothing.
    Shadow,
}

/// The conditions of a swap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// The kind of the trial.
    pub mode: Mode,
    /// The duration of the trial.
    pub time: Duration,
    /// The end of a trial that no request reached.
    pub on_no_traffic: NoTraffic,
}

impl From<Canary> for Terms {
    fn from(canary: Canary) -> Self {
        let Canary { share, time, on_no_traffic } = canary;
        Self { mode: Mode::share(share), time, on_no_traffic }
    }
}

impl Mode {
    /// Creates a trial with a share from 0 to 1.
    pub fn share(share: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000")]
        Self::Share((share.clamp(0.0, 1.0) * f64::from(WHOLE)).round() as u32)
    }
}

impl Trial {
    /// Begins a trial.
    pub(super) fn new(generation: Arc<Generation>, terms: Terms) -> Self {
        let Terms { mode, time, on_no_traffic } = terms;
        Self { generation, mode, on_no_traffic, ends: Instant::now() + time }
    }

    /// Starts the clock again, for a trial that was made before requests could reach it.
    pub(super) fn restart(&mut self, time: Duration) {
        self.ends = Instant::now() + time;
    }

    /// Returns the outcome of a trial whose time is over, and the reason.
    pub(super) fn outcome(&self) -> (Swap, &'static str) {
        let has_served = self.generation.tally.trial_calls.load(Ordering::Relaxed) > 0;
        match (self.mode, has_served, self.on_no_traffic) {
            (Mode::Shadow, true, _) => (Swap::Superseded, "its time in the shadow is over"),
            (Mode::Shadow, false, _) => {
                (Swap::Superseded, "its time in the shadow is over, and no request came")
            }
            (Mode::Share(_), true, _) => (Swap::Promoted, "its trial succeeded"),
            (Mode::Share(_), false, NoTraffic::Promote) => {
                (Swap::Promoted, "its trial is over, and no request reached it")
            }
            (Mode::Share(_), false, NoTraffic::Keep) => {
                (Swap::RolledBack, "no request reached it in its trial (on_no_traffic: keep)")
            }
        }
    }

    /// Returns the reason for which the trial must end, if there is one.
    pub(super) fn fault(&self, serving: &Generation) -> Option<String> {
        let Generation { health, tally, .. } = &*self.generation;
        fault(health, tally, &serving.tally)
    }
}

/// Returns the fault of a generation on trial, compared with the calls of the serving one in
/// `before`.
fn fault(health: &Health, tally: &Tally, before: &Tally) -> Option<String> {
    let failures = tally.failures.load(Ordering::Relaxed);
    let calls = tally.trial_calls.load(Ordering::Relaxed).max(failures);
    if health.is_quarantined() {
        return Some(format!("it kept failing: the last of {calls} calls failed in a row"));
    }
    if failures >= FEW && failures * 100 > calls {
        return Some(format!("{failures} of {calls} calls failed"));
    }
    tally.slower(before).map(|slower| slower.to_string())
}

/// All requests, in the unit of [`Mode::Share`].
pub const WHOLE: u32 = 10_000;

/// Number of failures from which on the rate of failures counts. Fewer may be chance.
const FEW: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::function::Function;
    use crate::plugins::health::PATIENCE;

    fn after(failures: u64, calls: u64) -> Option<String> {
        let tally = Tally::default();
        tally.failures.store(failures, Ordering::Relaxed);
        tally.trial_calls.store(calls, Ordering::Relaxed);
        fault(&Health::default(), &tally, &Tally::default())
    }

    #[test]
    fn a_few_failures_and_a_hundredth_of_the_calls_are_let_pass() {
        for (failures, calls) in [(0, 0), (2, 2), (3, 300), (10, 1010)] {
            assert_eq!(after(failures, calls), None, "{failures} of {calls}");
        }
        for (failures, calls) in [(3, 3), (3, 299), (11, 1010)] {
            assert!(after(failures, calls).is_some(), "{failures} of {calls}");
        }
    }

    #[test]
    fn what_is_in_quarantine_after_a_thousand_good_calls_is_over() {
        let (health, tally) = (Health::default(), Tally::default());
        tally.trial_calls.store(1010, Ordering::Relaxed);
        for failures in 1..=u64::from(PATIENCE) {
            assert_eq!(fault(&health, &tally, &Tally::default()), None);
            tally.failures.store(failures, Ordering::Relaxed);
            let _ = health.suffer(Function::Request);
        }
        let reason = fault(&health, &tally, &Tally::default());
        assert!(reason.unwrap().contains("kept failing"));
    }
}
