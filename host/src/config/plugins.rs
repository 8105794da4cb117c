//! Plugins in the form that the rest of the program uses, and the state that they share.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::formats::{Bounds, within};
use super::text::{As, AsOption};
use super::units;
use crate::oci::{Digest, Reference};

/// A plugin and its limits and permissions.
#[derive(Debug, Clone, PartialEq)]
pub struct Plugin {
    /// The unique name. Upstreams and routes refer to the plugin by it.
    pub name: String,
    /// The source of its component.
    pub source: Source,
    /// The SHA-256 that the component must have, if one is given.
    pub sha256: Option<Digest>,
    /// The configuration, handed to `configure` as JSON.
    pub config: serde_json::Value,
    /// Memory and time of a call.
    pub limits: PluginLimits,
    /// The consequence of a filter's failure for its request.
    pub on_failure: OnFailure,
    /// The lifetime of an instance, if the file has one.
    pub reuse: Option<Reuse>,
    /// Names of the upstreams that it may send requests to.
    pub upstreams: Vec<String>,
    /// Spaces of the shared state that it may reach besides its own.
    pub spaces: Vec<String>,
    /// The folder that relative paths in its configuration start from.
    pub base: PathBuf,
    /// Whether a changed file is swapped in.
    pub watch: bool,
    /// The trial of a new generation.
    pub canary: Canary,
}

/// The consequence of a filter's failure for its request. A failure is a trap, a call that took too
/// long or a refused result. A balancer's failure never fails a request: round robin takes its
/// place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The request goes on without the plugin.
    Open,
    /// The request is answered with 503.
    Closed,
}

/// The lifetime of a plugin's instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// One instance for each worker, kept until it fails. A standard component has as many as serve
    /// at once, and each is kept for up to 1,000 requests.
    Worker,
    /// A fresh instance for each call: nothing can leak from one request to another. It costs 10 µs
    /// and more.
    Request,
}

/// The trial of a new generation when it is swapped in. During the trial the old generation repeats
/// each call that fails in the new one. The new generation is rolled back by itself when it fails
/// or takes longer than the old one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// The share of requests that the new generation gets. It is never 0%: the generation would
    /// take over untried.
    #[serde(with = "As::<units::Percent>")]
    #[schemars(extend("x-minimum" = TRIAL_SHARE.0, "x-maximum" = TRIAL_SHARE.1))]
    pub share: f64,
    /// The duration of the trial. After it the new generation gets all requests.
    #[serde(rename = "for", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = TRIAL_TIME.0, "x-maximum" = TRIAL_TIME.1))]
    pub time: Duration,
    /// The end of a trial in which no request reached the new generation: `promote` has it serve,
    /// `keep` lets the old one serve on.
    pub on_no_traffic: NoTraffic,
}

/// The end of a trial without requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NoTraffic {
    /// The new generation serves.
    #[default]
    Promote,
    /// The old generation serves on.
    Keep,
}

impl NoTraffic {
    /// All of them, as they are written.
    pub const ALL: [(&str, Self); 2] = [("promote", Self::Promote), ("keep", Self::Keep)];

    /// Returns the word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Keep => "keep",
        }
    }
}

impl FromStr for NoTraffic {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.iter().find(|(word, _)| *word == text);
        known.map(|(_, it)| *it).ok_or_else(|| format!("{text:?} is neither promote nor keep"))
    }
}

/// Reads the duration of a trial, by the rules of [`Canary::time`]. It serves every place where one
/// is given.
///
/// # Errors
/// The fault of the text.
pub fn trial_time(text: &str) -> Result<Duration, String> {
    within::<units::Duration>(text, TRIAL_TIME)
}

/// Reads the share of requests that a generation on trial gets, by the rules of [`Canary::share`].
/// It serves every place where one is given. Outside of a file the percent sign may be left out.
/// The result is from 0 to 1.
///
/// # Errors
/// The fault of the text.
pub fn trial_share(text: &str) -> Result<f64, String> {
    within::<units::Percent>(&format!("{}%", text.strip_suffix('%').unwrap_or(text)), TRIAL_SHARE)
}

/// Bounds of [`Canary::share`]. Shares are counted in ten thousandths.
const TRIAL_SHARE: Bounds = ("0.01%", "100%");

/// Bounds of [`Canary::time`].
const TRIAL_TIME: Bounds = ("1s", "24h");

/// State that plugins share across workers and swaps, in memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedState {
    /// The memory for keys, values and their index. Beyond it, the entries that were unused for
    /// longest make room.
    #[serde(with = "As::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "64GiB"))]
    pub memory: usize,
}

/// The source of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A plugin embedded in the binary.
    Builtin(String),
    /// A file.
    File(PathBuf),
    /// A package in a registry.
    Oci(Reference),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Builtin(name) => write!(f, "builtin:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Oci(reference) => write!(f, "oci:{reference}"),
        }
    }
}

/// Limits of one instance of a plugin. A call that exceeds one of them fails, and its instance is
/// replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Linear memory and tables of one instance. A balancer or filter has one instance for each
    /// worker and upstream. If left out: `16MiB`, and `64MiB` for a standard component.
    #[serde(with = "AsOption::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub memory: Option<usize>,
    /// The time of one call, in which the worker serves nothing else; at most `1s`. The worker goes
    /// on while a standard component waits. For one, this is the time until its response begins,
    /// and then until the next piece of it. If left out: `5ms`, and `30s` for a standard component.
    #[serde(with = "AsOption::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub time: Option<Duration>,
    /// CPU time that a standard component may take until its response begins, and then until the
    /// next piece of it. If left out: `1s`.
    #[serde(with = "AsOption::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub cpu: Option<Duration>,
    /// Requests that a standard component serves at once on one worker. More are answered with 503.
    /// If left out: 128.
    #[schemars(range(min = 1, max = 2_000))]
    pub concurrency: Option<usize>,
}
