//! Routes: names to upstreams, and routes that can never match.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, StatusCode, header};

use super::Check;
use crate::builtin::FILTERS;
use crate::config::document::{below, item};
use crate::config::error::did_you_mean;
use crate::config::file;
use crate::config::{
    Action, CONNECT_UDP, ConnectUdp, ErrorPage, Match, Mirror, Plugin, Respond, Route,
    RouteTimeouts, Split, Sticky, TARGET_HOST, TARGET_PORT, UpstreamId,
};
use crate::files;

impl Check<'_> {
    pub(super) fn routes(
        &mut self,
        routes: Vec<file::Route>,
        upstreams: &[&str],
        plugins: &mut Vec<Plugin>,
    ) -> Vec<Route> {
        let given = routes.iter().map(|route| route.name.as_ref().map(|name| name.0.as_str()));
        let given: Vec<(usize, &str)> =
            given.enumerate().filter_map(|(at, name)| Some((at, name?))).collect();
        self.unique("route", given.iter().map(|(_, name)| *name), |at| {
            let at = given.get(at).map_or(0, |(at, _)| *at);
            below(&item("routes", at), "name")
        });
        let routes = self.each("routes", routes, |check, path, route| {
            check.route(path, route, upstreams, plugins)
        });
        for (at, route) in routes.iter().enumerate() {
            let mut earlier = routes.iter().take(at);
            if let Some(by) = earlier.position(|earlier| covers(&earlier.matcher, &route.matcher)) {
                let (by, at) = (item("routes", by), item("routes", at));
                let file = self.document.elsewhere(&by, &at);
                let file = file.map(|line| format!(" ({line})")).unwrap_or_default();
                let message = format!("{at} never matches: {by}{file} takes all its requests");
                self.warn(&at, message);
            }
        }
        routes
    }

    fn route(
        &mut self,
        path: &str,
        route: file::Route,
        upstreams: &[&str],
        plugins: &mut Vec<Plugin>,
    ) -> Route {
        let matcher = self.matcher(&below(path, "match"), route.matcher);
        let name = route.name.map_or_else(|| label(&matcher), |name| name.0);
        let udp = route.connect_udp.map(|udp| self.connect_udp(path, udp, &matcher));
        let targets = (route.upstream, route.split, route.component, udp, route.respond);
        let sticky =
            route.sticky.map(|sticky| Sticky { cookie: sticky.cookie.0, max_age: sticky.max_age });
        if sticky.is_some() && targets.1.is_none() {
            let at = below(path, "sticky");
            self.problem(&at, format!("{at}: only a route with split has it"));
        }
        let action = match targets {
            (Some(name), None, None, None, None) => {
                let path = below(path, "upstream");
                Action::Upstream(self.upstream_named(&path, &name.0, upstreams))
            }
            (None, Some(shares), None, None, None) => {
                Action::Split(self.split(&below(path, "split"), shares, sticky, upstreams))
            }
            (None, None, Some(name), None, None) => {
                let path = below(path, "component");
                Action::Component(self.plugin_named("component", &[], &path, &name.0, plugins))
            }
            (None, None, None, Some(udp), None) => Action::ConnectUdp(udp),
            (None, None, None, None, Some(respond)) => {
                Action::Respond(self.respond(&below(path, "respond"), respond))
            }
            (upstream, split, component, udp, respond) => {
                let given = [
                    ("upstream", upstream.is_some()),
                    ("split", split.is_some()),
                    ("component", component.is_some()),
                    ("connect_udp", udp.is_some()),
                    ("respond", respond.is_some()),
                ];
                let given = given.iter().filter(|(_, is_given)| *is_given);
                let given: Vec<_> = given.map(|(name, _)| *name).collect();
                let given = if given.is_empty() { "none".to_owned() } else { given.join(" and ") };
                let message = format!(
                    "{path}: needs exactly one of upstream, split, component, connect_udp and respond, \
                     has {given}"
                );
                self.problem(path, message);
                Action::Respond(Respond::default())
            }
        };
        let filters = self.each(&below(path, "filters"), route.filters, |check, path, name| {
            check.plugin_named("filter", FILTERS, path, &name.0, plugins)
        });
        let is_proxied = matches!(action, Action::Upstream(_) | Action::Split(_));
        if route.timeouts != RouteTimeouts::default() && !is_proxied {
            let at = below(path, "timeouts");
            self.problem(&at, format!("{at}: only a route with upstream or split waits for one"));
        }
        if route.upgrades.is_some() && !is_proxied {
            let at = below(path, "upgrades");
            self.problem(&at, format!("{at}: only a route with upstream or split opens tunnels"));
        }
        let upgrades = match route.upgrades {
            Some(protocols) => protocols.into_iter().map(|protocol| protocol.0).collect(),
            None if is_proxied => vec!["websocket".to_owned()],
            None if matches!(action, Action::ConnectUdp(_)) => vec![CONNECT_UDP.to_owned()],
            None => Vec::new(),
        };
        let mirror = route.mirror.map(|mirror| {
            let path = below(path, "mirror");
            if !is_proxied {
                let message = "only requests to an upstream are copied";
                self.problem(&path, format!("{path}: {message}"));
            }
            let upstream = &mirror.upstream.0;
            let upstream = self.upstream_named(&below(&path, "upstream"), upstream, upstreams);
            Mirror { upstream, share: mirror.share }
        });
        let errors = self.each(&below(path, "errors"), route.errors, Self::error_page);
        let (timeouts, limits) = (route.timeouts, route.limits);
        Route { name, matcher, filters, upgrades, action, mirror, errors, timeouts, limits }
    }

    /// Checks that the paths of a route name a target.
    fn connect_udp(&mut self, path: &str, udp: ConnectUdp, matcher: &Match) -> ConnectUdp {
        let names_target = |pattern: &String| {
            [TARGET_HOST, TARGET_PORT].iter().all(|name| pattern.contains(&format!("{{{name}}}")))
        };
        if matcher.path.is_empty() || !matcher.path.iter().all(names_target) {
            let at = below(path, "connect_udp");
            self.problem(
                &at,
                format!(
                    "{at}: needs a match.path with {{{TARGET_HOST}}} and {{{TARGET_PORT}}}, as in \
                     \"/.well-known/masque/udp/{{{TARGET_HOST}}}/{{{TARGET_PORT}}}/\""
                ),
            );
        }
        udp
    }

    pub(super) fn error_page(&mut self, path: &str, page: file::ErrorPage) -> ErrorPage {
        let content_type = match page.file.extension().and_then(|end| end.to_str()) {
            Some("html" | "htm") => "text/html; charset=utf-8",
            Some("json") => "application/json",
            _ => "text/plain; charset=utf-8",
        };
        let text = files::text(&self.base.join(&page.file), LARGEST_PAGE);
        let text = text.unwrap_or_else(|error| {
            let (path, file) = (below(path, "file"), page.file.display());
            self.problem(&path, format!("{path}: cannot read \"{file}\": {error}"));
            String::new()
        });
        ErrorPage { status: page.status, content_type, text: text.into() }
    }

    fn upstream_named(&mut self, path: &str, name: &str, upstreams: &[&str]) -> UpstreamId {
        let at = upstreams.iter().position(|upstream| *upstream == name);
        if at.is_none() {
            let mut names = upstreams.to_vec();
            names.dedup();
            let hint = did_you_mean(name, &names);
            self.problem(path, format!("unknown upstream \"{name}\"{hint}"));
        }
        UpstreamId::new(at.unwrap_or_default())
    }

    fn split(
        &mut self,
        path: &str,
        shares: Vec<file::Share>,
        sticky: Option<Sticky>,
        upstreams: &[&str],
    ) -> Split {
        if shares.iter().all(|share| share.weight == 0) {
            self.problem(path, format!("{path}: needs a weight above 0"));
        }
        let names = shares.iter().map(|share| share.upstream.0.as_str());
        self.unique("upstream", names, |at| below(&item(path, at), "upstream"));
        let shares = self.each(path, shares, |check, path, share| {
            let path = below(path, "upstream");
            let id = check.upstream_named(&path, &share.upstream.0, upstreams);
            (id, share.upstream.0, share.weight)
        });
        Split { shares, sticky }
    }

    fn matcher(&mut self, path: &str, matcher: file::Match) -> Match {
        let at = below(path, "headers");
        let headers = self.headers(&at, matcher.headers);
        if let Some((host, _)) = headers.iter().find(|(name, _)| name == header::HOST) {
            let at = below(&at, host.as_str());
            self.problem_at_key(&at, format!("{at}: use match.host for the host"));
        }
        Match {
            host: matcher.host.0,
            path: matcher.path.0,
            methods: matcher.methods.into_iter().map(|method| method.0).collect(),
            headers,
            query: matcher.query.into_iter().collect(),
            client: matcher.client.into_iter().map(|network| network.0).collect(),
        }
    }

    fn respond(&mut self, path: &str, respond: file::Respond) -> Respond {
        // `shape` has checked the range.
        let status = StatusCode::from_u16(respond.status).unwrap_or_default();
        if !respond.body.is_empty() && !crate::status::may_have_content(status) {
            let path = below(path, "body");
            self.problem(
                &path,
                format!("{path}: a response with status {} has none", status.as_u16()),
            );
        }
        let at = below(path, "headers");
        let headers = self.headers(&at, respond.headers);
        for (name, _) in headers.iter().filter(|(name, _)| FRAMING.contains(name)) {
            let path = below(&at, name.as_str());
            self.problem_at_key(&path, format!("{path}: is set by weir itself"));
        }
        Respond { status, body: respond.body, headers }
    }

    fn headers(
        &mut self,
        path: &str,
        fields: BTreeMap<String, String>,
    ) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            let path = below(path, &key);
            let Ok(name) = key.parse::<HeaderName>() else {
                self.problem_at_key(&path, format!("\"{key}\" is not a header field's name"));
                continue;
            };
            if headers.iter().any(|(earlier, _)| *earlier == name) {
                self.problem_at_key(
                    &path,
                    format!("duplicate header field \"{key}\": case does not matter"),
                );
            }
            // Leading and trailing space is removed in transit (RFC 9110 §5.5).
            match value.parse::<HeaderValue>() {
                Ok(parsed) if value.trim() == value => headers.push((name, parsed)),
                _ => {
                    self.problem(&path, format!("{path}: {value:?} is not a header field's value"));
                }
            }
        }
        headers
    }
}

/// Whether every request that `later` matches is matched by `earlier`.
fn covers(earlier: &Match, later: &Match) -> bool {
    let host = covers_each(&earlier.host, &later.host, |earlier, later| {
        earlier.strip_prefix('*').is_some_and(|domain| later.ends_with(domain))
    });
    let path = covers_each(&earlier.path, &later.path, covers_path);
    let methods = earlier.methods.is_empty()
        || (!later.methods.is_empty() && later.methods.iter().all(|m| earlier.methods.contains(m)));
    let client = earlier.client.is_empty()
        || (!later.client.is_empty()
            && later.client.iter().all(|of| earlier.client.iter().any(|net| net.contains(of))));
    host && path
        && methods
        && client
        && earlier.headers.iter().all(|field| later.headers.contains(field))
        && earlier.query.iter().all(|parameter| later.query.contains(parameter))
}

/// Whether one pattern of paths matches every path that the later one matches.
fn covers_path(earlier: &str, later: &str) -> bool {
    let is_rest = |segment: &str| segment == "*" || segment.starts_with("{*");
    let mut later = later.split('/');
    for segment in earlier.split('/') {
        if is_rest(segment) {
            return true;
        }
        match later.next() {
            Some(text) if is_rest(text) => return false,
            Some(text) if text == segment => {}
            Some(text) if segment.starts_with('{') && !text.is_empty() => {}
            _ => return false,
        }
    }
    later.next().is_none()
}

/// Whether each of the later patterns is within one of the earlier ones. Without patterns,
/// everything matches.
fn covers_each(
    earlier: &[String],
    later: &[String],
    is_within: impl Fn(&str, &str) -> bool,
) -> bool {
    let is_all = |pattern: &String| pattern == "*" || pattern == "/*";
    earlier.is_empty()
        || earlier.iter().any(is_all)
        || (!later.is_empty()
            && later
                .iter()
                .all(|later| earlier.iter().any(|one| one == later || is_within(one, later))))
}

fn label(matcher: &Match) -> String {
    let path = if matcher.path.is_empty() { "/*".to_owned() } else { matcher.path.join(",") };
    format!("{}{path}", matcher.host.join(","))
}

/// Bytes of a page for errors.
const LARGEST_PAGE: u64 = 1 << 20;

/// Fields that describe the framing of a message or concern one connection (RFC 9110 §7.6.1).
const FRAMING: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];
