//! The part of a configuration for metrics, traces and logs. The file has the same form.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses::{Collector, SocketAddress};
use super::names::{LogLevel, RequestPath};
use super::text::{As, AsOption};
use super::{defaults, units};

/// Metrics, traces and logs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Telemetry {
    /// The endpoint for metrics. If left out, there is none. `metrics: {}` takes the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsEndpoint>,
    /// The destination of spans. If left out, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// The log and the access records.
    pub log: Log,
}

/// The endpoint that Prometheus scrapes, over plain HTTP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsEndpoint {
    /// IP address and port. On a loopback address, a request must name the endpoint by an IP
    /// address or `localhost`. On other addresses it may use any name. A request that a browser
    /// sends for another site is refused on both.
    #[serde(with = "As::<SocketAddress>")]
    pub address: SocketAddr,
    /// Path of the metrics.
    #[serde(with = "As::<RequestPath>")]
    pub path: String,
}

/// The destination of spans.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The collector, OTLP over gRPC.
    #[serde(with = "As::<Collector>")]
    pub otlp: String,
    /// The share of requests without a parent that are traced. The parent is the span that a client
    /// or an earlier proxy names in `traceparent` (W3C Trace Context). A request with a parent is
    /// traced if its parent is sampled.
    #[serde(default = "defaults::sample", with = "As::<units::Percent>")]
    pub sample: f64,
    /// `service.name` of the spans.
    #[serde(default = "defaults::service")]
    pub service: String,
}

/// The log and the access records.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// The level of the log.
    #[serde(with = "As::<LogLevel>")]
    pub level: String,
    /// The form of log lines and access records.
    pub format: LogFormat,
    /// Whether each request leaves an access record.
    pub access: bool,
    /// The file of the log. If left out, the log goes to standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<LogFile>,
    /// The file of the access records. If left out, they go to standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_file: Option<LogFile>,
}

/// A file of lines, and the bounds of its growth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogFile {
    /// The file, relative to the configuration. Its folder must exist. Weir makes the file with
    /// mode 0640, appends to an existing one, and follows when another program moves or deletes it.
    pub path: PathBuf,
    /// When the file makes room for a new one, and how much is kept.
    #[serde(default)]
    pub rotate: Rotation,
}

/// The bounds of a log file and of its predecessors. A rotated file is renamed to
/// `PATH.YYYY-MM-DDTHH-MM-SS` (UTC), with `.1`, `.2` and further numbers within one second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Rotation {
    /// The largest size of the file. A line that does not fit begins a new file.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "16TiB"))]
    pub size: u64,
    /// The age at which the next line begins a new file. If left out, age does not matter.
    #[serde(with = "AsOption::<units::Duration>", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "1h", "x-maximum" = "8760h"))]
    pub age: Option<Duration>,
    /// The most bytes in the file and its rotated files together. Weir deletes the oldest rotated
    /// files beyond it. Files with other names stay, also compressed ones.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "1MiB", "x-maximum" = "16TiB"))]
    pub keep: u64,
}

/// The form of log lines and access records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// Text for people.
    Text,
}
