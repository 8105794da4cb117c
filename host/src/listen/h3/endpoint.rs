//! The QUIC endpoint of one worker: settings, handshakes and their bounds, the end.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, TransportConfig, VarInt};
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::serve_connection;
use crate::config::{ListenerId, Quic, Retry};
use crate::listen::handover::Group;
use crate::listen::listening::EndpointGuard;
use crate::listen::socket::Socket;
use crate::listen::steer::Ids;
use crate::listen::{Edge, Handler, Listening};
use crate::message::peer::Protocol;
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
    datagrams: bool,
    tls: Arc<QuicServerConfig>,
    retry: Arc<dyn HandshakeTokenKey>,
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
        .datagram_receive_buffer_size(datagrams.then_some(DATAGRAMS))
        .datagram_send_buffer_size(DATAGRAMS);
    if !quic.mtu_discovery {
        transport.mtu_discovery_config(None);
    }
    let mut config = quinn::ServerConfig::new(tls, retry);
    config
        .transport_config(Arc::new(transport))
        .migration(quic.migration)
        .max_incoming(UNSEEN)
        .incoming_buffer_size_total(UNSEEN_BYTES);
    config
}

/// Bytes of datagrams that wait in a connection, each way: some milliseconds of a fast path. Those
/// beyond them are dropped, as a network would do.
const DATAGRAMS: usize = 256 << 10;

fn window(bytes: u64) -> VarInt {
    VarInt::from_u64(bytes).unwrap_or(VarInt::MAX)
}

/// The QUIC endpoints of one worker, by their listeners. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Endpoints(Rc<RefCell<HashMap<ListenerId, Opened>>>);

/// An endpoint with connections.
#[derive(Debug)]
struct Opened {
    endpoint: Endpoint,
    /// Ends the refusal of new connections, because the listener is open again.
    again: CancellationToken,
    _guard: EndpointGuard,
}

impl Endpoints {
    /// Returns the endpoint of a listener whose last connections end, and stops the refusal of new
    /// ones.
    fn reopen(&self, id: ListenerId, again: &CancellationToken) -> Option<Endpoint> {
        let mut all = self.0.borrow_mut();
        let opened = all.get_mut(&id)?;
        std::mem::replace(&mut opened.again, again.clone()).cancel();
        Some(opened.endpoint.clone())
    }

    fn insert(&self, listening: &Arc<Listening>, endpoint: Endpoint, again: CancellationToken) {
        let opened = Opened { endpoint, again, _guard: listening.endpoint() };
        self.0.borrow_mut().insert(listening.id, opened);
    }

    fn remove(&self, id: ListenerId) {
        self.0.borrow_mut().remove(&id);
    }
}

/// Starts the worker's endpoint, or goes on with one whose last connections end.
pub(in crate::listen) fn serve<H: Handler>(
    (socket, worker, group): (std::net::UdpSocket, usize, &Arc<Group>),
    listening: &Arc<Listening>,
    endpoints: &Endpoints,
    handler: Rc<H>,
    tasks: &Tasks,
) -> std::io::Result<()> {
    let edge = listening.edge();
    let Some(server) = edge.quic_server.as_deref().cloned() else { return Ok(()) };
    let again = CancellationToken::new();
    let endpoint = match endpoints.reopen(listening.id, &again) {
        Some(endpoint) => {
            endpoint.set_server_config(Some(server));
            endpoint
        }
        None => {
            let socket = Socket::new(socket, worker, Arc::clone(group), edge.counters.clone())?;
            let endpoint = start(socket, (worker, edge.reset_key(worker)), group, server)?;
            endpoints.insert(listening, endpoint.clone(), again.clone());
            endpoint
        }
    };
    let acceptor = Acceptor {
        endpoint,
        again,
        endpoints: endpoints.clone(),
        listening: Arc::clone(listening),
        handler,
        tasks: tasks.clone(),
        half_open: Rc::new(Cell::new(0)),
    };
    tasks.spawn(acceptor.run());
    Ok(())
}

fn start(
    socket: Socket,
    (worker, reset): (usize, Arc<dyn HmacKey>),
    group: &Arc<Group>,
    server: quinn::ServerConfig,
) -> std::io::Result<Endpoint> {
    let mut config = EndpointConfig::new(reset);
    let steering = Arc::clone(&group.steering);
    config.cid_generator(move || Box::new(Ids::new(Arc::clone(&steering), worker)));
    let runtime = Arc::new(TokioRuntime);
    Endpoint::new_with_abstract_socket(config, Some(server), Arc::new(socket), runtime)
}

/// Accepts the QUIC connections of one worker.
struct Acceptor<H> {
    endpoint: Endpoint,
    /// Ends the refusal of new connections, because the listener is open again.
    again: CancellationToken,
    endpoints: Endpoints,
    listening: Arc<Listening>,
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
                // Another acceptor goes on with the endpoint.
                () = self.again.cancelled() => return,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => incoming.refuse(),
                    None => break,
                },
                () = self.endpoint.wait_idle() => break,
            }
        }
        self.endpoints.remove(self.listening.id);
    }

    fn admit(&self, incoming: Incoming) {
        let edge = self.listening.edge();
        let half_open = self.half_open.get();
        if half_open >= HALF_OPEN {
            edge.counters.handshakes_failed.inc();
            return incoming.refuse();
        }
        let is_unproven = match edge.quic.retry {
            Retry::Never => false,
            Retry::UnderLoad => half_open >= RETRY_FROM,
            Retry::Always => true,
        };
        if is_unproven && incoming.may_retry() && !incoming.remote_address_validated() {
            // The call fails only in cases that `may_retry` has excluded.
            let _ = incoming.retry();
            return;
        }
        let Some(slot) = edge.slot(Protocol::H3) else {
            edge.counters.handshakes_failed.inc();
            return incoming.refuse();
        };
        let (handler, tasks) = (Rc::clone(&self.handler), self.tasks.clone());
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
    // The settings are those of this moment, and those of the endpoint may be older.
    let accepted = match &edge.quic_server {
        Some(server) => incoming.accept_with(Arc::clone(server)),
        None => incoming.accept(),
    };
    let result = match accepted {
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
