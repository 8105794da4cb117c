//! The connections of one worker to one endpoint that serve several requests at once.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::Shared as SharedFuture;
use tokio::sync::oneshot;

use super::connection::H2Connection;
use crate::task::Owned;
use crate::upstream::connect::Spoken;
use crate::upstream::h1::Wire;
use crate::upstream::pool::{ConnectError, Pool};

/// The open connections, and the one that is being opened.
#[derive(Default)]
pub(in crate::upstream) struct Shared {
    open: RefCell<Vec<Rc<H2Connection>>>,
    growth: RefCell<Option<Growth>>,
}

/// A connection that is being opened. Its task goes on when the request that began it has gone,
/// because others wait for it.
struct Growth {
    outcome: SharedFuture<oneshot::Receiver<Result<(), ConnectError>>>,
    _task: Owned,
}

impl Shared {
    /// Returns the number of connections.
    pub(in crate::upstream) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Returns the first connection that may serve another request. Connections that have ended
    /// leave.
    pub(in crate::upstream) fn with_room(&self) -> Option<Rc<H2Connection>> {
        let mut open = self.open.borrow_mut();
        if let Some(first) = open.iter().find(|connection| connection.has_room()) {
            return Some(Rc::clone(first));
        }
        open.retain(|connection| connection.is_open());
        None
    }

    /// Opens a connection. All requests that want one meanwhile wait for the same.
    ///
    /// # Errors
    /// The endpoint cannot be connected to.
    pub(in crate::upstream) async fn grow(&self, pool: &Rc<Pool>) -> Result<(), ConnectError> {
        let outcome = {
            let mut growth = self.growth.borrow_mut();
            growth.get_or_insert_with(|| Growth::start(pool)).outcome.clone()
        };
        let lost = |_| Err(io::Error::from(io::ErrorKind::ConnectionAborted).into());
        outcome.await.unwrap_or_else(lost)
    }

    /// Closes connections that were idle for too long, and those beyond the number to keep.
    pub(in crate::upstream) fn sweep(&self, limit: Duration, keep: usize) {
        let mut kept = 0;
        self.open.borrow_mut().retain(|connection| {
            let Some(idle) = connection.idle() else { return connection.is_open() };
            kept += 1;
            idle < limit && kept <= keep && connection.is_open()
        });
    }
}

impl Growth {
    fn start(pool: &Rc<Pool>) -> Self {
        let (done, outcome) = oneshot::channel();
        let pool = Rc::downgrade(pool);
        let task = Owned::spawn(async move {
            let opened = match pool.upgrade() {
                Some(pool) => open(&pool).await,
                None => return,
            };
            let Some(pool) = pool.upgrade() else { return };
            let shared = pool.shared();
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

/// Opens a connection. An endpoint that chooses HTTP/1.1 gives a connection to the pool's idle
/// ones.
async fn open(pool: &Rc<Pool>) -> Result<Option<Rc<H2Connection>>, ConnectError> {
    let (connector, limit) = (pool.connector(), pool.connect_timeout());
    let connecting = connector.connect(pool.endpoint(), limit, connector.spoken());
    let (transport, spoken) = connecting.await?;
    pool.learn(spoken);
    match spoken {
        Spoken::H1 => {
            pool.keep(Wire::new(transport));
            Ok(None)
        }
        Spoken::H2 => {
            let limits = pool.limits();
            let started = H2Connection::start(transport, &limits);
            let started = tokio::time::timeout(limit, started).await;
            let started = started.map_err(|_| ConnectError::Timeout(limit))?;
            Ok(Some(started.map_err(io::Error::other)?))
        }
    }
}
