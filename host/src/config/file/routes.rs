//! Routes as they are written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::addresses::{HostPattern, Network};
use crate::config::names::{Method, Name, PathPattern, StatusRange, UpgradeToken};
use crate::config::text::{As, AsList, AsOption, Text, Texts};
use crate::config::{ConnectUdp, RouteLimits, RouteTimeouts, defaults, units};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Route {
    /// The `route` label of metrics and records; unique. If left out, it is the host and path of
    /// `match`.
    pub(in crate::config) name: Option<Text<Name>>,
    /// Conditions, all of which must hold. If left out, the route matches every request.
    #[serde(default, rename = "match")]
    pub(in crate::config) matcher: Match,
    /// Plugins that requests pass in this order, and responses in reverse. Each item names a
    /// plugin, which may be a standard `wasi:http/middleware`, or a built-in filter that needs no
    /// configuration. All filters are in docs/filters.md.
    #[serde(default)]
    pub(in crate::config) filters: Vec<Text<Name>>,
    /// The name of the upstream that gets the request. A route has exactly one of `upstream`,
    /// `split`, `component`, `connect_udp` and `respond`.
    pub(in crate::config) upstream: Option<Text<Name>>,
    /// Upstreams that share the requests by their weights, at random.
    #[schemars(length(min = 1))]
    pub(in crate::config) split: Option<Vec<Share>>,
    /// The cookie that keeps a client at one upstream of `split`.
    pub(in crate::config) sticky: Option<Sticky>,
    /// The name of the plugin that answers the request: a standard component, `wasi:http/service`
    /// or `wasi:http/proxy`.
    pub(in crate::config) component: Option<Text<Name>>,
    /// Tunnels of UDP to targets that the path names (docs/routes.md). All paths of `match` have
    /// `{target_host}` and `{target_port}`.
    pub(in crate::config) connect_udp: Option<ConnectUdp>,
    /// Protocols that a request may open a tunnel for: by `Upgrade` over HTTP/1.1, by extended
    /// CONNECT over HTTP/2 and HTTP/3. If left out, it is `[websocket]`. An empty list allows none.
    /// Only a route with `upstream` or `split` may have it.
    pub(in crate::config) upgrades: Option<Vec<Text<UpgradeToken>>>,
    /// A fixed response, which Weir sends itself.
    pub(in crate::config) respond: Option<Respond>,
    /// An upstream that gets a copy of requests. Its answers are discarded.
    pub(in crate::config) mirror: Option<Mirror>,
    /// Pages for errors that Weir answers itself on this route.
    #[serde(default)]
    #[schemars(length(min = 1))]
    pub(in crate::config) errors: Vec<ErrorPage>,
    /// Limits on waiting that replace those of the upstream.
    #[serde(default)]
    pub(in crate::config) timeouts: RouteTimeouts,
    /// Limits that replace those of the listener.
    #[serde(default)]
    pub(in crate::config) limits: RouteLimits,
}

/// Copies of requests for another upstream. A copy goes out when the body of the request has ended.
/// Requests with more than 64 KiB of body and tunnels are not copied, nor are those beyond 128
/// copies of one worker at once.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Mirror {
    /// The name of the upstream.
    pub(in crate::config) upstream: Text<Name>,
    /// The share of requests that are copied.
    #[serde(default = "defaults::mirror_share", with = "As::<units::Percent>")]
    #[schemars(extend("x-minimum" = "0.01%", "x-maximum" = "100%"))]
    pub(in crate::config) share: f64,
}

/// A page for errors that Weir answers itself. Responses of an origin stay as they are.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ErrorPage {
    /// The status codes of the page. The first page with the code is used.
    #[serde(with = "AsList::<StatusRange>")]
    #[schemars(length(min = 1))]
    pub(in crate::config) status: Vec<(u16, u16)>,
    /// A UTF-8 file of at most 1 MiB, which is read with the configuration. The path is relative to
    /// the configuration. `${status}` and `${request_id}` in it are replaced. The ending tells the
    /// type: `.html`, `.json`, or text.
    pub(in crate::config) file: PathBuf,
}

/// An upstream with its share of a route's requests.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Share {
    /// The name of the upstream.
    pub(in crate::config) upstream: Text<Name>,
    /// The share, in proportion to the sum of all weights. `0` takes only requests with the cookie
    /// of `sticky`.
    #[serde(default = "defaults::weight")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) weight: u32,
}

/// A cookie that names the upstream of a client.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Sticky {
    /// The name of the cookie. Its value is the name of the upstream.
    pub(in crate::config) cookie: Text<Name>,
    /// The time that the client keeps it for. If left out, until the browser closes.
    #[serde(default, with = "AsOption::<units::Duration>")]
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "9000h"))]
    pub(in crate::config) max_age: Option<std::time::Duration>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Match {
    /// The host of the request, or a list of hosts.
    pub(in crate::config) host: Texts<HostPattern>,
    /// The path of the request, without its query, or a list of paths.
    pub(in crate::config) path: Texts<PathPattern>,
    /// The methods. If left out, any method matches.
    #[schemars(length(min = 1))]
    pub(in crate::config) methods: Vec<Text<Method>>,
    /// Header fields that must have exactly this value.
    pub(in crate::config) headers: BTreeMap<String, String>,
    /// Parameters of the query that must have exactly this value. Names and values are compared
    /// decoded. Of several parameters with one name, any may have the value.
    pub(in crate::config) query: BTreeMap<String, String>,
    /// Networks of the client, which is the one that `trusted_proxies` tell behind a proxy.
    #[schemars(length(min = 1))]
    pub(in crate::config) client: Vec<Text<Network>>,
}

#[derive(Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(in crate::config) struct Respond {
    /// The status code.
    #[schemars(range(min = 200, max = 599))]
    pub(in crate::config) status: u16,
    /// The body.
    pub(in crate::config) body: String,
    /// Header fields.
    pub(in crate::config) headers: BTreeMap<String, String>,
}

impl Default for Respond {
    fn default() -> Self {
        Self { status: 200, body: String::new(), headers: BTreeMap::new() }
    }
}
