//! The selection of a request's route: the first route with conditions that all hold.

mod pattern;
mod split;

use std::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use ipnet::IpNet;

use crate::config::{self, ErrorPage, PluginId, Respond, RouteLimits, RouteTimeouts, UpstreamId};
use crate::message::forwarded::is_in;
use crate::message::subject::Captures;
use crate::telemetry::metrics::{Metrics, RouteSeries};
use crate::upstream::udp::Relay;
use pattern::{HostPattern, PathPattern};

pub use split::{Chosen, Share, Split};

/// The routes of one configuration, in order.
#[derive(Debug)]
pub struct Router {
    routes: Vec<Arc<Route>>,
}

/// One route, ready to be matched.
#[derive(Debug)]
pub struct Route {
    /// The value of the `route` label.
    pub name: Arc<str>,
    /// Keeps the metrics of the route.
    pub series: Arc<RouteSeries>,
    /// The filters that requests pass, in order.
    pub filters: Vec<PluginId>,
    /// Protocols of tunnels that requests may open, in lower case.
    pub upgrades: Vec<String>,
    /// The action for a request that matches.
    pub action: Action,
    /// The upstream that gets copies of requests.
    pub mirror: Option<config::Mirror>,
    /// Pages for errors: its own, then those of the whole configuration.
    pub errors: Vec<ErrorPage>,
    /// Limits on waiting that replace those of the upstream.
    pub timeouts: RouteTimeouts,
    /// Limits that replace those of the listener.
    pub limits: RouteLimits,
    /// If empty, any host matches.
    host: Vec<HostPattern>,
    /// If empty, any path matches.
    path: Vec<PathPattern>,
    /// Whether a pattern of the path has captures.
    names_parts: bool,
    methods: Vec<http::Method>,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    query: Vec<(String, String)>,
    client: Vec<IpNet>,
}

/// The action of a route.
#[derive(Debug)]
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
    ConnectUdp(Relay),
}

impl Router {
    /// Compiles the routes of a configuration.
    ///
    /// `errors` are the pages of the whole configuration. `before` are the routes under the one
    /// before: tunnels that they have opened count on.
    pub fn new(
        routes: &[config::Route],
        errors: &[ErrorPage],
        metrics: &Metrics,
        before: Option<&Self>,
    ) -> Self {
        let route = |route: &config::Route| {
            let relay = before.and_then(|before| before.relay(&route.name));
            Arc::new(Route::new(route, errors, metrics, relay))
        };
        Self { routes: routes.iter().map(route).collect() }
    }

    fn relay(&self, name: &str) -> Option<&Relay> {
        let route = self.routes.iter().find(|route| &*route.name == name)?;
        match &route.action {
            Action::ConnectUdp(relay) => Some(relay),
            _ => None,
        }
    }

    /// Returns the routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Returns the first route that matches. `authority` is the request's, with or without a port.
    ///
    /// The path is compared as it was sent. Nothing is decoded and no dot segment is removed. The
    /// origin gets the same bytes that were compared.
    pub fn find(&self, head: &Parts, authority: &str, client: IpAddr) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.matches(head, authority, client))
    }
}

impl Route {
    fn new(
        route: &config::Route,
        errors: &[ErrorPage],
        metrics: &Metrics,
        relay: Option<&Relay>,
    ) -> Self {
        let matcher = &route.matcher;
        let series = metrics.route(&route.name);
        Self {
            name: Arc::clone(series.name()),
            series,
            filters: route.filters.clone(),
            upgrades: route.upgrades.clone(),
            action: match &route.action {
                config::Action::Upstream(id) => Action::Upstream(*id),
                config::Action::Split(split) => Action::Split(Split::new(split)),
                config::Action::Respond(respond) => Action::Respond(respond.clone()),
                config::Action::Component(id) => Action::Component(*id),
                config::Action::ConnectUdp(udp) => Action::ConnectUdp(Relay::new(udp, relay)),
            },
            mirror: route.mirror.clone(),
            errors: route.errors.iter().chain(errors).cloned().collect(),
            timeouts: route.timeouts,
            limits: route.limits,
            host: matcher.host.iter().map(|host| HostPattern::new(host)).collect(),
            path: matcher.path.iter().map(|path| PathPattern::new(path)).collect(),
            names_parts: matcher.path.iter().any(|path| path.contains('{')),
            methods: matcher.methods.clone(),
            headers: matcher.headers.clone(),
            query: matcher.query.clone(),
            client: matcher.client.clone(),
        }
    }

    /// Returns the parts of a matching path that the route names.
    pub fn captures(&self, path: &str) -> Captures {
        // Without captures nothing is compared again.
        if !self.names_parts {
            return Captures::default();
        }
        let pattern = self.path.iter().find(|pattern| pattern.matches(path));
        pattern.map(|pattern| pattern.captures(path)).unwrap_or_default()
    }

    fn matches(&self, head: &Parts, authority: &str, client: IpAddr) -> bool {
        self.has_path(head.uri.path())
            && self.has_host(authority)
            && (self.methods.is_empty() || self.methods.contains(&head.method))
            && self
                .headers
                .iter()
                .all(|(name, value)| head.headers.get_all(name).iter().any(|v| v == value))
            && (self.client.is_empty() || is_in(&self.client, client))
            && (self.query.is_empty() || self.has_query(head.uri.query().unwrap_or_default()))
    }

    /// Returns the first condition that a request does not meet. `None` if it matches.
    pub fn mismatch(&self, head: &Parts, authority: &str, client: IpAddr) -> Option<String> {
        let lacks = |name: &http::HeaderName, value: &http::HeaderValue| {
            !head.headers.get_all(name).iter().any(|sent| sent == value)
        };
        if !self.has_path(head.uri.path()) {
            Some(format!("the path is not {}", any_of(&self.path)))
        } else if !self.has_host(authority) {
            Some(format!("the host is not {}", any_of(&self.host)))
        } else if !self.methods.is_empty() && !self.methods.contains(&head.method) {
            Some(format!("the method is not {}", any_of(&self.methods)))
        } else if let Some((name, value)) = self.headers.iter().find(|(n, v)| lacks(n, v)) {
            Some(format!("{name} is not {value:?}"))
        } else if !self.client.is_empty() && !is_in(&self.client, client) {
            Some(format!("the client is not in {}", any_of(&self.client)))
        } else if self.matches(head, authority, client) {
            None
        } else {
            let query: Vec<_> = self.query.iter().map(|(n, v)| format!("{n}={v}")).collect();
            Some(format!("the query has not {}", query.join(" and ")))
        }
    }

    fn has_path(&self, path: &str) -> bool {
        self.path.is_empty() || self.path.iter().any(|pattern| pattern.matches(path))
    }

    fn has_host(&self, authority: &str) -> bool {
        self.host.is_empty() || self.host.iter().any(|pattern| pattern.matches(authority))
    }

    fn has_query(&self, query: &str) -> bool {
        self.query.iter().all(|(name, value)| {
            form_urlencoded::parse(query.as_bytes()).any(|(n, v)| n == *name && v == *value)
        })
    }
}

fn any_of<T: std::fmt::Display>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Match;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn route(name: &str, matcher: Match) -> config::Route {
        let action = config::Action::Upstream(UpstreamId::new(0));
        config::Route {
            name: name.into(),
            matcher,
            filters: Vec::new(),
            upgrades: Vec::new(),
            action,
            mirror: None,
            errors: Vec::new(),
            timeouts: RouteTimeouts::default(),
            limits: RouteLimits::default(),
        }
    }

    fn head(method: &str, uri: &str, fields: &[(&'static str, &'static str)]) -> Parts {
        let mut request = http::Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_first_route_that_matches_wins() {
        let routes = [
            route("api", Match { path: vec!["/api/*".into()], ..Match::default() }),
            route("all", Match::default()),
        ];
        let router = Router::new(&routes, &[], &Metrics::new(), None);
        let name = |uri: &str| {
            router.find(&head("GET", uri, &[]), "x", CLIENT).map(|r| r.name.to_string())
        };
        assert_eq!(name("/api/users").as_deref(), Some("api"));
        assert_eq!(name("/apiary").as_deref(), Some("all"));
    }

    #[test]
    fn queries_are_compared_decoded_and_clients_by_network() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let query = vec![pair("v", "2"), pair("q", "a b&c")];
        let client = vec!["192.0.2.0/24".parse().unwrap()];
        let routes = [route("r", Match { query, client, ..Match::default() })];
        let router = Router::new(&routes, &[], &Metrics::new(), None);
        let found =
            |uri: &str, client: IpAddr| router.find(&head("GET", uri, &[]), "x", client).is_some();
        for uri in ["/?v=2&q=a+b%26c", "/?x&q=1&q=a%20b%26c&v=%32"] {
            assert!(found(uri, CLIENT), "{uri}");
            assert!(!found(uri, "198.51.100.1".parse().unwrap()), "{uri}");
        }
        for uri in ["/", "/?v=2", "/?v=2&q=a+b", "/?V=2&q=a+b%26c", "/?v=22&q=a+b%26c"] {
            assert!(!found(uri, CLIENT), "{uri}");
        }
    }

    #[test]
    fn every_condition_must_hold() {
        let routes = [route(
            "r",
            Match {
                host: vec!["example.org".into(), "*.example.com".into()],
                path: vec!["/a".into(), "/x".into()],
                methods: vec![http::Method::GET],
                headers: vec![(
                    http::HeaderName::from_static("x-tenant"),
                    http::HeaderValue::from_static("acme"),
                )],
                ..Match::default()
            },
        )];
        let router = Router::new(&routes, &[], &Metrics::new(), None);
        let fields = [("x-tenant", "acme")];
        let found = |method, uri, fields: &[_], host| {
            router.find(&head(method, uri, fields), host, CLIENT).is_some()
        };
        assert!(found("GET", "/x?q=1", &fields, "a.example.com:443"));
        assert!(found("GET", "/a", &fields, "example.org"));
        assert!(!found("POST", "/x", &fields, "a.example.com"));
        assert!(!found("GET", "/y", &fields, "a.example.com"));
        assert!(!found("GET", "/x", &[], "a.example.com"));
        assert!(!found("GET", "/x", &fields, "example.com"));
    }
}
