//! [`Generation`]: one version of a plugin, shared by all workers, and what is known of how it does.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use weir_runtime::{Plugin, PluginError};

use crate::telemetry::metrics;

/// One version of a plugin, compiled and configured once to try it.
#[derive(Debug)]
pub struct Generation {
    /// Counts the versions of a plugin since the start, from 1.
    pub number: u64,
    /// The compiled component.
    pub plugin: Plugin,
    /// The component's SHA-256 in hexadecimal.
    pub digest: String,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// What is counted for it.
    pub metrics: metrics::Generation,
    /// Whether it is to be called.
    pub health: Health,
    /// How it does, for comparison with another.
    pub tally: Tally,
}

/// Why a plugin's function gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It was not called, since it keeps failing.
    #[error("plugin {0} is in quarantine: it kept failing")]
    Quarantine(std::sync::Arc<str>),
}

impl Failure {
    /// One word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Plugin(error) => error.kind(),
            Self::Quarantine(_) => "quarantine",
        }
    }
}

impl Generation {
    /// Whether the plugin may be called now.
    ///
    /// # Errors
    /// [`Failure::Quarantine`].
    pub fn admit(&self) -> Result<(), Failure> {
        if self.health.admits() {
            return Ok(());
        }
        self.metrics.failure("quarantine");
        Err(Failure::Quarantine(self.plugin.name().clone()))
    }

    /// Notes a call that went well.
    pub fn succeeded(&self) {
        if self.health.recover() {
            self.metrics.quarantined.set(0);
            tracing::info!(
                plugin = &**self.plugin.name(),
                generation = self.number,
                "plugin works again"
            );
        }
    }

    /// Notes a failed call, and logs some of them: a plugin that fails with each request is told of now and then.
    pub fn failed(&self, error: &PluginError, consequence: &'static str) {
        self.metrics.failure(error.kind());
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        let (plugin, generation) = (&**self.plugin.name(), self.number);
        if self.health.is_to_be_told() {
            tracing::warn!(
                plugin,
                generation,
                kind = error.kind(),
                error = error as &dyn std::error::Error,
                "plugin failed; {consequence}"
            );
        }
        if let Some(pause) = self.health.suffer() {
            self.metrics.quarantined.set(1);
            tracing::warn!(plugin, generation, ?pause, "plugin keeps failing: in quarantine");
        }
    }
}

/// Back-off of a plugin that keeps failing. A few failures in a row and it is not called for a while; then one call
/// probes whether it works again. The pause doubles with each probe that fails.
#[derive(Debug, Default)]
pub struct Health {
    /// Failures since the last success.
    in_a_row: AtomicU32,
    /// When the next probe is due, in milliseconds since the start; 0: not in quarantine.
    probe_at: AtomicU64,
    /// When a failure was logged last, likewise.
    told_at: AtomicU64,
}

impl Health {
    /// Whether it is not being called.
    pub fn is_quarantined(&self) -> bool {
        self.probe_at.load(Ordering::Relaxed) != 0
    }

    fn admits(&self) -> bool {
        let due = self.probe_at.load(Ordering::Relaxed);
        if due == 0 {
            return true;
        }
        let now = now();
        // Whoever moves the date on is the probe; the others wait for what comes of it.
        now >= due
            && self
                .probe_at
                .compare_exchange(due, now + millis(PROBE), Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Whether this ended a quarantine.
    fn recover(&self) -> bool {
        // One load on the way that every call takes.
        if self.in_a_row.load(Ordering::Relaxed) == 0 {
            return false;
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        self.probe_at.swap(0, Ordering::AcqRel) != 0
    }

    /// Counts a failure; the pause, if it begins or prolongs a quarantine.
    fn suffer(&self) -> Option<Duration> {
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let beyond = in_a_row.checked_sub(PATIENCE)?;
        let pause = FIRST_PAUSE.saturating_mul(1 << beyond.min(16)).min(LONGEST_PAUSE);
        self.probe_at.store(now() + millis(pause), Ordering::Release);
        Some(pause)
    }

    fn is_to_be_told(&self) -> bool {
        let (now, told) = (now(), self.told_at.load(Ordering::Relaxed));
        let is_due = told == 0 || now >= told + millis(TELL_EVERY);
        is_due
            && self
                .told_at
                .compare_exchange(told, now.max(1), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// Calls of a generation: failures always, time of those that are timed. Sums over all workers.
#[derive(Debug, Default)]
pub struct Tally {
    /// Calls that failed.
    pub failures: AtomicU64,
    /// Calls while it was on trial.
    pub trial_calls: AtomicU64,
    timed: AtomicU64,
    nanos: AtomicU64,
}

impl Tally {
    /// Adds a call that was timed.
    pub fn time(&self, duration: Duration) {
        self.timed.fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The mean time of a call, if there are enough to tell.
    pub fn mean(&self) -> Option<Duration> {
        let timed = self.timed.load(Ordering::Relaxed);
        let nanos = self.nanos.load(Ordering::Relaxed);
        (timed >= ENOUGH).then(|| Duration::from_nanos(nanos / timed))
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

/// Failures in a row before a plugin is left alone.
const PATIENCE: u32 = 10;

/// How long it is left alone at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A probe that nothing is heard of (its request was cancelled) is repeated after this.
const PROBE: Duration = Duration::from_secs(1);

/// A plugin that fails with each request is told of this often; the counter has them all.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Timed calls before a mean says something.
const ENOUGH: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_keeps_failing_is_left_alone_until_a_probe_succeeds() {
        let health = Health::default();
        for _ in 1..PATIENCE {
            assert_eq!(health.suffer(), None);
            assert!(health.admits());
        }
        assert_eq!(health.suffer(), Some(FIRST_PAUSE));
        assert!(health.is_quarantined());
        assert!(!health.admits());
        while !health.admits() {
            std::thread::yield_now();
        }
        assert!(!health.admits(), "one probe at a time");
        assert_eq!(health.suffer(), Some(FIRST_PAUSE * 2));
        assert!(health.recover());
        assert!(health.admits());
        assert!(!health.recover());
    }

    #[test]
    fn the_pause_is_bounded() {
        let health = Health::default();
        let pauses: Vec<_> = (0..200).filter_map(|_| health.suffer()).collect();
        assert_eq!(pauses.last(), Some(&LONGEST_PAUSE));
    }

    #[test]
    fn a_mean_takes_enough_calls() {
        let tally = Tally::default();
        for _ in 1..ENOUGH {
            tally.time(Duration::from_micros(2));
        }
        assert_eq!(tally.mean(), None);
        tally.time(Duration::from_micros(2));
        assert_eq!(tally.mean(), Some(Duration::from_micros(2)));
    }
}
