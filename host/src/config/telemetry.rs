//! The part of a configuration that is about metrics, traces and logs; the file has the same form.

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
    /// Where metrics are served; left out: nowhere. `metrics: {}` takes the defaults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<MetricsEndpoint>,
    /// Where spans are sent; left out: nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// The log on standard error and the access records on standard output.
    pub log: Log,
}

/// Where Prometheus scrapes, over plain HTTP.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsEndpoint {
    /// Address and port. On a loopback address, requests must name it by an IP address or `localhost`. Elsewhere they
    /// may name it as they like. Requests that a browser sends for another site are refused on both.
    #[serde(with = "As::<SocketAddress>")]
    pub address: SocketAddr,
    /// Path of the metrics.
    #[serde(with = "As::<RequestPath>")]
    pub path: String,
}

/// Where spans go.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tracing {
    /// The collector, OTLP over gRPC.
    #[serde(with = "As::<Collector>")]
    pub otlp: String,
    /// Share of the requests without a parent that are traced. The parent is the span that a client or a proxy before names in
    /// `traceparent` (W3C Trace Context), and it decides: a request whose parent is sampled is traced, and one whose parent is not
    /// sampled is not traced.
    #[serde(default = "defaults::sample", with = "As::<units::Percent>")]
    pub sample: f64,
    /// `service.name` of the spans.
    #[serde(default = "defaults::service")]
    pub service: String,
}

/// What is written to standard error (the log) and standard output (access records).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What the log lets through.
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
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}
