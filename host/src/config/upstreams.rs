//! Upstreams as the rest of the program sees them.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses::Authority;
use super::defaults;
use super::discovery::{Discovery, Endpoint};
use super::id::PluginId;
use super::names::{RequestPath, StatusRange};
use super::text::{As, AsList, AsOption};
use super::types::Certificate;
use super::units;

/// A group of endpoints that serve the same thing.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// The unique name.
    pub name: String,
    /// Its balancer.
    pub balancer: PluginId,
    /// A configuration for this upstream that replaces the plugin's `config`, if not null.
    pub balancer_config: serde_json::Value,
    /// The servers as far as they are known. At least one, unless `discovery` finds them later.
    pub endpoints: Vec<Endpoint>,
    /// The source of changes to `endpoints`.
    pub discovery: Discovery,
    /// The protocol toward the endpoints.
    pub protocol: UpstreamProtocol,
    /// The TLS of the connections. If absent, they are not encrypted.
    pub tls: Option<UpstreamTls>,
    /// The PROXY protocol that names the client of each connection. If absent, none.
    pub proxy_protocol: Option<ProxyVersion>,
    /// Active probes. If absent, every endpoint counts as healthy.
    pub health: Option<Health>,
    /// Limits on waiting.
    pub timeouts: Timeouts,
    /// Limits on connections.
    pub limits: UpstreamLimits,
}

/// The protocol toward the endpoints of an upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    H1,
    /// HTTP/2. Without `tls` the endpoints must expect it (prior knowledge, RFC 9113 §3.3).
    H2,
    /// HTTP/3, which needs `tls`. Where QUIC does not work, as `auto`.
    H3,
    /// With `tls`, HTTP/2 or HTTP/1.1, as the endpoint chooses by ALPN, and HTTP/3 once it tells by
    /// Alt-Svc that it serves it. Otherwise HTTP/1.1.
    #[default]
    Auto,
}

/// A version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// Version 1, a line of text.
    V1,
    /// Version 2, binary.
    V2,
}

/// The TLS of the connections to the endpoints of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// The name that the certificate must have. If absent, it is the endpoint's host.
    pub server_name: Option<String>,
    /// The authorities that may sign the certificate. If absent, those of the system.
    pub ca: Option<PathBuf>,
    /// The certificate of this proxy, for endpoints that ask for one.
    pub certificate: Option<Certificate>,
    /// Whether the certificate of an endpoint is verified.
    pub verify: bool,
}

/// Active HTTP probes. Without them every endpoint counts as healthy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Path and query of the request, a GET. It has either this key or `grpc`.
    #[serde(default, with = "AsOption::<RequestPath>")]
    pub path: Option<String>,
    /// The service that gRPC's health checking protocol is asked about. `""` means the whole
    /// server. The probe goes over HTTP/2, and succeeds if the service is SERVING.
    #[serde(default)]
    pub grpc: Option<String>,
    /// The value of the Host field. If left out, it is the endpoint's address as written.
    #[serde(default, with = "AsOption::<Authority>")]
    pub host: Option<String>,
    /// The time between two probes of one endpoint, ± 10 %.
    #[serde(default = "defaults::health_interval", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "24h"))]
    pub interval: Duration,
    /// The time for the connection and the response together.
    #[serde(default = "defaults::health_timeout", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub timeout: Duration,
    /// Status codes of `path` that are a success.
    #[serde(default = "defaults::health_expect", with = "AsList::<StatusRange>")]
    #[schemars(length(min = 1))]
    pub expect: Vec<(u16, u16)>,
    /// Successes in a row before an unhealthy endpoint returns.
    #[serde(default = "defaults::healthy_after")]
    #[schemars(range(min = 1, max = 1000))]
    pub healthy_after: u32,
    /// Failures in a row before an endpoint gets no new request.
    #[serde(default = "defaults::unhealthy_after")]
    #[schemars(range(min = 1, max = 1000))]
    pub unhealthy_after: u32,
}

/// Limits on the time to wait for an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// The time to connect. If exceeded: 504.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub connect: Duration,
    /// The time from the request's last byte (or the end of connecting) to the response's head. If
    /// exceeded: 504.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub first_byte: Option<Duration>,
    /// The time without a byte of body in either direction. If exceeded, the exchange is aborted.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub idle: Option<Duration>,
    /// The time of the whole exchange, the response's body included. If exceeded: 504, or the body
    /// is cut short. There is no limit by default: an event stream or a large download may take
    /// hours. The other limits (`first_byte`, `idle`, the listener's rates) ensure that both sides
    /// make progress.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub total: Option<Duration>,
}

/// Limits on connections to one endpoint, for each worker, and on the responses over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Open connections to one endpoint from one worker. A request that needs another one is
    /// answered with 503.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub connections: usize,
    /// The share of `connections` that the clients of one network may use while no other network
    /// uses any. A network is an IPv4 /24 or an IPv6 /56. At a share of 75% each network may use
    /// three times as many connections as are free. No network can take the last connections from
    /// the others, and the limit matters only while connections are scarce. A request beyond it is
    /// answered with 503. `100%` sets no limit. Behind a load balancer it must be 100%, as all
    /// clients have the load balancer's address.
    #[serde(with = "As::<units::Percent>")]
    #[schemars(extend("x-minimum" = "1%", "x-maximum" = "100%"))]
    pub per_client: f64,
    /// Idle connections that one worker keeps to one endpoint. `0` keeps none.
    #[schemars(range(min = 0, max = 1_048_576))]
    pub idle_connections: usize,
    /// The time that an idle connection is kept. Set it below the origin's own limit: then no
    /// request meets a closing connection.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "24h"))]
    pub idle_timeout: Duration,
    /// Bytes of a response's header section as it is sent, its status line included. Interim
    /// responses and trailers have the same limit. A larger section is answered with 502.
    #[serde(with = "As::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub header_bytes: usize,
    /// Fields of a response's header section. Interim responses and trailers have the same limit. A
    /// section with more fields is answered with 502.
    #[schemars(range(min = 1, max = 10_000))]
    pub header_count: usize,
}
