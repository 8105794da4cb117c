//! The part of a configuration for metrics, traces and logs. The file has the same form.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses::{Collector, SocketAddress};
use super::names::{LogLevel, RequestPath};
use super::text::As;
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
    /// The log on standard error and the access records on standard output.
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

/// The output to standard error (the log) and standard output (access records).
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
