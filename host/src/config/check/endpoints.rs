//! The endpoints of an upstream: hosts to addresses, and the sources that find more.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};

use super::Check;
use crate::config::addresses::HostPort;
use crate::config::document::{below, item};
use crate::config::text::Kind as _;
use crate::config::{
    Discovery, Dns, DnsRecords, Endpoint, MAX_ENDPOINTS, NamedEndpoint, endpoints, file,
};

impl Check<'_> {
    /// Resolves the endpoints that are known now, and the source of later ones.
    pub(super) fn sources(
        &mut self,
        path: &str,
        listed: Option<Vec<file::Endpoint>>,
        dns: Option<file::Dns>,
        file: Option<PathBuf>,
    ) -> (Vec<Endpoint>, Discovery) {
        match (listed, dns, file) {
            (Some(listed), None, None) => self.listed(&below(path, "endpoints"), listed),
            (None, Some(dns), None) => {
                (Vec::new(), Discovery::Dns(self.dns(&below(path, "dns"), dns)))
            }
            (None, None, Some(file)) => {
                let file = self.base.join(file);
                (self.file(&below(path, "file"), &file), Discovery::File(file))
            }
            (listed, dns, file) => {
                let given = [listed.is_some(), dns.is_some(), file.is_some()];
                let given = given.into_iter().filter(|given| *given).count();
                self.problem(
                    path,
                    format!("{path}: needs exactly one of endpoints, dns and file, has {given}"),
                );
                (Vec::new(), Discovery::Static)
            }
        }
    }

    fn listed(&mut self, path: &str, listed: Vec<file::Endpoint>) -> (Vec<Endpoint>, Discovery) {
        let written = self.written(path, listed);
        let endpoints = written.iter().enumerate();
        let endpoints = endpoints.map(|(at, one)| self.endpoint(&item(path, at), one)).collect();
        let is_static = written.iter().all(|endpoint| endpoint.ip().is_some());
        (endpoints, if is_static { Discovery::Static } else { Discovery::Names(written) })
    }

    /// Checks a list of endpoints without resolving their hosts.
    pub(in crate::config) fn written(
        &mut self,
        path: &str,
        listed: Vec<file::Endpoint>,
    ) -> Vec<NamedEndpoint> {
        self.unique("endpoint", listed.iter().map(|e| HostPort::print(&e.address.0)), |at| {
            below(&item(path, at), "address")
        });
        if !listed.is_empty() && listed.iter().all(|endpoint| endpoint.weight == 0) {
            let prefix = if path.is_empty() { String::new() } else { format!("{path}: ") };
            self.problem(path, format!("{prefix}every weight is 0"));
        }
        let written = |endpoint: file::Endpoint| {
            let file::Endpoint { address, weight, zone, labels } = endpoint;
            let (host, port) = address.0;
            NamedEndpoint { host, port, weight, zone, labels }
        };
        listed.into_iter().map(written).collect()
    }

    fn endpoint(&mut self, path: &str, written: &NamedEndpoint) -> Endpoint {
        let host = written.host.as_str();
        let address = match (host, written.port).to_socket_addrs().map(preferred) {
            Ok(Some(address)) => address,
            failed => {
                let path = below(path, "address");
                let why =
                    failed.err().map_or("no address found".to_owned(), |error| error.to_string());
                self.problem(&path, format!("{path}: cannot resolve \"{host}\": {why}"));
                SocketAddr::from(([0; 4], 0))
            }
        };
        written.at(address.ip())
    }

    fn dns(&mut self, path: &str, dns: file::Dns) -> Dns {
        if dns.max_ttl < dns.min_ttl {
            let at = below(path, "max_ttl");
            self.problem(&at, format!("{at}: must not be below min_ttl"));
        }
        Dns {
            records: self.records(path, &dns),
            name: dns.name.0,
            resolvers: dns.resolvers.into_iter().map(|server| server.0).collect(),
            min_ttl: dns.min_ttl,
            max_ttl: dns.max_ttl,
            zone: dns.zone,
            labels: dns.labels,
        }
    }

    fn records(&mut self, path: &str, dns: &file::Dns) -> DnsRecords {
        if dns.kind == file::DnsType::A {
            if dns.port.is_none() {
                self.problem(path, format!("missing key \"port\" in {path}; type a needs it"));
            }
            let (port, weight) = (dns.port.unwrap_or_default(), dns.weight.unwrap_or(1));
            return DnsRecords::Addresses { port, weight };
        }
        for (key, is_given) in [("port", dns.port.is_some()), ("weight", dns.weight.is_some())] {
            if is_given {
                let at = below(path, key);
                self.problem_at_key(&at, format!("{at}: SRV records have a {key} of their own"));
            }
        }
        DnsRecords::Services
    }

    /// Checks a file of endpoints. Names in it are looked up later: a file may change at any time,
    /// and a name that is unknown then is no fault of the configuration.
    fn file(&mut self, path: &str, file: &Path) -> Vec<Endpoint> {
        let shown = file.display();
        if let Err(error) = file.metadata() {
            self.problem(path, format!("{path}: cannot read \"{shown}\": {error}"));
            return Vec::new();
        }
        let written = endpoints(file).unwrap_or_else(|errors| {
            let problems = errors.problems().iter();
            self.problems.extend(problems.map(|problem| (path.to_owned(), problem.clone())));
            Vec::new()
        });
        if written.is_empty() && !self.problems.iter().any(|(at, _)| at == path) {
            let message = format!("{path}: \"{shown}\" has no endpoints yet: requests get 503");
            self.warn(path, message);
        }
        if written.len() > MAX_ENDPOINTS {
            let message = format!(
                "{path}: \"{shown}\" has more than {MAX_ENDPOINTS} endpoints; the rest is left out"
            );
            self.warn(path, message);
        }
        let written = written.iter().take(MAX_ENDPOINTS);
        written.filter_map(|endpoint| endpoint.ip().map(|ip| endpoint.at(ip))).collect()
    }
}

/// Returns an IPv4 address if there is one. `localhost` resolves to `::1` as well, and many servers
/// do not listen there.
fn preferred(addresses: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let addresses: Vec<SocketAddr> = addresses.collect();
    addresses.iter().find(|address| address.is_ipv4()).or(addresses.first()).copied()
}
