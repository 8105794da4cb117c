//! The data of the admin API's responses and requests. Their comments are its documentation.
//!
//! Times are seconds since 1970-01-01T00:00:00Z.

use std::collections::BTreeMap;
use std::time::SystemTime;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod configuration;
mod plugins;

pub(crate) use configuration::{
    Applied, Configuration, Fault, History, NewConfiguration, Problem, RefusedConfiguration,
    RevisionStatus,
};
pub(crate) use plugins::{PluginList, PluginStatus};

/// The state of a process.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Status {
    /// The version of Weir.
    pub(crate) version: String,
    /// The process id.
    pub(crate) pid: u32,
    /// The time of the start.
    pub(crate) started: f64,
    /// The time since the start.
    pub(crate) uptime_seconds: f64,
    /// Worker threads.
    pub(crate) workers: usize,
    /// Whether the process finishes its requests and accepts no more.
    pub(crate) draining: bool,
    /// The progress of an upgrade of the binary.
    pub(crate) upgrade: UpgradeStatus,
    /// The configuration that serves.
    pub(crate) configuration: RevisionStatus,
    /// The last configuration that was refused after the serving one was published.
    pub(crate) refused: Option<RefusedConfiguration>,
    /// The listeners in the order of the configuration.
    pub(crate) listeners: Vec<ListenerStatus>,
    /// The sizes of the configuration.
    pub(crate) counts: Counts,
}

/// The progress of an upgrade of the binary.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct UpgradeStatus {
    /// The step.
    pub(crate) state: UpgradeState,
    /// The reason of a failure.
    pub(crate) detail: Option<String>,
}

/// A step of an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[allow(dead_code, reason = "the supervisor tells all of them")]
pub(crate) enum UpgradeState {
    /// No upgrade was asked for.
    None,
    /// The new process starts.
    Starting,
    /// The new process serves, and this one drains.
    HandedOver,
    /// The new process did not serve, and this one goes on.
    Failed,
}

/// A listener.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ListenerStatus {
    /// The address as bound.
    pub(crate) address: String,
    /// The protocols: `h3`, `h2`, `h1`.
    pub(crate) protocols: Vec<String>,
    /// Whether it has certificates.
    pub(crate) tls: bool,
    /// Open connections of clients.
    pub(crate) connections: u64,
}

/// The sizes of a configuration.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Counts {
    /// Routes.
    pub(crate) routes: usize,
    /// Upstreams.
    pub(crate) upstreams: usize,
    /// Endpoints of all upstreams.
    pub(crate) endpoints: usize,
    /// Endpoints that get new requests.
    pub(crate) available_endpoints: usize,
    /// Plugins.
    pub(crate) plugins: usize,
}

/// All upstreams.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct UpstreamList {
    /// The upstreams in the order of the configuration.
    pub(crate) upstreams: Vec<UpstreamStatus>,
}

/// An upstream.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct UpstreamStatus {
    /// The name.
    pub(crate) name: String,
    /// The plugin that chooses endpoints.
    pub(crate) balancer: String,
    /// The origin of the list of endpoints.
    pub(crate) origin: EndpointsOrigin,
    /// The endpoints.
    pub(crate) endpoints: Vec<EndpointStatus>,
}

/// The origin of a list of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(dead_code, reason = "the supervisor tells all of them")]
pub(crate) enum EndpointsOrigin {
    /// The configuration.
    Configuration,
    /// Discovery.
    Discovery,
    /// The admin API.
    Api,
}

/// An endpoint.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct EndpointStatus {
    /// The name, `HOST:PORT` as it was written.
    pub(crate) endpoint: String,
    /// The address that the name has.
    pub(crate) address: String,
    /// The weight for balancers.
    pub(crate) weight: u32,
    /// The location for balancers.
    pub(crate) zone: String,
    /// Text for balancers.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether the probes succeed.
    pub(crate) healthy: bool,
    /// Whether the endpoint gets no new requests because an operator asked for it.
    pub(crate) drain: bool,
    /// Requests in flight.
    pub(crate) requests: u32,
}

impl EndpointStatus {
    /// Whether the endpoint gets new requests.
    pub(crate) fn is_available(&self) -> bool {
        self.healthy && !self.drain
    }
}

/// The endpoints that an upstream is to have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointList {
    /// The endpoints; at least one.
    #[schemars(length(min = 1))]
    pub(crate) endpoints: Vec<EndpointSpec>,
}

/// An endpoint that an upstream is to have.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointSpec {
    /// Host and port. A name is resolved once.
    #[schemars(regex(pattern = r"^.+:[0-9]+$"))]
    pub(crate) address: String,
    /// The weight for balancers.
    #[serde(default = "one")]
    #[schemars(range(max = 65_536))]
    pub(crate) weight: u32,
    /// The location for balancers.
    #[serde(default)]
    pub(crate) zone: String,
    /// Text for balancers.
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

/// A change of an endpoint. A member that is left out changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(crate) struct EndpointPatch {
    /// Whether the endpoint gets no new requests. Requests in flight end as usual.
    pub(crate) drain: Option<bool>,
    /// The weight for balancers.
    #[schemars(range(max = 65_536))]
    pub(crate) weight: Option<u32>,
}

/// All routes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RouteList {
    /// The routes. The first match wins.
    pub(crate) routes: Vec<RouteStatus>,
}

/// A route.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct RouteStatus {
    /// The name, which is the `route` label of metrics.
    pub(crate) name: String,
    /// The hosts, any of which requests must have. If empty, any host matches.
    pub(crate) host: Vec<String>,
    /// The paths, any of which requests must have. If empty, any path matches.
    pub(crate) path: Vec<String>,
    /// The methods. If empty, any method matches.
    pub(crate) methods: Vec<String>,
    /// The names of header fields that must have a certain value.
    pub(crate) headers: Vec<String>,
    /// The filters in the order in which requests pass.
    pub(crate) filters: Vec<String>,
    /// The action for a request.
    pub(crate) action: RouteAction,
    /// The name of the upstream or of the plugin, the status of the response, or `NAME=WEIGHT` of
    /// each upstream that shares the requests.
    pub(crate) target: String,
}

/// The action of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum RouteAction {
    /// The request goes to an upstream.
    Upstream,
    /// The request goes to one of several upstreams.
    Split,
    /// A plugin answers.
    Component,
    /// A tunnel of UDP is opened.
    #[serde(rename = "connect_udp")]
    ConnectUdp,
    /// The response is fixed.
    Respond,
}

/// All certificates.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct CertificateList {
    /// The certificates of all listeners.
    pub(crate) certificates: Vec<CertificateStatus>,
}

/// A certificate.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct CertificateStatus {
    /// The address of the listener.
    pub(crate) listener: String,
    /// The origin: the file, or `self_signed`.
    pub(crate) source: String,
    /// The names and IP addresses that it is for.
    pub(crate) names: Vec<String>,
    /// The beginning of its validity.
    pub(crate) not_before: f64,
    /// The end of its validity.
    pub(crate) not_after: f64,
    /// The SHA-256 of the certificate, hexadecimal.
    pub(crate) sha256: String,
    /// The reason why its files could not be read again. The certificate of before serves on.
    pub(crate) error: Option<String>,
}

/// The open connections of clients.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ConnectionList {
    /// All open connections.
    pub(crate) total: u64,
    /// The number for each listener, protocol and worker.
    pub(crate) connections: Vec<ConnectionCount>,
}

/// The open connections of one kind.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct ConnectionCount {
    /// The address of the listener.
    pub(crate) listener: String,
    /// The protocol: `h3`, `h2` or `h1`.
    pub(crate) protocol: String,
    /// The number of the worker, if it is known.
    pub(crate) worker: Option<usize>,
    /// Open connections.
    pub(crate) connections: u64,
}

/// An order that was taken and takes its time.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct Accepted {
    /// The order. `GET /api/status` tells the progress.
    pub(crate) accepted: String,
}

/// The data of a message in the stream of events.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(crate) struct EventMessage {
    /// The time of the event.
    pub(crate) at: f64,
    /// The details. They depend on the kind.
    pub(crate) data: Value,
}

/// Returns a time as the API tells it.
pub(crate) fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
