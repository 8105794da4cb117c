//! HTTP/2 on an accepted connection: the h2 crate within the listener's limits.
//!
//! h2 implements frames, HPACK and flow control. The other duties of a server are here: a task for
//! each stream, keep-alive by pings, and the end of an idle or draining connection. [`stream`]
//! serves one request and its response.

mod stream;
mod taking;

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::frames::Frames;
use super::gather::gather;
use super::service::Service;
use super::{Edge, Handler};
use crate::message::ahead::Ahead;

/// Pending resets of streams, by either side, before the connection is closed (CVE-2023-44487,
/// CVE-2025-8671). The defaults of h2 are 20 and 1024.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 128;

/// Bytes of a stream's response that may wait in h2 for the client's window.
const SEND_BUFFER: usize = 400 << 10;

/// Time limit for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum number of bytes of an encrypted ping. They do not count as a response.
const PING_BYTES: u64 = 100;

/// Bytes that a client must take in each [`Pace::most`](super::stall::Pace::most) once no stream
/// runs any more.
///
/// h2 then holds the complete rest of the responses. The number is above the bytes of the
/// connection's pings.
const LEAST_PROGRESS: u64 = 1024;

/// Serves a connection until it closes.
pub(super) async fn serve<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: Service<H>,
) {
    let header_timeout = service.edge.limits.header_timeout;
    let (io, turns) = gather(io);
    let moved = Rc::default();
    let io = Frames::new(io, Rc::clone(&moved), service.edge.cut.clone());
    let greeted = {
        // The room of this future is released before the room of the connection is needed.
        let mut greeting = pin!(builder(&service.edge).handshake(io));
        timeout(header_timeout, turns.run(greeting.as_mut())).await
    };
    let connection = match greeted {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return service.report(&error),
        Err(_) => return,
    };
    let shared = Rc::new(Shared {
        activity: Activity::default(),
        was_heard: Cell::new(false),
        waiting: Cell::new(0),
        moved,
        ahead: Ahead::new(&service.edge.quic),
        service,
    });
    let (service, activity) = (&shared.service, &shared.activity);
    let mut driver = pin!(Driver::new(connection, &shared, header_timeout));
    let ended = tokio::select! {
        ended = turns.run(driver.as_mut()) => ended,
        () = async {
            tokio::select! {
                () = service.tasks.draining() => {}
                () = activity.idle_for(header_timeout) => {}
            }
        } => {
            driver.connection.graceful_shutdown();
            tokio::select! {
                ended = turns.run(driver) => ended,
                () = activity.abandoned(&service.written, service.edge.pace.most) => Ok(()),
            }
        }
    };
    if let Err(error) = ended {
        service.report(&error);
    }
}

fn builder(edge: &Edge) -> Builder {
    let (limits, quic) = (&edge.limits, &edge.quic);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(quic.max_concurrent_streams)
        .initial_window_size(window(quic.stream_window))
        .initial_connection_window_size(window(quic.connection_window))
        .max_header_list_size(header_list(limits.header_bytes))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(Some(LOCAL_RESETS))
        .max_send_buffer_size(SEND_BUFFER)
        // For tunnels (RFC 8441).
        .enable_connect_protocol();
    builder
}

/// Returns the bound of h2 for a header section: twice the limit.
///
/// h2 itself answers a larger section, without a Date and without a record. The proxy refuses a
/// section above the limit with both. Therefore h2 only has to bound the memory.
fn header_list(limit: usize) -> u32 {
    u32::try_from(limit.saturating_mul(2)).unwrap_or(u32::MAX)
}

/// Caps a window of HTTP/2 at 31 bits.
fn window(bytes: u64) -> u32 {
    bytes.min(0x7fff_ffff) as u32
}

/// The data that the streams of a connection share.
struct Shared<H> {
    service: Service<H>,
    activity: Activity,
    /// Whether the client has sent any part of a request since the last look of the keep-alive.
    was_heard: Cell<bool>,
    /// Streams with responses that wait for the client.
    waiting: Cell<usize>,
    /// Bytes of responses that have been written.
    moved: Rc<Cell<u64>>,
    ahead: Rc<Ahead>,
}

/// Drives a connection and starts its streams.
struct Driver<T, H> {
    connection: Connection<T, Bytes>,
    keep_alive: KeepAlive,
    shared: Rc<Shared<H>>,
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Driver<T, H> {
    fn new(
        mut connection: Connection<T, Bytes>,
        shared: &Rc<Shared<H>>,
        interval: Duration,
    ) -> Self {
        let keep_alive = KeepAlive::new(connection.ping_pong(), interval);
        Self { connection, keep_alive, shared: Rc::clone(shared) }
    }

    fn start(&self, request: Request<RecvStream>, reply: SendResponse<Bytes>) {
        let shared = Rc::clone(&self.shared);
        shared.was_heard.set(true);
        let running = Running::new(&self.shared);
        // Boxed, because it is large and would be moved several times on its way to a task.
        let serving = Box::pin(stream::serve(request, reply, shared));
        self.shared.service.tasks.spawn(async move {
            serving.await;
            drop(running);
        });
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Future for Driver<T, H> {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let service = &this.shared.service;
        let keep_alive = &mut this.keep_alive;
        if keep_alive.poll_lost(cx, &this.shared.was_heard, &service.written).is_ready() {
            tracing::debug!(client = %service.peer.client, "no answer to a ping");
            this.connection.abrupt_shutdown(Reason::NO_ERROR);
        }
        loop {
            match ready!(this.connection.poll_accept(cx)) {
                Some(Ok((request, reply))) => this.start(request, reply),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// Pings a client that has been silent for a while (RFC 9113 §6.7). Only a ping detects that the
/// client is gone.
struct KeepAlive {
    pings: Option<PingPong>,
    timer: Pin<Box<Sleep>>,
    interval: Duration,
    is_waiting: bool,
    /// Bytes that the client had taken when the timer was set.
    written: u64,
}

impl KeepAlive {
    fn new(pings: Option<PingPong>, interval: Duration) -> Self {
        let timer = Box::pin(sleep(interval));
        Self { pings, timer, interval, is_waiting: false, written: 0 }
    }

    /// Ready, once, when a ping was not answered in time. The connection must be polled afterwards,
    /// to send the next ping.
    fn poll_lost(
        &mut self,
        cx: &mut Context<'_>,
        was_heard: &Cell<bool>,
        written: &Cell<u64>,
    ) -> Poll<()> {
        let Some(pings) = &mut self.pings else { return Poll::Pending };
        if self.is_waiting && pings.poll_pong(cx).is_ready() {
            self.is_waiting = false;
            self.timer.as_mut().reset(Instant::now() + self.interval);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            // On a slow path a ping may wait behind a response that the client is still taking. Its
            // answer may wait behind a body.
            let before = std::mem::replace(&mut self.written, written.get());
            let is_taking = written.get() - before > PING_BYTES;
            if self.is_waiting {
                if is_taking || was_heard.take() {
                    self.timer.as_mut().reset(Instant::now() + PING_TIMEOUT);
                    continue;
                }
                self.pings = None;
                return Poll::Ready(());
            }
            let was_heard = was_heard.take();
            self.is_waiting = !was_heard && pings.send_ping(Ping::opaque()).is_ok();
            let next = if self.is_waiting { PING_TIMEOUT } else { self.interval };
            self.timer.as_mut().reset(Instant::now() + next);
            // The poll registers this task to be woken by the answer.
            if self.is_waiting && pings.poll_pong(cx).is_ready() {
                self.is_waiting = false;
            }
        }
        Poll::Pending
    }
}

/// Tracks whether a connection is in use.
#[derive(Default)]
struct Activity {
    running: Cell<usize>,
    /// The time when the last stream ended.
    since: Cell<Option<Instant>>,
}

impl Activity {
    /// Completes when no stream has run for `period`.
    async fn idle_for(&self, period: Duration) {
        let start = Instant::now();
        loop {
            let idle_since = match self.running.get() {
                0 => self.since.get().unwrap_or(start),
                _ => Instant::now(),
            };
            let left = period.saturating_sub(idle_since.elapsed());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// Completes when no stream runs and the client takes almost nothing of the bytes that ended
    /// streams have left.
    async fn abandoned(&self, written: &Cell<u64>, period: Duration) {
        loop {
            let before = written.get();
            sleep(period).await;
            if self.running.get() == 0 && written.get() - before < LEAST_PROGRESS {
                return;
            }
        }
    }
}

/// Counts one running stream until dropped.
struct Running<H>(Rc<Shared<H>>);

impl<H> Running<H> {
    fn new(shared: &Rc<Shared<H>>) -> Self {
        let running = &shared.activity.running;
        running.set(running.get() + 1);
        Self(Rc::clone(shared))
    }
}

impl<H> Drop for Running<H> {
    fn drop(&mut self) {
        let Activity { running, since } = &self.0.activity;
        running.set(running.get() - 1);
        since.set(Some(Instant::now()));
    }
}
