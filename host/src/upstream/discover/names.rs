//! Listed endpoints with names as hosts. Each name stands for one address and has its own times.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;

use super::Look;
use super::lookup::{Families, Known, LIMIT, Lookups};
use super::pace::Pace;
use super::report::Trouble;
use crate::config::defaults::{MAX_TTL, MIN_TTL};
use crate::config::{Endpoint, NamedEndpoint};

/// A list of endpoints, some of them with a name as host.
pub(super) struct Names {
    written: Vec<NamedEndpoint>,
    hosts: BTreeMap<String, Host>,
    known: Known,
    /// The DNS servers to ask. If empty, those of the system.
    servers: Vec<SocketAddr>,
    limit: Duration,
}

/// A name and its address.
struct Host {
    address: Option<IpAddr>,
    due: Instant,
    pace: Pace,
    trouble: Option<Trouble>,
}

impl Names {
    /// Makes a list. Endpoints of `present` with the same name have the addresses until the first
    /// answers.
    pub(super) fn new(written: Vec<NamedEndpoint>, present: &[Endpoint]) -> Self {
        let present: BTreeMap<&str, IpAddr> =
            present.iter().map(|known| (known.name.as_str(), known.address.ip())).collect();
        let named = written.iter().filter(|endpoint| endpoint.ip().is_none());
        let host = |endpoint: &NamedEndpoint| {
            let address = present.get(endpoint.name().as_str()).copied();
            (endpoint.host.clone(), Host::new(address))
        };
        let hosts = named.map(host).collect();
        Self { written, hosts, known: Known::default(), servers: Vec::new(), limit: LIMIT }
    }

    /// Looks up the names that are due.
    pub(super) async fn look(&mut self) -> Look {
        let now = Instant::now();
        let due = self.hosts.iter().filter(|(_, host)| host.due <= now);
        let due: Vec<String> = due.map(|(name, _)| name.clone()).collect();
        if !due.is_empty() {
            let lookups = Lookups::new(&self.servers, self.limit);
            for (name, answers) in lookups.each(due).await {
                if let Some(host) = self.hosts.get_mut(&name) {
                    host.note(&name, answers, &mut self.known);
                }
            }
        }
        Look {
            found: Some(self.endpoints()),
            troubles: self.hosts.values().filter_map(|host| host.trouble.clone()).collect(),
            next: self.next(),
        }
    }

    /// The endpoints with a known address.
    fn endpoints(&self) -> Vec<Endpoint> {
        let address = |endpoint: &NamedEndpoint| {
            let named = || self.hosts.get(&endpoint.host).and_then(|host| host.address);
            endpoint.ip().or_else(named)
        };
        let known = self.written.iter();
        known.filter_map(|endpoint| address(endpoint).map(|ip| endpoint.at(ip))).collect()
    }

    fn next(&self) -> Option<Duration> {
        let due = self.hosts.values().map(|host| host.due).min()?;
        Some(due.saturating_duration_since(Instant::now()))
    }
}

impl Host {
    fn new(address: Option<IpAddr>) -> Self {
        let pace = Pace::new(MIN_TTL, MAX_TTL);
        Self { address, due: Instant::now(), pace, trouble: None }
    }

    fn note(&mut self, name: &str, answers: Families, known: &mut Known) {
        let wait = match known.merge(name, answers) {
            Ok(found) => {
                let [v4, v6] = &found.families;
                self.address = choose(self.address, v4, v6);
                self.trouble = found.trouble;
                match found.ttl {
                    Some(ttl) if self.trouble.is_none() => self.pace.after(ttl),
                    ttl => self.pace.after_fault(ttl),
                }
            }
            Err(trouble) => {
                self.trouble = Some(trouble);
                self.pace.after_fault(None)
            }
        };
        self.due = Instant::now() + wait;
    }
}

/// Chooses the address of a name. One that is still valid stays, or else each answer in another
/// order would move the traffic. Otherwise an IPv4 address is preferred, as at the start.
fn choose(present: Option<IpAddr>, v4: &[IpAddr], v6: &[IpAddr]) -> Option<IpAddr> {
    let stays = present.filter(|present| v4.contains(present) || v6.contains(present));
    stays.or_else(|| v4.first().or(v6.first()).copied())
}

#[cfg(test)]
mod tests;
