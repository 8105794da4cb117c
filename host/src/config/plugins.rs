//! Plugins as the rest of the program sees them, and what they share.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::text::{As, AsOption, Bounds, within};
use super::units;
use crate::oci::Reference;

/// A plugin and what it may use.
#[derive(Debug, Clone)]
pub struct Plugin {
    /// Unique; a balancer is named by it.
    pub name: String,
    /// Where its component is.
    pub source: Source,
    /// When given, the component must have this SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// Handed to `configure` as JSON.
    pub config: serde_json::Value,
    /// Memory and time of a call.
    pub limits: PluginLimits,
    /// What a filter's failure means for its request.
    pub on_failure: OnFailure,
    /// How long an instance lives, where it is said.
    pub reuse: Option<Reuse>,
    /// Names of the upstreams that it may send requests to.
    pub upstreams: Vec<String>,
    /// Spaces of the shared state that it may reach besides its own.
    pub spaces: Vec<String>,
    /// What relative paths in its configuration are below.
    pub base: PathBuf,
    /// Whether a changed file is swapped in.
    pub watch: bool,
    /// How a new generation is tried.
    pub canary: Canary,
}

/// What a filter's failure means for its request: a trap, a call that took too long, a refused result. A balancer's
/// failure never fails a request: round robin takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// As if the plugin were not there.
    Open,
    /// The request is answered with 503.
    Closed,
}

/// How long an instance of a plugin lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Reuse {
    /// One instance a worker, kept until it fails. Of a standard component as many as serve at once, each kept for up to
    /// 1,000 requests.
    Worker,
    /// A fresh one for each call, so that nothing can leak from one request to another; costs 10 µs and more.
    Request,
}

/// How a new generation of a plugin is tried when it is swapped in. While it is tried, what it fails at is done again
/// by the old one, and it goes back by itself when it fails or takes longer than that.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Canary {
    /// Share of requests that the new generation gets. With none of them it would take over untried.
    #[serde(with = "As::<units::Percent>")]
    #[schemars(extend("x-minimum" = TRIAL_SHARE.0, "x-maximum" = TRIAL_SHARE.1))]
    pub share: f64,
    /// How long it is tried; then it gets all requests.
    #[serde(rename = "for", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = TRIAL_TIME.0, "x-maximum" = TRIAL_TIME.1))]
    pub time: Duration,
}

/// Reads how long a generation is tried, by the rules of [`Canary::time`]: wherever it is asked for.
///
/// # Errors
/// What is wrong with it.
pub fn trial_time(text: &str) -> Result<Duration, String> {
    within::<units::Duration>(text, TRIAL_TIME)
}

/// Reads the share of requests that a generation on trial gets, by the rules of [`Canary::share`]: wherever it is asked for.
/// Outside of a file the sign may be left out. From 0 to 1.
///
/// # Errors
/// What is wrong with it.
pub fn trial_share(text: &str) -> Result<f64, String> {
    within::<units::Percent>(&format!("{}%", text.strip_suffix('%').unwrap_or(text)), TRIAL_SHARE)
}

/// Bounds of [`Canary::share`]; shares are counted in ten thousandths.
const TRIAL_SHARE: Bounds = ("0.01%", "100%");

/// Bounds of [`Canary::time`].
const TRIAL_TIME: Bounds = ("1s", "24h");

/// State that plugins share over workers and swaps, in memory.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SharedState {
    /// What keys, values and finding them may take; past it, what was not used for long makes room.
    #[serde(with = "As::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "64GiB"))]
    pub memory: usize,
}

/// Where a component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Embedded in the binary.
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

/// What one instance of a plugin may take; a call that exceeds it fails and its instance is replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginLimits {
    /// Linear memory and tables of one instance, of which a balancer or filter has one a worker and upstream. Left out:
    /// `16MiB`, and `64MiB` for a standard component.
    #[serde(with = "AsOption::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB"))]
    pub memory: Option<usize>,
    /// Time of one call, in which the worker serves nothing else; at most `1s`. For a standard component, whose worker
    /// goes on meanwhile, the time until its response begins, and then until the next piece of it. Left out: `5ms`, and
    /// `30s` for a standard component.
    #[serde(with = "AsOption::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub time: Option<Duration>,
    /// CPU time that a standard component may take until its response begins, and then until the next piece of it. Left
    /// out: `1s`.
    #[serde(with = "AsOption::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub cpu: Option<Duration>,
    /// Requests that a standard component serves at once on one worker; more are answered with 503. Left out: 128.
    #[schemars(range(min = 1, max = 2_000))]
    pub concurrency: Option<usize>,
}
