//! File → [`Config`]: names to indices, paths to files that exist, hosts to addresses.
//!
//! `shape` has checked the shape. This module reports as many faults as it can at once. It reads
//! files and asks the resolver, and it starts nothing.

mod admin;
mod endpoints;
mod files;
mod logs;
mod registries;
mod routes;
mod upstreams;

use std::collections::HashMap;
use std::num::NonZero;
use std::path::Path;

pub use files::{CertificateError, certificate};

use ipnet::IpNet;

use super::addresses::Network;
use super::document::{Document, below, item};
use super::error::{Place, Problem};
use super::file::{self, File, Protocol};
use super::text::Text;
use super::{
    CONNECT_UDP, Config, Listener, Places, Plugin, PluginId, Protocols, Quic, Route, Tls, Upstream,
    UpstreamId, Values,
};

/// The faults and warnings that checking has found.
pub(super) struct Check<'a> {
    document: &'a Document,
    base: &'a Path,
    /// Each problem, with the path of its value.
    pub(super) problems: Vec<(String, Problem)>,
    warnings: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Makes a check. Relative paths are below `base`.
    pub(super) fn new(document: &'a Document, base: &'a Path) -> Self {
        Self { document, base, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Resolves `file`. The result is of use only if there are no problems afterwards.
    pub(super) fn config(&mut self, file: File) -> Config {
        self.unique("listener address", file.listeners.iter().map(|l| l.address.0), |at| {
            below(&item("listeners", at), "address")
        });
        self.unique("plugin", file.plugins.iter().map(|p| &p.name.0), |at| {
            below(&item("plugins", at), "name")
        });
        self.unique("upstream", file.upstreams.iter().map(|u| &u.name.0), |at| {
            below(&item("upstreams", at), "name")
        });
        self.unique("registry", file.registries.iter().map(|r| &r.host.0), |at| {
            below(&item("registries", at), "host")
        });
        let registries = self.each("registries", file.registries, Self::registry);
        let mut listeners = self.each("listeners", file.listeners, Self::listener);
        let declared = file.plugins.len();
        let names_of = |plugin: &file::Plugin| {
            plugin.allow.upstreams.iter().map(|name| name.0.clone()).collect()
        };
        let allowed: Vec<Vec<String>> = file.plugins.iter().map(names_of).collect();
        let mut plugins = self.each("plugins", file.plugins, Self::plugin);
        let upstreams = self.each("upstreams", file.upstreams, |check, path, upstream| {
            check.upstream(path, upstream, &mut plugins)
        });
        let names: Vec<&str> = upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        self.allowed(allowed, &mut plugins, &names);
        let routes = self.routes(file.routes, &names, &mut plugins);
        let has_datagrams = |route: &Route| route.upgrades.iter().any(|it| it == CONNECT_UDP);
        let datagrams = routes.iter().any(has_datagrams);
        listeners.iter_mut().for_each(|listener| listener.datagrams = datagrams);
        let errors = self.each("errors", file.errors, Self::error_page);
        let admin = file.admin.map(|admin| self.admin(admin));
        self.unused(&plugins, declared, &upstreams, &routes);
        self.unseen_fields(&listeners, &routes);
        self.unused_registries(&plugins, &registries);
        self.own_addresses(&file.telemetry, admin.as_ref(), &listeners);
        let mut telemetry = file.telemetry;
        self.log_files(&mut telemetry.log);
        Problem::sort(&mut self.warnings);
        Config {
            listeners,
            plugins,
            upstreams,
            routes,
            errors,
            telemetry,
            admin,
            state: file.state,
            registries,
            geoip: file.geoip.databases.iter().map(|file| self.base.join(file)).collect(),
            grace: file.shutdown.grace,
            upgrade_grace: file.shutdown.upgrade_grace,
            workers: workers(file.workers),
            warnings: std::mem::take(&mut self.warnings),
            places: Places::default(),
            files: Vec::new(),
            globs: Vec::new(),
            value: Values::default(),
            tag: String::new(),
        }
    }

    fn listener(&mut self, path: &str, listener: file::Listener) -> Listener {
        let secure = listener.tls.is_some();
        let protocols = self.protocols(path, listener.protocols, secure);
        self.quic(&below(path, "quic"), &listener.quic);
        Listener {
            address: listener.address.0,
            protocols,
            default_host: listener.default_host.and_then(|host| host.parse().ok()),
            redirect: listener.redirect.map(|redirect| redirect.0),
            trusted_proxies: networks(listener.trusted_proxies),
            proxy_protocol: listener.proxy_protocol.map_or_else(Vec::new, |it| networks(it.from)),
            tls: listener.tls.map(|tls| self.tls(&below(path, "tls"), tls)),
            quic: listener.quic,
            datagrams: false,
            limits: listener.limits,
        }
    }

    fn protocols(&mut self, path: &str, listed: Option<Vec<Protocol>>, secure: bool) -> Protocols {
        let path = below(path, "protocols");
        let Some(listed) = listed else {
            return Protocols { h3: secure, h2: secure, h1: true };
        };
        for (at, protocol) in listed.iter().enumerate() {
            let path = item(&path, at);
            if listed.iter().take(at).any(|earlier| earlier == protocol) {
                self.problem(&path, format!("{path}: is listed twice"));
            }
            let name = match protocol {
                Protocol::H3 => "h3",
                Protocol::H2 => "h2",
                Protocol::H1 => continue,
            };
            if !secure {
                self.problem(
                    &path,
                    format!("{path}: {name} needs tls; without it only h1 is served"),
                );
            }
        }
        let serves = |protocol| listed.contains(&protocol);
        Protocols { h3: serves(Protocol::H3), h2: serves(Protocol::H2), h1: serves(Protocol::H1) }
    }

    fn quic(&mut self, path: &str, quic: &Quic) {
        if quic.keep_alive.is_some_and(|keep_alive| keep_alive >= quic.idle_timeout) {
            let at = below(path, "keep_alive");
            self.problem(
                &at,
                format!("{at}: must be below idle_timeout, or connections end between two pings"),
            );
        }
        if quic.stream_window > quic.connection_window {
            let at = below(path, "stream_window");
            self.problem(&at, format!("{at}: is larger than connection_window, which bounds it"));
        }
    }

    fn tls(&mut self, path: &str, tls: file::Tls) -> Tls {
        match (tls.certificates, tls.self_signed) {
            (Some(certificates), None) => {
                let path = below(path, "certificates");
                Tls::Certificates(self.each(&path, certificates, Self::certificate))
            }
            (None, Some(own)) => {
                Tls::SelfSigned { names: own.names.into_iter().map(|name| name.0).collect() }
            }
            (both, _) => {
                let count = if both.is_some() { "both" } else { "neither" };
                self.problem(
                    path,
                    format!(
                        "{path}: needs exactly one of certificates and self_signed, has {count}"
                    ),
                );
                Tls::Certificates(Vec::new())
            }
        }
    }

    fn unused(
        &mut self,
        plugins: &[Plugin],
        declared: usize,
        upstreams: &[Upstream],
        routes: &[Route],
    ) {
        for (at, plugin) in plugins.iter().enumerate().take(declared) {
            let id = PluginId::new(at);
            let is_used = upstreams.iter().any(|upstream| upstream.balancer == id)
                || routes.iter().any(|route| {
                    route.filters.contains(&id)
                        || matches!(route.action, super::Action::Component(of) if of == id)
                });
            if !is_used {
                let path = below(&item("plugins", at), "name");
                self.warn(&path, format!("plugin \"{}\" is not used", plugin.name));
            }
        }
        for (at, upstream) in upstreams.iter().enumerate() {
            let id = UpstreamId::new(at);
            let leads = |route: &Route| {
                route.action.leads_to(id)
                    || route.mirror.as_ref().is_some_and(|it| it.upstream == id)
            };
            let is_allowed = plugins.iter().any(|plugin| plugin.upstreams.contains(&upstream.name));
            if !routes.iter().any(leads) && !is_allowed {
                let path = below(&item("upstreams", at), "name");
                self.warn(&path, format!("no route leads to upstream \"{}\"", upstream.name));
            }
        }
    }

    /// Warns of fields that a route matches and no listener lets pass.
    fn unseen_fields(&mut self, listeners: &[Listener], routes: &[Route]) {
        if listeners.iter().any(|listener| listener.limits.underscores_in_headers) {
            return;
        }
        for (at, route) in routes.iter().enumerate() {
            let names = route.matcher.headers.iter().map(|(name, _)| name.as_str());
            for name in names.filter(|name| name.contains('_')) {
                let path = below(&below(&item("routes", at), "match"), "headers");
                let message = format!(
                    "\"{name}\" never matches: fields with an underscore are left out of requests \
                     (listeners[].limits.underscores_in_headers)"
                );
                self.warn(&path, message);
            }
        }
    }

    fn each<T, U>(
        &mut self,
        path: &str,
        items: Vec<T>,
        mut resolve: impl FnMut(&mut Self, &str, T) -> U,
    ) -> Vec<U> {
        let items = items.into_iter().enumerate();
        items.map(|(at, value)| resolve(self, &item(path, at), value)).collect()
    }

    fn unique<T: std::hash::Hash + Eq + std::fmt::Display>(
        &mut self,
        what: &str,
        names: impl Iterator<Item = T>,
        path: impl Fn(usize) -> String,
    ) {
        let mut seen = HashMap::new();
        for (at, name) in names.enumerate() {
            // Port 0 is another free port each time.
            if name.to_string().ends_with(":0") {
                continue;
            }
            if let Some(first) = seen.get(&name) {
                let (first, at) = (path(*first), path(at));
                let first =
                    match (self.document.elsewhere(&first, &at), self.document.value(&first)) {
                        (Some(line), _) => format!("; the first is in {line}"),
                        (None, Place::At(_, line, _)) => format!("; the first is on line {line}"),
                        (None, _) => String::new(),
                    };
                self.problem(&at, format!("duplicate {what} \"{name}\"{first}"));
            } else {
                seen.insert(name, at);
            }
        }
    }

    fn problem(&mut self, path: &str, message: String) {
        self.problems.push((path.to_owned(), Problem::new(self.document.value(path), message)));
    }

    fn problem_at_key(&mut self, path: &str, message: String) {
        self.problems.push((path.to_owned(), Problem::new(self.document.key(path), message)));
    }

    fn warn(&mut self, path: &str, message: String) {
        self.warnings.push(Problem::new(self.document.value(path), message));
    }
}

fn networks(written: Vec<Text<Network>>) -> Vec<IpNet> {
    written.into_iter().map(|network| network.0).collect()
}

fn workers(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS),
        asked => asked,
    }
}

/// The bound of `workers` in the file.
const MAX_WORKERS: usize = 256;
