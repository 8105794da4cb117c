//! The world around a plugin under test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use weir_runtime::{Level, Line, Services};

/// A clock that stands until it is moved, randomness that is the same in each run, counters and log
/// lines.
pub struct World {
    now: AtomicU64,
    random: Mutex<SmallRng>,
    counters: Mutex<BTreeMap<String, u64>>,
    lines: Mutex<Vec<Logged>>,
}

/// A line that a plugin logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logged {
    /// The number of its request, if there is one.
    pub request: Option<u64>,
    /// How much it matters.
    pub level: Level,
    /// The text.
    pub message: String,
}

impl World {
    /// Moves the clock on.
    pub fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.now.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The counters of the plugin, by name.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        lock(&self.counters).clone()
    }

    /// The log lines of the plugin.
    pub fn lines(&self) -> Vec<(Level, String)> {
        self.logged().into_iter().map(|line| (line.level, line.message)).collect()
    }

    /// The log lines of the plugin, with the requests that they belong to.
    pub fn logged(&self) -> Vec<Logged> {
        lock(&self.lines).clone()
    }
}

impl Default for World {
    /// A world with its clock at the beginning of 2026, UTC.
    fn default() -> Self {
        Self {
            now: AtomicU64::new(START),
            random: Mutex::new(SmallRng::seed_from_u64(7)),
            counters: Mutex::default(),
            lines: Mutex::default(),
        }
    }
}

impl Services for World {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    fn random(&self, bytes: &mut [u8]) {
        lock(&self.random).fill_bytes(bytes);
    }

    fn log(&self, line: Line<'_>) {
        let Line { request, level, message, .. } = line;
        lock(&self.lines).push(Logged { request, level, message: message.to_owned() });
    }

    fn count(&self, metric: &str, by: u64) {
        *lock(&self.counters).entry(metric.to_owned()).or_default() += by;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// 2026-01-01T00:00:00Z
const START: u64 = 1_767_225_600_000_000_000;
