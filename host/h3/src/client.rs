//! The client's side of a connection, and of its requests.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt as _;
use http::{HeaderMap, Method, Response};

use crate::code::{Code, Error};
use crate::config::Config;
use crate::driver::drive;
use crate::qpack::Pseudo;
use crate::settings::Settings;
use crate::shared::{Shared, Side};
use crate::stream::Stream;

/// A connection that this side has opened. Lives on one thread. Clones control the same connection.
#[derive(Clone)]
pub struct Client(Rc<Shared>);

impl Client {
    /// Takes over an established QUIC connection with the ALPN `h3`. QUIC must let the server open
    /// at least three unidirectional streams, and no bidirectional ones (RFC 9114 §6).
    ///
    /// The future serves the control stream and QPACK's streams. It must be polled until it
    /// completes with the reason of the connection's end. `config` may announce datagrams, but no
    /// extended CONNECT.
    pub fn new(
        quic: quinn::Connection,
        config: Config,
    ) -> (Self, impl Future<Output = Error> + 'static) {
        let shared = Shared::new(quic, true, Side::Client, config);
        (Self(Rc::clone(&shared)), drive(shared, None))
    }

    /// Waits for the server's settings. `None` if the connection ends before. Cancel safe.
    pub async fn settings(&self) -> Option<Settings> {
        poll_fn(|cx| self.0.poll_settings(cx)).await
    }

    /// Whether the server takes further requests: neither side has ended the connection.
    pub fn is_open(&self) -> bool {
        self.0.goaway.get().is_none() && self.0.quic.close_reason().is_none()
    }

    /// Opens a request's stream. Waits while the server allows no further stream. Cancel safe.
    ///
    /// # Errors
    /// The connection is over.
    pub async fn open(&self) -> Result<Rc<Stream>, Error> {
        let (send, recv) = self.0.quic.open_bi().await.map_err(|error| self.0.lost(error))?;
        let stream = Stream::new(&self.0, send, recv);
        self.0.opened.set(stream.id + 4);
        self.0.enter(&stream);
        Ok(stream)
    }

    /// Opens a request's stream, if the server allows one now and the connection is open.
    pub fn try_open(&self) -> Option<Rc<Stream>> {
        if !self.is_open() {
            return None;
        }
        self.open().now_or_never()?.ok()
    }

    /// Ends the connection at once, and sends the reason to the server.
    pub fn close(&self, code: Code, reason: &'static str) {
        self.0.quic.close(code.varint(), reason.as_bytes());
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("opened", &self.0.opened).finish_non_exhaustive()
    }
}

impl Stream {
    /// Queues a request's head: its pseudo-header fields in this order, then the others. The first
    /// piece of the body or [`Stream::poll_flush`] sends it. The fields must not contain fields of
    /// connections.
    pub fn put_request(&self, pseudo: &[(Pseudo, &[u8])], fields: &HeaderMap) {
        self.put_section(|encoder, out| encoder.encode_request(self.id, pseudo, fields, out));
    }

    /// Reads the next head of the response to a request of this method. Interim responses come
    /// before the final one. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Reset`] with [`Code::H3_REQUEST_REJECTED`] if the server has not processed the
    /// request. [`Error::TooLarge`] if the section is beyond the limits, [`Error::Stream`] if it is
    /// malformed.
    pub fn poll_response(
        &self,
        method: &Method,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, Error>> {
        if self.is_refused.get() {
            return Poll::Ready(Err(Error::Reset(Code::H3_REQUEST_REJECTED)));
        }
        let mut response = Response::new(());
        let polled = self.recv.borrow_mut().poll_response(&mut response, method, self, cx);
        if polled.is_pending() {
            self.await_refusal(cx);
        }
        ready!(polled)?;
        Poll::Ready(Ok(response))
    }

    /// Registers the task to wake if the server refuses the request.
    fn await_refusal(&self, cx: &Context<'_>) {
        let mut waiting = self.waiting.borrow_mut();
        if !waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *waiting = Some(cx.waker().clone());
        }
    }

    /// Fails a request that the server will not process (RFC 9114 §5.2).
    pub(crate) fn refuse(&self) {
        self.is_refused.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }
}
