//! Upstreams: names to plugins.

use super::Check;
use crate::builtin::BALANCERS;
use crate::config::document::{below, item};
use crate::config::error::did_you_mean;
use crate::config::{
    Discovery, DnsRecords, Health, Plugin, PluginId, Upstream, UpstreamProtocol, UpstreamTls, file,
};

impl Check<'_> {
    pub(super) fn upstream(
        &mut self,
        path: &str,
        upstream: file::Upstream,
        plugins: &mut Vec<Plugin>,
    ) -> Upstream {
        let (endpoints, discovery) =
            self.sources(path, upstream.endpoints, upstream.dns, upstream.file);
        if upstream.protocol == UpstreamProtocol::H3 && upstream.tls.is_none() {
            let path = below(path, "protocol");
            self.problem(&path, format!("{path}: h3 needs tls, because QUIC is always encrypted"));
        }
        let is_shared = matches!(upstream.protocol, UpstreamProtocol::H2 | UpstreamProtocol::H3);
        if upstream.proxy_protocol.is_some() && is_shared {
            let path = below(path, "proxy_protocol");
            let message = "names one client, and connections of h2 and h3 have several";
            self.problem(&path, format!("{path}: {message}"));
        }
        if let Some(health) = &upstream.health {
            let has_h2 = upstream.proxy_protocol.is_none()
                && match upstream.protocol {
                    UpstreamProtocol::H1 => false,
                    UpstreamProtocol::H2 | UpstreamProtocol::H3 => true,
                    UpstreamProtocol::Auto => upstream.tls.is_some(),
                };
            self.health(&below(path, "health"), health, has_h2);
        }
        let tls = upstream.tls.map(|tls| self.upstream_tls(&below(path, "tls"), tls, &discovery));
        Upstream {
            balancer: self.balancer(&below(path, "balancer"), &upstream.balancer, plugins),
            name: upstream.name.0,
            balancer_config: upstream.balancer_config,
            endpoints,
            discovery,
            protocol: upstream.protocol,
            proxy_protocol: upstream.proxy_protocol,
            tls,
            health: upstream.health,
            timeouts: upstream.timeouts,
            limits: upstream.limits,
        }
    }

    /// Checks probes. `has_h2` is whether HTTP/2 may be spoken with the endpoints.
    fn health(&mut self, path: &str, health: &Health, has_h2: bool) {
        match (&health.path, &health.grpc) {
            (Some(_), None) => {}
            (None, Some(_)) => {
                if !has_h2 {
                    let message = "gRPC needs HTTP/2: set protocol: h2, or tls";
                    self.problem(&below(path, "grpc"), format!("{path}.grpc: {message}"));
                }
            }
            (None, None) => self.problem(path, format!("{path}: needs path or grpc")),
            (Some(_), Some(_)) => {
                let message = "path and grpc exclude each other";
                self.problem(&below(path, "grpc"), format!("{path}: {message}"));
            }
        }
    }

    fn upstream_tls(
        &mut self,
        path: &str,
        tls: file::UpstreamTls,
        discovery: &Discovery,
    ) -> UpstreamTls {
        let certificate = match (tls.cert, tls.key) {
            (Some(cert), Some(key)) => {
                Some(self.certificate(path, file::Certificate { cert, key }))
            }
            (None, None) => None,
            (cert, _) => {
                let (given, missing) =
                    if cert.is_some() { ("cert", "key") } else { ("key", "cert") };
                self.problem(&below(path, given), format!("{path}: {given} needs {missing}"));
                None
            }
        };
        let ca = tls.ca.map(|ca| {
            self.authorities(&below(path, "ca"), &ca);
            self.base.join(ca)
        });
        if !tls.verify {
            let message = "the endpoints' certificates are not verified: anyone on the way can read \
                           and change everything";
            self.warn(&below(path, "verify"), message.to_owned());
        }
        // The addresses of a name are not in the certificate. The name is.
        let found = match discovery {
            Discovery::Dns(dns) => Some(dns.name.trim_end_matches('.').to_owned()),
            _ => None,
        };
        let is_service =
            matches!(discovery, Discovery::Dns(dns) if dns.records == DnsRecords::Services);
        if is_service && tls.verify && tls.server_name.is_none() {
            let message = "with SRV records it needs server_name, the name in the certificates";
            self.problem(path, format!("{path}: {message}"));
        }
        let server_name = tls.server_name.map(|name| name.0).or(found);
        UpstreamTls { server_name, ca, certificate, verify: tls.verify }
    }

    /// Resolves the name of a balancer: a plugin of the file, or a built-in one. A built-in one
    /// gets an entry when it is first named.
    pub(super) fn balancer(
        &mut self,
        path: &str,
        name: &str,
        plugins: &mut Vec<Plugin>,
    ) -> PluginId {
        self.plugin_named("balancer", BALANCERS, path, name, plugins)
    }

    /// Resolves a name among the plugins of the file and the `builtin` ones that serve as `what`.
    pub(super) fn plugin_named(
        &mut self,
        what: &str,
        builtin: &[&str],
        path: &str,
        name: &str,
        plugins: &mut Vec<Plugin>,
    ) -> PluginId {
        if let Some(at) = plugins.iter().position(|plugin| plugin.name == name) {
            return PluginId::new(at);
        }
        if builtin.contains(&name) {
            plugins.push(Plugin::builtin(name));
            return PluginId::new(plugins.len() - 1);
        }
        let mut names: Vec<&str> = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
        names.extend(builtin.iter().filter(|builtin| !plugins.iter().any(|p| p.name == **builtin)));
        let none = || format!("; no built-in {what} and no plugin has this name");
        let near = Some(did_you_mean(name, &names)).filter(|near| !near.is_empty());
        self.problem(path, format!("unknown {what} \"{name}\"{}", near.unwrap_or_else(none)));
        PluginId::new(0)
    }

    /// Resolves `allow.upstreams` of each plugin of the file.
    pub(super) fn allowed(
        &mut self,
        allowed: Vec<Vec<String>>,
        plugins: &mut [Plugin],
        upstreams: &[&str],
    ) {
        for (at, (plugin, names)) in plugins.iter_mut().zip(allowed).enumerate() {
            let path = below(&below(&item("plugins", at), "allow"), "upstreams");
            plugin.upstreams = self.each(&path, names, |check, path, name| {
                if !upstreams.contains(&name.as_str()) {
                    let hint = did_you_mean(&name, upstreams);
                    check.problem(path, format!("unknown upstream \"{name}\"{hint}"));
                }
                name
            });
        }
    }
}
