//! TCP: accepts connections, encrypts them, and passes them to HTTP/2 or HTTP/1.1 by ALPN.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::edge::ConnectionPermit;
use super::h1::serve_h1;
use super::service::Service;
use super::stall::Stalling;
use super::{Handler, Listening, h2, kernel, preamble};
use crate::message::peer::{Peer, Protocol};
use crate::net::{self, Throttle, is_of_one_connection};
use crate::task::Tasks;
use crate::telemetry::metrics::Reason;

/// First and longest wait after a failed accept. Each further failure doubles the wait. A lack of
/// file descriptors ends only when connections end.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Time for handshakes that had begun before the drain: a round trip around the globe.
const LAST_HANDSHAKES: Duration = Duration::from_millis(250);

/// Starts accepting on a worker's listening socket.
pub(super) fn serve<H: Handler>(
    listener: std::net::TcpListener,
    listening: &Arc<Listening>,
    handler: Rc<H>,
    tasks: &Tasks,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let acceptor = Acceptor {
        listening: Arc::clone(listening),
        handler,
        tasks: tasks.clone(),
        failures: Throttle::default(),
    };
    tasks.spawn(acceptor.run(listener));
    Ok(())
}

/// Accepts the TCP connections of one worker.
struct Acceptor<H> {
    listening: Arc<Listening>,
    handler: Rc<H>,
    tasks: Tasks,
    failures: Throttle,
}

impl<H: Handler> Acceptor<H> {
    async fn run(self, listener: TcpListener) {
        let mut backoff = BACKOFF.0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.tasks.draining() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, client)) => {
                    backoff = BACKOFF.0;
                    self.admit(stream, client);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    self.report(&error);
                    tokio::select! {
                        () = sleep(backoff) => {}
                        () = self.tasks.draining() => break,
                    }
                    backoff = (backoff * 2).min(BACKOFF.1);
                }
            }
        }
        self.close(listener).await;
    }

    /// Accepts all connections that a client may regard as established, then closes the socket.
    async fn close(&self, listener: TcpListener) {
        if self.listening.is_shared() {
            // Another process accepts the rest.
            return;
        }
        let Ok(listener) = listener.into_std() else { return };
        let until = Instant::now() + LAST_HANDSHAKES;
        if let Err(error) = kernel::refuse_new_handshakes(&listener) {
            tracing::debug!(%error, "stop new TCP handshakes before closing the listener");
        }
        let Ok(listener) = TcpListener::from_std(listener) else { return };
        while let Ok(accepted) = timeout_at(until, listener.accept()).await {
            match accepted {
                Ok((stream, client)) => self.admit(stream, client),
                Err(error) if is_of_one_connection(&error) => {}
                Err(_) => sleep(BACKOFF.0).await,
            }
        }
    }

    fn admit(&self, stream: TcpStream, client: SocketAddr) {
        // A connection over the limit is closed by dropping it.
        let edge = self.listening.edge();
        let Some(mut slot) = edge.slot(Protocol::H1) else { return };
        // Small writes must not wait for acknowledgements. The call fails only if the client is
        // already gone.
        let _ = stream.set_nodelay(true);
        let local = self.local(&stream);
        let mut stream = Stalling::new(stream, edge.pace);
        let mut service = Service::new(
            &edge,
            &self.handler,
            &self.tasks,
            Peer {
                client: net::canonical(client),
                local,
                protocol: Protocol::H1,
                version: Version::HTTP_11,
                tls: edge.tls.is_some(),
                listener: edge.id,
                via: None,
            },
            stream.written(),
        );
        let stalled = stream.stalled();
        self.tasks.spawn(async move {
            if !greeted(&mut stream, &mut service).await {
                return;
            }
            let protocol = match edge.tls.clone() {
                Some(tls) => encrypted(stream, &TlsAcceptor::from(tls), service, &mut slot).await,
                None => {
                    serve_h1(stream, service).await;
                    Protocol::H1
                }
            };
            if stalled.get() {
                edge.cut.count(protocol, Reason::SlowResponse);
            }
            drop(slot);
        });
    }

    /// Returns the address that a client connected to. An unspecified listener address does not
    /// show it.
    fn local(&self, stream: &TcpStream) -> SocketAddr {
        let address = self.listening.address;
        let is_known = !address.ip().is_unspecified();
        if is_known { address } else { stream.local_addr().unwrap_or(address) }
    }

    fn report(&self, error: &io::Error) {
        if self.failures.is_due() {
            tracing::warn!(
                address = %self.listening.address,
                error = error as &dyn std::error::Error,
                "accept failed; trying again"
            );
        }
    }
}

/// Reads the preamble of the PROXY protocol, if the connection must begin with one. Returns whether
/// the connection may go on.
async fn greeted<H: Handler>(stream: &mut Stalling<TcpStream>, service: &mut Service<H>) -> bool {
    let client = service.peer.client;
    if !service.edge.wants_preamble(client.ip()) {
        return true;
    }
    let limit = service.edge.limits.handshake_timeout;
    match timeout(limit, preamble::read(stream)).await {
        Ok(Ok(named)) => {
            if let Some((from, to)) = named {
                (service.peer.client, service.peer.local) = (net::canonical(from), to);
            }
            true
        }
        Ok(Err(error)) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(%client, error, "no preamble of the PROXY protocol");
            false
        }
        Err(_) => false,
    }
}

/// Completes the TLS handshake within its time limit and serves the protocol of ALPN. Returns that
/// protocol.
async fn encrypted<H: Handler>(
    stream: Stalling<TcpStream>,
    tls: &TlsAcceptor,
    service: Service<H>,
    slot: &mut ConnectionPermit,
) -> Protocol {
    let limit = service.edge.limits.handshake_timeout;
    let stream = match timeout(limit, tls.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            let client = service.peer.client;
            tracing::debug!(%client, error = &error as &dyn std::error::Error, "TLS handshake failed");
            return Protocol::H1;
        }
        Err(_) => return Protocol::H1,
    };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => {
            slot.choose(Protocol::H2);
            h2::serve(stream, service).await;
            return Protocol::H2;
        }
        // A client without ALPN gets HTTP/1.1, if the listener serves it.
        _ if service.edge.protocols.h1 => serve_h1(stream, service).await,
        _ => {}
    }
    Protocol::H1
}
