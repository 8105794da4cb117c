//! One request's stream (RFC 9114 §4.1): reads a message's head, its body and trailers, and sends
//! the other one. The server's part of it is here, and the client's in `client`.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, Request, StatusCode};

use crate::code::{Code, Error};
use crate::datagram::{self, Inbox};
use crate::priority::Priority;
use crate::qpack::Encoder;
use crate::receive::{Part, Phase, Receiving};
use crate::sending::{DATA, DataFrame, Sending, put_frame_head, put_headers};
use crate::shared::Shared;

/// A request's stream in both directions. The calls may come in turn or interleaved, from one
/// thread.
pub struct Stream {
    pub(crate) id: u64,
    pub(crate) shared: Rc<Shared>,
    /// Kept until the response is acknowledged: when it is dropped, quinn answers a client's stop
    /// with a reset.
    send: RefCell<quinn::SendStream>,
    pub(crate) recv: RefCell<Receiving>,
    /// Encoded bytes that are not sent yet.
    queued: RefCell<BytesMut>,
    /// Few requests accept any.
    datagrams: RefCell<Option<Box<Inbox>>>,
    /// The reason why reading ended, if the peer was at fault.
    fault: Cell<Option<Code>>,
    priority: Cell<Priority>,
    /// Whether a PRIORITY_UPDATE has come, which overrides the field (RFC 9218 §7).
    is_reprioritized: Cell<bool>,
    is_settled: Cell<bool>,
    /// Whether the final response's head is queued or sent.
    is_answered: Cell<bool>,
    /// Whether the server has told that it does not process the request.
    pub(crate) is_refused: Cell<bool>,
    /// The task to wake when that happens.
    pub(crate) waiting: RefCell<Option<Waker>>,
}

/// The reason why a datagram was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DatagramError {
    /// The peer accepts no datagrams.
    #[error("the peer takes no datagrams")]
    Unsupported,
    /// The datagram is larger than a packet to this peer.
    #[error("larger than a packet")]
    TooLarge,
}

impl Stream {
    pub(crate) fn new(
        shared: &Rc<Shared>,
        send: quinn::SendStream,
        recv: quinn::RecvStream,
    ) -> Rc<Self> {
        Rc::new(Self {
            id: send.id().into(),
            shared: Rc::clone(shared),
            send: RefCell::new(send),
            recv: RefCell::new(Receiving::new(recv)),
            queued: RefCell::default(),
            datagrams: RefCell::default(),
            fault: Cell::new(None),
            priority: Cell::default(),
            is_reprioritized: Cell::new(false),
            is_settled: Cell::new(false),
            is_answered: Cell::new(false),
            is_refused: Cell::new(false),
            waiting: RefCell::default(),
        })
    }

    /// The stream's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether the request came in 0-RTT data and the handshake is not complete yet: an attacker
    /// may have replayed it (RFC 8470 §3).
    pub fn is_early(&self) -> bool {
        !self.shared.is_complete() && self.recv.borrow().quic.is_0rtt()
    }

    /// Completes with the handshake, which ends the danger of a replay (RFC 8470 §3). Cancel safe.
    pub async fn confirmed(&self) {
        poll_fn(|cx| self.shared.poll_complete(cx)).await;
    }

    /// Reads the request's head. Cancel safe.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if its section is beyond the limits, [`Error::Stream`] if it is
    /// malformed.
    pub fn head(&self) -> impl Future<Output = Result<Request<()>, Error>> {
        poll_fn(|cx| self.poll_head(cx))
    }

    fn poll_head(&self, cx: &mut Context<'_>) -> Poll<Result<Request<()>, Error>> {
        let mut request = Request::new(());
        let priority = ready!(self.recv.borrow_mut().poll_request(&mut request, self, cx))?;
        if let Some(priority) = priority
            && !self.is_reprioritized.get()
        {
            self.prioritize(priority);
        }
        Poll::Ready(Ok(request))
    }

    /// Reads the next part after the head, or returns `None` at the end of the message. Reading
    /// gives the peer credit to send more. Cancel safe.
    ///
    /// # Errors
    /// [`Error::Reset`] if the peer has reset the stream, or after [`Stream::finish`] or
    /// [`Stream::abort`]. [`Error::Stream`] if the length of the body differs from content-length,
    /// or if the trailers are malformed.
    pub fn poll_part(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Part>, Error>> {
        let part = self.recv.borrow_mut().poll_part(self, cx);
        match &part {
            Poll::Ready(Err(Error::Stream(violation) | Error::Connection(violation))) => {
                self.fault.set(Some(violation.code));
            }
            Poll::Ready(Err(Error::TooLarge)) => self.fault.set(Some(Code::H3_EXCESSIVE_LOAD)),
            _ => {}
        }
        part
    }

    /// The code to end the stream with, if a part of the message was malformed or too large.
    pub fn fault(&self) -> Option<Code> {
        self.fault.get()
    }

    /// The rest of the body in bytes, if there was a content-length.
    pub fn remaining(&self) -> Option<u64> {
        self.recv.borrow().remaining()
    }

    /// Whether the message has been read to its end.
    pub fn is_read(&self) -> bool {
        self.recv.borrow().phase == Phase::Ended
    }

    /// Queues the final response's head. The first piece of the body or [`Stream::poll_flush`]
    /// sends it. The fields must not contain fields of connections.
    pub fn put_head(&self, status: StatusCode, fields: &HeaderMap) {
        self.is_answered.set(true);
        self.put_section(|encoder, out| encoder.encode_response(self.id, status, fields, out));
    }

    /// Queues an interim response (RFC 9110 §15.2) as [`Stream::put_head`] queues the final one;
    /// [`Stream::poll_flush`] sends it. Returns false, and does nothing, after the final head: the
    /// client would read it as trailers (RFC 9114 §4.1).
    pub fn put_interim(&self, status: StatusCode, fields: &HeaderMap) -> bool {
        if self.is_answered.get() {
            return false;
        }
        self.put_section(|encoder, out| encoder.encode_response(self.id, status, fields, out));
        true
    }

    /// Queues trailers, as [`Stream::put_head`] queues a head.
    pub fn put_trailers(&self, fields: &HeaderMap) {
        self.put_section(|encoder, out| encoder.encode_fields(self.id, fields, out));
    }

    /// Sends the queued bytes and then a piece of the body, without copying it. Waits while the
    /// peer gives no credit. Not cancel safe: the unsent rest is lost when the future is dropped.
    ///
    /// # Errors
    /// The peer has stopped the stream, or is gone.
    pub fn send_data(&self, payload: Bytes) -> Sending<'_> {
        Sending { stream: self, frame: self.data(payload) }
    }

    /// Makes a frame of a piece of the body. The queued bytes become a part of it.
    pub fn data(&self, payload: Bytes) -> DataFrame {
        let mut head = self.queued.take();
        if head.is_empty() {
            head = self.shared.encode(|out| put_frame_head(out, DATA, payload.len()));
        } else {
            // Into the room that `encode` has left.
            put_frame_head(&mut head, DATA, payload.len());
        }
        DataFrame([head.freeze(), payload])
    }

    /// Sends a frame as [`Stream::send_data`] does. Cancel safe: the frame keeps its unsent rest.
    ///
    /// # Errors
    /// As for [`Stream::send_data`].
    pub fn poll_send(
        &self,
        frame: &mut DataFrame,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        self.poll_write(&mut frame.0, cx)
    }

    /// Sends the queued bytes. Cancel safe.
    ///
    /// # Errors
    /// As for [`Stream::send_data`].
    pub fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.queued.borrow().is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut chunks = [self.queued.take().freeze()];
        let written = self.poll_write(&mut chunks, cx);
        let [rest] = chunks;
        self.queued.replace(rest.into());
        written
    }

    /// Keeps the datagrams of the request that arrive from now on (RFC 9297), 64 at most. Those of
    /// other requests are dropped.
    pub fn accept_datagrams(&self) {
        self.datagrams.borrow_mut().get_or_insert_default();
    }

    /// Drops the datagrams of the request, and those that still come.
    pub fn refuse_datagrams(&self) {
        self.datagrams.take();
    }

    /// Waits for a datagram of the request, and accepts them. Cancel safe.
    pub fn poll_datagram(&self, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.datagrams.borrow_mut().get_or_insert_default().poll_next(cx)
    }

    /// Sends a datagram of the request (RFC 9297), or drops it if the path or the peer takes none
    /// now.
    ///
    /// # Errors
    /// The peer has not announced that it accepts datagrams, or accepts none of this size.
    pub fn send_datagram(&self, payload: &[u8]) -> Result<(), DatagramError> {
        if !self.shared.settings.get().is_some_and(|settings| settings.datagrams) {
            return Err(DatagramError::Unsupported);
        }
        match self.shared.quic.send_datagram(datagram::encode(self.id, payload)) {
            Ok(()) | Err(quinn::SendDatagramError::ConnectionLost(_)) => Ok(()),
            Err(quinn::SendDatagramError::TooLarge) => Err(DatagramError::TooLarge),
            Err(_) => Err(DatagramError::Unsupported),
        }
    }

    /// Ends the message that is sent. The rest of the other one can still be read. Call
    /// [`Stream::finish`] if it is not wanted.
    pub fn end(&self) {
        // Fails only if the peer has stopped the stream, which no longer matters, or if the
        // stream has ended.
        let _ = self.send.borrow_mut().finish();
    }

    /// Ends the message that is sent, and discards the rest of the other one (RFC 9114 §4.1).
    pub fn finish(&self) {
        self.end();
        self.settle(Code::H3_NO_ERROR);
    }

    /// Ends both directions with an error.
    pub fn abort(&self, code: Code) {
        let _ = self.send.borrow_mut().reset(code.varint());
        self.settle(code);
    }

    /// Completes in one of three cases: with the peer's code when it wants no more of the message;
    /// with `None` when it has received all of a finished one; with an error when the connection is
    /// lost.
    pub fn stopped(&self) -> impl Future<Output = Result<Option<Code>, Error>> + 'static {
        let stopped = self.send.borrow().stopped();
        async move {
            match stopped.await {
                Ok(code) => Ok(code.map(Code::from)),
                Err(quinn::StoppedError::ConnectionLost(error)) => Err(Error::Lost(error)),
                Err(quinn::StoppedError::ZeroRttRejected) => Err(Error::Reset(Code::H3_NO_ERROR)),
            }
        }
    }

    /// The urgency of the response.
    pub fn priority(&self) -> Priority {
        self.priority.get()
    }

    /// Applies a PRIORITY_UPDATE.
    pub(crate) fn reprioritize(&self, priority: Priority) {
        self.is_reprioritized.set(true);
        self.prioritize(priority);
    }

    /// Whether the rest of the peer's message is discarded.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled.get()
    }

    pub(crate) fn deliver(&self, payload: &[u8]) {
        if let Some(inbox) = &mut *self.datagrams.borrow_mut() {
            inbox.push(payload);
        }
    }

    fn prioritize(&self, priority: Priority) {
        if self.priority.replace(priority) != priority {
            // Fails only if the stream is closed.
            let _ = self.send.borrow().set_priority(priority.for_quinn());
        }
    }

    /// Reads the message to its end if the end has arrived; otherwise asks the peer to stop
    /// sending.
    fn settle(&self, code: Code) {
        if self.is_settled.replace(true) {
            return;
        }
        self.shared.leave(self.id);
        let mut recv = self.recv.borrow_mut();
        let _ = self.shared.hold(std::mem::take(&mut recv.held), 0);
        if recv.phase == Phase::Ended {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        let next = recv.poll_more(&mut cx);
        let is_over = matches!(next, Poll::Ready(Ok(None)));
        if !is_over || recv.phase != Phase::Rest || recv.is_blocked() {
            // A section that is never decoded may refer to the table (RFC 9204 §2.2.2.2).
            self.shared.decoder.borrow_mut().cancel(self.id);
            self.shared.wake_driver();
        }
        if matches!(next, Poll::Pending | Poll::Ready(Ok(Some(_)))) {
            drop(recv.quic.stop(code.varint()));
        }
    }

    pub(crate) fn put_section(&self, encode: impl FnOnce(&mut Encoder, &mut BytesMut)) {
        let mut queued = self.queued.borrow_mut();
        let mut encoder = self.shared.encoder.borrow_mut();
        *queued = self.shared.encode(|out| {
            out.put_slice(&queued);
            put_headers(out, |out| encode(&mut encoder, out));
        });
        if encoder.has_instructions() {
            self.shared.wake_driver();
        }
    }

    /// Writes both chunks at once, without copying.
    fn poll_write(&self, chunks: &mut [Bytes], cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut send = self.send.borrow_mut();
        while chunks.iter().any(|chunk| !chunk.is_empty()) {
            // As with `poll_chunk`, the future keeps its state in `chunks`.
            ready!(pin!(send.write_chunks(chunks)).poll(cx))?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    /// Aborts a stream without a proper end: its request was cancelled, and the client must not see
    /// a normal end.
    fn drop(&mut self) {
        if !self.is_settled.get() {
            self.abort(Code::H3_REQUEST_CANCELLED);
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("id", &self.id).finish_non_exhaustive()
    }
}
