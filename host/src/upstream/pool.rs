//! Connections to endpoints and the pool of idle ones. They belong to one worker and are not
//! shared.

mod leasing;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Response, StatusCode, Version};

use super::Endpoint;
use super::connect::{Connector, Spoken, host};
use super::h1::Wire;
use super::h2::H2Connection;
use super::h3::Quic;
use super::share::{Holders, Network, PlaceRefused};
use super::shared::{MAX_STREAMS, Shared};
use crate::config::UpstreamLimits;
use crate::message::body::Body;
use crate::message::peer::Peer;

/// The connections of one worker to one endpoint.
pub struct Pool {
    endpoint: Arc<Endpoint>,
    connector: Arc<Connector>,
    /// The protocol of the connections, if it is known. An endpoint may choose it.
    spoken: Cell<Option<Spoken>>,
    /// The limits of the present configuration. Requests read them through a shared pointer, since
    /// a reload may change them.
    limits: RefCell<Rc<UpstreamLimits>>,
    connect_timeout: Cell<Duration>,
    /// Idle connections, the last used one at the back.
    idle: RefCell<VecDeque<Idle>>,
    /// Connections in use.
    open: Cell<usize>,
    /// The number of the upstream whose limits apply.
    adjusted: Cell<u64>,
    holders: Holders,
    /// Whether the connections serve several requests at once, as far as it is known.
    is_shared: Cell<bool>,
    h2: Shared<H2Connection>,
    h3: Quic,
}

/// A connection of HTTP/1.1 in use. Dropping it closes the connection, and
/// [`Connection::release`] keeps it.
pub struct Connection {
    /// The connection itself.
    pub wire: Wire,
    open: Open,
}

/// A connection that waits for its next request. It does not keep the pool alive: a pool that is
/// not used any more closes its connections.
struct Idle {
    wire: Wire,
    since: Instant,
}

/// The reason why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint refused the connection or is unreachable.
    #[error("connect")]
    Io(#[source] Arc<io::Error>),
    /// No encrypted connection came about: the certificate is not accepted, for example.
    #[error("TLS handshake")]
    Tls(#[source] Arc<io::Error>),
    /// The endpoint did not answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The number of open connections has reached the configured limit.
    #[error("all {0} connections are in use")]
    Saturated(usize),
    /// Few connections are free, and the client's network uses its share.
    #[error("the client's network uses its share (limits.per_client) of {0} connections")]
    Share(usize),
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Io(Arc::new(error))
    }
}

impl ConnectError {
    /// The handshake failed.
    pub(super) fn tls(error: io::Error) -> Self {
        Self::Tls(Arc::new(error))
    }

    /// Returns one word for metrics and spans.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Share(_) => "client_share",
            Self::Tls(_) => "tls",
            _ => "connect",
        }
    }

    /// Returns whether another endpoint may succeed. False if the connections are used up.
    pub fn is_of_endpoint(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Tls(_) | Self::Timeout(_))
    }
}

impl Pool {
    /// Creates an empty pool.
    pub(super) fn new(
        (endpoint, connector): (Arc<Endpoint>, Arc<Connector>),
        limits: UpstreamLimits,
        connect_timeout: Duration,
    ) -> Self {
        let spoken = connector.spoken();
        let h3 = match connector.is_h3() {
            true => Quic::configured(endpoint.address.port()),
            false => Quic::default(),
        };
        let is_shared = spoken == Some(Spoken::H2) || connector.is_h3();
        Self {
            endpoint,
            connector,
            spoken: Cell::new(spoken),
            holders: Holders::new(places(&limits, is_shared), limits.per_client),
            limits: RefCell::new(Rc::new(limits)),
            connect_timeout: Cell::new(connect_timeout),
            idle: RefCell::default(),
            open: Cell::new(0),
            adjusted: Cell::new(0),
            is_shared: Cell::new(is_shared),
            h2: Shared::default(),
            h3,
        }
    }

    /// Returns the endpoint.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Whether its connections go to this endpoint, by this connector.
    pub(super) fn is_of(&self, endpoint: &Arc<Endpoint>, connector: &Arc<Connector>) -> bool {
        Arc::ptr_eq(&self.endpoint, endpoint) && Arc::ptr_eq(&self.connector, connector)
    }

    /// Follows the limits of another configuration, unless those of a later one apply already.
    /// `number` is greater for later configurations. Connections stay.
    pub(super) fn adjust(&self, number: u64, limits: &UpstreamLimits, connect_timeout: Duration) {
        if number < self.adjusted.replace(number.max(self.adjusted.get())) {
            return;
        }
        self.connect_timeout.set(connect_timeout);
        if **self.limits.borrow() != *limits {
            self.holders.adjust(places(limits, self.is_shared.get()), limits.per_client);
            *self.limits.borrow_mut() = Rc::new(limits.clone());
        }
    }

    /// Returns the limits of the present configuration.
    pub(super) fn limits(&self) -> Rc<UpstreamLimits> {
        Rc::clone(&self.limits.borrow())
    }

    /// Returns the way to open connections.
    pub(super) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// Returns the bound on opening a connection.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout.get()
    }

    /// Returns the connections of HTTP/2.
    pub(super) fn h2(&self) -> &Shared<H2Connection> {
        &self.h2
    }

    /// Returns the QUIC toward the endpoint.
    pub(super) fn h3(&self) -> &Quic {
        &self.h3
    }

    /// Learns from a response whether the endpoint serves HTTP/3.
    pub(super) fn hear(&self, response: &Response<Body>) {
        if !self.connector.learns_h3() {
            return;
        }
        let is_misdirected = response.status() == StatusCode::MISDIRECTED_REQUEST;
        if is_misdirected && response.version() == Version::HTTP_3 {
            // The alternative is not for this host (RFC 7838 §6).
            self.h3.alternative().forget();
        } else {
            self.h3.alternative().learn(response.headers(), host(&self.endpoint.name));
        }
        self.widen();
    }

    /// Notes the protocol that the endpoint has chosen.
    pub(super) fn learn(&self, spoken: Spoken) {
        if self.spoken.replace(Some(spoken)) != Some(spoken) {
            self.widen();
        }
    }

    /// Adjusts the number of places to the protocol.
    pub(super) fn widen(&self) {
        let over_quic = self.h3.alternative().port().is_some();
        let is_shared = self.spoken.get() == Some(Spoken::H2) || over_quic;
        if self.is_shared.replace(is_shared) != is_shared {
            let limits = self.limits();
            self.holders.adjust(places(&limits, is_shared), limits.per_client);
        }
    }

    /// Keeps a connection of HTTP/1.1 that no request has used.
    pub(super) fn keep(&self, wire: Wire) {
        self.idle.borrow_mut().push_back(Idle { wire, since: Instant::now() });
    }

    /// Notes a user of the connections, and returns its place.
    pub(super) fn enter(&self, network: Network) -> Result<u32, ConnectError> {
        self.holders.enter(network).map_err(|refused| match refused {
            PlaceRefused::Full => ConnectError::Saturated(self.limits.borrow().connections),
            PlaceRefused::Share => ConnectError::Share(self.limits.borrow().connections),
        })
    }

    /// Notes that a user of the connections has ended.
    pub(super) fn leave(&self, place: u32) {
        self.holders.leave(place);
    }

    async fn take(self: &Rc<Self>, peer: &Peer) -> Result<Connection, ConnectError> {
        let place = self.enter(Network::of(peer.client.ip()))?;
        if let Some(wire) = self.idle() {
            let open = Open::new(self, place, true);
            return Ok(Connection { wire, open });
        }
        Open::enter(self, place)?.connect(Some(peer)).await
    }

    /// Returns the last used idle connection that is still open.
    fn idle(&self) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        let limit = self.limits.borrow().idle_timeout;
        while let Some(mut candidate) = idle.pop_back() {
            if candidate.since.elapsed() >= limit {
                // The other connections have waited even longer.
                idle.clear();
            } else if candidate.wire.is_quiet() {
                return Some(candidate.wire);
            }
        }
        None
    }

    /// Closes connections that were idle for too long or that the origin has closed.
    pub fn sweep(&self) {
        let limit = self.limits.borrow().idle_timeout;
        let mut idle = self.idle.borrow_mut();
        idle.retain_mut(|idle| idle.since.elapsed() < limit && idle.wire.is_quiet());
        let keep = self.limits.borrow().idle_connections;
        self.h2.sweep(limit, keep);
        self.h3.connections().sweep(limit, keep);
        self.widen();
        // An endpoint may choose another protocol some day.
        if idle.is_empty() && self.open.get() == 0 && self.h2.len() == 0 {
            self.spoken.set(self.connector.spoken());
        }
    }
}

impl Connection {
    /// Returns the connection, and the limits for its input.
    pub fn bounded(&mut self) -> (&mut Wire, &UpstreamLimits) {
        (&mut self.wire, &self.open.limits)
    }

    /// The endpoint's name.
    pub fn endpoint(&self) -> &Arc<str> {
        &self.open.pool.endpoint.name
    }

    /// Returns whether an earlier request used the connection. The origin may be closing such a
    /// connection at this moment.
    pub fn is_reused(&self) -> bool {
        self.open.reused
    }

    /// Closes the connection and opens another one in its place.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. Nothing has been sent in that case.
    pub async fn replace(self) -> Result<Self, ConnectError> {
        let Self { wire, mut open } = self;
        drop(wire);
        open.reused = false;
        // A connection that names its client is never reused, and therefore never replaced.
        open.connect(None).await
    }

    /// Keeps the connection for another request. Allowed only after a complete exchange: request
    /// and response have ended, and no bytes remain.
    pub fn release(self) {
        let Self { wire, open } = self;
        let pool = Rc::clone(&open.pool);
        drop(open);
        let mut idle = pool.idle.borrow_mut();
        let is_kept = !pool.connector.names_clients();
        if is_kept && idle.len() < pool.limits.borrow().idle_connections {
            idle.push_back(Idle { wire, since: Instant::now() });
        }
    }
}

/// Counts an open connection and its user.
struct Open {
    pool: Rc<Pool>,
    /// The place of its user among the users of the pool's connections.
    place: u32,
    reused: bool,
    /// The limits at the begin of the present use.
    limits: Rc<UpstreamLimits>,
}

impl Open {
    fn enter(pool: &Rc<Pool>, place: u32) -> Result<Self, ConnectError> {
        let open = pool.open.get() + pool.idle.borrow().len();
        if open >= pool.limits.borrow().connections {
            pool.leave(place);
            return Err(ConnectError::Saturated(open));
        }
        Ok(Self::new(pool, place, false))
    }

    fn new(pool: &Rc<Pool>, place: u32, reused: bool) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self { pool: Rc::clone(pool), place, reused, limits: pool.limits() }
    }

    async fn connect(self, peer: Option<&Peer>) -> Result<Connection, ConnectError> {
        let pool = &self.pool;
        let limit = pool.connect_timeout.get();
        let connecting = pool.connector.connect(&pool.endpoint, limit, H1, peer);
        let (transport, _) = connecting.await?;
        Ok(Connection { wire: Wire::new(transport), open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.leave(self.place);
        self.pool.open.set(self.pool.open.get() - 1);
    }
}

/// Returns the number of requests that a pool serves at once.
fn places(limits: &UpstreamLimits, is_shared: bool) -> usize {
    let each = if is_shared { MAX_STREAMS } else { 1 };
    limits.connections.saturating_mul(each)
}

/// The protocol of connections that serve one request at a time.
const H1: Option<Spoken> = Some(Spoken::H1);
