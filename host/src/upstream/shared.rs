//! Connections that serve several requests at once: those of one worker to one endpoint, and the
//! right to send one request over one of them.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::Shared as SharedFuture;
use tokio::sync::oneshot;

use super::pool::{ConnectError, Pool};
use super::share::Network;
use crate::config::UpstreamLimits;
use crate::task::Owned;

/// Maximum number of requests of one connection at once. An origin may allow fewer.
///
/// Together with the windows it ensures that a client that reads nothing stops its own stream only:
/// the window of the connection has room for the windows of all streams.
pub(super) const MAX_STREAMS: usize = 128;

/// Bytes of a response that an origin may send ahead on one stream.
pub(super) const STREAM_WINDOW: u32 = 256 << 10;

/// Bytes that an origin may send ahead on all streams of a connection.
pub(super) const CONNECTION_WINDOW: u32 = MAX_STREAMS as u32 * STREAM_WINDOW;

/// A connection that serves several requests at once.
pub(super) trait Multiplexed: Sized + 'static {
    /// The permission of the peer to begin a request.
    type Ticket;

    /// Returns the connections of this kind in a pool.
    fn all(pool: &Pool) -> &Shared<Self>;

    /// Opens a connection. `None` if the endpoint has chosen another protocol, and the pool has the
    /// connection.
    fn open(pool: Rc<Pool>) -> impl Future<Output = Result<Option<Rc<Self>>, ConnectError>>;

    /// Returns the requests that use it.
    fn usage(&self) -> &Usage;

    /// Whether the origin takes further requests on it: neither side has ended it.
    fn is_open(&self) -> bool;

    /// Takes the permission to begin a request now, if the origin gives one.
    fn ticket(&self) -> Option<Self::Ticket>;

    /// Whether [`Multiplexed::ticket`] would return one.
    fn has_ticket(&self) -> bool;
}

/// The requests that use a connection.
pub(super) struct Usage {
    /// Requests in progress.
    streams: Cell<usize>,
    /// Requests begun since the start.
    begun: Cell<u64>,
    idle_since: Cell<Instant>,
}

impl Usage {
    /// A connection without requests.
    pub(super) fn new() -> Self {
        Self { streams: Cell::new(0), begun: Cell::new(0), idle_since: Cell::new(Instant::now()) }
    }

    /// Returns the number of requests in progress.
    pub(super) fn streams(&self) -> usize {
        self.streams.get()
    }

    /// Returns the time since the last request ended. `None` while there are requests.
    fn idle(&self) -> Option<Duration> {
        (self.streams.get() == 0).then(|| self.idle_since.get().elapsed())
    }
}

/// The open connections, and the one that is being opened.
pub(super) struct Shared<C> {
    open: RefCell<Vec<Rc<C>>>,
    growth: RefCell<Option<Growth>>,
}

/// A connection that is being opened. Its task goes on when the request that began it has gone,
/// because others wait for it.
struct Growth {
    outcome: SharedFuture<oneshot::Receiver<Result<(), ConnectError>>>,
    _task: Owned,
}

impl<C> Default for Shared<C> {
    fn default() -> Self {
        Self { open: RefCell::default(), growth: RefCell::default() }
    }
}

impl<C: Multiplexed> Shared<C> {
    /// Returns the number of connections.
    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Returns the first connection that may serve another request. Connections that have ended
    /// leave.
    fn with_room(&self) -> Option<Rc<C>> {
        let mut open = self.open.borrow_mut();
        let has_room = |connection: &&Rc<C>| {
            connection.usage().streams() < MAX_STREAMS && connection.has_ticket()
        };
        if let Some(first) = open.iter().find(has_room) {
            return Some(Rc::clone(first));
        }
        open.retain(|connection| connection.is_open());
        None
    }

    /// Whether a connection serves no request.
    pub(super) fn has_unused(&self) -> bool {
        self.open.borrow().iter().any(|connection| connection.usage().streams() == 0)
    }

    /// Returns any connection.
    pub(super) fn first(&self) -> Option<Rc<C>> {
        self.open.borrow().first().cloned()
    }

    /// Opens a connection, even if the future is dropped. All requests that want one meanwhile wait
    /// for the same.
    ///
    /// # Errors
    /// The endpoint cannot be connected to.
    pub(super) fn grow(
        &self,
        pool: &Rc<Pool>,
    ) -> impl Future<Output = Result<(), ConnectError>> + use<C> {
        let mut growth = self.growth.borrow_mut();
        let outcome = growth.get_or_insert_with(|| Growth::start::<C>(pool)).outcome.clone();
        async move {
            let lost = |_| Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
            outcome.await.unwrap_or_else(lost)
        }
    }

    /// Closes connections that were idle for too long, and those beyond the number to keep.
    pub(super) fn sweep(&self, limit: Duration, keep: usize) {
        let mut kept = 0;
        self.open.borrow_mut().retain(|connection| {
            let Some(idle) = connection.usage().idle() else { return connection.is_open() };
            kept += 1;
            idle < limit && kept <= keep && connection.is_open()
        });
    }
}

impl Growth {
    fn start<C: Multiplexed>(pool: &Rc<Pool>) -> Self {
        let (done, outcome) = oneshot::channel();
        let pool = Rc::downgrade(pool);
        let task = Owned::spawn(async move {
            let Some(opening) = pool.upgrade().map(C::open) else { return };
            let opened = opening.await;
            let Some(pool) = pool.upgrade() else { return };
            let shared = C::all(&pool);
            let outcome = opened.map(|connection| shared.open.borrow_mut().extend(connection));
            // The next request that finds no room begins another one.
            let finished = shared.growth.take();
            // The send fails only if all requests have gone.
            let _ = done.send(outcome);
            drop(finished);
        });
        Self { outcome: outcome.shared(), _task: task }
    }
}

/// The right to send one request over a connection.
pub(super) struct SharedLease<C: Multiplexed> {
    running: Running<C>,
    seat: Seat,
}

/// A request in progress, which counts among those of its connection.
struct Running<C: Multiplexed>(Rc<C>);

/// The place of a client among the users of a pool.
struct Seat {
    pool: Rc<Pool>,
    place: u32,
}

impl<C: Multiplexed> SharedLease<C> {
    /// Takes a part of an open connection, if one has room.
    ///
    /// # Errors
    /// The client's network has its share of the connections.
    pub(super) fn take(
        pool: &Rc<Pool>,
        network: Network,
    ) -> Result<Option<(Self, C::Ticket)>, ConnectError> {
        let Some(connection) = C::all(pool).with_room() else { return Ok(None) };
        let place = pool.enter(network)?;
        let seat = Seat { pool: Rc::clone(pool), place };
        let Some(ticket) = connection.ticket() else { return Ok(None) };
        let usage = connection.usage();
        usage.streams.set(usage.streams.get() + 1);
        usage.begun.set(usage.begun.get() + 1);
        Ok(Some((Self { running: Running(connection), seat }, ticket)))
    }

    /// Returns the connection.
    pub(super) fn connection(&self) -> &C {
        &self.running.0
    }

    /// Whether an earlier request used the connection. The origin may be closing such a connection
    /// at this moment.
    pub(super) fn is_reused(&self) -> bool {
        self.connection().usage().begun.get() > 1
    }

    /// Returns the pool of the connection.
    pub(super) fn pool(&self) -> &Rc<Pool> {
        &self.seat.pool
    }

    /// Returns the limits of responses.
    pub(super) fn limits(&self) -> Rc<UpstreamLimits> {
        self.pool().limits()
    }
}

impl<C: Multiplexed> Drop for Running<C> {
    fn drop(&mut self) {
        let usage = self.0.usage();
        usage.streams.set(usage.streams.get() - 1);
        usage.idle_since.set(Instant::now());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.leave(self.place);
    }
}
