//! HTTP/2 and HTTP/1.1 on an accepted connection: hyper, held to the listener's limits.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALT_SVC, CONNECTION};
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep};

use super::body::Body;
use super::gather::gather;
use super::heads::Heads;
use super::linger::Lingering;
use super::stall::Progress;
use super::{Edge, Handler};
use crate::proxy::{Peer, Protocol};
use crate::task::Tasks;

/// How long an idle HTTP/1.1 connection is kept once the drain has begun. The client may be sending a request right now;
/// it is answered with `Connection: close` instead of with a reset.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// The least that hyper takes for its buffer.
const LEAST_BUFFER: usize = 8192;

/// Resets of HTTP/2 streams, by either side, that a connection may have pending before it is closed (CVE-2023-44487,
/// CVE-2025-8671); h2's own defaults are 20 and 1024.
const PENDING_RESETS: usize = 20;
const LOCAL_RESETS: usize = 128;

/// Time for the answer to an HTTP/2 ping.
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes that the client of an HTTP/2 connection must take in each [`Edge::stalled`] once no stream runs there any more:
/// what is left then was given to HTTP/2 whole, and more than its pings must move.
const LEAST_PROGRESS: u64 = 1024;

/// What serves the requests of one connection.
pub(super) struct Service<H> {
    pub(super) edge: Arc<Edge>,
    pub(super) peer: Peer,
    handler: Rc<H>,
    tasks: Tasks,
    /// Bytes that the client has taken, by [`Stalling::written`](super::stall::Stalling::written).
    written: Rc<Cell<u64>>,
}

impl<H: Handler> Service<H> {
    pub(super) fn new(
        edge: &Arc<Edge>,
        handler: &Rc<H>,
        tasks: &Tasks,
        peer: Peer,
        written: Rc<Cell<u64>>,
    ) -> Self {
        let (edge, handler, tasks) = (Arc::clone(edge), Rc::clone(handler), tasks.clone());
        Self { edge, peer, handler, tasks, written }
    }

    async fn answer(&self, request: Request<Incoming>, protocol: Protocol) -> Response<Body> {
        let peer = Peer { protocol, ..self.peer };
        let mut response = self.handler.serve(request.map(Body::from), peer).await;
        let is_draining = self.tasks.is_draining();
        if let Some(alt_svc) = &self.edge.alt_svc {
            let clear = HeaderValue::from_static("clear");
            let value = if is_draining { clear } else { alt_svc.clone() };
            response.headers_mut().insert(ALT_SVC, value);
        }
        // Whoever sends what is malformed once may have meant the rest as something else too (RFC 9112 §9.6).
        let is_suspect = response.status() == StatusCode::BAD_REQUEST;
        if (is_draining || is_suspect) && protocol == Protocol::H1 {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Serves a connection as HTTP/1.1 until it closes.
pub(super) async fn serve_h1<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    service: Service<H>,
) {
    let limits = &service.edge.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Runs from the end of the last response on, so it bounds idle connections too.
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.header_count)
        .max_buf_size(limits.header_bytes.max(LEAST_BUFFER));
    let answer = service_fn(|request| async {
        Ok::<_, Infallible>(service.answer(request, Protocol::H1).await)
    });
    let io = TokioIo::new(Heads::new(Lingering::new(io)));
    let mut connection = pin!(builder.serve_connection(io, answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async {
            service.tasks.draining().await;
            sleep(LAST_REQUEST).await;
        } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    report(result, &service.peer);
}

/// Serves a connection as HTTP/2 until it closes.
pub(super) async fn serve_h2<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin + 'static,
    service: Service<H>,
) {
    let service = Rc::new(service);
    let streams = Streams {
        tasks: service.tasks.clone(),
        activity: Rc::default(),
        progress: Rc::default(),
        stalled: service.edge.stalled,
    };
    let (activity, progress) = (Rc::clone(&streams.activity), Rc::clone(&streams.progress));
    let (limits, quic) = (&service.edge.limits, &service.edge.quic);
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(quic.max_concurrent_streams)
        .initial_stream_window_size(window(quic.stream_window))
        .initial_connection_window_size(window(quic.connection_window))
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(PING_TIMEOUT);
    let answer = service_fn(|request| {
        let (service, progress) = (Rc::clone(&service), Rc::clone(&progress));
        // Boxed: on its way to being a task hyper moves it several times, and it is large.
        Box::pin(async move {
            let response = service.answer(request, Protocol::H2).await;
            Ok::<_, Infallible>(response.map(|body| progress.watch(body)))
        })
    });
    let (io, turns) = gather(io);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), answer));
    let result = tokio::select! {
        result = turns.run(connection.as_mut()) => result,
        () = async {
            tokio::select! {
                () = service.tasks.draining() => {}
                () = activity.idle_for(limits.header_timeout) => {}
            }
        } => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                result = turns.run(connection) => result,
                () = activity.abandoned(&service.written, service.edge.stalled) => Ok(()),
            }
        }
    };
    report(result, &service.peer);
}

/// Runs the streams of one HTTP/2 connection.
#[derive(Clone)]
struct Streams {
    tasks: Tasks,
    activity: Rc<Activity>,
    progress: Rc<Progress>,
    stalled: Duration,
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let running = Running::new(&self.activity);
        let (progress, stalled) = (Rc::clone(&self.progress), self.stalled);
        self.tasks.spawn(async move {
            progress.bound(stream, stalled).await;
            drop(running);
        });
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

    /// Completes when no stream runs and the client takes next to nothing of what ended streams have left.
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
struct Running(Rc<Activity>);

impl Running {
    fn new(activity: &Rc<Activity>) -> Self {
        activity.running.set(activity.running.get() + 1);
        Self(Rc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get() - 1);
        self.0.since.set(Some(Instant::now()));
    }
}

/// A window of HTTP/2 has 31 bits.
fn window(bytes: u64) -> u32 {
    bytes.min(0x7fff_ffff) as u32
}

fn report(result: hyper::Result<()>, peer: &Peer) {
    if let Err(error) = result {
        let (client, error) = (peer.client, &error as &dyn std::error::Error);
        tracing::debug!(%client, error, "connection ended early");
    }
}
