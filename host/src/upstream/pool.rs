//! Connections to endpoints and the pool of idle ones. They belong to one worker and are not
//! shared.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::Endpoint;
use super::h1::Wire;
use super::lease::Lease;
use super::share::{Holders, Network, PlaceRefused};
use crate::config::UpstreamLimits;

/// The connections of one worker to one endpoint.
pub struct Pool {
    endpoint: Arc<Endpoint>,
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
}

/// A connection in use. Dropping it closes the connection. [`Connection::release`] keeps it.
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
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint refused the connection or is unreachable.
    #[error("connect")]
    Io(#[from] io::Error),
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

impl ConnectError {
    /// Returns one word for metrics and spans.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Share(_) => "client_share",
            _ => "connect",
        }
    }

    /// Returns whether another endpoint may succeed. False if the connections are used up.
    pub fn is_of_endpoint(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Timeout(_))
    }
}

impl Pool {
    /// Creates an empty pool.
    pub fn new(endpoint: Arc<Endpoint>, limits: UpstreamLimits, connect_timeout: Duration) -> Self {
        let (idle, open) = (RefCell::default(), Cell::new(0));
        let holders = Holders::new(limits.connections, limits.per_client);
        let (limits, connect_timeout) = (RefCell::new(Rc::new(limits)), Cell::new(connect_timeout));
        let adjusted = Cell::new(0);
        Self { endpoint, limits, connect_timeout, idle, open, adjusted, holders }
    }

    /// Returns the endpoint.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Follows the limits of another configuration, unless those of a later one apply already.
    /// `number` is greater for later configurations. Connections stay.
    pub(super) fn adjust(&self, number: u64, limits: &UpstreamLimits, connect_timeout: Duration) {
        if number < self.adjusted.replace(number.max(self.adjusted.get())) {
            return;
        }
        self.connect_timeout.set(connect_timeout);
        if **self.limits.borrow() != *limits {
            self.holders.adjust(limits.connections, limits.per_client);
            *self.limits.borrow_mut() = Rc::new(limits.clone());
        }
    }

    fn limits(&self) -> Rc<UpstreamLimits> {
        Rc::clone(&self.limits.borrow())
    }

    /// Takes the right to send one request of a client of this network: an idle connection that is
    /// still open, the one that was used last, or a fresh one.
    ///
    /// # Errors
    ///
    /// [`ConnectError`]. Nothing has been sent in that case.
    pub(super) async fn lease(self: &Rc<Self>, network: Network) -> Result<Lease, ConnectError> {
        self.take(network).await.map(Lease::H1)
    }

    async fn take(self: &Rc<Self>, network: Network) -> Result<Connection, ConnectError> {
        let place = self.holders.enter(network).map_err(|refused| match refused {
            PlaceRefused::Full => ConnectError::Saturated(self.limits.borrow().connections),
            PlaceRefused::Share => ConnectError::Share(self.limits.borrow().connections),
        })?;
        if let Some(wire) = self.idle() {
            let open = Open::new(self, place, true);
            return Ok(Connection { wire, open });
        }
        Open::enter(self, place)?.connect().await
    }

    /// Returns the last used idle connection that is still open.
    fn idle(&self) -> Option<Wire> {
        let mut idle = self.idle.borrow_mut();
        let limit = self.limits.borrow().idle_timeout;
        while let Some(candidate) = idle.pop_back() {
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
        self.idle.borrow_mut().retain(|idle| idle.since.elapsed() < limit && idle.wire.is_quiet());
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
        open.connect().await
    }

    /// Keeps the connection for another request. Allowed only after a complete exchange: request
    /// and response have ended, and no bytes remain.
    pub fn release(self) {
        let Self { wire, open } = self;
        let pool = Rc::clone(&open.pool);
        drop(open);
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < pool.limits.borrow().idle_connections {
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
            pool.holders.leave(place);
            return Err(ConnectError::Saturated(open));
        }
        Ok(Self::new(pool, place, false))
    }

    fn new(pool: &Rc<Pool>, place: u32, reused: bool) -> Self {
        pool.open.set(pool.open.get() + 1);
        Self { pool: Rc::clone(pool), place, reused, limits: pool.limits() }
    }

    async fn connect(self) -> Result<Connection, ConnectError> {
        let limit = self.pool.connect_timeout.get();
        let connecting = TcpStream::connect(self.pool.endpoint.address);
        let stream = tokio::time::timeout(limit, connecting)
            .await
            .map_err(|_| ConnectError::Timeout(limit))??;
        stream.set_nodelay(true)?;
        Ok(Connection { wire: Wire::new(stream), open: self })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.pool.holders.leave(self.place);
        self.pool.open.set(self.pool.open.get() - 1);
    }
}
