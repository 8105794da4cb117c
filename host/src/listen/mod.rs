//! Sockets: where connections of all three protocols come in and become requests.
//!
//! [`bind()`] runs on the control thread, [`serve`] on each worker's with that worker's share of the sockets. Above here a
//! request is a `Request<Body>` and nobody asks which protocol it came by. What an unreliable or hostile client can do to
//! a connection is bounded here; what a request means is the [`Handler`]'s business.

mod ahead;
mod bind;
pub mod body;
mod complete;
mod effort;
mod frames;
mod gather;
mod h1;
mod h2;
mod h3;
mod handover;
mod heads;
pub mod interim;
mod interject;
pub(crate) mod linger;
mod socket;
mod stall;
mod steer;
pub(crate) mod tcp;

#[cfg(target_os = "linux")]
mod kernel;
#[cfg(not(target_os = "linux"))]
#[path = "portable.rs"]
mod kernel;

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{HeaderValue, Request, Response};

pub use self::bind::{BindError, bind};
use self::body::Body;
use self::handover::Group;
use self::interim::Interim;
use self::stall::Pace;
use crate::config::{self, ListenerLimits, Protocols, Quic};
use crate::proxy::{Peer, Proxy};
use crate::task::Tasks;
use crate::telemetry::metrics::{self, Metrics};
use crate::tls::{ServerConfigs, TlsError};

/// Answers requests; the [`Proxy`], or a stand-in in tests.
pub trait Handler: 'static {
    /// Answers a request; interim responses go to `interim`. Dropping the future cancels it.
    fn serve(
        &self,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>>;
}

impl Handler for Proxy {
    fn serve(
        &self,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>> {
        Self::serve(self, request, peer, interim)
    }
}

/// One worker's share of a listener's sockets; made by [`bind()`], served on the worker's thread by [`serve`].
#[derive(Debug)]
pub struct Sockets {
    address: SocketAddr,
    worker: usize,
    tcp: Option<TcpListener>,
    udp: Option<UdpSocket>,
    group: Arc<Group>,
}

impl Sockets {
    /// The address that was bound: as configured, the port filled in if that was 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// What the workers share of one listener.
#[derive(Debug)]
pub struct Edge {
    /// The listener's place in the configuration.
    index: usize,
    address: SocketAddr,
    protocols: Protocols,
    limits: ListenerLimits,
    quic: Quic,
    tls: Option<Arc<rustls::ServerConfig>>,
    quic_server: Option<quinn::ServerConfig>,
    /// For responses over TCP, when HTTP/3 is served too (RFC 7838).
    alt_svc: Option<HeaderValue>,
    /// How fast a client must take what waits for it.
    pace: Pace,
    connections: AtomicUsize,
    refusals: Throttle,
    counters: metrics::Quic,
    cut: metrics::Cut,
}

impl Edge {
    /// Loads certificates and builds what connections of `config` need; `index` is its place in the configuration, `address` is what [`Sockets::address`] says.
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn new(
        index: usize,
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
            index,
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

    /// Takes one of the listener's connections; `None` when all are taken.
    fn slot(self: &Arc<Self>) -> Option<Slot> {
        let slot = Slot(Arc::clone(self));
        // Counted first, so that no two workers take the last one.
        if self.connections.fetch_add(1, Ordering::Relaxed) < self.limits.connections {
            return Some(slot);
        }
        if self.refusals.is_due() {
            tracing::warn!(
                address = %self.address,
                limit = self.limits.connections,
                "refusing connections: all that limits.connections allows are open"
            );
        }
        None
    }
}

/// One open connection; gives its place back when dropped.
#[derive(Debug)]
struct Slot(Arc<Edge>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Starts accepting on a worker's sockets; returns at once, the work runs in `tasks`.
///
/// When `tasks` drains, no new connection is accepted, and open ones end after the requests they have.
///
/// # Errors
///
/// The runtime does not take the sockets.
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

/// The address as its own family: a dual-stack socket shows IPv4 clients as IPv6.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Lets one event a second through, for logs of what may happen at any rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    /// Milliseconds after `start` of the last event, plus one.
    last: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Throttle {
    const EVERY: Duration = Duration::from_secs(1);

    pub(crate) fn is_due(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64 + 1;
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= Self::EVERY.as_millis() as u64;
        is_due
            && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests;
