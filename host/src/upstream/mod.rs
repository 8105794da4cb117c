//! Upstreams: groups of endpoints that all workers share, and the part of each worker.
//!
//! [`Upstream`] holds the shared data, all of it atomics. [`Reach`] is the part of one worker: its
//! balancer instance and its connections. [`Reach::send`] is the only way to an origin.

mod attempt;
pub mod balance;
pub mod error;
pub mod h1;
pub mod health;
mod lease;
pub mod pool;
mod reaches;
mod retry;
pub mod send;
mod share;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::config::{self, PluginId};
use crate::telemetry::metrics::{EndpointCounters, Metrics};

pub use reaches::Reaches;
pub use send::Reach;

/// A group of equivalent endpoints, shared by all workers.
pub struct Upstream {
    /// The value of the `upstream` label.
    pub name: Arc<str>,
    /// All endpoints. The id of an endpoint is its index.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Time limits.
    pub timeouts: config::Timeouts,
    /// Limits of connections.
    pub limits: config::UpstreamLimits,
    /// The health checks of endpoints, if there are any.
    pub health: Option<config::Health>,
    /// Its balancer.
    pub(crate) balancer: PluginId,
    /// Numbers the requests of all workers, which makes round robin exact.
    sequence: AtomicU64,
    /// Changes whenever the set of healthy endpoints changes.
    membership: AtomicU64,
}

/// One server of an upstream.
pub struct Endpoint {
    /// The value of the `endpoint` label, `HOST:PORT`.
    pub name: Arc<str>,
    /// The address to connect to.
    pub address: SocketAddr,
    /// The weight, for balancers.
    pub weight: u32,
    /// Free text for balancers.
    pub zone: String,
    /// Free text for balancers.
    pub labels: Vec<(String, String)>,
    /// The metrics of the endpoint.
    pub(crate) metrics: EndpointCounters,
    healthy: AtomicBool,
    in_flight: AtomicU32,
}

impl Upstream {
    /// Creates the shared state of an upstream. Every endpoint starts healthy.
    pub fn new(config: &config::Upstream, metrics: &Metrics) -> Self {
        let endpoint = |endpoint: &config::Endpoint| {
            let backend = metrics.backend(&config.name, &endpoint.name);
            Arc::new(Endpoint {
                name: Arc::from(endpoint.name.as_str()),
                address: endpoint.address,
                weight: endpoint.weight,
                zone: endpoint.zone.clone(),
                labels: endpoint.labels.clone().into_iter().collect(),
                metrics: backend,
                healthy: AtomicBool::new(true),
                in_flight: AtomicU32::new(0),
            })
        };
        Self {
            name: Arc::from(config.name.as_str()),
            endpoints: config.endpoints.iter().map(endpoint).collect(),
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
            health: config.health.clone(),
            balancer: config.balancer,
            sequence: AtomicU64::new(0),
            membership: AtomicU64::new(1),
        }
    }

    /// Takes the next number of this upstream's single sequence.
    pub fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a number that changes whenever the set of healthy endpoints may have changed. Never
    /// 0.
    pub fn membership(&self) -> u64 {
        self.membership.load(Ordering::Acquire)
    }

    /// Records whether an endpoint may get new requests. Balancers are told if that changed.
    pub fn set_healthy(&self, endpoint: &Endpoint, healthy: bool) {
        if endpoint.healthy.swap(healthy, Ordering::AcqRel) != healthy {
            endpoint.metrics.health.set(i64::from(healthy));
            self.membership.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Returns whether the endpoint may get new requests.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Returns the number of requests in flight of all workers.
    pub fn load(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request in flight while the guard lives.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// A request in flight at an endpoint. Dropping it ends the count.
pub struct InFlight(Arc<Endpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
