//! Plugins: the schema of the status that a slot makes of itself.
//!
//! Nothing makes values of these types. A test compares them with the status of real slots.

use schemars::JsonSchema;
use serde_json::Value;

/// All plugins.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct PluginList {
    /// The plugins in the order of the configuration.
    plugins: Vec<PluginStatus>,
}

/// A plugin and its generations.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct PluginStatus {
    /// The name in the configuration.
    name: String,
    /// The world of its component.
    world: String,
    /// The state: `serving`, `canary` or `shadow` while another generation is on trial, or
    /// `quarantined`.
    state: String,
    /// The source in the configuration.
    source: String,
    /// The generation that serves.
    generation: GenerationStatus,
    /// The generation on trial.
    trial: Option<TrialStatus>,
    /// The generation that served before.
    previous: Option<GenerationStatus>,
    /// The last swap.
    last_swap: Option<SwapStatus>,
    /// The manifest of the component that serves.
    manifest: ManifestStatus,
    /// The bounds of one instance.
    limits: LimitsStatus,
}

/// A generation of a plugin.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct GenerationStatus {
    /// The number, from 1.
    number: u64,
    /// The version in the manifest.
    version: String,
    /// The origin of the component.
    source: String,
    /// The SHA-256 of the component, hexadecimal.
    sha256: String,
    /// The time when it was loaded.
    loaded: f64,
    /// Calls that failed.
    failures: u64,
    /// The mean time of a call, once there were calls.
    mean_call_seconds: Option<f64>,
    /// Whether a function of it is not called because it failed too often.
    quarantined: bool,
}

/// A trial of a generation.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct TrialStatus {
    /// The generation on trial.
    generation: GenerationStatus,
    /// The mode: `share` or `shadow`.
    mode: String,
    /// The share of requests that it gets, from 0 to 1. Absent in a shadow.
    share: Option<f64>,
    /// The end of a trial that no request reached: `promote` or `keep`.
    on_no_traffic: String,
    /// The time that is left.
    seconds_left: f64,
    /// The calls so far.
    calls: u64,
}

/// The outcome of a swap.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct SwapStatus {
    /// The number of the generation that was to serve.
    generation: u64,
    /// The outcome: `promoted`, `rolled_back`, `superseded` or `refused`.
    outcome: String,
    /// The reason.
    reason: String,
    /// The time of the outcome.
    at: f64,
}

/// The manifest of a component.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct ManifestStatus {
    /// The name.
    name: String,
    /// The version.
    version: String,
    /// The purpose in a line.
    summary: String,
    /// The JSON Schema of its configuration. Null if there is none.
    config_schema: Value,
}

/// The bounds of an instance.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[allow(dead_code, reason = "the type is a schema")]
pub(crate) struct LimitsStatus {
    /// The memory.
    memory_bytes: u64,
    /// The time of a call.
    time_seconds: f64,
}
