//! One connection of HTTP/2 to an origin, and the right to send one request over it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::Request;

use super::{CONNECTION_WINDOW, MAX_STREAMS, SEND_BUFFER, STREAM_WINDOW};
use crate::config::UpstreamLimits;
use crate::task::Owned;
use crate::upstream::connect::Transport;
use crate::upstream::pool::{ConnectError, Pool};

/// A connection that serves many requests at once.
pub(in crate::upstream) struct H2Connection {
    requests: RefCell<SendRequest<Bytes>>,
    /// Requests in progress.
    streams: Rc<Cell<usize>>,
    /// Requests begun since the start.
    begun: Cell<u64>,
    idle_since: Cell<Instant>,
    _driver: Owned,
}

/// The right to send one request over a connection.
pub(in crate::upstream) struct H2Lease {
    connection: Rc<H2Connection>,
    pool: Rc<Pool>,
    /// The place of the client among the users of the pool.
    place: Option<u32>,
}

impl H2Connection {
    /// Begins HTTP/2 on a new connection.
    ///
    /// # Errors
    /// The connection broke.
    pub(super) async fn start(
        transport: Transport,
        limits: &UpstreamLimits,
    ) -> Result<Rc<Self>, h2::Error> {
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            .max_send_buffer_size(SEND_BUFFER)
            // Each client that leaves costs a reset. Their number says nothing about the origin.
            .max_local_error_reset_streams(None)
            .max_concurrent_reset_streams(MAX_STREAMS);
        let (requests, mut connection) = builder.handshake(transport).await?;
        let pings = connection.ping_pong();
        let streams = Rc::new(Cell::new(0));
        let in_use = Rc::clone(&streams);
        let driver = Owned::spawn(async move {
            let ended = tokio::select! {
                ended = connection => ended,
                () = silence(pings, &in_use) => {
                    // Dropping the connection fails the requests that wait for it.
                    tracing::debug!("an origin does not answer a ping");
                    return;
                }
            };
            if let Err(error) = ended {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection of HTTP/2 to an origin ended"
                );
            }
        });
        Ok(Rc::new(Self {
            requests: RefCell::new(requests),
            streams,
            begun: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            _driver: driver,
        }))
    }

    /// Whether the origin takes further requests on it: neither side has ended it.
    pub(super) fn is_open(&self) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        matches!(self.requests.borrow_mut().poll_ready(&mut context), Poll::Ready(Ok(())))
    }

    /// Whether it may serve another request now.
    pub(super) fn has_room(&self) -> bool {
        let most = self.requests.borrow().current_max_send_streams().min(MAX_STREAMS);
        self.streams.get() < most && self.is_open()
    }

    /// Returns the time since the last request ended. `None` while it serves requests.
    pub(super) fn idle(&self) -> Option<Duration> {
        (self.streams.get() == 0).then(|| self.idle_since.get().elapsed())
    }

    /// Begins a request of the client that has this place.
    pub(in crate::upstream) fn begin(self: Rc<Self>, pool: &Rc<Pool>, place: u32) -> H2Lease {
        self.streams.set(self.streams.get() + 1);
        H2Lease { connection: self, pool: Rc::clone(pool), place: Some(place) }
    }
}

impl H2Lease {
    /// Sends the head of a request.
    ///
    /// # Errors
    /// The connection has ended. Nothing was sent.
    pub(super) fn send(
        &self,
        head: Request<()>,
        is_over: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let connection = &self.connection;
        connection.begun.set(connection.begun.get() + 1);
        connection.requests.borrow_mut().send_request(head, is_over)
    }

    /// Whether an earlier request used the connection. The origin may be closing such a connection
    /// at this moment.
    pub(super) fn is_reused(&self) -> bool {
        self.connection.begun.get() > 1
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.pool.connector().is_encrypted()
    }

    /// The endpoint's name.
    pub(super) fn endpoint(&self) -> &Arc<str> {
        &self.pool.endpoint().name
    }

    /// Returns the limits of responses.
    pub(super) fn limits(&self) -> Rc<UpstreamLimits> {
        self.pool.limits()
    }

    /// Takes the place of this lease on another connection.
    ///
    /// # Errors
    /// [`ConnectError`]. Nothing has been sent in that case.
    pub(super) async fn renew(mut self) -> Result<Self, ConnectError> {
        let (pool, place) = (Rc::clone(&self.pool), self.place.take());
        drop(self);
        let limit = pool.limits().connections;
        let mut seat = Seat { pool, place };
        loop {
            if let Some(connection) = seat.pool.shared().with_room() {
                connection.streams.set(connection.streams.get() + 1);
                return Ok(Self {
                    connection,
                    pool: Rc::clone(&seat.pool),
                    place: seat.place.take(),
                });
            }
            if seat.pool.shared().len() >= limit {
                return Err(ConnectError::Saturated(limit));
            }
            seat.pool.shared().grow(&seat.pool).await?;
        }
    }
}

/// A place of a client that has no connection at the moment.
struct Seat {
    pool: Rc<Pool>,
    place: Option<u32>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.pool.leave(place);
        }
    }
}

impl Drop for H2Lease {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            self.pool.leave(place);
        }
        let connection = &self.connection;
        connection.streams.set(connection.streams.get() - 1);
        connection.idle_since.set(Instant::now());
    }
}

/// Completes when an origin with requests in progress does not answer a ping (RFC 9113 §6.7). Only
/// a ping detects that the origin is gone.
async fn silence(pings: Option<PingPong>, streams: &Cell<usize>) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        tokio::time::sleep(PING_EVERY).await;
        if streams.get() == 0 || pings.send_ping(Ping::opaque()).is_err() {
            continue;
        }
        let pong = pin!(poll_fn(|cx| pings.poll_pong(cx)));
        if tokio::time::timeout(PING_TIMEOUT, pong).await.is_err() {
            return;
        }
    }
}

/// The interval of pings while requests are in progress.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Time limit for the answer to a ping. A ping may wait behind data that the network carries
/// slowly.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
