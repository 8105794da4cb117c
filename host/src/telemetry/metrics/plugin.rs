//! What is counted for plugins: by plugin, by generation, by function.

use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Set;

/// The metrics of all plugins. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct PluginMetrics {
    calls: IntCounterVec,
    remembered: IntCounterVec,
    duration: HistogramVec,
    failures: IntCounterVec,
    instances: IntGaugeVec,
    memory: IntGaugeVec,
    quarantined: IntGaugeVec,
    generation: IntGaugeVec,
    swaps: IntCounterVec,
    shadow: IntCounterVec,
    custom: IntCounterVec,
}

/// What is counted for one plugin, whatever its generation. Clones share it.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// The number of the generation that serves.
    pub generation: IntGauge,
    metrics: PluginMetrics,
    name: Arc<str>,
}

/// What is counted for one generation of a plugin. Clones share it; with the last one its series end, so that swapping
/// for ever leaves no trail.
#[derive(Debug, Clone)]
pub struct Generation {
    /// Instances that exist now.
    pub instances: IntGauge,
    /// Linear memory of all instances, bytes.
    pub memory: IntGauge,
    /// 1 while it is not called since it keeps failing, else 0.
    pub quarantined: IntGauge,
    series: Arc<Series>,
}

/// The counters of one function of a generation. Clones share them.
#[derive(Debug, Clone)]
pub struct Function {
    /// Calls, failed ones too.
    pub calls: IntCounter,
    /// Time inside a call.
    pub duration: Histogram,
}

/// What became of a generation that was to take another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// It serves.
    Promoted,
    /// It failed, or took longer than the one before.
    RolledBack,
    /// Another came before it was known.
    Superseded,
    /// It could not be loaded or did not take its configuration.
    Refused,
}

impl Swap {
    /// The value of the `outcome` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
        }
    }
}

#[derive(Debug)]
struct Series {
    metrics: PluginMetrics,
    plugin: Arc<str>,
    generation: String,
}

impl PluginMetrics {
    pub(super) fn register(set: &mut Set) -> Self {
        Self {
            calls: set.counters(
                "weir_plugin_calls_total",
                "Calls of a plugin's function, failed ones too.",
                &["plugin", "generation", "function"],
            ),
            remembered: set.counters(
                "weir_plugin_remembered_total",
                "Decisions of a pure filter that were remembered, so that its function was not called.",
                &["plugin", "generation", "function"],
            ),
            duration: set.histograms(
                "weir_plugin_call_duration_seconds",
                "Time inside a call of a plugin's function, of one call in sixteen.",
                &["plugin", "generation", "function"],
                CALL_SECONDS,
            ),
            failures: set.counters(
                "weir_plugin_failures_total",
                "Failures of a plugin, by kind.",
                &["plugin", "generation", "kind"],
            ),
            instances: set.gauges(
                "weir_plugin_instances",
                "Instances of a plugin that exist now.",
                &["plugin", "generation"],
            ),
            memory: set.gauges(
                "weir_plugin_memory_bytes",
                "Linear memory of all instances of a plugin.",
                &["plugin", "generation"],
            ),
            quarantined: set.gauges(
                "weir_plugin_quarantined",
                "1 while a plugin is not called since it keeps failing.",
                &["plugin", "generation"],
            ),
            generation: set.gauges(
                "weir_plugin_generation",
                "Number of the generation of a plugin that serves.",
                &["plugin"],
            ),
            swaps: set.counters(
                "weir_plugin_swaps_total",
                "Generations that came, by what became of them: promoted, rolled_back, superseded, refused.",
                &["plugin", "outcome"],
            ),
            shadow: set.counters(
                "weir_plugin_shadow_calls_total",
                "Calls of a generation in the shadow, by its decision beside the serving one's: same, different, failed.",
                &["plugin", "decision"],
            ),
            custom: set.counters(
                "weir_plugin_custom_total",
                "What plugins count themselves.",
                &["plugin", "metric"],
            ),
        }
    }

    pub(super) fn plugin(&self, name: &str) -> Plugin {
        let swaps = [Swap::Promoted, Swap::RolledBack, Swap::Superseded, Swap::Refused];
        for outcome in swaps {
            self.swaps.with_label_values(&[name, outcome.label()]);
        }
        let generation = self.generation.with_label_values(&[name]);
        Plugin { generation, metrics: self.clone(), name: name.into() }
    }
}

impl Plugin {
    /// Returns the handles of one generation.
    pub fn generation(&self, number: u64) -> Generation {
        let (plugin, generation) = (Arc::clone(&self.name), number.to_string());
        let labels = &[&*plugin, &generation];
        for kind in FAILURES {
            // There from the start, so that a rate over it exists before the first failure.
            self.metrics.failures.with_label_values(&[&*plugin, &generation, kind]);
        }
        Generation {
            instances: self.metrics.instances.with_label_values(labels),
            memory: self.metrics.memory.with_label_values(labels),
            quarantined: self.metrics.quarantined.with_label_values(labels),
            series: Arc::new(Series { metrics: self.metrics.clone(), plugin, generation }),
        }
    }

    /// Counts what became of a generation.
    pub fn swap(&self, outcome: Swap) {
        self.metrics.swaps.with_label_values(&[&*self.name, outcome.label()]).inc();
    }

    /// Counts a call in the shadow: `same`, `different` or `failed`.
    pub fn shadow(&self, decision: &'static str) {
        self.metrics.shadow.with_label_values(&[&*self.name, decision]).inc();
    }

    /// Returns a counter of the plugin's own. The caller bounds how many names there are.
    pub fn custom(&self, metric: &str) -> IntCounter {
        self.metrics.custom.with_label_values(&[&*self.name, metric])
    }
}

impl Generation {
    /// Returns the handles of one exported function.
    pub fn function(&self, function: &'static str) -> Function {
        let Series { metrics, plugin, generation } = &*self.series;
        let labels = &[&**plugin, generation, function];
        Function {
            calls: metrics.calls.with_label_values(labels),
            duration: metrics.duration.with_label_values(labels),
        }
    }

    /// Returns the counter of decisions on a function that were known, so that it was not called.
    pub fn remembered(&self, function: &'static str) -> IntCounter {
        let Series { metrics, plugin, generation } = &*self.series;
        metrics.remembered.with_label_values(&[&**plugin, generation, function])
    }

    /// Counts a failure; `kind` is from a closed set, it becomes a label.
    pub fn failure(&self, kind: &'static str) {
        let Series { metrics, plugin, generation } = &*self.series;
        metrics.failures.with_label_values(&[&**plugin, generation, kind]).inc();
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let Self { metrics, plugin, generation } = self;
        let labels = &[&**plugin, generation];
        for function in FUNCTIONS {
            let labels = &[&**plugin, generation, function];
            // Fails for those that were never called.
            let _ = metrics.calls.remove_label_values(labels);
            let _ = metrics.remembered.remove_label_values(labels);
            let _ = metrics.duration.remove_label_values(labels);
        }
        for kind in FAILURES {
            let _ = metrics.failures.remove_label_values(&[&**plugin, generation, kind]);
        }
        for gauge in [&metrics.instances, &metrics.memory, &metrics.quarantined] {
            let _ = gauge.remove_label_values(labels);
        }
    }
}

/// Every function of the worlds that is counted.
const FUNCTIONS: [&str; 9] = [
    "pick",
    "update",
    "observe",
    "on-request",
    "on-fetch",
    "on-response",
    "on-request-body",
    "on-response-body",
    "handle",
];

/// The kinds of `weir_plugin_failures_total`: the runtime's, a balancer that picked nothing, and calls that were not made
/// since the plugin is in quarantine.
const FAILURES: [&str; 7] =
    ["invalid", "memory", "none", "quarantine", "refused", "timeout", "trap"];

/// Upper bounds for plugin calls: a kept instance answers in 0.2 µs, the default time limit is 5 ms.
const CALL_SECONDS: &[f64] = &[
    0.000_000_25,
    0.000_000_5,
    0.000_001,
    0.000_002_5,
    0.000_005,
    0.000_01,
    0.000_05,
    0.000_25,
    0.001,
    0.005,
    0.025,
];
