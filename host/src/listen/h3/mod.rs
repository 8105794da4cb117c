//! HTTP/3: turns the QUIC connections of one worker into requests.
//!
//! Only this directory uses `weir_h3`, except for its rules about messages, which apply to all
//! protocols. quinn is the transport. The crate implements frames, QPACK, control streams and
//! settings. `endpoint` owns the socket, and `exchange` serves a request. The requests of a
//! connection run inside the connection's task.

mod body;
mod datagrams;
mod endpoint;
mod exchange;
mod taking;

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep, sleep_until};
use weir_h3::{Code, Config, Error, Handle, Stream};

use self::exchange::{StreamEnd, exchange};
use super::{Edge, Handler};
use crate::message::ahead::Ahead;
use crate::message::peer::Protocol;
use crate::task::Tasks;
use crate::telemetry::metrics::Reason;

pub use self::endpoint::Endpoints;
pub(super) use self::endpoint::{serve, server_config};

/// Surplus of requests that a client may waste: cancel, or have reset for breaking the rules. Each
/// completed request compensates for one wasted. A browser that leaves a page cancels at most its
/// open requests.
const WASTED_FLOOR: u32 = 256;

/// Quiet periods (`quic.idle_timeout`) without any request after which a connection ends, even if
/// pings keep it alive.
const IDLE_PERIODS: u32 = 10;

/// The data that the requests of a connection share.
struct Connection<H> {
    handle: Handle,
    edge: Arc<Edge>,
    handler: Rc<H>,
    /// Requests with responses that wait for the client.
    waiting: Cell<usize>,
    ahead: Rc<Ahead>,
}

/// Serves the requests of an established connection until it ends or is drained.
async fn serve_connection<H: Handler>(
    connection: quinn::Connection,
    edge: Arc<Edge>,
    handler: Rc<H>,
    tasks: &Tasks,
) {
    let mut requests = weir_h3::Connection::new(connection, config(&edge));
    let handle = requests.handle();
    let (waiting, ahead) = (Cell::new(0), Ahead::new(&edge.quic));
    let shared = Rc::new(Connection { handle: handle.clone(), edge, handler, waiting, ahead });
    let quic = &shared.edge.quic;
    let most = quic.max_concurrent_streams as usize;
    let mut running = FuturesUnordered::new();
    let mut waste = Waste::new(quic.max_concurrent_streams);
    let mut drain = Drain::Not;
    let quiet = quic.idle_timeout.saturating_mul(IDLE_PERIODS).max(Duration::from_secs(1));
    let mut was_active = true;
    let mut idle = pin!(sleep(quiet));
    let mut draining = pin!(tasks.draining());

    loop {
        let room = most.saturating_sub(running.len());
        tokio::select! {
            biased;
            Some(outcome) = running.next(), if !running.is_empty() => {
                if waste.count(outcome) {
                    tracing::debug!("closing an HTTP/3 connection that wastes requests");
                    shared.edge.cut.count(Protocol::H3, Reason::Flood);
                    handle.close(Code::H3_EXCESSIVE_LOAD, "too many requests wasted");
                    return;
                }
            }
            // The cap applies to executing requests, not only to open streams: a reset frees a
            // stream at once.
            accepted = next(&mut requests, room) => {
                let stream = match accepted {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::debug!(error = &error as &dyn std::error::Error, "HTTP/3 connection ended");
                        if matches!(&error, Error::Connection(v) if v.code == Code::H3_EXCESSIVE_LOAD) {
                            shared.edge.cut.count(Protocol::H3, Reason::Flood);
                        }
                        break;
                    }
                };
                was_active = true;
                running.push(exchange(stream, Rc::clone(&shared)));
            }
            () = &mut draining, if matches!(drain, Drain::Not) => {
                handle.announce_end();
                drain = Drain::Announced(Instant::now() + settling(handle.quic()));
            }
            () = drain.announced(), if matches!(drain, Drain::Announced(_)) => {
                handle.refuse_rest();
                drain = Drain::Refusing;
            }
            () = &mut idle => {
                if !was_active && running.is_empty() {
                    break;
                }
                was_active = false;
                idle.as_mut().reset(Instant::now() + quiet);
            }
        }
        if matches!(drain, Drain::Refusing) && running.is_empty() {
            break;
        }
    }
    // The running requests notice the loss of the connection themselves.
    while running.next().await.is_some() {}
    handle.close(Code::H3_NO_ERROR, "");
}

/// Returns the next request if there is room for one. Without room it still reads from the
/// connection, because running requests may wait for other input of the client.
async fn next(requests: &mut weir_h3::Connection, room: usize) -> Result<Rc<Stream>, Error> {
    match room {
        0 => Err(requests.drive().await),
        _ => requests.accept().await,
    }
}

/// Converts the limits of a listener to those of a connection. Here the bytes of the fields are
/// bounded. The proxy checks their number, because it records its refusals.
fn config(edge: &Edge) -> Config {
    Config {
        section_bytes: edge.limits.header_bytes,
        section_fields: usize::MAX,
        concurrent_requests: edge.quic.max_concurrent_streams.into(),
        // For tunnels (RFC 9220).
        extended_connect: true,
        datagrams: edge.datagrams,
        ..Config::default()
    }
}

/// The progress of a connection's end (RFC 9114 §5.2).
enum Drain {
    Not,
    /// The end was announced to the client. Requests that the client sends before it receives the
    /// announcement are served until this time.
    Announced(Instant),
    /// New requests are refused. Accepted ones are finished.
    Refusing,
}

impl Drain {
    async fn announced(&self) {
        if let Self::Announced(until) = self {
            sleep_until(*until).await;
        }
    }
}

/// Returns the time for the client to receive the announcement: two round trips, within bounds.
fn settling(connection: &quinn::Connection) -> Duration {
    const LEAST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(1);
    (connection.rtt() * 2).clamp(LEAST, MOST)
}

/// Counts wasted requests (rapid reset, CVE-2023-44487, and similar attacks by resets of the
/// server).
struct Waste {
    balance: u32,
    limit: u32,
}

impl Waste {
    fn new(streams: u32) -> Self {
        Self { balance: 0, limit: WASTED_FLOOR.max(streams.saturating_mul(2)) }
    }

    /// Counts a request and returns whether too many are wasted.
    fn count(&mut self, outcome: StreamEnd) -> bool {
        match outcome {
            StreamEnd::Complete => self.balance = self.balance.saturating_sub(1),
            StreamEnd::Wasted => self.balance += 1,
        }
        self.balance > self.limit
    }
}
