//! The defaults of keys that are left out, and the reasons for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Canary, ControlAddress, Endpoint, ListenerLimits, Log, LogFormat, MetricsEndpoint, NoTraffic,
    OnFailure, Plugin, PluginLimits, Quic, Respond, Retry, Reuse, Rotation, SharedState, Source,
    Timeouts, UpstreamLimits,
};

/// Browsers open all requests of a page at once. RFC 9114 §6.1 asks for at least 100.
pub const MAX_CONCURRENT_STREAMS: u32 = 128;

/// Long enough for a reader's pause, and short enough that lost clients do not pile up.
pub const QUIC_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// A third of the idle timeout: two lost pings end no connection. Most NATs forget UDP after 30 s.
pub const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(10);

/// One upload fills 80 Mbit/s over 100 ms with it.
pub const STREAM_WINDOW: u64 = 1 << 20;

/// Eight uploads at full speed on one connection. It bounds the memory that a client can take while
/// nothing reads its data.
pub const CONNECTION_WINDOW: u64 = 8 << 20;

/// Each connection takes one file descriptor on TCP. Common limits of open files are at or above
/// it.
pub const CONNECTIONS: usize = 65_536;

/// Twice nginx's bound (4 × 8 KiB): no large cookie fails after a move from nginx.
pub const HEADER_BYTES: usize = 64 << 10;

/// Real requests have ten to forty fields. No legitimate request was seen near this bound.
pub const HEADER_COUNT: usize = 128;

/// Large enough for uploads of media. Bodies stream: the bound limits time and traffic, not memory.
pub const BODY: u64 = 1 << 30;

/// Three round trips and a lost packet on the slowest mobile link fit in it.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A slow client can finish its fields in it, and a connection is kept between two page views.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// A twentieth of the rate of the slowest mobile networks. Kestrel has the same, Apache 500 B/s.
pub const BODY_RATE: u64 = 240;

/// A phone that changes networks is silent for some seconds. Kestrel has 5 s, Apache 20 s.
pub const RATE_GRACE: Duration = Duration::from_secs(10);

/// Enough for a JavaScript or Python runtime. The built-in balancers use 1 MiB.
pub const PLUGIN_MEMORY: usize = 16 << 20;

/// Enough for the runtimes of JavaScript and Python. Most of them begin with 16 MiB.
pub const COMPONENT_MEMORY: usize = 64 << 20;

/// The same as an upstream's first byte: a component waits for others as an origin does.
pub const COMPONENT_TIME: Duration = Duration::from_secs(30);

/// A hundred times the rendering of a page. Components that compute take turns, so other requests
/// are not held up.
pub const COMPONENT_CPU: Duration = Duration::from_secs(1);

/// With the memory of each instance, at most 8 GiB for each worker.
pub const COMPONENT_CONCURRENCY: usize = 128;

/// The longest call of a plugin of Weir's own worlds. The worker serves nothing else meanwhile.
pub const LONGEST_CALL: Duration = Duration::from_secs(1);

/// A thousand times the usual call. One bad call may hold up the other requests of its worker for
/// this time.
pub const PLUGIN_TIME: Duration = Duration::from_millis(5);

/// A generation that traps fails at its first requests. A slow one shows within some thousands.
pub const CANARY_TIME: Duration = Duration::from_secs(10);

/// Half a million counters.
pub const STATE_MEMORY: usize = 64 << 20;

/// Loopback: a client that can swap plugins can do everything.
pub const ADMIN_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9091);

/// One lost SYN (sent again after 1 s) does not fail a request.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The time that people wait for a page.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longer than the pauses of event streams that send a comment every 15 or 30 s.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// One endpoint rarely serves more requests at once from one worker. The bound keeps a flood from
/// taking every file descriptor.
pub const UPSTREAM_CONNECTIONS: usize = 1024;

/// One busy proxy or load generator in front stays below it, and a quarter is left for all others.
pub const PER_CLIENT: f64 = 0.75;

/// A quarter of the open connections: bursts reuse connections, and a quiet endpoint does not hold
/// thousands open.
pub const IDLE_CONNECTIONS: usize = 256;

/// Below the 65 to 75 s after which common servers close idle connections themselves.
pub const IDLE_CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// Four times the limits that common origins set themselves. HAProxy and nginx take 16 KiB and 8
/// KiB by default.
pub const RESPONSE_HEADER_BYTES: usize = 128 << 10;

/// A DNS server that says 0 or 1 s is asked no more often, and a changed address is known after a
/// few failed requests at most.
pub const MIN_TTL: Duration = Duration::from_secs(5);

/// Records with a TTL of hours change during incidents too.
pub const MAX_TTL: Duration = Duration::from_secs(300);

/// Loopback: metrics are private until an operator decides otherwise.
pub const METRICS_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9090);

/// The path that Prometheus scrapes by default.
pub const METRICS_PATH: &str = "/metrics";

/// Enough to find slow requests, at a tenth of the collector's cost.
pub const SAMPLE: f64 = 0.1;

/// Caddy's size. An editor still opens such a file.
pub const LOG_SIZE: u64 = 100 << 20;

/// Some 3 million access records: hours to weeks. Small disks of virtual machines have room for it
/// twice.
pub const LOG_KEEP: u64 = 1 << 30;

/// The default `balancer` of an upstream. It is fair without any knowledge of the endpoints.
pub const BALANCER: &str = "round-robin";

/// Ends before orchestrators kill: Kubernetes and systemd wait 30 s or longer.
pub const GRACE: Duration = Duration::from_secs(30);

/// `shutdown.upgrade_grace`.
pub const UPGRADE_GRACE: Duration = Duration::from_secs(24 * 3600);

impl Default for Quic {
    fn default() -> Self {
        Self {
            max_concurrent_streams: MAX_CONCURRENT_STREAMS,
            idle_timeout: QUIC_IDLE_TIMEOUT,
            keep_alive: Some(QUIC_KEEP_ALIVE),
            stream_window: STREAM_WINDOW,
            connection_window: CONNECTION_WINDOW,
            mtu_discovery: true,
            retry: Retry::UnderLoad,
            migration: true,
        }
    }
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            header_bytes: HEADER_BYTES,
            header_count: HEADER_COUNT,
            underscores_in_headers: false,
            body: BODY,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            header_timeout: HEADER_TIMEOUT,
            upload_rate: BODY_RATE,
            download_rate: BODY_RATE,
            rate_grace: RATE_GRACE,
        }
    }
}

impl Default for Canary {
    fn default() -> Self {
        Self { share: 1.0, time: CANARY_TIME, on_no_traffic: NoTraffic::default() }
    }
}

impl Default for SharedState {
    fn default() -> Self {
        Self { memory: STATE_MEMORY }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: CONNECT_TIMEOUT,
            first_byte: Some(FIRST_BYTE_TIMEOUT),
            idle: Some(IDLE_TIMEOUT),
            total: None,
        }
    }
}

impl Default for UpstreamLimits {
    fn default() -> Self {
        Self {
            connections: UPSTREAM_CONNECTIONS,
            per_client: PER_CLIENT,
            idle_connections: IDLE_CONNECTIONS,
            idle_timeout: IDLE_CONNECTION_TIMEOUT,
            header_bytes: RESPONSE_HEADER_BYTES,
            header_count: HEADER_COUNT,
        }
    }
}

impl Default for MetricsEndpoint {
    fn default() -> Self {
        Self { address: METRICS_ADDRESS, path: METRICS_PATH.to_owned() }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Json,
            access: true,
            file: None,
            access_file: None,
        }
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self { size: LOG_SIZE, age: None, keep: LOG_KEEP }
    }
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: http::StatusCode::OK, body: String::new(), headers: Vec::new() }
    }
}

/// Keys without signatures would serve no purpose.
pub(super) fn signatures_required() -> bool {
    true
}

impl Plugin {
    /// Returns the built-in plugin of this name, with default limits and no configuration.
    pub fn builtin(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: Source::Builtin(name.to_owned()),
            sha256: None,
            config: serde_json::Value::Null,
            limits: PluginLimits::default(),
            on_failure: on_failure(),
            reuse: None,
            upstreams: Vec::new(),
            spaces: Vec::new(),
            base: PathBuf::new(),
            watch: false,
            canary: Canary::default(),
        }
    }
}

impl Endpoint {
    /// Returns an endpoint of weight 1 at a known address.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            name: address.to_string(),
            address,
            weight: 1,
            zone: String::new(),
            labels: std::collections::BTreeMap::new(),
        }
    }
}

// `#[serde(default = …)]` takes functions only. They serve types with a required key, which have
// no `Default`.

/// A request that a filter should refuse must not pass because the filter fails.
pub(super) fn on_failure() -> OnFailure {
    OnFailure::Closed
}

/// For a plugin of Weir's own worlds: a fresh instance costs twenty times a call.
pub const PLUGIN_REUSE: Reuse = Reuse::Worker;

/// For a standard component. Its author relies on fresh instances, and one costs a tenth of a
/// request.
pub const COMPONENT_REUSE: Reuse = Reuse::Request;

pub(super) fn verify() -> bool {
    true
}

pub(super) fn watch() -> bool {
    true
}

pub(super) fn admin_address() -> ControlAddress {
    ControlAddress::Tcp(ADMIN_ADDRESS)
}

pub(super) fn health_interval() -> Duration {
    // Three failures take an endpoint out in 15 s, and a probe costs an origin nothing at this
    // rate.
    Duration::from_secs(5)
}

pub(super) fn health_timeout() -> Duration {
    Duration::from_secs(1)
}

pub(super) fn health_expect() -> Vec<(u16, u16)> {
    vec![(200, 299)]
}

/// One success may be luck.
pub(super) fn healthy_after() -> u32 {
    2
}

/// One failure may be a lost packet, and two a restart of a device on the way.
pub(super) fn unhealthy_after() -> u32 {
    3
}

pub(super) fn sample() -> f64 {
    SAMPLE
}

pub(super) fn service() -> String {
    "weir".to_owned()
}

pub(super) fn balancer() -> String {
    BALANCER.to_owned()
}

pub(super) fn mirror_share() -> f64 {
    1.0
}

/// RFC 9298 §3.1 and RFC 4787 ask for at least two minutes.
pub(super) fn udp_idle() -> Duration {
    Duration::from_secs(120)
}

/// A few thousand are what common limits of open files leave beside the connections.
pub(super) fn udp_tunnels() -> usize {
    1024
}

pub(super) fn weight() -> u32 {
    1
}

pub(super) fn min_ttl() -> Duration {
    MIN_TTL
}

pub(super) fn max_ttl() -> Duration {
    MAX_TTL
}
