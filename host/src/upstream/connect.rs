//! Connections to endpoints and where idle ones wait. One worker's; nothing here is shared.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use super::Endpoint;
use super::h1::Wire;
use crate::config::UpstreamLimits;

/// The connections of one worker to one endpoint.
pub struct Pool {
    endpoint: Arc<Endpoint>,
    limits: UpstreamLimits,
    connect_timeout: Duration,
    /// Idle connections, the one used last at the back.
    idle: RefCell<VecDeque<Idle>>,
    open: Cell<usize>,
}

/// A connection in use. Dropping it closes the connection; [`Connection::release`] keeps it.
pub struct Connection {
    /// The connection itself.
    pub wire: Wire,
    /// Whether an earlier request went over it: then the origin may be closing it right now.
    pub reused: bool,
    open: Open,
}

struct Idle {
    wire: Wire,
    open: Open,
    since: Instant,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The endpoint refused or is unreachable.
    #[error("connect")]
    Io(#[from] io::Error),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// As many connections as the configuration allows are open.
    #[error("all {0} connections are in use")]
    Saturated(usize),
}

impl Pool {
    /// Makes an empty pool.
    pub fn new(endpoint: Arc<Endpoint>, limits: UpstreamLimits, connect_timeout: Duration) -> Self {
        let (idle, open) = (RefCell::default(), Cell::new(0));
        Self { endpoint, limits, connect_timeout, idle, open }
    }

    /// The endpoint's name.
    pub fn endpoint(&self) -> &Arc<str> {
        &self.endpoint.name
    }

    /// Takes the idle connection that was used last, if one is still open.
    pub fn idle(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(candidate) = idle.pop_back() {
            if candidate.since.elapsed() >= self.limits.idle_timeout {
                // The rest has waited longer still.
                idle.clear();
            } else if candidate.wire.is_quiet() {
                let Idle { wire, open, .. } = candidate;
                return Some(Connection { wire, reused: true, open });
            }
        }
        None
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnectError`]; nothing has been sent then.
    pub async fn connect(self: &Rc<Self>) -> Result<Connection, ConnectError> {
        let open = Open::enter(self)?;
        let connecting = TcpStream::connect(self.endpoint.address);
        let stream = tokio::time::timeout(self.connect_timeout, connecting)
            .await
            .map_err(|_| ConnectError::Timeout(self.connect_timeout))??;
        stream.set_nodelay(true)?;
        Ok(Connection { wire: Wire::new(stream), reused: false, open })
    }

    /// Closes connections that were idle for too long or that the origin has closed.
    pub fn sweep(&self) {
        let limit = self.limits.idle_timeout;
        self.idle.borrow_mut().retain(|idle| idle.since.elapsed() < limit && idle.wire.is_quiet());
    }
}

impl Connection {
    /// The connection, and the limits of what comes over it.
    pub fn bounded(&mut self) -> (&mut Wire, &UpstreamLimits) {
        (&mut self.wire, &self.open.0.limits)
    }

    /// Keeps the connection for another request. Only after a whole exchange: request and response ended, nothing left over.
    pub fn release(self) {
        let Self { wire, open, .. } = self;
        let pool = Rc::clone(&open.0);
        let mut idle = pool.idle.borrow_mut();
        if idle.len() < pool.limits.idle_connections {
            idle.push_back(Idle { wire, open, since: Instant::now() });
        }
    }
}

/// Counts an open connection.
struct Open(Rc<Pool>);

impl Open {
    fn enter(pool: &Rc<Pool>) -> Result<Self, ConnectError> {
        let open = pool.open.get();
        if open >= pool.limits.connections {
            return Err(ConnectError::Saturated(open));
        }
        pool.open.set(open + 1);
        Ok(Self(Rc::clone(pool)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
    }
}
