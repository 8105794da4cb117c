//! HTTP/2 on an accepted connection: h2's frames, held to the listener's limits.
//!
//! h2 knows frames, HPACK and flow control. The rest of a server's duties is here: a task for each stream, keep-alive by
//! pings, the end of an idle or draining connection, and in [`stream`] a request and its response.

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
use super::h1::Service;
use super::{Edge, Handler};
use crate::message::ahead::Ahead;

/// Resets of streams, by either side, that a connection may have pending before it is closed (CVE-2023-44487,
/// CVE-2025-8671); h2's own defaults are 20 and 1024.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 128;

/// Bytes of responses that a stream may have waiting in h2 for the client's window.
const SEND_BUFFER: usize = 400 << 10;

/// Time for the answer to a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that a ping takes at the most, encrypted: they are no response.
const PING_BYTES: u64 = 100;

/// Bytes that a client must take in each [`Pace::most`](super::stall::Pace::most) once no stream runs there any more: the rest was given to h2
/// whole, and is more than its pings must move.
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
        // Its room is given back before the connection's is needed.
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
        .max_send_buffer_size(SEND_BUFFER);
    builder
}

/// h2 answers a larger section by itself, without a Date and without a record. The proxy refuses one that is above the limit
/// with both, so h2's bound is only that of memory.
fn header_list(limit: usize) -> u32 {
    u32::try_from(limit.saturating_mul(2)).unwrap_or(u32::MAX)
}

/// A window of HTTP/2 has 31 bits.
fn window(bytes: u64) -> u32 {
    bytes.min(0x7fff_ffff) as u32
}

/// The facts that the streams of a connection share.
struct Shared<H> {
    service: Service<H>,
    activity: Activity,
    /// Whether the client has said anything of a request since the keep-alive asked last.
    was_heard: Cell<bool>,
    /// Streams whose responses wait for the client.
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
        // Boxed: on its way to being a task it would be moved several times, and it is large.
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

/// Pings a client that has been silent for a while (RFC 9113 §6.7): the end of a connection whose client is gone shows in
/// no other way.
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

    /// Ready, once, when a ping has had no answer in time. The connection must be polled afterwards, to send the next.
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
            // On a slow way a ping may stand behind a response that the client is still taking, or its answer behind a body.
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
            // Has the answer wake this task.
            if self.is_waiting && pings.poll_pong(cx).is_ready() {
                self.is_waiting = false;
            }
        }
        Poll::Pending
    }
}

/// Whether a connection has anything to do.
#[derive(Default)]
struct Activity {
    running: Cell<usize>,
    /// When the last stream ended.
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

    /// Completes when no stream runs and the client takes next to nothing of the bytes that ended streams have left.
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

/// One stream that runs.
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
