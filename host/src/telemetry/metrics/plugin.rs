//! The metrics of plugins: by plugin, by generation, by function.

use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use serde_json::json;

use super::Set;
use super::lingering::Lingering;
use super::users::Users;
use crate::telemetry::events::{Event, Events};

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
    users: Arc<PluginUsers>,
    lingering: Arc<Lingering<GenerationCounters>>,
    events: Events,
}

/// The users of the series of plugins, and of their generations.
#[derive(Debug, Default)]
struct PluginUsers {
    plugins: Users<Arc<str>, Further>,
    generations: Users<(Arc<str>, u64), ()>,
}

/// A further label of a plugin's series.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Further {
    Decision(&'static str),
    Custom(String),
}

/// The metrics of one plugin across its generations. Clones share them. The series are removed with
/// the last clone.
#[derive(Debug, Clone)]
pub struct PluginCounters {
    /// The number of the serving generation.
    pub generation: IntGauge,
    series: Arc<PluginSeries>,
}

/// The metrics of one generation of a plugin. Clones share them. The series are removed with the
/// last clone, so that endless swaps leave no series behind.
#[derive(Debug, Clone)]
pub struct GenerationCounters {
    /// Existing instances.
    pub instances: IntGauge,
    /// Linear memory of all instances, in bytes.
    pub memory: IntGauge,
    /// 1 while the generation is in quarantine because it keeps failing, else 0.
    pub quarantined: IntGauge,
    series: Arc<Series>,
}

/// The counters of one function of a generation. Clones share them.
#[derive(Debug, Clone)]
pub struct FunctionCounters {
    /// Calls, including failed ones.
    pub calls: IntCounter,
    /// Time inside one call.
    pub duration: Histogram,
}

/// The outcome of a generation that was to replace another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// The generation serves.
    Promoted,
    /// The generation failed, or took longer than its predecessor.
    RolledBack,
    /// Another generation arrived, or the plugin left the configuration, before the outcome was
    /// known.
    Superseded,
    /// The generation could not be loaded or rejected its configuration.
    Refused,
}

impl Swap {
    /// All of them.
    const ALL: [Self; 4] = [Self::Promoted, Self::RolledBack, Self::Superseded, Self::Refused];

    /// Returns the value of the `outcome` label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled_back",
            Self::Superseded => "superseded",
            Self::Refused => "refused",
        }
    }
}

/// The series of a plugin.
#[derive(Debug)]
struct PluginSeries {
    metrics: PluginMetrics,
    name: Arc<str>,
}

/// The series of a generation.
#[derive(Debug)]
struct Series {
    metrics: PluginMetrics,
    plugin: Arc<str>,
    generation: String,
    number: u64,
}

impl PluginMetrics {
    pub(super) fn register(set: &mut Set, events: &Events) -> Self {
        Self {
            calls: set.counters(
                "weir_plugin_calls_total",
                "Calls of a plugin's function, including failed ones.",
                &["plugin", "generation", "function"],
            ),
            remembered: set.counters(
                "weir_plugin_remembered_total",
                "Decisions of a pure filter that were taken from memory, without a call of its function.",
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
                "1 while a plugin is in quarantine because it keeps failing.",
                &["plugin", "generation"],
            ),
            generation: set.gauges(
                "weir_plugin_generation",
                "Number of the serving generation of a plugin.",
                &["plugin"],
            ),
            swaps: set.counters(
                "weir_plugin_swaps_total",
                "New generations by outcome: promoted, rolled_back, superseded, refused.",
                &["plugin", "outcome"],
            ),
            shadow: set.counters(
                "weir_plugin_shadow_calls_total",
                "Shadow calls of a generation, by its decision compared with the serving generation: same, different, failed.",
                &["plugin", "decision"],
            ),
            custom: set.counters(
                "weir_plugin_custom_total",
                "Counters that plugins define.",
                &["plugin", "metric"],
            ),
            users: Arc::default(),
            lingering: Arc::default(),
            events: events.clone(),
        }
    }

    /// Notes that all series were read.
    pub(super) fn scraped(&self) {
        self.lingering.scraped();
    }

    pub(super) fn plugin(&self, name: &str) -> PluginCounters {
        let name: Arc<str> = name.into();
        let generation = self.users.plugins.enter(Arc::clone(&name), |_| {
            for outcome in Swap::ALL {
                self.swaps.with_label_values(&[&*name, outcome.label()]);
            }
            self.generation.with_label_values(&[&*name])
        });
        PluginCounters {
            generation,
            series: Arc::new(PluginSeries { metrics: self.clone(), name }),
        }
    }
}

impl PluginCounters {
    /// Returns the handles of one generation.
    pub fn generation(&self, number: u64) -> GenerationCounters {
        let PluginSeries { metrics, name } = &*self.series;
        let (plugin, generation) = (Arc::clone(name), number.to_string());
        metrics.users.generations.enter((Arc::clone(name), number), |_| {
            let labels = &[&*plugin, &generation];
            for kind in FAILURES {
                // The counters exist from the start, so that a rate over them exists before the
                // first failure.
                metrics.failures.with_label_values(&[&*plugin, &generation, kind]);
            }
            GenerationCounters {
                instances: metrics.instances.with_label_values(labels),
                memory: metrics.memory.with_label_values(labels),
                quarantined: metrics.quarantined.with_label_values(labels),
                series: Arc::new(Series { metrics: metrics.clone(), plugin, generation, number }),
            }
        })
    }

    /// Keeps the series of a generation that is over for two scrapes.
    pub fn linger(&self, generation: &GenerationCounters) {
        self.series.metrics.lingering.add(generation.clone());
    }

    /// Counts the outcome of a generation, and tells it.
    pub fn swap(&self, generation: u64, outcome: Swap, reason: &str) {
        let PluginSeries { metrics, name } = &*self.series;
        let data = json!({
            "plugin": &**name,
            "generation": generation,
            "outcome": outcome.label(),
            "reason": reason,
        });
        metrics.events.emit(Event { kind: "swap", data });
        metrics.swaps.with_label_values(&[&**name, outcome.label()]).inc();
    }

    /// Tells that a generation is on trial.
    pub fn trial(&self, generation: u64) {
        let PluginSeries { metrics, name } = &*self.series;
        let data = json!({ "plugin": &**name, "generation": generation });
        metrics.events.emit(Event { kind: "trial", data });
    }

    /// Counts a shadow call by its decision: `same`, `different` or `failed`.
    pub fn shadow(&self, decision: &'static str) {
        let PluginSeries { metrics, name } = &*self.series;
        metrics.users.plugins.note(name, Further::Decision(decision));
        metrics.shadow.with_label_values(&[&**name, decision]).inc();
    }

    /// Returns a counter that the plugin itself defines. The caller bounds the number of names.
    pub fn custom(&self, metric: &str) -> IntCounter {
        let PluginSeries { metrics, name } = &*self.series;
        metrics.users.plugins.note(name, Further::Custom(metric.to_owned()));
        metrics.custom.with_label_values(&[&**name, metric])
    }
}

impl GenerationCounters {
    /// Returns the handles of one exported function.
    pub fn function(&self, function: &'static str) -> FunctionCounters {
        let Series { metrics, plugin, generation, .. } = &*self.series;
        let labels = &[&**plugin, generation, function];
        FunctionCounters {
            calls: metrics.calls.with_label_values(labels),
            duration: metrics.duration.with_label_values(labels),
        }
    }

    /// Returns the counter of decisions that were taken from memory instead of calling the
    /// function.
    pub fn remembered(&self, function: &'static str) -> IntCounter {
        let Series { metrics, plugin, generation, .. } = &*self.series;
        metrics.remembered.with_label_values(&[&**plugin, generation, function])
    }

    /// Counts a failure. `kind` becomes a label, so its set is closed.
    pub fn failure(&self, kind: &'static str) {
        let Series { metrics, plugin, generation, .. } = &*self.series;
        metrics.failures.with_label_values(&[&**plugin, generation, kind]).inc();
    }
}

impl Drop for PluginSeries {
    fn drop(&mut self) {
        let Self { metrics, name } = self;
        metrics.users.plugins.leave(name, |further| {
            let _ = metrics.generation.remove_label_values(&[&**name]);
            for outcome in Swap::ALL {
                let _ = metrics.swaps.remove_label_values(&[&**name, outcome.label()]);
            }
            for label in further {
                // The removal fails only if the series does not exist.
                let _ = match &label {
                    Further::Decision(label) => metrics.shadow.remove_label_values(&[name, *label]),
                    Further::Custom(label) => metrics.custom.remove_label_values(&[name, &**label]),
                };
            }
        });
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let Self { metrics, plugin, generation, number } = self;
        metrics.users.generations.leave(&(Arc::clone(plugin), *number), |_| {
            let labels = &[&**plugin, generation];
            for function in FUNCTIONS {
                let labels = &[&**plugin, generation, function];
                // The removal fails for functions that were never called.
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
        });
    }
}

/// All functions of the worlds that are counted.
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

/// The kinds of `weir_plugin_failures_total`: those of the runtime, `none` for a balancer that
/// picked no endpoint, and `quarantine` for a call that quarantine prevented.
const FAILURES: [&str; 8] =
    ["concurrency", "invalid", "memory", "none", "quarantine", "refused", "timeout", "trap"];

/// Upper bounds for plugin calls. A kept instance answers in 0.2 µs, and the default time limit is
/// 5 ms.
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
