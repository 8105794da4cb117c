//! [`Edge`]: the settings of a listener, as one of its connections sees them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;

use super::h3;
use super::stall::Pace;
use crate::config::{self, ListenerId, ListenerLimits, Protocols, Quic};
use crate::net::Throttle;
use crate::telemetry::metrics::{self, Metrics};
use crate::tls::{ServerConfigs, TlsError};

/// The settings of a listener under one configuration. A connection keeps those of its beginning.
#[derive(Debug)]
pub struct Edge {
    pub(super) id: ListenerId,
    pub(super) address: SocketAddr,
    pub(super) protocols: Protocols,
    pub(super) limits: ListenerLimits,
    pub(super) quic: Quic,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) quic_server: Option<Arc<quinn::ServerConfig>>,
    /// The field for responses over TCP if HTTP/3 is served too (RFC 7838).
    pub(super) alt_svc: Option<HeaderValue>,
    /// The rate at which a client must take waiting bytes.
    pub(super) pace: Pace,
    pub(super) counters: metrics::QuicCounters,
    pub(super) cut: metrics::Cut,
    port: Arc<Port>,
}

/// The part of a listener that outlives its settings.
#[derive(Debug)]
struct Port {
    connections: AtomicUsize,
    refusals: Throttle,
    /// The key of Retry tokens, which all workers share.
    retry: h3::RetryKey,
}

impl Edge {
    /// Loads certificates and builds the settings that connections of `config` share. `address` is
    /// that of [`Sockets::address`](super::Sockets::address).
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn new(
        id: ListenerId,
        config: &config::Listener,
        address: SocketAddr,
        metrics: &Metrics,
    ) -> Result<Self, TlsError> {
        let port = Port {
            connections: AtomicUsize::new(0),
            refusals: Throttle::default(),
            retry: h3::RetryKey::new(),
        };
        Self::with(Arc::new(port), id, config, address, metrics)
    }

    /// Builds the settings of the same listener under another configuration.
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn follow(&self, config: &config::Listener, metrics: &Metrics) -> Result<Self, TlsError> {
        Self::with(Arc::clone(&self.port), self.id, config, self.address, metrics)
    }

    fn with(
        port: Arc<Port>,
        id: ListenerId,
        config: &config::Listener,
        address: SocketAddr,
        metrics: &Metrics,
    ) -> Result<Self, TlsError> {
        let protocols = config.protocols;
        let tls = config.tls.as_ref().map(|tls| ServerConfigs::new(tls, protocols)).transpose()?;
        let quic = tls.as_ref().filter(|_| protocols.h3);
        let alt_svc = quic.and_then(|_| {
            HeaderValue::try_from(format!("h3=\":{}\"; ma=86400", address.port())).ok()
        });
        let quic_server = quic.map(|tls| {
            Arc::new(h3::server_config(&config.quic, Arc::clone(&tls.quic), &port.retry))
        });
        Ok(Self {
            id,
            address,
            protocols,
            limits: config.limits.clone(),
            quic: config.quic.clone(),
            quic_server,
            tls: tls.map(|tls| tls.tcp),
            alt_svc,
            pace: Pace::new(&config.limits),
            counters: metrics.quic.clone(),
            cut: metrics.cut.clone(),
            port,
        })
    }

    /// Returns whether the certificates are those of the files now.
    pub fn is_fresh(&self) -> bool {
        true
    }

    /// Returns the number of open connections of the listener, over all its settings.
    pub fn connections(&self) -> usize {
        self.port.connections.load(Ordering::Relaxed)
    }

    /// Takes one of the listener's connection slots. Returns `None` if all are taken.
    pub(super) fn slot(&self) -> Option<ConnectionPermit> {
        let slot = ConnectionPermit(Arc::clone(&self.port));
        // Counting first prevents two workers from taking the last slot.
        if self.port.connections.fetch_add(1, Ordering::Relaxed) < self.limits.connections {
            return Some(slot);
        }
        if self.port.refusals.is_due() {
            tracing::warn!(
                address = %self.address,
                limit = self.limits.connections,
                "refusing connections: limits.connections is reached"
            );
        }
        None
    }
}

/// The slot of one open connection. It becomes free when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit(Arc<Port>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
