//! [`Members`]: the endpoints of an upstream at one moment, and [`Life`], which knows them again.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::endpoint::Endpoint;
use crate::config;
use crate::telemetry::metrics::UpstreamCounters;

/// The endpoints of an upstream at one moment, in their order.
#[derive(Default)]
pub struct Members(Vec<Member>);

/// An endpoint, with its facts for balancers.
pub struct Member {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Free text for balancers.
    pub zone: String,
    /// Free text for balancers.
    pub labels: Vec<(String, String)>,
    weight: u32,
}

impl Member {
    /// Returns the weight, for balancers.
    pub fn weight(&self) -> u32 {
        self.endpoint.weight().unwrap_or(self.weight)
    }
}

impl Member {
    /// Returns the weight of the configuration.
    pub(super) fn configured_weight(&self) -> u32 {
        self.weight
    }
}

impl Members {
    /// Returns the endpoints.
    pub fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.0.iter()
    }

    /// Returns the endpoint at this position.
    pub fn get(&self, position: usize) -> Option<&Member> {
        self.0.get(position)
    }
}

/// The part of an upstream that outlives configurations: its sequence, and the endpoints that it
/// has or had.
pub(super) struct Life {
    metrics: UpstreamCounters,
    /// Numbers the requests of all workers, which makes round robin exact.
    sequence: AtomicU64,
    next_id: AtomicU32,
    known: Mutex<HashMap<Key, Weak<Endpoint>>>,
}

/// The identity of an endpoint: its name in the configuration, and its address.
type Key = (Arc<str>, SocketAddr);

impl Life {
    pub(super) fn new(metrics: UpstreamCounters) -> Self {
        let (sequence, next_id) = (AtomicU64::new(0), AtomicU32::new(0));
        Self { metrics, sequence, next_id, known: Mutex::default() }
    }

    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns the members of a list. An endpoint that still exists is the same as before, also if
    /// it only finishes its last requests.
    pub(super) fn members(&self, endpoints: &[config::Endpoint]) -> Members {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, endpoint| endpoint.strong_count() > 0);
        let member = |config: &config::Endpoint| Member {
            endpoint: self.endpoint(&mut known, config),
            zone: config.zone.clone(),
            labels: config.labels.clone().into_iter().collect(),
            weight: config.weight,
        };
        Members(endpoints.iter().map(member).collect())
    }

    fn endpoint(
        &self,
        known: &mut HashMap<Key, Weak<Endpoint>>,
        config: &config::Endpoint,
    ) -> Arc<Endpoint> {
        let name: Arc<str> = Arc::from(config.name.as_str());
        let key = (Arc::clone(&name), config.address);
        if let Some(endpoint) = known.get(&key).and_then(Weak::upgrade) {
            return endpoint;
        }
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let counters = self.metrics.endpoint(&name);
        let endpoint = Arc::new(Endpoint::new((id, name, config.address), counters));
        known.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }
}
