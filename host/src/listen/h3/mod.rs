//! HTTP/3: QUIC connections of one worker become requests.
//!
//! The one seam to the h3 crate: nothing outside this directory knows it. quinn does the transport; the crate does QPACK,
//! control streams and settings; `quic`, `stream`, `uni` and `frames` stand between them; `exchange` serves a request. A
//! connection's requests run inside the connection's task.

mod body;
mod endpoint;
mod exchange;
mod fields;
mod frames;
mod quic;
mod stream;
mod uni;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h3::error::{Code, ConnectionError};
use h3::server::RequestResolver;
use tokio::time::{Instant, sleep, sleep_until};

use self::exchange::{Outcome, exchange};
use self::quic::{Link, Transport};
use super::{Edge, Handler};
use crate::task::Tasks;

pub(super) use self::endpoint::{serve, server_config};

/// What a HEADERS frame may have beyond the limit of a decoded section. A section that is only somewhat too large is then
/// still decoded, and answered with 431; beyond, the stream is reset unread.
const FRAME_SLACK: usize = 16 << 10;

/// `http::HeaderMap` panics past 24,576 names, and a field counts for 32 bytes at least.
const SECTION_CEILING: usize = 24_000 * 32;

/// Requests that a client may waste (cancel, or have reset for breaking the rules) ahead of those it lets complete. Each
/// completed one makes up for one wasted. A browser that leaves a page cancels at most what is open.
const WASTED_FLOOR: u32 = 256;

/// Quiet periods (`quic.idle_timeout`) without any request after which a connection that is only kept alive by pings ends.
const IDLE_PERIODS: u32 = 10;

/// What the requests of a connection share.
struct Connection<H> {
    link: Rc<Link>,
    edge: Arc<Edge>,
    handler: Rc<H>,
}

/// Serves the requests of an established connection until it ends or is drained.
async fn serve_connection<H: Handler>(
    connection: quinn::Connection,
    edge: Arc<Edge>,
    handler: Rc<H>,
    tasks: &Tasks,
) {
    let section = edge.limits.header_bytes.min(SECTION_CEILING);
    let link = Link::new(connection, section + FRAME_SLACK);
    let mut builder = h3::server::builder();
    builder.max_field_section_size(section as u64).send_grease(false);
    let transport = Transport::new(Rc::clone(&link));
    let Ok(requests) = builder.build::<_, Bytes>(transport).await else { return };
    // A set of one: it is polled only when it was woken itself, and not each time that a request of the connection is.
    let mut accepting = FuturesUnordered::new();
    accepting.push(accept(Box::new(requests)));

    let shared = Rc::new(Connection { link: Rc::clone(&link), edge, handler });
    let quic = &shared.edge.quic;
    let mut running = FuturesUnordered::new();
    let mut waste = Waste::new(quic.max_concurrent_streams);
    let mut drain = Drain::Not;
    let quiet = quic.idle_timeout.saturating_mul(IDLE_PERIODS).max(Duration::from_secs(1));
    let mut was_active = true;
    let mut idle = pin!(sleep(quiet));
    let mut draining = pin!(tasks.draining());
    // The crate closes the connection when its part of it is dropped, which must not be before the last request's end.
    let mut over = None;

    loop {
        tokio::select! {
            biased;
            Some(outcome) = running.next(), if !running.is_empty() => {
                if waste.count(outcome) {
                    tracing::debug!("closing an HTTP/3 connection that wastes requests");
                    link.close(Code::H3_EXCESSIVE_LOAD, b"too many requests wasted");
                    return;
                }
            }
            // Executing requests are capped, not only open streams: a reset frees a stream at once.
            Some((requests, accepted)) = accepting.next(),
                if running.len() < quic.max_concurrent_streams as usize =>
            {
                let (Ok(Some(resolver)), Some(stream)) = (accepted, link.accepted()) else {
                    over = Some(requests);
                    break;
                };
                was_active = true;
                running.push(exchange(resolver, stream, Rc::clone(&shared)));
                accepting.push(accept(requests));
            }
            () = &mut draining, if matches!(drain, Drain::Not) => {
                link.announce_end().await;
                drain = Drain::Announced(Instant::now() + settling(&link));
            }
            () = drain.announced(), if matches!(drain, Drain::Announced(_)) => {
                link.refuse_rest().await;
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
    // After the client's GOAWAY, or when the connection is lost: what runs is finished, or finds out.
    while running.next().await.is_some() {}
    link.close(Code::H3_NO_ERROR, b"");
    drop(over);
}

type Requests = h3::server::Connection<Transport, Bytes>;
type Accepted = Result<Option<RequestResolver<Transport, Bytes>>, ConnectionError>;

/// Waits for the next request, and gives the connection back.
async fn accept(mut requests: Box<Requests>) -> (Box<Requests>, Accepted) {
    let accepted = requests.accept().await;
    (requests, accepted)
}

/// How far the end of a connection has come (RFC 9114 §5.2).
enum Drain {
    Not,
    /// The client was told; what it had sent before it heard is served until then.
    Announced(Instant),
    /// New requests are refused; those accepted are finished.
    Refusing,
}

impl Drain {
    async fn announced(&self) {
        if let Self::Announced(until) = self {
            sleep_until(*until).await;
        }
    }
}

/// Time for the client to hear of the end: two round trips, within bounds.
fn settling(link: &Link) -> Duration {
    const LEAST: Duration = Duration::from_millis(50);
    const MOST: Duration = Duration::from_secs(1);
    (link.connection.rtt() * 2).clamp(LEAST, MOST)
}

/// Counts requests that came to nothing (rapid reset, CVE-2023-44487, and its kin from the server's side).
struct Waste {
    balance: u32,
    limit: u32,
}

impl Waste {
    fn new(streams: u32) -> Self {
        Self { balance: 0, limit: WASTED_FLOOR.max(streams.saturating_mul(2)) }
    }

    /// Counts a request and says whether it is too much.
    fn count(&mut self, outcome: Outcome) -> bool {
        match outcome {
            Outcome::Complete => self.balance = self.balance.saturating_sub(1),
            Outcome::Wasted => self.balance += 1,
        }
        self.balance > self.limit
    }
}
