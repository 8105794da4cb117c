//! One connection of HTTP/2 to an origin.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Ping, PingPong, SendStream};
use http::Request;
use tokio::sync::Notify;

use super::SEND_BUFFER;
use crate::config::UpstreamLimits;
use crate::task::Owned;
use crate::upstream::connect::{Spoken, Transport};
use crate::upstream::h1::Wire;
use crate::upstream::pool::{ConnectError, Pool};
use crate::upstream::shared::{
    CONNECTION_WINDOW, MAX_STREAMS, Multiplexed, STREAM_WINDOW, Shared, Usage,
};

/// A connection that serves many requests at once.
pub(in crate::upstream) struct H2Connection {
    requests: RefCell<SendRequest<Bytes>>,
    state: Rc<State>,
    _driver: Owned,
}

/// The facts that a connection and its driver share.
struct State {
    usage: Usage,
    /// Whether the origin has answered the first ping, and its settings have come before.
    is_settled: Cell<bool>,
    /// Wakes the requests that wait for this, and for the end.
    settled: Notify,
}

impl H2Connection {
    /// Begins HTTP/2 on a new connection.
    ///
    /// # Errors
    /// The connection broke.
    async fn start(transport: Transport, limits: &UpstreamLimits) -> Result<Rc<Self>, h2::Error> {
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
        let (usage, is_settled) = (Usage::new(), Cell::new(false));
        let state = Rc::new(State { usage, is_settled, settled: Notify::new() });
        let told = Rc::clone(&state);
        let driver = Owned::spawn(async move {
            let ended = tokio::select! {
                ended = connection => ended,
                () = silence(pings, &told) => {
                    // Dropping the connection fails the requests that wait for it.
                    tracing::debug!("an origin does not answer a ping");
                    Ok(())
                }
            };
            told.settle();
            if let Err(error) = ended {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a connection of HTTP/2 to an origin ended"
                );
            }
        });
        Ok(Rc::new(Self { requests: RefCell::new(requests), state, _driver: driver }))
    }

    fn poll_ready(&self) -> Poll<Result<(), h2::Error>> {
        let mut context = Context::from_waker(Waker::noop());
        self.requests.borrow_mut().poll_ready(&mut context)
    }

    /// Sends the head of a request.
    ///
    /// # Errors
    /// The connection has ended. Nothing was sent.
    pub(super) fn send(
        &self,
        head: Request<()>,
        is_over: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.requests.borrow_mut().send_request(head, is_over)
    }

    /// Returns whether the origin opens tunnels by extended CONNECT (RFC 8441 §3). Waits for its
    /// settings.
    pub(super) async fn opens_tunnels(&self) -> bool {
        let mut settled = pin!(self.state.settled.notified());
        settled.as_mut().enable();
        if !self.state.is_settled.get() {
            settled.await;
        }
        self.requests.borrow().is_extended_connect_protocol_enabled()
    }
}

impl Multiplexed for H2Connection {
    type Ticket = ();

    fn all(pool: &Pool) -> &Shared<Self> {
        pool.h2()
    }

    async fn open(pool: Rc<Pool>) -> Result<Option<Rc<Self>>, ConnectError> {
        let (connector, limit) = (pool.connector(), pool.connect_timeout());
        let connecting = connector.connect(pool.endpoint(), limit, connector.spoken(), None);
        let (transport, spoken) = connecting.await?;
        pool.learn(spoken);
        match spoken {
            Spoken::H1 => {
                pool.keep(Wire::new(transport));
                Ok(None)
            }
            Spoken::H2 => {
                let limits = pool.limits();
                let started = Self::start(transport, &limits);
                let started = tokio::time::timeout(limit, started).await;
                let started = started.map_err(|_| ConnectError::Timeout(limit))?;
                Ok(Some(started.map_err(io::Error::other)?))
            }
        }
    }

    fn usage(&self) -> &Usage {
        &self.state.usage
    }

    fn is_open(&self) -> bool {
        // Pending means that the last request is not on its way yet.
        !matches!(self.poll_ready(), Poll::Ready(Err(_)))
    }

    fn ticket(&self) -> Option<()> {
        self.has_ticket().then_some(())
    }

    fn has_ticket(&self) -> bool {
        let most = self.requests.borrow().current_max_send_streams();
        self.state.usage.streams() < most && matches!(self.poll_ready(), Poll::Ready(Ok(())))
    }
}

impl State {
    fn settle(&self) {
        self.is_settled.set(true);
        self.settled.notify_waiters();
    }
}

/// Completes when an origin with requests in progress does not answer a ping (RFC 9113 §6.7). Only
/// a ping detects that the origin is gone. The first answer shows that its settings have come.
async fn silence(pings: Option<PingPong>, state: &State) {
    let Some(mut pings) = pings else { return std::future::pending().await };
    loop {
        if pings.send_ping(Ping::opaque()).is_ok() {
            let pong = pin!(poll_fn(|cx| pings.poll_pong(cx)));
            if tokio::time::timeout(PING_TIMEOUT, pong).await.is_err() {
                return;
            }
            state.settle();
        }
        tokio::time::sleep(PING_EVERY).await;
        while state.usage.streams() == 0 {
            tokio::time::sleep(PING_EVERY).await;
        }
    }
}

/// The interval of pings while requests are in progress.
const PING_EVERY: Duration = Duration::from_secs(10);

/// Time limit for the answer to a ping. A ping may wait behind data that the network carries
/// slowly.
const PING_TIMEOUT: Duration = Duration::from_secs(20);
