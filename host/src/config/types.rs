//! The configuration in the form that the rest of the program uses.
//!
//! A type with the same form in the file derives that form here, and its comments document the
//! keys. The others have a mirror in `file`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::admin::Admin;
use super::document::Places;
use super::error::Problem;
use super::plugins::{Plugin, SharedState};
use super::routes::{ErrorPage, Route};
use super::telemetry::Telemetry;
use super::text::As;
use super::units;
use super::upstreams::Upstream;
use crate::oci::Access;

/// A whole configuration, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// The addresses where clients connect; at least one.
    pub listeners: Vec<Listener>,
    /// Plugins by name, with the built-in ones that are in use.
    pub plugins: Vec<Plugin>,
    /// The groups of endpoints.
    pub upstreams: Vec<Upstream>,
    /// The routes. The first match wins.
    pub routes: Vec<Route>,
    /// Pages for errors of requests without a page of their route.
    pub errors: Vec<ErrorPage>,
    /// Metrics, traces and logs.
    pub telemetry: Telemetry,
    /// The admin API, if there is one.
    pub admin: Option<Admin>,
    /// State that plugins share.
    pub state: SharedState,
    /// Access to registries of plugins.
    pub registries: Vec<Access>,
    /// Files of the databases with the location of clients.
    pub geoip: Vec<PathBuf>,
    /// The time that requests in flight may take after a signal. Default 30 s.
    pub grace: Duration,
    /// The time that requests in flight may take after an upgrade. Default 24 h.
    pub upgrade_grace: Duration,
    /// Worker threads, at least one. Default: one for each core.
    pub workers: usize,
    /// Parts that are allowed and probably a mistake, for the log.
    pub warnings: Vec<Problem>,
    /// The places of keys and values in the files.
    pub places: Places,
    /// The files that were read, in the order of their lists. The main file is the first, if there
    /// is one.
    pub files: Vec<PathBuf>,
    /// The folders where a new file may match a pattern of `include`.
    pub globs: Vec<PathBuf>,
    /// The values as they are written in all files together, without `include` and with the
    /// arguments of the command line. Secrets are not masked.
    pub value: Values,
    /// The tag of `value`: 16 hexadecimal digits, the same for equal values.
    pub tag: String,
}

/// The values of a configuration as written. They hold secrets, which do not show in logs. Clones
/// share them.
#[derive(Clone, Default)]
pub struct Values(Arc<Value>);

impl Values {
    pub(super) fn new(value: Value) -> Self {
        Self(Arc::new(value))
    }
}

impl std::ops::Deref for Values {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values").finish_non_exhaustive()
    }
}

/// One address: UDP for HTTP/3, TCP for HTTP/2 and HTTP/1.1.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Address and port. Port 0 takes a free port, the same for TCP and UDP.
    pub address: SocketAddr,
    /// The protocols to serve.
    pub protocols: Protocols,
    /// The host of HTTP/1.0 requests that name no host. If absent, it is the address that the
    /// client connected to.
    pub default_host: Option<http::uri::Authority>,
    /// The port of HTTPS that all requests are redirected to. If absent, requests are served.
    pub redirect: Option<u16>,
    /// The certificates. If absent, the listener serves plain HTTP/1.1 only.
    pub tls: Option<Tls>,
    /// The networks of proxies whose fields about the client count.
    pub trusted_proxies: Vec<IpNet>,
    /// The networks whose TCP connections begin with a preamble of the PROXY protocol.
    pub proxy_protocol: Vec<IpNet>,
    /// Settings of QUIC.
    pub quic: Quic,
    /// Whether a route opens tunnels with datagrams over HTTP/3 (RFC 9297). Without one, the
    /// connections save the work for them.
    pub datagrams: bool,
    /// Limits for one client and for all clients together.
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

/// The source of certificates.
#[derive(Debug, Clone, PartialEq)]
pub enum Tls {
    /// A certificate made in memory at start, for these names. Never for production.
    SelfSigned {
        /// DNS names and IP addresses of the certificate. Default: localhost, 127.0.0.1, ::1.
        names: Vec<String>,
    },
    /// PEM files. The client's server name selects a certificate. The first one is for clients that
    /// send no server name or an unknown one.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Quic {
    /// The number of requests that one connection may have open at once.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_concurrent_streams: u32,
    /// The silence after which a connection ends.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub idle_timeout: Duration,
    /// The interval of pings that keep a quiet connection open; `0s` for never. It must be below
    /// `idle_timeout`.
    #[serde(with = "As::<units::Timeout>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "1h"))]
    pub keep_alive: Option<Duration>,
    /// Bytes that a client may send ahead on one stream. Fast uploads over long distances need
    /// more.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "16KiB", "x-maximum" = "1GiB"))]
    pub stream_window: u64,
    /// Bytes that a client may send ahead on all streams together. It bounds the memory of one
    /// connection.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "16KiB", "x-maximum" = "1GiB"))]
    pub connection_window: u64,
    /// Whether larger packets are tried (RFC 8899).
    pub mtu_discovery: bool,
    /// When a client must prove its address before Weir spends memory on it (RFC 9000 §8.1). The
    /// proof costs the client a round trip.
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

/// Limits for the clients of a listener.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerLimits {
    /// Open connections, QUIC and TCP together. More are refused.
    #[schemars(range(min = 1, max = 16_777_216))]
    pub connections: usize,
    /// Bytes of a decoded header section: names, values and 32 for each field (RFC 9114 §4.2.2).
    /// Trailers have the same limit. A larger section is answered with 431.
    #[serde(with = "As::<units::MemorySize>")]
    #[schemars(extend("x-minimum" = "1KiB", "x-maximum" = "1MiB"))]
    pub header_bytes: usize,
    /// Fields of a header section. Trailers have the same limit. A section with more fields is
    /// answered with 431.
    #[schemars(range(min = 1, max = 10_000))]
    pub header_count: usize,
    /// Whether request header and trailer fields with an underscore in their names pass. By default
    /// Weir removes them (RFC 9110 §17.10). Servers that hand fields on as CGI does (WSGI, Rack,
    /// PHP; RFC 3875 §4.1.18) take `x_user` for `x-user`, which the proxy or a filter may have set
    /// or removed.
    pub underscores_in_headers: bool,
    /// Bytes of a request's body. A larger body is answered with 413.
    #[serde(with = "As::<units::Size>")]
    pub body: u64,
    /// The time to finish a TLS or QUIC handshake.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub handshake_timeout: Duration,
    /// The time to send a whole header section (HTTP/1.1), and the time that an idle TCP connection
    /// is kept.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub header_timeout: Duration,
    /// Bytes a second at which a client must send a request's body. Weir averages over the time in
    /// which it waits for the client, beyond `rate_grace`. A slower request is answered with 408.
    /// Time in which the origin takes nothing does not count. The rate does not apply after the
    /// response's head, nor to calls of gRPC or Connect. `0B` allows any rate, for clients that
    /// send little by design, such as shippers of logs.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "0B", "x-maximum" = "1GiB"))]
    pub upload_rate: u64,
    /// Bytes a second at which a client must take a response. Weir averages over the time in which
    /// data waits for the client, beyond `rate_grace`. For a slower client the stream is reset, and
    /// over HTTP/1.1 the connection is closed. Time in which the origin sends nothing does not
    /// count: event streams may be quiet for any time. A slow stream goes on while its connection
    /// takes this rate for each of its streams. At any rate, a client that takes nothing for 60 s
    /// is too slow. `0B` allows any rate.
    #[serde(with = "As::<units::Size>")]
    #[schemars(extend("x-minimum" = "0B", "x-maximum" = "1GiB"))]
    pub download_rate: u64,
    /// The time that Weir waits for a client in one body, in either direction, before the rate
    /// counts.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1h"))]
    pub rate_grace: Duration,
}

impl std::fmt::Display for Protocols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [(self.h3, "h3"), (self.h2, "h2"), (self.h1, "h1")];
        let names: Vec<_> = names.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.write_str(&names.join(","))
    }
}
