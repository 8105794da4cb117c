//! A configuration as the rest of the program sees it.
//!
//! Types whose file form is the same derive it here, and their documentation is that of the key; the others have a mirror
//! in `file`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::addresses::Authority;
use super::defaults;
use super::document::Places;
use super::error::Problem;
use super::id::{PluginId, UpstreamId};
use super::names::{RequestPath, StatusRange};
use super::plugins::{Plugin, SharedState};
use super::telemetry::Telemetry;
use super::text::{As, AsList, AsOption};
use super::units;
use crate::oci::Access;

/// A whole configuration, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Plugins by name, the built-in ones that are in use among them.
    pub plugins: Vec<Plugin>,
    /// Where requests go.
    pub upstreams: Vec<Upstream>,
    /// First match wins.
    pub routes: Vec<Route>,
    /// Metrics, traces and logs.
    pub telemetry: Telemetry,
    /// The admin API; absent: there is none.
    pub admin: Option<Admin>,
    /// What plugins share.
    pub state: SharedState,
    /// How registries of plugins are reached.
    pub registries: Vec<Access>,
    /// Databases that tell where clients are.
    pub geoip: Vec<PathBuf>,
    /// How long requests in flight may take after a signal. Default 30 s.
    pub grace: Duration,
    /// Worker threads, at least one. Default: one a core.
    pub workers: usize,
    /// What is allowed and yet probably a mistake; for the log.
    pub warnings: Vec<Problem>,
    /// Where things are written.
    pub places: Places,
}

/// One address: UDP for HTTP/3, TCP for HTTP/2 and HTTP/1.1.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Address and port; port 0 takes a free one, the same for TCP and UDP.
    pub address: SocketAddr,
    /// Which protocols are served.
    pub protocols: Protocols,
    /// Of requests of HTTP/1.0 that name no host; absent: the address that the client connected to.
    pub default_host: Option<http::uri::Authority>,
    /// Absent: plain text, HTTP/1.1 only.
    pub tls: Option<Tls>,
    /// Settings of QUIC.
    pub quic: Quic,
    /// Limits on what one client or all of them may take.
    pub limits: ListenerLimits,
}

/// The protocols of a listener; at least one is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Protocols {
    /// HTTP/3 over QUIC.
    pub h3: bool,
    /// HTTP/2 over TLS.
    pub h2: bool,
    /// HTTP/1.1.
    pub h1: bool,
}

/// Where certificates come from.
#[derive(Debug, Clone)]
pub enum Tls {
    /// Made in memory at start, for these names; never for production.
    SelfSigned {
        /// DNS names and IP addresses of the certificate. Default: localhost, 127.0.0.1, ::1.
        names: Vec<String>,
    },
    /// PEM files; the client's server name chooses among them, the first is for clients that send none or an unknown one.
    Certificates(Vec<Certificate>),
}

/// A certificate chain and its key, both PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// Settings of QUIC connections (RFC 9000 §18.2).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quic {
    /// Requests that one connection may have open at once.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_concurrent_streams: u32,
    /// Silence after which a connection ends.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub idle_timeout: Duration,
    /// How often a quiet connection is pinged so that it does not end; `0s` for never. Must be below `idle_timeout`.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1h"))]
    pub keep_alive: Option<Duration>,
    /// Bytes that a client may send ahead on one stream. Fast uploads over long distances need more.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "16KiB", "x-maximum" = "1GiB"))]
    pub stream_window: u64,
    /// Bytes that a client may send ahead on all streams together; what one connection can cost in memory.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "16KiB", "x-maximum" = "1GiB"))]
    pub connection_window: u64,
    /// Whether larger packets are tried (RFC 8899).
    pub mtu_discovery: bool,
    /// When a client must prove its address before it costs anything (RFC 9000 §8.1); it costs the client a round trip.
    pub retry: Retry,
    /// Whether a client may change its address, as phones do between networks (RFC 9000 §9).
    pub migration: bool,
}

/// When a Retry packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Never.
    Never,
    /// While many handshakes are half open.
    UnderLoad,
    /// To every client.
    Always,
}

/// What the clients of a listener may take.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimits {
    /// Open connections, QUIC and TCP together; more are refused.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub connections: usize,
    /// Bytes of a decoded header section: names, values and 32 a field (RFC 9114 §4.2.2); trailers likewise. More is
    /// answered with 431.
    #[serde(with = "As::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub header_bytes: usize,
    /// Fields of a header section; trailers likewise. More are answered with 431.
    #[schemars(range(min = 1, max = 10_000))]
    pub header_count: usize,
    /// Whether request header and trailer fields with an underscore in their names pass. Servers that hand fields on as CGI does (WSGI,
    /// Rack, PHP; RFC 3875 §4.1.18) take `x_user` for `x-user`, which the proxy or a filter may have set or removed, so
    /// they are left out unless this is set (RFC 9110 §17.10).
    pub underscores_in_headers: bool,
    /// Bytes of a request's body; more are answered with 413.
    #[serde(with = "As::<units::Size>")]
    pub body: u64,
    /// Time to finish a TLS or QUIC handshake.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub handshake_timeout: Duration,
    /// Time to send a whole header section (HTTP/1.1), and how long an idle TCP connection is kept.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub header_timeout: Duration,
    /// Bytes a second at which a client must send a request's body, on average over the time in
    /// which it is waited for and beyond `rate_grace`; slower: 408. Time in which the origin takes
    /// nothing does not count, nor does what comes after the response's head or belongs to a call
    /// of gRPC or Connect. `0B`: any rate, for clients that send a little now and then by design,
    /// such as shippers of logs.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "0B", "x-maximum" = "1GiB"))]
    pub upload_rate: u64,
    /// Bytes a second at which a client must take a response, on average over the time in which
    /// something waits for it and beyond `rate_grace`; slower: the stream is reset, and over
    /// HTTP/1.1 the connection closed. Time in which the origin sends nothing does not count, so
    /// event streams may be as quiet as they like. A stream of a connection that takes this much
    /// for each of its streams goes on. Nobody may take nothing for 60 s. `0B`: any rate.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "0B", "x-maximum" = "1GiB"))]
    pub download_rate: u64,
    /// Time that a client may be waited for in one body, in either direction, before its rate
    /// counts.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub rate_grace: Duration,
}

/// The admin API.
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where it is served, over plain HTTP.
    pub address: SocketAddr,
    /// The bearer token that clients must present.
    pub token: String,
}

/// A group of endpoints that serve the same thing.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Unique.
    pub name: String,
    /// Its balancer.
    pub balancer: PluginId,
    /// Overrides the plugin's `config` for this upstream when not null.
    pub balancer_config: serde_json::Value,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// Active probes; absent: every endpoint counts as healthy.
    pub health: Option<Health>,
    /// Bounds on waiting.
    pub timeouts: Timeouts,
    /// Bounds on connections.
    pub limits: UpstreamLimits,
}

/// One server.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// As written: `HOST:PORT`; the value of the `endpoint` label.
    pub name: String,
    /// Resolved once, when the configuration is loaded.
    pub address: SocketAddr,
    /// Share of requests relative to the others. Default 1; 0 takes none from the weighted balancer.
    pub weight: u32,
    /// Free text for balancers. Default empty.
    pub zone: String,
    /// Free text for balancers.
    pub labels: BTreeMap<String, String>,
}

/// Active HTTP probes. Without them every endpoint counts as healthy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Path and query of the request, a GET.
    #[serde(with = "As::<RequestPath>")]
    pub path: String,
    /// Value of the Host field. Left out: the endpoint's address as written.
    #[serde(default, with = "AsOption::<Authority>")]
    pub host: Option<String>,
    /// Time between two probes of one endpoint, ± 10 %.
    #[serde(default = "defaults::health_interval", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "24h"))]
    pub interval: Duration,
    /// Time for connection and answer together.
    #[serde(default = "defaults::health_timeout", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub timeout: Duration,
    /// Status codes that are a success.
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

/// Bounds on waiting for an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Timeouts {
    /// To connect; exceeded: 504.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "1h"))]
    pub connect: Duration,
    /// From the request's last byte (or the end of connecting) to the response's head; exceeded: 504.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub first_byte: Option<Duration>,
    /// Without a byte of body in either direction; exceeded: the exchange is aborted.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub idle: Option<Duration>,
    /// The whole exchange, the response's body included; exceeded: 504, or the body is cut short.
    /// None by default: an event stream or a large download may take hours, and the other bounds
    /// (`first_byte`, `idle`, the listener's rates) see to it that both sides make progress.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub total: Option<Duration>,
}

/// Bounds on connections to one endpoint, for each worker, and on what comes over them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UpstreamLimits {
    /// Open connections to one endpoint from one worker; a request that would need another is answered with 503.
    #[schemars(range(min = 1, max = 1_048_576))]
    pub connections: usize,
    /// Share of `connections` that the clients of one network may use while no other network uses
    /// any. A network is an IPv4 /24 or an IPv6 /56. At a share of 75% each network may use three
    /// times as many connections as are free, so none can take the last ones from the others, and
    /// it matters only while connections are scarce. A request beyond it is answered with 503;
    /// 100%: no bound. Behind a load balancer all clients have its address: there it must be 100%.
    #[serde(with = "As::<units::Percent>")]
    #[schemars(extend("x-minimum" = "1%", "x-maximum" = "100%"))]
    pub per_client: f64,
    /// Idle connections that one worker keeps to one endpoint; 0 keeps none.
    #[schemars(range(min = 0, max = 1_048_576))]
    pub idle_connections: usize,
    /// How long an idle connection is kept. Below the origin's own limit no request meets a closing connection.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1ms", "x-maximum" = "24h"))]
    pub idle_timeout: Duration,
    /// Bytes of a response's header section as it is sent, its status line included; interim responses and trailers
    /// likewise. A larger one is answered with 502.
    #[serde(with = "As::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub header_bytes: usize,
    /// Fields of a response's header section; interim responses and trailers likewise. More are answered with 502.
    #[schemars(range(min = 1, max = 10_000))]
    pub header_count: usize,
}

/// Which requests go where.
#[derive(Debug, Clone)]
pub struct Route {
    /// The value of the `route` label: given, or the path pattern.
    pub name: String,
    /// What must hold.
    pub matcher: Match,
    /// Its filters, in the order in which requests pass.
    pub filters: Vec<PluginId>,
    /// What happens then.
    pub action: Action,
}

/// Conditions; all that are given must hold.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// `example.com` or `*.example.com` (any labels below it), lower case, no port.
    pub host: Option<String>,
    /// `/exact`, or `/prefix/*` (the prefix itself and all below it).
    pub path: Option<String>,
    /// Empty: any.
    pub methods: Vec<http::Method>,
    /// Fields that must have this value.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// What a route does.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards to an upstream.
    Upstream(UpstreamId),
    /// Answers itself.
    Respond(Respond),
    /// Has a component answer.
    Component(PluginId),
}

/// A fixed answer.
#[derive(Debug, Clone)]
pub struct Respond {
    /// Default 200.
    pub status: http::StatusCode,
    /// Default empty.
    pub body: String,
    /// Fields of the answer.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

impl std::fmt::Display for Protocols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [(self.h3, "h3"), (self.h2, "h2"), (self.h1, "h1")];
        let names: Vec<_> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}
