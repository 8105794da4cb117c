//! One connection of HTTP/3 to an origin.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use weir_h3::{Client, Code, Config, Stream};

use super::quic;
use crate::task::Owned;
use crate::upstream::pool::{ConnectError, Pool};
use crate::upstream::share::Network;
use crate::upstream::shared::{Multiplexed, Shared, SharedLease, Usage};

/// A connection that serves many requests at once.
pub(in crate::upstream) struct H3Connection {
    client: Client,
    usage: Usage,
    /// A stream that the origin has allowed, for the next request.
    next: RefCell<Option<Rc<Stream>>>,
    /// Whether a response has come.
    has_answered: Rc<Cell<bool>>,
    _driver: Owned,
}

/// The right to send one request over a connection.
pub(in crate::upstream) struct H3Lease {
    pub(in crate::upstream) lease: SharedLease<H3Connection>,
    /// The stream of the request.
    pub(super) stream: Rc<Stream>,
}

impl H3Lease {
    /// Takes a part of an open connection, if one has room.
    ///
    /// # Errors
    /// The client's network has its share of the connections.
    pub(in crate::upstream) fn take(
        pool: &Rc<Pool>,
        network: Network,
    ) -> Result<Option<Self>, ConnectError> {
        let taken = SharedLease::take(pool, network)?;
        Ok(taken.map(|(lease, stream)| Self { lease, stream }))
    }
}

impl H3Connection {
    /// Connects to the port of a pool's endpoint.
    async fn start(pool: &Rc<Pool>, port: u16) -> Result<Rc<Self>, ConnectError> {
        let (endpoint, connector) = (pool.endpoint(), pool.connector());
        let (name, config) = connector.quic(endpoint)?;
        let address = SocketAddr::new(endpoint.address.ip(), port);
        let quic = pool.h3().endpoint(address)?;
        let connecting = quic.connect_with(config, address, &name).map_err(io::Error::other)?;
        let limit = pool.connect_timeout();
        let connected = tokio::time::timeout(limit, connecting).await;
        let connected = connected.map_err(|_| ConnectError::Timeout(limit))?;
        let quic = connected.map_err(|error| quic::failure(error, limit))?;
        let limits = pool.limits();
        let config = Config {
            section_bytes: limits.header_bytes,
            section_fields: limits.header_count,
            ..Config::default()
        };
        let (client, driver) = Client::new(quic, config);
        let (has_answered, pool) = (Rc::new(Cell::new(false)), Rc::downgrade(pool));
        let answered = Rc::clone(&has_answered);
        let driver = Owned::spawn(async move {
            let end = driver.await;
            tracing::debug!(
                error = &end as &dyn std::error::Error,
                "a connection of HTTP/3 to an origin ended"
            );
            // QUIC that connects and serves nothing does not work.
            if let Some(pool) = pool.upgrade().filter(|_| !answered.get()) {
                failed(&pool, &end);
            }
        });
        let (usage, next) = (Usage::new(), RefCell::default());
        Ok(Rc::new(Self { client, usage, next, has_answered, _driver: driver }))
    }

    /// Notes that a response has come.
    pub(super) fn answered(&self, pool: &Pool) {
        self.has_answered.set(true);
        pool.h3().alternative().work();
    }

    /// Waits until the origin allows another request.
    pub(in crate::upstream) async fn allowed(&self) {
        if !self.has_ticket()
            && let Ok(stream) = self.client.open().await
        {
            self.next.replace(Some(stream));
        }
    }

    /// Returns whether the origin opens tunnels by extended CONNECT (RFC 9220 §3). Waits for its
    /// settings.
    pub(super) async fn opens_tunnels(&self) -> bool {
        self.client.settings().await.is_some_and(|settings| settings.extended_connect)
    }
}

impl Multiplexed for H3Connection {
    type Ticket = Rc<Stream>;

    fn all(pool: &Pool) -> &Shared<Self> {
        pool.h3().connections()
    }

    async fn open(pool: Rc<Pool>) -> Result<Option<Rc<Self>>, ConnectError> {
        let alternative = pool.h3().alternative();
        let Some(port) = alternative.port() else { return Ok(None) };
        let started = Self::start(&pool, port).await;
        // The connections that are open show that QUIC works.
        if let Err(error) = &started
            && pool.h3().connections().len() == 0
        {
            failed(&pool, error);
        }
        started.map(Some)
    }

    fn usage(&self) -> &Usage {
        &self.usage
    }

    fn is_open(&self) -> bool {
        self.client.is_open()
    }

    fn ticket(&self) -> Option<Rc<Stream>> {
        self.next.take().filter(|_| self.is_open()).or_else(|| self.client.try_open())
    }

    fn has_ticket(&self) -> bool {
        let mut next = self.next.borrow_mut();
        if next.is_none() {
            *next = self.client.try_open();
        }
        next.is_some() && self.is_open()
    }
}

/// Lets TCP serve an endpoint for some time.
fn failed(pool: &Pool, error: &(dyn std::error::Error + 'static)) {
    let pause = pool.h3().alternative().fail();
    pool.widen();
    let endpoint = &*pool.endpoint().name;
    tracing::info!(endpoint, error, ?pause, "no QUIC to an endpoint; using TCP");
}

impl Drop for H3Connection {
    fn drop(&mut self) {
        self.client.close(Code::H3_NO_ERROR, "");
    }
}
