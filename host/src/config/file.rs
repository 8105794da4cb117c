//! The file as it is written. `serde` reads these types, the JSON Schema describes them and
//! [`super::check`] resolves them.
//!
//! Only types with a written form that differs from their meaning are here. The others are in
//! `types`. The comment on a field is the documentation of its key.

mod routes;
mod upstreams;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::addresses::{
    AdminAddress, Authority, CertificateName, Network, Redirect, SocketAddress,
};
use super::defaults;
use super::names::{Digest, Name, PluginSource, RegistryHost, Secret};
use super::source::Include;
use super::text::{As, AsOption, Text};
use super::units;
use super::{
    Canary, ControlAddress, ListenerLimits, OnFailure, PluginLimits, Quic, Reuse, Role,
    SharedState, Telemetry,
};

pub(super) use self::routes::{ErrorPage, Match, Respond, Route, Share};
pub(super) use self::upstreams::{Dns, DnsType, Endpoint, Upstream, UpstreamTls};

/// A secret as it is written.
pub(super) type SecretText = Text<Secret>;

/// The configuration of Weir.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Weir")]
pub(super) struct File {
    /// The addresses where clients connect.
    #[schemars(length(min = 1))]
    pub(super) listeners: Vec<Listener>,
    /// WebAssembly components that choose endpoints and filter requests and responses. A built-in
    /// plugin that is used without `config` needs no entry.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) plugins: Vec<Plugin>,
    /// Access to registries of plugins. Weir reaches a registry without an entry over TLS, or
    /// without TLS on a loopback host. It takes the credentials in Docker's configuration, if there
    /// are any, and checks no signatures.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) registries: Vec<Registry>,
    /// Groups of endpoints that serve the same thing.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) upstreams: Vec<Upstream>,
    /// The routes of requests. The first route that matches a request handles it. A request that
    /// matches no route is answered with 404.
    #[schemars(length(min = 1))]
    pub(super) routes: Vec<Route>,
    /// Pages for errors that Weir answers itself. Pages of a route come first.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) errors: Vec<ErrorPage>,
    /// Metrics, traces and logs.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// The admin API, which shows and changes what runs. If left out, there is none.
    pub(super) admin: Option<Admin>,
    /// State that plugins share across workers and swaps.
    #[serde(default)]
    pub(super) state: SharedState,
    /// Databases of the location of clients, for plugins that ask.
    #[serde(default)]
    pub(super) geoip: GeoIp,
    /// The reaction to SIGTERM and SIGINT.
    #[serde(default)]
    pub(super) shutdown: Shutdown,
    /// The number of threads that serve, each with its own connections. `0` means one for each
    /// core.
    #[serde(default)]
    #[schemars(range(min = 0, max = 256))]
    pub(super) workers: usize,
    /// Further files, at most 1000. Each may have the keys `listeners`, `plugins`, `registries`,
    /// `upstreams` and `routes`, and no others. Weir appends their lists to the lists of this file:
    /// in the order of `include`, and for a pattern in the order of the files' names. The routes of
    /// this file therefore come first. Paths in all files are relative to the folder of this file.
    /// All files together have at most 1 MiB.
    #[serde(default)]
    #[schemars(length(min = 1))]
    #[expect(dead_code, reason = "the files are joined before the whole is read")]
    pub(super) include: Vec<Text<Include>>,
}

/// One address: UDP for HTTP/3, TCP for HTTP/2 and HTTP/1.1.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// IP address and port, the same for UDP and TCP.
    pub(super) address: Text<SocketAddress>,
    /// The protocols to serve. If left out: `[h3, h2, h1]` with `tls`, `[h1]` without.
    #[schemars(length(min = 1))]
    pub(super) protocols: Option<Vec<Protocol>>,
    /// The host of an HTTP/1.0 request without a Host field. Some health checkers send these.
    /// Routes match it, plugins see it as `:authority` and origins get it as Host. If left out, the
    /// host is the address and port that the client connected to (RFC 9112 §3.3). An HTTP/1.1
    /// request without Host is answered with 400.
    #[serde(default, with = "AsOption::<Authority>")]
    pub(super) default_host: Option<String>,
    /// The certificates: exactly one of `certificates` and `self_signed`. If left out, the listener
    /// serves plain HTTP/1.1 only.
    pub(super) tls: Option<Tls>,
    /// Redirects every request to HTTPS (status 308), with the same host and path. Port 443 if left
    /// out. No route sees the requests.
    pub(super) redirect: Option<Text<Redirect>>,
    /// Networks of proxies before this one, such as `10.0.0.0/8`. Only their `X-Forwarded-For`,
    /// `X-Forwarded-Proto` and `Forwarded` count: they name the client for plugins, limits and
    /// records. From all others, Weir removes these and similar fields. The client is the last
    /// address that is in none of the networks.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) trusted_proxies: Vec<Text<Network>>,
    /// The PROXY protocol on TCP connections: a preamble before TLS that names the client.
    pub(super) proxy_protocol: Option<ProxyProtocol>,
    /// Settings of QUIC connections (RFC 9000 §18.2).
    #[serde(default)]
    pub(super) quic: Quic,
    /// Limits for the clients of this listener.
    #[serde(default)]
    pub(super) limits: ListenerLimits,
}

/// The PROXY protocol, versions 1 and 2, on TCP connections.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProxyProtocol {
    /// Networks of load balancers. Their connections must begin with the preamble. From other
    /// networks a preamble is refused.
    #[schemars(length(min = 1))]
    pub(super) from: Vec<Text<Network>>,
}

/// A protocol of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Protocol {
    /// HTTP/3 over QUIC.
    H3,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/1.1.
    H1,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// PEM files. The client's server name selects a certificate. The first one is for clients that
    /// send no server name or an unknown one. Of certificates with the same names, a client gets
    /// one that it can verify, and ECDSA or Ed25519 before RSA.
    #[schemars(length(min = 1))]
    pub(super) certificates: Option<Vec<Certificate>>,
    /// A certificate made in memory at start, for trials. `self_signed: {}` takes the defaults.
    pub(super) self_signed: Option<SelfSigned>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// The certificate chain in PEM: the leaf first, and after each certificate the one of its
    /// issuer. The root may be left out. The path is relative to the configuration.
    pub(super) cert: String,
    /// The private key in PEM (PKCS#8, PKCS#1 or SEC1). The path is relative to the configuration.
    pub(super) key: String,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SelfSigned {
    /// DNS names and IP addresses of the certificate.
    #[schemars(length(min = 1))]
    pub(super) names: Vec<Text<CertificateName>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugin {
    /// A unique name, for `balancer` and `filters` to refer to. The name of a built-in plugin
    /// replaces that plugin.
    pub(super) name: Text<Name>,
    /// The source of the component.
    pub(super) source: Text<PluginSource>,
    /// The SHA-256 of the component. A component with another SHA-256 is refused. If left out, it
    /// is not checked.
    pub(super) sha256: Option<Text<Digest>>,
    /// The plugin's configuration. Weir checks it against the plugin's own JSON Schema (`weir
    /// plugin inspect` shows it) and hands it over as JSON.
    #[serde(default)]
    pub(super) config: Value,
    /// Limits of one instance. A call that exceeds one of them fails, and its instance is replaced.
    #[serde(default)]
    pub(super) limits: PluginLimits,
    /// The consequence of a filter's failure for its request. A balancer's failure never fails a
    /// request: round robin takes its place.
    #[serde(default = "defaults::on_failure")]
    pub(super) on_failure: OnFailure,
    /// The lifetime of an instance. If left out: `worker`, and `request` for a standard component.
    #[serde(default)]
    #[schemars(with = "Reuse")]
    pub(super) reuse: Option<Reuse>,
    /// Access of the plugin to upstreams and shared state. It can reach nothing that is not named
    /// here.
    #[serde(default)]
    pub(super) allow: Allow,
    /// Whether Weir checks a `file:` source every second and swaps in a changed file. It has no
    /// effect together with `sha256`.
    #[serde(default = "defaults::watch")]
    pub(super) watch: bool,
    /// The trial of a new generation when it is swapped in. Options of `weir plugin swap` take
    /// precedence.
    #[serde(default)]
    pub(super) canary: Canary,
}

/// Access of a plugin to upstreams and shared state.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Allow {
    /// Upstreams that the plugin may fetch from or send a request to.
    pub(super) upstreams: Vec<Text<Name>>,
    /// Spaces of the shared state that the plugin shares with other plugins. It always has a space
    /// of its own.
    pub(super) state: Vec<Text<Name>>,
}

/// Access to a registry, and the signatures that its packages need.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    /// The registry's host, written as in `source`. Each host has one entry.
    pub(super) host: Text<RegistryHost>,
    /// The user name. It needs `password`. Without `username` and `token`, credentials come from
    /// `config.json` in `$DOCKER_CONFIG` or `~/.docker`. Weir does not run Docker's credential
    /// helpers.
    pub(super) username: Option<String>,
    /// The user's password, or a personal access token.
    pub(super) password: Option<Text<Secret>>,
    /// A bearer token, instead of a user.
    pub(super) token: Option<Text<Secret>>,
    /// Certificate authorities to trust besides the system's, in PEM. The path is relative to the
    /// configuration.
    pub(super) ca: Option<String>,
    /// Whether Weir reaches the registry without TLS. If left out, it does if the host is a
    /// loopback address and there is no `ca`.
    pub(super) plain_http: Option<bool>,
    /// The signatures that packages must have. If left out, signatures are not checked.
    pub(super) signatures: Option<Signatures>,
}

/// The signatures that packages of a registry must have: cosign's, by key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signatures {
    /// Public keys in PEM, Ed25519 or ECDSA P-256, each usually `file:PATH`. A signature by any of
    /// them is enough.
    #[schemars(length(min = 1))]
    pub(super) keys: Vec<Text<Secret>>,
    /// Whether a package without a signature is refused. A package that has signatures, but none by
    /// these keys, is always refused.
    #[serde(default = "defaults::signatures_required")]
    pub(super) required: bool,
}

/// Databases of the location of clients, for plugins that ask.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GeoIp {
    /// Files of the MaxMind DB format, with countries (GeoLite2 Country or City, DB-IP) or
    /// autonomous systems (GeoLite2 ASN). Paths are relative to the configuration. The files are
    /// read at start. The first file that has an entry for an address decides. Plugins get
    /// `client.country` and `client.asn` from them.
    pub(super) databases: Vec<PathBuf>,
}

/// The admin API, over plain HTTP: it shows and changes the running configuration, endpoints and
/// plugins. Keep it on a loopback address or a Unix socket. It has exactly one of `token` and
/// `tokens`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// IP address and port, or `unix:PATH`. A request to a port must name the API by an IP address
    /// or `localhost`. Only the user of the process may connect to a Unix socket. A request that a
    /// browser sends for another site is refused.
    #[serde(default = "defaults::admin_address", with = "As::<AdminAddress>")]
    pub(super) address: ControlAddress,
    /// The one bearer token of a client that may read and write. Use a long random token: Weir
    /// slows guesses down, but it does not prevent them.
    pub(super) token: Option<Text<Secret>>,
    /// Several bearer tokens, each with a role.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) tokens: Vec<AdminToken>,
}

/// A bearer token of the admin API.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminToken {
    /// The token. Each client can have one of its own.
    pub(super) token: Text<Secret>,
    /// The requests that a client with this token may send.
    pub(super) role: Role,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shutdown {
    /// The time that requests in flight may take before their connections are closed.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub(super) grace: std::time::Duration,
    /// The time that a process goes on after another one has taken over in an upgrade, for requests
    /// in flight. Downloads and event streams may take hours.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "720h"))]
    pub(super) upgrade_grace: std::time::Duration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: defaults::GRACE, upgrade_grace: defaults::UPGRADE_GRACE }
    }
}

impl Default for SelfSigned {
    fn default() -> Self {
        let names = ["localhost", "127.0.0.1", "::1"];
        Self { names: names.map(|name| Text(name.to_owned())).into() }
    }
}
