//! Endpoints, and the sources that they come from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::addresses::HostPort;
use super::text::Kind as _;

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The address as written, `HOST:PORT`, or as found, `IP:PORT`. It is the value of the
    /// `endpoint` label.
    pub name: String,
    /// The address to connect to.
    pub address: SocketAddr,
    /// The share of requests relative to the others. Default 1. With 0 the weighted balancer sends
    /// it no requests.
    pub weight: u32,
    /// Free text for balancers. Default empty.
    pub zone: String,
    /// Free text for balancers.
    pub labels: BTreeMap<String, String>,
}

/// The source of an upstream's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// A list of IP addresses. It never changes.
    Static,
    /// A list with names, which are looked up again.
    Names(Vec<NamedEndpoint>),
    /// The records of a DNS name.
    Dns(Dns),
    /// A file that is read again when it changes.
    File(PathBuf),
}

/// One server as it is written. Its host is a name or an IP address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedEndpoint {
    /// The host as written.
    pub host: String,
    /// The port.
    pub port: u16,
    /// As in [`Endpoint`].
    pub weight: u32,
    /// As in [`Endpoint`].
    pub zone: String,
    /// As in [`Endpoint`].
    pub labels: BTreeMap<String, String>,
}

/// A DNS name that has endpoints as records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// The name to look up.
    pub name: String,
    /// The records that are endpoints.
    pub records: DnsRecords,
    /// The servers to ask. If empty, those of the system.
    pub resolvers: Vec<SocketAddr>,
    /// The least time between two lookups. Default 5 s.
    pub min_ttl: Duration,
    /// The longest time between two lookups, not below `min_ttl`. Default 5 min.
    pub max_ttl: Duration,
    /// As in [`Endpoint`], the same for all.
    pub zone: String,
    /// As in [`Endpoint`], the same for all.
    pub labels: BTreeMap<String, String>,
}

/// The records of a name that are endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsRecords {
    /// A and AAAA records.
    Addresses {
        /// The port of every endpoint.
        port: u16,
        /// The weight of every endpoint.
        weight: u32,
    },
    /// SRV records, which have ports and weights of their own.
    Services,
}

impl NamedEndpoint {
    /// Returns the address as written, `HOST:PORT`.
    pub fn name(&self) -> String {
        HostPort::print(&(self.host.clone(), self.port))
    }

    /// Returns the host if it is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Returns the endpoint with its host at this address.
    pub fn at(&self, ip: IpAddr) -> Endpoint {
        Endpoint {
            name: self.name(),
            address: SocketAddr::new(ip, self.port),
            weight: self.weight,
            zone: self.zone.clone(),
            labels: self.labels.clone(),
        }
    }
}

/// The most endpoints that a discovery gives an upstream; the rest is left out. A worker keeps
/// connections to each, and every change tells all of them to the balancers. Kubernetes splits its
/// lists of endpoints at 100.
pub const MAX_ENDPOINTS: usize = 1024;
