//! [`Endpoint`]: one server, for as long as its address is in the upstream.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::health::ProbeState;
use crate::telemetry::metrics::EndpointCounters;

/// One server of an upstream, with its health, its load and its metrics.
pub struct Endpoint {
    /// The value of the `endpoint` label, `HOST:PORT`.
    pub name: Arc<str>,
    /// The address to connect to.
    pub address: SocketAddr,
    /// Names the endpoint for balancers.
    pub id: u32,
    /// The metrics of the endpoint.
    pub(crate) metrics: EndpointCounters,
    /// The history of its probes.
    probes: Mutex<ProbeState>,
    healthy: AtomicBool,
    in_flight: AtomicU32,
    /// Whether an operator has taken it out of service.
    is_draining: AtomicBool,
    /// The weight that an operator has set, or [`AS_CONFIGURED`].
    weight: AtomicU32,
}

impl Endpoint {
    /// Creates an endpoint that is healthy and idle.
    pub(super) fn new(
        (id, name, address): (u32, Arc<str>, SocketAddr),
        metrics: EndpointCounters,
    ) -> Self {
        Self {
            name,
            address,
            id,
            metrics,
            probes: Mutex::default(),
            healthy: AtomicBool::new(true),
            in_flight: AtomicU32::new(0),
            is_draining: AtomicBool::new(false),
            weight: AtomicU32::new(AS_CONFIGURED),
        }
    }

    /// Returns whether the last probes found the endpoint healthy.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    /// Returns whether the endpoint may get new requests.
    pub fn is_available(&self) -> bool {
        self.is_healthy() && !self.is_draining()
    }

    /// Returns whether an operator has taken the endpoint out of service.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// Takes the endpoint out of service, or back. The caller announces the change.
    pub fn set_draining(&self, is_draining: bool) {
        self.is_draining.store(is_draining, Ordering::Release);
    }

    /// Returns the weight that an operator has set.
    pub fn weight(&self) -> Option<u32> {
        Some(self.weight.load(Ordering::Acquire)).filter(|weight| *weight != AS_CONFIGURED)
    }

    /// Sets a weight in place of the configured one, or returns to that. The caller announces the
    /// change.
    pub fn set_weight(&self, weight: Option<u32>) {
        self.weight.store(weight.unwrap_or(AS_CONFIGURED), Ordering::Release);
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

    /// Locks the history of probes. Only the control thread uses it.
    pub(super) fn probes(&self) -> MutexGuard<'_, ProbeState> {
        self.probes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether probes find it healthy. Returns whether that changed.
    pub(super) fn set_healthy(&self, healthy: bool) -> bool {
        let has_changed = self.healthy.swap(healthy, Ordering::AcqRel) != healthy;
        if has_changed {
            self.metrics.health.set(i64::from(healthy));
        }
        has_changed
    }
}

/// A request in flight at an endpoint. Dropping it ends the count.
pub struct InFlight(Arc<Endpoint>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Stands for the weight of the configuration. No configuration allows this number.
const AS_CONFIGURED: u32 = u32::MAX;
