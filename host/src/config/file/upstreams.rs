//! Upstreams as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::addresses::{DnsName, DnsServer, HostPort, ServerName};
use crate::config::names::Name;
use crate::config::text::{As, Text};
use crate::config::{
    Health, ProxyVersion, Timeouts, UpstreamLimits, UpstreamProtocol, defaults, units,
};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// A unique name, for the `upstream` of a route to refer to.
    pub(in crate::config) name: Text<Name>,
    /// The plugin that chooses the endpoint of a request: `round-robin`, `least-connections`,
    /// `weighted`, `random-two-choices`, `consistent-hash`, or another plugin's name.
    #[serde(default = "defaults::balancer", with = "As::<Name>")]
    pub(in crate::config) balancer: String,
    /// A configuration for this upstream that replaces the plugin's `config`.
    #[serde(default)]
    pub(in crate::config) balancer_config: Value,
    /// The servers. An upstream has exactly one of `endpoints`, `dns` and `file`.
    #[schemars(length(min = 1))]
    pub(in crate::config) endpoints: Option<Vec<Endpoint>>,
    /// A DNS name that has the servers as records (docs/upstreams.md).
    pub(in crate::config) dns: Option<Dns>,
    /// A YAML or JSON file with the servers: a list in the form of `endpoints`, or a mapping with
    /// the one key `endpoints`. Weir reads it again when it changes. The path is relative to the
    /// configuration.
    pub(in crate::config) file: Option<PathBuf>,
    /// The protocol toward the endpoints.
    #[serde(default)]
    pub(in crate::config) protocol: UpstreamProtocol,
    /// TLS toward the endpoints. `tls: {}` verifies their certificates by the authorities of the
    /// system. If left out, connections are not encrypted.
    pub(in crate::config) tls: Option<UpstreamTls>,
    /// The version of the PROXY protocol by which each connection begins: the endpoints learn the
    /// client's address. Each request then has a connection of its own, by HTTP/1.1.
    #[serde(default)]
    #[schemars(with = "ProxyVersion")]
    pub(in crate::config) proxy_protocol: Option<ProxyVersion>,
    /// Active HTTP probes. If left out, every endpoint counts as healthy.
    pub(in crate::config) health: Option<Health>,
    /// Limits on the time to wait for an endpoint.
    #[serde(default)]
    pub(in crate::config) timeouts: Timeouts,
    /// Limits on connections to one endpoint, for each worker.
    #[serde(default)]
    pub(in crate::config) limits: UpstreamLimits,
}

/// The files are read again when they change.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamTls {
    /// The name to send (SNI) and to find in the certificate. If left out, it is the host of the
    /// endpoint as written, or the `name` of `dns`.
    pub(in crate::config) server_name: Option<Text<ServerName>>,
    /// A PEM file with the authorities that may sign the certificate. If left out, they are those
    /// of the system. The path is relative to the configuration.
    pub(in crate::config) ca: Option<String>,
    /// The certificate chain of this proxy in PEM, for endpoints that ask for one. It needs `key`.
    pub(in crate::config) cert: Option<String>,
    /// The private key of `cert` in PEM.
    pub(in crate::config) key: Option<String>,
    /// Whether the certificate is verified. With `false`, anyone on the way can read and change
    /// everything. Each start and each reload then logs a warning.
    #[serde(default = "defaults::verify")]
    pub(in crate::config) verify: bool,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Endpoint {
    /// Host and port. A name is looked up when the configuration is loaded, and again while Weir
    /// runs. It stands for one address, and an IPv4 address is preferred.
    pub(in crate::config) address: Text<HostPort>,
    /// The share of requests relative to the other endpoints, for balancers that use weights. An
    /// endpoint of weight 0 gets no requests.
    #[serde(default = "defaults::weight")]
    #[schemars(range(min = 0, max = 65_536))]
    pub(in crate::config) weight: u32,
    /// The location of the endpoint, as free text for balancers.
    #[serde(default)]
    pub(in crate::config) zone: String,
    /// Free text for balancers.
    #[serde(default)]
    pub(in crate::config) labels: BTreeMap<String, String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Dns {
    /// The name to look up.
    pub(in crate::config) name: Text<DnsName>,
    /// The records that are the endpoints.
    #[serde(default, rename = "type")]
    pub(in crate::config) kind: DnsType,
    /// The port of every endpoint. Type `a` needs it. The records of type `srv` have ports of their
    /// own.
    #[schemars(range(min = 1, max = 65_535))]
    pub(in crate::config) port: Option<u16>,
    /// The DNS servers to ask. If left out, Weir uses those of `/etc/resolv.conf`, with its search
    /// list, and `/etc/hosts`.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(in crate::config) resolvers: Vec<Text<DnsServer>>,
    /// The least time between two lookups, also if the records have a shorter TTL.
    #[serde(default = "defaults::min_ttl", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h"))]
    pub(in crate::config) min_ttl: Duration,
    /// The longest time between two lookups, also if the records have a longer TTL.
    #[serde(default = "defaults::max_ttl", with = "As::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h"))]
    pub(in crate::config) max_ttl: Duration,
    /// The `weight` of every endpoint. If left out, it is 1. The records of type `srv` have weights
    /// of their own.
    #[schemars(range(min = 1, max = 65_536))]
    pub(in crate::config) weight: Option<u32>,
    /// The `zone` of every endpoint.
    #[serde(default)]
    pub(in crate::config) zone: String,
    /// The `labels` of every endpoint.
    #[serde(default)]
    pub(in crate::config) labels: BTreeMap<String, String>,
}

/// The records of a name that are endpoints.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::config) enum DnsType {
    /// A and AAAA records. Each address is an endpoint.
    #[default]
    A,
    /// SRV records (RFC 2782), of the lowest priority only.
    Srv,
}
