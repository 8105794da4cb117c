//! Routes as the rest of the program sees them.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id::{PluginId, UpstreamId};
use super::text::AsOption;
use super::udp::ConnectUdp;
use super::units;

/// One route: the requests that match, and the action for them.
#[derive(Debug, Clone)]
pub struct Route {
    /// The value of the `route` label: the name in the file, or else the host and path patterns.
    pub name: String,
    /// The conditions of a match.
    pub matcher: Match,
    /// Its filters, in the order in which requests pass.
    pub filters: Vec<PluginId>,
    /// Protocols of tunnels that requests may open.
    pub upgrades: Vec<String>,
    /// The action for a request that matches.
    pub action: Action,
    /// The upstream that gets copies of requests.
    pub mirror: Option<Mirror>,
    /// Pages for errors, before those of the whole configuration.
    pub errors: Vec<ErrorPage>,
    /// Limits on waiting that replace those of the upstream.
    pub timeouts: RouteTimeouts,
    /// Limits that replace those of the listener.
    pub limits: RouteLimits,
}

/// An upstream that gets copies of requests.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// The upstream.
    pub upstream: UpstreamId,
    /// The share of requests that are copied, from 0 to 1.
    pub share: f64,
}

/// A page for errors that Weir answers itself.
#[derive(Debug, Clone)]
pub struct ErrorPage {
    /// Ranges of status codes, both ends included.
    pub status: Vec<(u16, u16)>,
    /// The value of Content-Type.
    pub content_type: &'static str,
    /// The text, in which `${status}` and `${request_id}` are replaced.
    pub text: Arc<str>,
}

/// Limits on waiting for an origin that replace those of the upstream. If left out, those of the
/// upstream apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteTimeouts {
    /// The time from the request's last byte (or the end of connecting) to the response's head. If
    /// exceeded: 504. `0s` sets no limit.
    #[serde(with = "AsOption::<units::Timeout>", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub first_byte: Option<Option<Duration>>,
    /// The time without a byte of body in either direction. If exceeded, the exchange is aborted.
    /// `0s` sets no limit.
    #[serde(with = "AsOption::<units::Timeout>", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub idle: Option<Option<Duration>>,
    /// The time of the whole exchange, the response's body included. If exceeded: 504, or the body
    /// is cut short. `0s` sets no limit.
    #[serde(with = "AsOption::<units::Timeout>", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "0s", "x-maximum" = "24h"))]
    pub total: Option<Option<Duration>>,
}

/// Limits of a route that replace those of the listener.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteLimits {
    /// Bytes of a request's body, which may be more or fewer than the listener allows. A larger
    /// body is answered with 413.
    #[serde(with = "AsOption::<units::Size>", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-minimum" = "0B", "x-maximum" = "1TiB"))]
    pub body: Option<u64>,
}

/// Conditions; all of them must hold.
#[derive(Debug, Clone, Default)]
pub struct Match {
    /// Any of `example.com` or `*.example.com` (any labels below it), lower case, no port. If
    /// empty, any host matches.
    pub host: Vec<String>,
    /// Any of `/exact`, or `/prefix/*` (the prefix itself and all below it). If empty, any path
    /// matches.
    pub path: Vec<String>,
    /// The methods. If empty, any method matches.
    pub methods: Vec<http::Method>,
    /// Fields that must have this value.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// Parameters of the query that must have this value, both decoded.
    pub query: Vec<(String, String)>,
    /// Networks of clients. If empty, any client matches.
    pub client: Vec<IpNet>,
}

/// The action of a route.
#[derive(Debug, Clone)]
pub enum Action {
    /// Forwards to an upstream.
    Upstream(UpstreamId),
    /// Forwards to one of several upstreams.
    Split(Split),
    /// Sends a fixed response.
    Respond(Respond),
    /// Has a component answer.
    Component(PluginId),
    /// Opens a tunnel of UDP.
    ConnectUdp(ConnectUdp),
}

impl Action {
    /// Whether requests may go to this upstream.
    pub fn leads_to(&self, id: UpstreamId) -> bool {
        match self {
            Self::Upstream(to) => *to == id,
            Self::Split(split) => split.shares.iter().any(|(to, _, _)| *to == id),
            Self::Respond(_) | Self::Component(_) | Self::ConnectUdp(_) => false,
        }
    }
}

/// Upstreams that share the requests of a route.
#[derive(Debug, Clone)]
pub struct Split {
    /// The upstreams, their names and their weights.
    pub shares: Vec<(UpstreamId, String, u32)>,
    /// The cookie that keeps a client at one upstream.
    pub sticky: Option<Sticky>,
}

/// A cookie that names the upstream of a client.
#[derive(Debug, Clone)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: String,
    /// The time that the client keeps it for. `None`: until the browser closes.
    pub max_age: Option<Duration>,
}

/// A fixed response.
#[derive(Debug, Clone)]
pub struct Respond {
    /// The status. Default 200.
    pub status: http::StatusCode,
    /// The body. Default empty.
    pub body: String,
    /// Header fields of the response.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
}
