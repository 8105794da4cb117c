//! The QUIC endpoint of one worker: settings, handshakes and their bounds, the end.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt};
use tokio::time::{Instant, timeout};

use super::serve_connection;
use crate::config::{Quic, Retry};
use crate::listen::handover::Group;
use crate::listen::socket::Socket;
use crate::listen::steer::Ids;
use crate::listen::{Edge, Handler};
use crate::task::Tasks;

/// Maximum number of half-open handshakes of one worker. Further ones are refused. Each holds some
/// 20 KiB.
const HALF_OPEN: usize = 1000;

/// Half-open handshakes of one worker at which `retry: under-load` requires clients to prove their
/// address. A core completes about a thousand handshakes per second, so this is a backlog of a
/// tenth of a second.
const RETRY_FROM: usize = 100;

/// First packets that wait to be handled, and bytes that quinn keeps for them.
const UNSEEN: usize = 1024;
const UNSEEN_BYTES: u64 = 8 << 20;

/// Streams of a client that are not requests: one control stream, two of QPACK, and room for
/// reserved types.
const UNIDIRECTIONAL: u32 = 8;

/// Bytes of responses that quinn keeps for one connection until they are acknowledged: the bytes in
/// flight on a path of 100 Mbit/s and 600 ms. Every slow reader costs this much memory.
const SEND_WINDOW: u64 = 8 << 20;

/// Returns the settings of QUIC and TLS that all workers of a listener share, including the key of
/// Retry tokens.
pub(in crate::listen) fn server_config(
    quic: &Quic,
    tls: Arc<QuicServerConfig>,
) -> quinn::ServerConfig {
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(quic.max_concurrent_streams.into())
        .max_concurrent_uni_streams(UNIDIRECTIONAL.into())
        .max_idle_timeout(quic.idle_timeout.try_into().ok())
        .keep_alive_interval(quic.keep_alive)
        .stream_receive_window(window(quic.stream_window))
        .receive_window(window(quic.connection_window))
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    if !quic.mtu_discovery {
        transport.mtu_discovery_config(None);
    }
    let mut config = quinn::ServerConfig::with_crypto(tls);
    config
        .transport_config(Arc::new(transport))
        .migration(quic.migration)
        .max_incoming(UNSEEN)
        .incoming_buffer_size_total(UNSEEN_BYTES);
    config
}

fn window(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}

/// Starts the worker's endpoint.
pub(in crate::listen) fn serve<H: Handler>(
    socket: std::net::UdpSocket,
    worker: usize,
    group: &Arc<Group>,
    edge: &Arc<Edge>,
    handler: Rc<H>,
    tasks: &Tasks,
) -> std::io::Result<()> {
    let Some(server) = edge.quic_server.clone() else { return Ok(()) };
    let counters = edge.counters.clone();
    let socket = Socket::new(socket, worker, Arc::clone(group), counters)?;
    // The default configuration draws a separate stateless-reset key for each worker.
    let mut config = EndpointConfig::default();
    let steering = Arc::clone(&group.steering);
    config.cid_generator(move || Box::new(Ids::new(Arc::clone(&steering), worker)));
    let endpoint = Endpoint::new_with_abstract_socket(
        config,
        Some(server),
        Arc::new(socket),
        Arc::new(TokioRuntime),
    )?;
    let acceptor = Acceptor {
        endpoint,
        edge: Arc::clone(edge),
        handler,
        tasks: tasks.clone(),
        half_open: Rc::new(Cell::new(0)),
    };
    tasks.spawn(acceptor.run());
    Ok(())
}

/// Accepts the QUIC connections of one worker.
struct Acceptor<H> {
    endpoint: Endpoint,
    edge: Arc<Edge>,
    handler: Rc<H>,
    tasks: Tasks,
    half_open: Rc<Cell<usize>>,
}

impl<H: Handler> Acceptor<H> {
    async fn run(self) {
        loop {
            let incoming = tokio::select! {
                biased;
                () = self.tasks.draining() => break,
                incoming = self.endpoint.accept() => incoming,
            };
            match incoming {
                Some(incoming) => self.admit(incoming),
                None => return,
            }
        }
        // Open connections end by themselves, and new ones are refused. The endpoint lives until
        // the last close has certainly arrived, or until the end of the grace period.
        loop {
            tokio::select! {
                biased;
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => incoming.refuse(),
                    None => return,
                },
                () = self.endpoint.wait_idle() => return,
            }
        }
    }

    fn admit(&self, incoming: Incoming) {
        let half_open = self.half_open.get();
        if half_open >= HALF_OPEN {
            self.edge.counters.handshakes_failed.inc();
            return incoming.refuse();
        }
        let is_unproven = match self.edge.quic.retry {
            Retry::Never => false,
            Retry::UnderLoad => half_open >= RETRY_FROM,
            Retry::Always => true,
        };
        if is_unproven && incoming.may_retry() && !incoming.remote_address_validated() {
            // The call fails only in cases that `may_retry` has excluded.
            let _ = incoming.retry();
            return;
        }
        let Some(slot) = self.edge.slot() else {
            self.edge.counters.handshakes_failed.inc();
            return incoming.refuse();
        };
        let (edge, handler, tasks) =
            (Arc::clone(&self.edge), Rc::clone(&self.handler), self.tasks.clone());
        let half_open = HalfOpen::new(&self.half_open);
        self.tasks.spawn(async move {
            let _slot = slot;
            let Some(connection) = handshake(incoming, &edge).await else { return };
            drop(half_open);
            let open = Open::new(connection.clone(), &edge);
            serve_connection(connection, edge, handler, &tasks).await;
            drop(open);
        });
    }
}

/// Completes a handshake within its time limit.
async fn handshake(incoming: Incoming, edge: &Edge) -> Option<quinn::Connection> {
    let start = Instant::now();
    let result = match incoming.accept() {
        Ok(connecting) => match timeout(edge.limits.handshake_timeout, connecting).await {
            Ok(result) => result,
            // Dropping `connecting` ends the attempt.
            Err(_) => Err(quinn::ConnectionError::TimedOut),
        },
        Err(error) => Err(error),
    };
    match result {
        Ok(connection) => {
            edge.counters.handshakes_ok.inc();
            edge.counters.handshake_duration.observe(start.elapsed().as_secs_f64());
            Some(connection)
        }
        Err(error) => {
            edge.counters.handshakes_failed.inc();
            tracing::debug!(error = &error as &dyn std::error::Error, "QUIC handshake failed");
            None
        }
    }
}

/// Counts a handshake as half open until dropped.
struct HalfOpen(Rc<Cell<usize>>);

impl HalfOpen {
    fn new(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for HalfOpen {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Counts an open connection. At its end it records the figures of its path.
struct Open {
    connection: quinn::Connection,
    edge: Arc<Edge>,
}

impl Open {
    fn new(connection: quinn::Connection, edge: &Arc<Edge>) -> Self {
        edge.counters.connections_total.inc();
        edge.counters.connections_active.inc();
        Self { connection, edge: Arc::clone(edge) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let counters = &self.edge.counters;
        counters.connections_active.dec();
        let path = self.connection.stats().path;
        counters.packets_lost.inc_by(path.lost_packets);
        counters.rtt.observe(Duration::as_secs_f64(&path.rtt));
    }
}
