//! The services of this process for plugins: the system's clock and randomness, the log, and the
//! plugin's own counters.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use prometheus::IntCounter;
use weir_runtime::Services;

use crate::telemetry::metrics;

/// The services of one plugin.
pub(super) struct Counting {
    metrics: metrics::PluginCounters,
    counters: Mutex<HashMap<String, IntCounter>>,
}

impl Counting {
    /// Creates the services, which count in `metrics`.
    pub(super) fn new(metrics: metrics::PluginCounters) -> Self {
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

/// Maximum number of a plugin's own metrics. A name that contains a client's data must not become a
/// new series each time.
const MAX_METRICS: usize = 64;
