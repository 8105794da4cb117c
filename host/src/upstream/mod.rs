//! Upstreams: groups of endpoints, shared by all workers, and one worker's way of reaching them.
//!
//! [`Upstream`] holds what workers share, all of it atomics. [`Reach`] is one worker's share: its balancer instance and
//! its connections. [`Reach::send`] is the only way to an origin.

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
use crate::telemetry::metrics::{Backend, Metrics};

pub use reaches::Reaches;
pub use send::Reach;

/// A group of endpoints that serve the same thing, shared by all workers.
pub struct Upstream {
    /// The value of the `upstream` label.
    pub name: Arc<str>,
    /// Every endpoint; an endpoint's id is its index.
    pub endpoints: Vec<Arc<Endpoint>>,
    /// Bounds on waiting.
    pub timeouts: config::Timeouts,
    /// Bounds on connections.
    pub limits: config::UpstreamLimits,
    /// How endpoints are probed, if at all.
    pub health: Option<config::Health>,
    /// Its balancer.
    pub(crate) balancer: PluginId,
    /// Numbers requests over all workers: what makes round robin exact.
    sequence: AtomicU64,
    /// Moves whenever the set of healthy endpoints does.
    membership: AtomicU64,
}

/// One server of an upstream.
pub struct Endpoint {
    /// The value of the `endpoint` label, `HOST:PORT`.
    pub name: Arc<str>,
    /// Where to connect.
    pub address: SocketAddr,
    /// Its share, for balancers.
    pub weight: u32,
    /// Free text for balancers.
    pub zone: String,
    /// Free text for balancers.
    pub labels: Vec<(String, String)>,
    /// What is counted for it.
    pub(crate) metrics: Backend,
    healthy: AtomicBool,
    in_flight: AtomicU32,
}

impl Upstream {
    /// Makes the shared state of an upstream; every endpoint starts healthy.
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

    /// Takes the next number of this upstream's one sequence.
    pub fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// A number that differs whenever the set of healthy endpoints may; never 0.
    pub fn membership(&self) -> u64 {
        self.membership.load(Ordering::Acquire)
    }

    /// Records whether an endpoint may get new requests; tells balancers if that changed.
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
    /// Whether it may get new requests.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Requests in flight over all workers.
    pub fn load(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Counts a request in flight for as long as the guard lives.
    pub fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }
}

/// A request in flight at an endpoint; counted out when dropped.
pub struct InFlight(Arc<Endpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
