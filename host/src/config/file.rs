//! The file as it is written: what `serde` reads, what the JSON Schema describes, what [`super::check`] resolves.
//!
//! Only types that are written differently from what they mean are here; the others are in `types`. Every comment on a
//! field is the documentation of its key.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::addresses::{Authority, CertificateName, HostPattern, HostPort, SocketAddress};
use super::defaults;
use super::names::{Digest, Method, Name, PathPattern, PluginSource, RegistryHost, Secret};
use super::text::{As, AsOption, Text};
use super::units;
use super::{
    Canary, Health, ListenerLimits, OnFailure, PluginLimits, Quic, Reuse, SharedState, Telemetry,
    Timeouts, UpstreamLimits,
};

/// A secret as it is written.
pub(super) type SecretText = Text<Secret>;

/// The configuration of Weir.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Weir")]
pub(super) struct File {
    /// Where clients connect.
    #[schemars(length(min = 1))]
    pub(super) listeners: Vec<Listener>,
    /// WebAssembly components that choose endpoints and filter requests and responses. Built-in ones that are used without
    /// `config` need no entry.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) plugins: Vec<Plugin>,
    /// How registries of plugins are reached. A registry without an entry: over TLS, with the credentials of Docker's
    /// configuration if it has any, signatures not looked at.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) registries: Vec<Registry>,
    /// Groups of endpoints that serve the same thing.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(super) upstreams: Vec<Upstream>,
    /// Which requests go where: the first route that matches. Without one the answer is 404.
    #[schemars(length(min = 1))]
    pub(super) routes: Vec<Route>,
    /// Metrics, traces and logs.
    #[serde(default)]
    pub(super) telemetry: Telemetry,
    /// The admin API: lists plugins and swaps them. Left out: there is none.
    pub(super) admin: Option<Admin>,
    /// What plugins share over workers and swaps.
    #[serde(default)]
    pub(super) state: SharedState,
    /// Where clients are, for plugins that ask.
    #[serde(default)]
    pub(super) geoip: GeoIp,
    /// What happens on SIGTERM and SIGINT.
    #[serde(default)]
    pub(super) shutdown: Shutdown,
    /// Threads that serve, each with its own connections; 0: one a core.
    #[serde(default)]
    #[schemars(range(min = 0, max = 256))]
    pub(super) workers: usize,
}

/// One address: UDP for HTTP/3, TCP for HTTP/2 and HTTP/1.1.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Address and port, the same for UDP and TCP.
    pub(super) address: Text<SocketAddress>,
    /// Which protocols are served. Left out: `[h3, h2, h1]` with `tls`, `[h1]` without.
    #[schemars(length(min = 1))]
    pub(super) protocols: Option<Vec<Protocol>>,
    /// The host of HTTP/1.0 requests without a Host field, as health checkers send them: what routes match, plugins see as
    /// `:authority` and origins get as Host. Left out: the address and port that the client connected to (RFC 9112 §3.3).
    /// A request of HTTP/1.1 without Host is answered with 400.
    #[serde(default, with = "AsOption::<Authority>")]
    pub(super) default_host: Option<String>,
    /// Certificates: exactly one of `certificates` and `self_signed`. Left out: plain text, HTTP/1.1 only.
    pub(super) tls: Option<Tls>,
    /// Settings of QUIC connections (RFC 9000 §18.2).
    #[serde(default)]
    pub(super) quic: Quic,
    /// What the clients of this listener may take.
    #[serde(default)]
    pub(super) limits: ListenerLimits,
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
    /// PEM files. The client's server name chooses among them; the first is for clients that send none or an unknown one.
    #[schemars(length(min = 1))]
    pub(super) certificates: Option<Vec<Certificate>>,
    /// A certificate made in memory at start, for trying things out. `self_signed: {}` takes the defaults.
    pub(super) self_signed: Option<SelfSigned>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Certificate {
    /// The certificate chain, leaf first; PEM, relative to the configuration.
    pub(super) cert: String,
    /// The private key (PKCS#8, PKCS#1 or SEC1); PEM, relative to the configuration.
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
    /// What `balancer` and `filters` refer to; unique. The name of a built-in plugin replaces that.
    pub(super) name: Text<Name>,
    /// Where the component is.
    pub(super) source: Text<PluginSource>,
    /// When given, the component must have this SHA-256.
    pub(super) sha256: Option<Text<Digest>>,
    /// Handed to the plugin as JSON, once it satisfies the plugin's own JSON Schema (`weir plugin inspect` shows it).
    #[serde(default)]
    pub(super) config: Value,
    /// What one instance may take; a call that exceeds it fails and its instance is replaced.
    #[serde(default)]
    pub(super) limits: PluginLimits,
    /// What a filter's failure means for its request. A balancer's failure never fails one: round robin takes its place.
    #[serde(default = "defaults::on_failure")]
    pub(super) on_failure: OnFailure,
    /// How long an instance lives. Left out: `worker`, and `request` for a standard component.
    #[serde(default)]
    #[schemars(with = "Reuse")]
    pub(super) reuse: Option<Reuse>,
    /// What the plugin can reach; nothing that is not named here.
    #[serde(default)]
    pub(super) allow: Allow,
    /// Whether a `file:` source is looked at every second and swapped in when it has changed. Never with `sha256`.
    #[serde(default = "defaults::watch")]
    pub(super) watch: bool,
    /// How a new generation is tried when it is swapped in; `weir plugin swap` may say otherwise.
    #[serde(default)]
    pub(super) canary: Canary,
}

/// What a plugin can reach.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Allow {
    /// Upstreams that it may fetch from, or send a request to.
    pub(super) upstreams: Vec<Text<Name>>,
    /// Spaces of the shared state that it shares with other plugins; its own it always has.
    pub(super) state: Vec<Text<Name>>,
}

/// How a registry is reached, and whose signatures count there.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Registry {
    /// Its host as `source` has it; unique.
    pub(super) host: Text<RegistryHost>,
    /// The user; with `password`. Left out, and no `token`: from `config.json` in `$DOCKER_CONFIG` or `~/.docker`, without
    /// its helper programs.
    pub(super) username: Option<String>,
    /// The user's password, or a personal access token.
    pub(super) password: Option<Text<Secret>>,
    /// A bearer token, instead of a user.
    pub(super) token: Option<Text<Secret>>,
    /// Certificate authorities to trust besides the system's; PEM, relative to the configuration.
    pub(super) ca: Option<String>,
    /// Whether it is spoken to without TLS. Left out: if the host is a loopback address and there is no `ca`.
    pub(super) plain_http: Option<bool>,
    /// Whose signatures packages must have. Left out: signatures are not looked at.
    pub(super) signatures: Option<Signatures>,
}

/// Whose signatures packages of a registry must have: cosign's, by key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signatures {
    /// Public keys in PEM, Ed25519 or ECDSA P-256, each mostly `file:PATH`. A signature by any of them is enough.
    #[schemars(length(min = 1))]
    pub(super) keys: Vec<Text<Secret>>,
    /// Whether a package without a signature is refused; one whose signatures are all by others always is.
    #[serde(default = "defaults::signatures_required")]
    pub(super) required: bool,
}

/// Where clients are, for plugins that ask.
#[derive(Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct GeoIp {
    /// Files of the MaxMind DB format, with countries (GeoLite2 Country or City, DB-IP) or autonomous systems (GeoLite2 ASN),
    /// relative to the configuration; read at start. The first that knows an address counts. Plugins get `client.country`
    /// and `client.asn` from them.
    pub(super) databases: Vec<PathBuf>,
}

/// The admin API, over plain HTTP; keep it on a loopback address.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// Address and port. Requests must name it by an IP address or `localhost`, and those that a browser sends for
    /// another site are refused.
    #[serde(default = "defaults::admin_address", with = "As::<SocketAddress>")]
    pub(super) address: std::net::SocketAddr,
    /// The bearer token that clients must present. Take a long random one: guesses are slowed, yet not prevented.
    pub(super) token: Text<Secret>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// What `upstream` of a route refers to; unique.
    pub(super) name: Text<Name>,
    /// Who chooses the endpoint of a request: `round-robin`, `least-connections`, `weighted`, `random-two-choices`,
    /// `consistent-hash`, or a plugin's name.
    #[serde(default = "defaults::balancer", with = "As::<Name>")]
    pub(super) balancer: String,
    /// Replaces the plugin's `config` for this upstream.
    #[serde(default)]
    pub(super) balancer_config: Value,
    /// The servers.
    #[schemars(length(min = 1))]
    pub(super) endpoints: Vec<Endpoint>,
    /// Active HTTP probes. Left out: every endpoint counts as healthy.
    pub(super) health: Option<Health>,
    /// Bounds on waiting for an endpoint.
    #[serde(default)]
    pub(super) timeouts: Timeouts,
    /// Bounds on connections to one endpoint, for each worker.
    #[serde(default)]
    pub(super) limits: UpstreamLimits,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Endpoint {
    /// Host and port. A name is resolved once, when the configuration is loaded; an IPv4 address is preferred.
    pub(super) address: Text<HostPort>,
    /// Share of requests relative to the others, for balancers that weigh; 0 takes none.
    #[serde(default = "defaults::weight")]
    #[schemars(range(min = 0, max = 65_536))]
    pub(super) weight: u32,
    /// Where it is; free text for balancers.
    #[serde(default)]
    pub(super) zone: String,
    /// Free text for balancers.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// The `route` label of metrics and records; unique. Left out: the host and path that match.
    pub(super) name: Option<Text<Name>>,
    /// Conditions; all that are given must hold. Left out: every request.
    #[serde(default, rename = "match")]
    pub(super) matcher: Match,
    /// Plugins that requests pass in this order, and responses in reverse: the name of a plugin, a standard
    /// `wasi:http/middleware` among them, or of a built-in filter that needs no configuration (docs/filters.md has them all).
    #[serde(default)]
    pub(super) filters: Vec<Text<Name>>,
    /// Sends the request to the upstream of this name. A route has exactly one of `upstream`, `component` and `respond`.
    pub(super) upstream: Option<Text<Name>>,
    /// Has the plugin of this name answer: a standard component, `wasi:http/service` or `wasi:http/proxy`.
    pub(super) component: Option<Text<Name>>,
    /// Answers by itself.
    pub(super) respond: Option<Respond>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Match {
    /// The host that the request is for.
    pub(super) host: Option<Text<HostPattern>>,
    /// The path of the request, without its query.
    pub(super) path: Option<Text<PathPattern>>,
    /// The methods. Left out: any.
    #[schemars(length(min = 1))]
    pub(super) methods: Vec<Text<Method>>,
    /// Header fields that must have exactly this value.
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Respond {
    /// The status code.
    #[schemars(range(min = 200, max = 599))]
    pub(super) status: u16,
    /// The body.
    pub(super) body: String,
    /// Header fields.
    pub(super) headers: BTreeMap<String, String>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Shutdown {
    /// How long requests in flight may take before their connections are closed.
    #[serde(with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub(super) grace: std::time::Duration,
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, body: String::new(), headers: BTreeMap::new() }
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { grace: defaults::GRACE }
    }
}

impl Default for SelfSigned {
    fn default() -> Self {
        let names = ["localhost", "127.0.0.1", "::1"];
        Self { names: names.map(|name| Text(name.to_owned())).into() }
    }
}
