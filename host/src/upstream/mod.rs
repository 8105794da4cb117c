//! Upstreams: groups of endpoints that all workers share, and the part of each worker.
//!
//! [`Upstream`] holds the shared data of one configuration. [`Endpoint`] lives longer: it is kept
//! for as long as its address is in the upstream, with its health, its load and its metrics.
//! [`Reach`] is the part of one worker: its balancer instance and its connections.
//! [`Reach::send`] is the only way to an origin.

mod attempt;
pub mod balance;
pub mod connect;
pub mod discover;
mod endpoint;
pub mod error;
pub mod h1;
mod h2;
mod h3;
pub mod health;
mod lease;
mod local;
mod members;
mod moved;
pub mod pool;
mod preamble;
mod reaches;
mod response;
mod retry;
pub mod send;
mod share;
mod shared;
pub mod udp;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::sync::Notify;

use crate::config::{self, Discovery, PluginId};
use crate::telemetry::events::{Event, Events};
use crate::telemetry::metrics::Metrics;
use crate::tls::TlsError;

pub use endpoint::{Endpoint, InFlight};
pub use members::{Member, Members};
pub use reaches::Reaches;
pub use send::Reach;

use connect::Connector;
use members::Life;

/// A group of equivalent endpoints under one configuration, shared by all workers.
pub struct Upstream {
    /// The value of the `upstream` label.
    pub name: Arc<str>,
    /// Time limits.
    pub timeouts: config::Timeouts,
    /// Limits of connections.
    pub limits: config::UpstreamLimits,
    /// The protocol and the TLS toward the endpoints.
    connector: Mutex<Arc<Connector>>,
    /// The health checks of endpoints, if there are any.
    pub health: Option<config::Health>,
    /// Its balancer.
    pub(crate) balancer: PluginId,
    /// The source of the endpoints.
    discovery: Discovery,
    /// The progress of discovery, for the admin API.
    pub discovered: discover::SharedStatus,
    /// The endpoints of the configuration, or the last ones that were discovered.
    configured: Mutex<Vec<config::Endpoint>>,
    /// The endpoints now.
    members: Mutex<Arc<Members>>,
    /// Whether the admin API has set the endpoints.
    is_set: AtomicBool,
    /// Is greater than that of each upstream that was made before.
    number: u64,
    /// Changes whenever the endpoints that may get requests have changed. No two upstreams of a
    /// process ever have the same number.
    membership: AtomicU64,
    /// Wakes the tasks that follow the endpoints.
    changed: Notify,
    /// Hears of changes of the endpoints.
    events: Events,
    /// The part that outlives the configuration.
    life: Arc<Life>,
}

impl Upstream {
    /// Creates the shared state of an upstream. It keeps the endpoints of `before`, the upstream of
    /// the same name in the configuration before, with their health and load. An endpoint that is
    /// new starts healthy.
    ///
    /// Endpoints that were discovered or set by the admin API stay, if the configuration of the
    /// endpoints is the same as before.
    ///
    /// # Errors
    /// A file of its TLS cannot be used.
    pub fn new(
        config: &config::Upstream,
        metrics: &Metrics,
        before: Option<&Upstream>,
    ) -> Result<Self, TlsError> {
        let known = before.map(Upstream::connector).filter(|known| known.is_of(config));
        let connector = match known {
            Some(known) => known,
            None => Arc::new(Connector::new(config)?),
        };
        let name: Arc<str> = Arc::from(config.name.as_str());
        let life = match before {
            Some(before) => Arc::clone(&before.life),
            None => Arc::new(Life::new(metrics.upstream(&name))),
        };
        let same = before.filter(|before| before.has_source_of(config));
        let (members, configured) = match same {
            Some(before) => (before.members(), before.configured()),
            None => match before.filter(|_| config.endpoints.is_empty()) {
                // Nothing was found yet, and the former endpoints are better than none.
                Some(before) => (before.members(), before.configured()),
                None => (Arc::new(life.members(&config.endpoints)), config.endpoints.clone()),
            },
        };
        Ok(Self {
            name,
            timeouts: config.timeouts.clone(),
            limits: config.limits.clone(),
            connector: Mutex::new(connector),
            health: config.health.clone(),
            balancer: config.balancer,
            discovery: config.discovery.clone(),
            discovered: discover::DiscoveryStatus::of(config),
            configured: Mutex::new(configured),
            members: Mutex::new(members),
            is_set: AtomicBool::new(same.is_some_and(Upstream::is_set)),
            number: fresh(),
            membership: AtomicU64::new(fresh()),
            changed: Notify::new(),
            events: metrics.events.clone(),
            life,
        })
    }

    /// Returns the way to connect to the endpoints.
    pub fn connector(&self) -> Arc<Connector> {
        Arc::clone(&self.connector.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files of the TLS again if they have changed. Files that cannot be used change
    /// nothing. New connections follow; open ones finish their requests.
    pub fn renew(&self, config: &config::Upstream) {
        if self.connector().is_fresh() {
            return;
        }
        match Connector::new(config) {
            Ok(connector) => {
                let upstream = &*self.name;
                tracing::info!(upstream, "the TLS files of an upstream were reloaded");
                *self.connector.lock().unwrap_or_else(PoisonError::into_inner) =
                    Arc::new(connector);
                self.announce();
            }
            Err(error) => {
                let (upstream, error) = (&*self.name, &error as &dyn std::error::Error);
                tracing::error!(
                    upstream,
                    error,
                    "changed TLS files of an upstream were refused; the ones before stay in use"
                );
            }
        }
    }

    /// Takes the next number of this upstream's single sequence.
    pub fn next_sequence(&self) -> u64 {
        self.life.next_sequence()
    }

    /// Returns a number that changes whenever the endpoints that may get requests may have changed.
    /// Never 0.
    pub fn membership(&self) -> u64 {
        self.membership.load(Ordering::Acquire)
    }

    /// Returns the endpoints.
    pub fn members(&self) -> Arc<Members> {
        // Each change is one assignment, so a panic leaves the list whole.
        Arc::clone(&self.members.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the endpoints of a configuration come from the same source as those of this
    /// upstream.
    pub fn has_source_of(&self, config: &config::Upstream) -> bool {
        self.discovery == config.discovery
            && (self.discovery != Discovery::Static || self.configured() == config.endpoints)
    }

    /// Returns a number that is greater for upstreams that were made later.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Takes the place of `before` at the publication of the configuration: the endpoints may have
    /// changed since this upstream was made. Endpoints of another source lose an operator's
    /// changes.
    pub fn succeed(&self, before: &Upstream) {
        if before.discovery == self.discovery
            && (self.discovery != Discovery::Static
                || *self.lock_configured() == before.configured())
        {
            let is_set = before.is_set();
            let members = before.members();
            self.is_set.store(is_set, Ordering::Release);
            *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
            *self.lock_configured() = before.configured();
            self.announce();
        } else {
            self.clear_overrides();
        }
    }

    fn clear_overrides(&self) {
        for member in self.members().iter() {
            member.endpoint.set_weight(None);
            member.endpoint.set_draining(false);
        }
        self.announce();
    }

    /// Returns the endpoints of the configuration, or the last ones that were discovered.
    pub fn configured(&self) -> Vec<config::Endpoint> {
        self.lock_configured().clone()
    }

    /// Takes endpoints that were discovered. Those of an operator have precedence.
    pub fn discover(&self, endpoints: Vec<config::Endpoint>) {
        if !self.is_set() {
            self.replace(&endpoints);
        }
        let data = json!({ "upstream": &*self.name, "endpoints": endpoints.len() });
        self.events.emit(Event { kind: "discovery", data });
        *self.lock_configured() = endpoints;
    }

    fn lock_configured(&self) -> MutexGuard<'_, Vec<config::Endpoint>> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the endpoints. One that stays keeps its health, its load and its connections. One
    /// that leaves gets no new request and finishes its old ones.
    fn replace(&self, endpoints: &[config::Endpoint]) {
        let members = Arc::new(self.life.members(endpoints));
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
        self.announce();
    }

    /// Replaces the endpoints by those of an operator, or with `None` by those of the
    /// configuration.
    pub fn set(&self, endpoints: Option<&[config::Endpoint]>) {
        self.is_set.store(endpoints.is_some(), Ordering::Release);
        match endpoints {
            Some(endpoints) => self.replace(endpoints),
            None => self.replace(&self.configured()),
        }
        self.clear_overrides();
    }

    /// Whether an operator has set the endpoints.
    pub fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }

    /// Records whether an endpoint may get new requests. Balancers are told if that changed.
    pub fn set_healthy(&self, endpoint: &Endpoint, healthy: bool) {
        if endpoint.set_healthy(healthy) {
            let (upstream, endpoint) = (&*self.name, &*endpoint.name);
            let data = json!({ "upstream": upstream, "endpoint": endpoint, "healthy": healthy });
            self.events.emit(Event { kind: "health", data });
            self.announce();
        }
    }

    /// Tells workers and balancers that the endpoints have changed.
    pub fn announce(&self) {
        self.membership.store(fresh(), Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Completes when the endpoints may have changed. A change after the creation of the future
    /// counts.
    pub(crate) fn changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.changed.notified()
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Returns a number that no upstream has had before.
fn fresh() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}
