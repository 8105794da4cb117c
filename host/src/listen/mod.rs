//! Sockets: accept connections of all three protocols and turn them into requests.
//!
//! [`bind()`] runs on the control thread. [`serve`] runs on each worker's thread with that worker's
//! share of the sockets. Above this layer a request is a `Request<Body>` of any protocol. This
//! layer bounds the harm that an unreliable or hostile client can do to a connection. The
//! [`Handler`] decides on the content of requests.

mod bind;
mod effort;
mod frames;
mod gather;
mod h1;
mod h2;
mod h3;
mod handover;
mod heads;
mod interject;
mod service;
mod socket;
mod stall;
mod steer;
mod tcp;

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod kernel;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderValue, Request, Response};

pub use self::bind::{BindError, bind};
use self::handover::Group;
use self::stall::Pace;
use crate::config::{self, ListenerId, ListenerLimits, Protocols, Quic};
use crate::message::body::Body;
use crate::message::interim::Interim;
use crate::message::peer::Peer;
use crate::net::Throttle;
use crate::task::Tasks;
use crate::telemetry::metrics::{self, Metrics};
use crate::tls::{ServerConfigs, TlsError};

/// Answers requests; `server` makes the proxy one, and tests use stand-ins.
pub trait Handler: 'static {
    /// Answers a request. Interim responses go to `interim`. Dropping the future cancels the
    /// request.
    fn serve(
        &self,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>>;
}

/// One worker's share of a listener's sockets. [`bind()`] creates it, and [`serve`] serves it on
/// the worker's thread.
#[derive(Debug)]
pub struct Sockets {
    address: SocketAddr,
    worker: usize,
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
    group: Arc<Group>,
}

impl Sockets {
    /// Returns the bound address: the configured one, with the assigned port if the configured port
    /// is 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The data of one listener that its workers share.
#[derive(Debug)]
pub struct Edge {
    id: ListenerId,
    address: SocketAddr,
    protocols: Protocols,
    limits: ListenerLimits,
    quic: Quic,
    tls: Option<Arc<rustls::ServerConfig>>,
    quic_server: Option<quinn::ServerConfig>,
    /// The field for responses over TCP if HTTP/3 is served too (RFC 7838).
    alt_svc: Option<HeaderValue>,
    /// The rate at which a client must take waiting bytes.
    pace: Pace,
    connections: AtomicUsize,
    refusals: Throttle,
    counters: metrics::QuicCounters,
    cut: metrics::Cut,
}

impl Edge {
    /// Loads certificates and builds the settings that connections of `config` share. `address` is
    /// that of [`Sockets::address`].
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn new(
        id: ListenerId,
        config: &config::Listener,
        address: SocketAddr,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, TlsError> {
        let protocols = config.protocols;
        let tls = config.tls.as_ref().map(|tls| ServerConfigs::new(tls, protocols)).transpose()?;
        let quic = tls.as_ref().filter(|_| protocols.h3);
        let alt_svc = quic.and_then(|_| {
            HeaderValue::try_from(format!("h3=\":{}\"; ma=86400", address.port())).ok()
        });
        Ok(Arc::new(Self {
            id,
            address,
            protocols,
            limits: config.limits.clone(),
            quic: config.quic.clone(),
            quic_server: quic.map(|tls| h3::server_config(&config.quic, Arc::clone(&tls.quic))),
            tls: tls.map(|tls| tls.tcp),
            alt_svc,
            pace: Pace::new(&config.limits),
            connections: AtomicUsize::new(0),
            refusals: Throttle::default(),
            counters: metrics.quic.clone(),
            cut: metrics.cut.clone(),
        }))
    }

    /// Takes one of the listener's connection slots. Returns `None` if all are taken.
    fn slot(self: &Arc<Self>) -> Option<ConnectionPermit> {
        let slot = ConnectionPermit(Arc::clone(self));
        // Counting first prevents two workers from taking the last slot.
        if self.connections.fetch_add(1, Ordering::Relaxed) < self.limits.connections {
            return Some(slot);
        }
        if self.refusals.is_due() {
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
struct ConnectionPermit(Arc<Edge>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts accepting on a worker's sockets. Returns at once, and the work runs in `tasks`.
///
/// When `tasks` drains, no new connection is accepted, and open ones end after their present
/// requests.
///
/// # Errors
///
/// The runtime does not accept the sockets.
pub fn serve<H: Handler>(
    sockets: Sockets,
    edge: &Arc<Edge>,
    handler: &Rc<H>,
    tasks: &Tasks,
) -> io::Result<()> {
    if let Some(listener) = sockets.tcp {
        tcp::serve(listener, edge, Rc::clone(handler), tasks)?;
    }
    if let Some(socket) = sockets.udp {
        h3::serve(socket, sockets.worker, &sockets.group, edge, Rc::clone(handler), tasks)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
