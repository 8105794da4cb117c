//! What a plugin may ask of this process: the system's clock and randomness, the log, and counters of its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::IntCounter;
use weir_runtime::Services;

use crate::telemetry::metrics;

/// The services of one plugin.
pub(super) struct Counting {
    metrics: metrics::Plugin,
    counters: Mutex<HashMap<String, IntCounter>>,
}

impl Counting {
    /// Counts in `metrics`.
    pub(super) fn new(metrics: metrics::Plugin) -> Self {
        Self { metrics, counters: Mutex::default() }
    }
}

impl Services for Counting {
    fn count(&self, metric: &str, by: u64) {
        let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = counters.get(metric) {
            counter.inc_by(by);
        } else if counters.len() < MAX_METRICS {
            let counter = self.metrics.custom(metric);
            counter.inc_by(by);
            counters.insert(metric.to_owned(), counter);
        }
    }
}

/// Names of one plugin's own metrics; a name that holds what a client sent must not become a series each time.
const MAX_METRICS: usize = 64;
