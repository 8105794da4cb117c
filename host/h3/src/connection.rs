//! The server's side of a connection: accepts its requests and ends it.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::stream;

use crate::code::{Code, Error};
use crate::config::Config;
use crate::driver::drive;
use crate::gate::Gate;
use crate::settings::Settings;
use crate::shared::{Shared, Side};
use crate::stream::Stream;

/// A connection that a client has opened. Lives on one thread.
///
/// Requests come from [`Connection::accept`]. The caller must call it again and again: it also
/// reads and writes the control stream and QPACK's streams. [`Connection::drive`] does the same
/// without requests.
pub struct Connection {
    shared: Rc<Shared>,
    driver: Pin<Box<dyn Future<Output = Error>>>,
    driver_gate: Gate,
    requests: Requests,
    requests_gate: Gate,
}

/// Controls a connection while another task waits for its requests.
#[derive(Clone)]
pub struct Handle(Rc<Shared>);

type Requests = Pin<
    Box<
        dyn futures_util::Stream<
                Item = Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>,
            >,
    >,
>;

impl Connection {
    /// Takes over an established QUIC connection with the ALPN `h3`.
    pub fn new(quic: quinn::Connection, config: Config) -> Self {
        Self::begin(quic, None, config)
    }

    /// Takes over a QUIC connection before its handshake is complete, so that requests in 0-RTT
    /// data are served. [`Stream::is_early`] marks these requests. `complete` comes from quinn with
    /// the connection.
    pub fn early(
        quic: quinn::Connection,
        complete: quinn::ZeroRttAccepted,
        config: Config,
    ) -> Self {
        Self::begin(quic, Some(complete), config)
    }

    fn begin(
        quic: quinn::Connection,
        handshake: Option<quinn::ZeroRttAccepted>,
        config: Config,
    ) -> Self {
        let shared = Shared::new(quic.clone(), handshake.is_none(), Side::Server, config);
        let driver = Box::pin(drive(Rc::clone(&shared), handshake));
        // One accept is kept between polls, because a dropped accept is not woken.
        let requests =
            Box::pin(stream::unfold(
                quic,
                |quic| async move { Some((quic.accept_bi().await, quic)) },
            ));
        Self { shared, driver, driver_gate: Gate::new(), requests, requests_gate: Gate::new() }
    }

    /// Returns a handle to control the connection.
    pub fn handle(&self) -> Handle {
        Handle(Rc::clone(&self.shared))
    }

    /// Waits for the next request's stream. Cancel safe.
    ///
    /// # Errors
    /// The connection is over: the client closed it or broke a rule, it was lost, or this side
    /// closed it.
    pub async fn accept(&mut self) -> Result<Rc<Stream>, Error> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Serves the control stream and QPACK's streams until the connection is over, and takes no
    /// requests. The caller uses it while there is no room for more requests: the requests that it
    /// has may wait for data on these streams. Cancel safe.
    pub async fn drive(&mut self) -> Error {
        poll_fn(|cx| self.driver_gate.poll(cx, |cx| self.driver.as_mut().poll(cx))).await
    }

    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<Rc<Stream>, Error>> {
        if let Poll::Ready(error) = self.driver_gate.poll(cx, |cx| self.driver.as_mut().poll(cx)) {
            return Poll::Ready(Err(error));
        }
        loop {
            let accepted = self.requests_gate.poll(cx, |cx| self.requests.as_mut().poll_next(cx));
            let (send, recv) = match accepted {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(pair))) => pair,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(self.shared.lost(error))),
                Poll::Ready(None) => {
                    let error = quinn::ConnectionError::LocallyClosed;
                    return Poll::Ready(Err(self.shared.lost(error)));
                }
            };
            let stream = Stream::new(&self.shared, send, recv);
            let id = stream.id();
            self.shared.opened.set(id + 4);
            if id >= self.shared.limit.get() {
                stream.abort(Code::H3_REQUEST_REJECTED);
                continue;
            }
            self.shared.next.set(id + 4);
            self.shared.enter(&stream);
            return Poll::Ready(Ok(stream));
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("next", &self.shared.next).finish_non_exhaustive()
    }
}

impl Handle {
    /// The QUIC connection.
    pub fn quic(&self) -> &quinn::Connection {
        &self.0.quic
    }

    /// The client's settings, if they have arrived.
    pub fn settings(&self) -> Option<Settings> {
        self.0.settings.get()
    }

    /// Whether the client has announced, by GOAWAY, that it opens no more requests.
    pub fn is_client_going(&self) -> bool {
        self.0.goaway.get().is_some()
    }

    /// Asks the client to open no more requests, without refusing any yet (RFC 9114 §5.2).
    pub fn announce_end(&self) {
        self.goaway(LARGEST_REQUEST);
    }

    /// Refuses all requests that are not accepted yet, and tells the client which these are: it may
    /// repeat them elsewhere.
    pub fn refuse_rest(&self) {
        let next = self.0.next.get();
        self.0.limit.set(next);
        self.goaway(next);
    }

    fn goaway(&self, id: u64) {
        if id >= self.0.announced.get() {
            return;
        }
        self.0.announced.set(id);
        let mut payload = Vec::with_capacity(8);
        crate::varint::encode(id, &mut payload);
        self.0.post(GOAWAY, &payload);
    }

    /// Ends the connection at once, and sends the reason to the client.
    pub fn close(&self, code: Code, reason: &'static str) {
        self.0.quic.close(code.varint(), reason.as_bytes());
    }
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

const GOAWAY: u64 = 0x07;

/// The largest id of a request stream (RFC 9000 §2.1).
const LARGEST_REQUEST: u64 = (1 << 62) - 4;
