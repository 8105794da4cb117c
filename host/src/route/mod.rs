//! The selection of a request's route: the first route with conditions that all hold.

mod pattern;

use std::sync::Arc;

use http::request::Parts;

use crate::config::{self, PluginId, Respond, UpstreamId};
use crate::telemetry::metrics::{Metrics, RouteSeries};
use pattern::{HostPattern, PathPattern};

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
    /// The action for a request that matches.
    pub action: Action,
    host: HostPattern,
    path: PathPattern,
    methods: Vec<http::Method>,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
}

/// The action of a route.
#[derive(Debug)]
pub enum Action {
    /// Forwards to an upstream.
    Upstream(UpstreamId),
    /// Sends a fixed response.
    Respond(Respond),
    /// Has a component answer.
    Component(PluginId),
}

impl Router {
    /// Compiles the routes of a configuration.
    pub fn new(routes: &[config::Route], metrics: &Metrics) -> Self {
        let route = |route| Arc::new(Route::new(route, metrics));
        Self { routes: routes.iter().map(route).collect() }
    }

    /// Returns the routes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// Returns the first route that matches. `authority` is the request's, with or without a port.
    ///
    /// The path is compared as it was sent. Nothing is decoded and no dot segment is removed. The
    /// origin gets the same bytes that were compared.
    pub fn find(&self, head: &Parts, authority: &str) -> Option<&Arc<Route>> {
        self.routes.iter().find(|route| route.matches(head, authority))
    }
}

impl Route {
    fn new(route: &config::Route, metrics: &Metrics) -> Self {
        let matcher = &route.matcher;
        let series = metrics.route(&route.name);
        Self {
            name: Arc::clone(series.name()),
            series,
            filters: route.filters.clone(),
            action: match &route.action {
                config::Action::Upstream(id) => Action::Upstream(*id),
                config::Action::Respond(respond) => Action::Respond(respond.clone()),
                config::Action::Component(id) => Action::Component(*id),
            },
            host: HostPattern::new(matcher.host.as_deref()),
            path: PathPattern::new(matcher.path.as_deref()),
            methods: matcher.methods.clone(),
            headers: matcher.headers.clone(),
        }
    }

    fn matches(&self, head: &Parts, authority: &str) -> bool {
        self.path.matches(head.uri.path())
            && self.host.matches(authority)
            && (self.methods.is_empty() || self.methods.contains(&head.method))
            && self
                .headers
                .iter()
                .all(|(name, value)| head.headers.get_all(name).iter().any(|v| v == value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Match;

    fn route(name: &str, matcher: Match) -> config::Route {
        let action = config::Action::Upstream(UpstreamId::new(0));
        config::Route { name: name.into(), matcher, filters: Vec::new(), action }
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
            route("api", Match { path: Some("/api/*".into()), ..Match::default() }),
            route("all", Match::default()),
        ];
        let router = Router::new(&routes, &Metrics::new());
        let name = |uri: &str| router.find(&head("GET", uri, &[]), "x").map(|r| r.name.to_string());
        assert_eq!(name("/api/users").as_deref(), Some("api"));
        assert_eq!(name("/apiary").as_deref(), Some("all"));
    }

    #[test]
    fn every_condition_must_hold() {
        let routes = [route(
            "r",
            Match {
                host: Some("*.example.com".into()),
                path: Some("/x".into()),
                methods: vec![http::Method::GET],
                headers: vec![(
                    http::HeaderName::from_static("x-tenant"),
                    http::HeaderValue::from_static("acme"),
                )],
            },
        )];
        let router = Router::new(&routes, &Metrics::new());
        let fields = [("x-tenant", "acme")];
        let found = |method, uri, fields: &[_], host| {
            router.find(&head(method, uri, fields), host).is_some()
        };
        assert!(found("GET", "/x?q=1", &fields, "a.example.com:443"));
        assert!(!found("POST", "/x", &fields, "a.example.com"));
        assert!(!found("GET", "/y", &fields, "a.example.com"));
        assert!(!found("GET", "/x", &[], "a.example.com"));
        assert!(!found("GET", "/x", &fields, "example.com"));
    }
}
