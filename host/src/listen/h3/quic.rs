//! The h3 crate's transport traits on quinn, so that nothing of a stream is lost on the way.
//!
//! Every request stream is a [`Stream`] that the request's own code shares with the crate: it sees the client's
//! cancellation, writes bodies without copying them, and decides how each direction ends.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::stream::{self, Stream as Accepting};
use h3::error::Code;
use h3::quic::{
    self as transport, ConnectionErrorIncoming, StreamErrorIncoming, StreamId, WriteBuf,
};

use super::frames::Fault;
use super::stream::{Half, Stream};
use super::uni::{Receiver, Sender};

/// What the crate's connection and the code around it share.
pub(super) struct Link {
    pub(super) connection: quinn::Connection,
    /// The request stream that the crate accepted last.
    accepted: RefCell<Option<Rc<Stream>>>,
    /// The crate opens it first.
    control: RefCell<Option<Rc<RefCell<quinn::SendStream>>>>,
    /// Streams from this id on are refused.
    limit: Cell<u64>,
    /// The id after that of the last stream accepted.
    next: Cell<u64>,
    /// Bytes that a HEADERS frame may have.
    pub(super) frame_limit: usize,
}

impl Link {
    pub(super) fn new(connection: quinn::Connection, frame_limit: usize) -> Rc<Self> {
        Rc::new(Self {
            connection,
            accepted: RefCell::default(),
            control: RefCell::default(),
            limit: Cell::new(u64::MAX),
            next: Cell::new(0),
            frame_limit,
        })
    }

    /// The stream of the request that `accept` has just returned.
    pub(super) fn accepted(&self) -> Option<Rc<Stream>> {
        self.accepted.take()
    }

    /// Tells the client to open no more requests, without refusing any yet (RFC 9114 §5.2).
    pub(super) async fn announce_end(&self) {
        const LARGEST_REQUEST: u64 = (1 << 62) - 4;
        self.goaway(LARGEST_REQUEST).await;
    }

    /// Refuses requests that have not been accepted by now, and tells the client which these are.
    ///
    /// The crate's own `shutdown` names the last accepted request as refused and then serves one more than it named, so
    /// a client that repeats a request elsewhere could have it done twice.
    pub(super) async fn refuse_rest(&self) {
        self.limit.set(self.next.get());
        self.goaway(self.next.get()).await;
    }

    async fn goaway(&self, id: u64) {
        let Some(control) = self.control.borrow().clone() else { return };
        // Type 7, length 8, and the id as an integer of eight bytes.
        let mut frame = vec![0x07, 0x08];
        frame.extend((id | 0b11 << 62).to_be_bytes());
        let mut frame = &frame[..];
        let _ = poll_fn(|cx| poll_write(&mut control.borrow_mut(), &mut frame, cx)).await;
    }

    /// Ends the connection at once.
    pub(super) fn close(&self, code: Code, reason: &[u8]) {
        self.connection.close(varint(code), reason);
    }
}

/// The crate's handle of the connection.
pub(super) struct Transport {
    link: Rc<Link>,
    requests: Requests,
    others: Others,
}

type Requests = Pin<
    Box<
        dyn Accepting<
            Item = Result<(quinn::SendStream, quinn::RecvStream), quinn::ConnectionError>,
        >,
    >,
>;
type Others = Pin<Box<dyn Accepting<Item = Result<quinn::RecvStream, quinn::ConnectionError>>>>;

impl Transport {
    pub(super) fn new(link: Rc<Link>) -> Self {
        // An accept that is dropped while it waits would not be woken, so one is kept between polls.
        let connection = link.connection.clone();
        let requests = Box::pin(stream::unfold(connection.clone(), |connection| async move {
            Some((connection.accept_bi().await, connection))
        }));
        let others = Box::pin(stream::unfold(connection, |connection| async move {
            Some((connection.accept_uni().await, connection))
        }));
        Self { link, requests, others }
    }
}

impl transport::Connection<Bytes> for Transport {
    type RecvStream = Receiver;
    type OpenStreams = Opener;

    fn poll_accept_recv(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Receiver, ConnectionErrorIncoming>> {
        let recv = ready!(self.others.as_mut().poll_next(cx)).ok_or_else(ended)?;
        let recv = recv.map_err(connection_error)?;
        let id = stream_id(recv.id()).map_err(|()| ended())?;
        Poll::Ready(Ok(Receiver::new(id, recv, Rc::clone(&self.link))))
    }

    fn poll_accept_bidi(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Half, ConnectionErrorIncoming>> {
        loop {
            let pair = ready!(self.requests.as_mut().poll_next(cx)).ok_or_else(ended)?;
            let (send, recv) = pair.map_err(connection_error)?;
            let id = stream_id(send.id()).map_err(|()| ended())?;
            let number = u64::from(send.id());
            let stream = Stream::new(id, send, recv, Rc::clone(&self.link));
            if number >= self.link.limit.get() {
                stream.abort(Code::H3_REQUEST_REJECTED);
                continue;
            }
            self.link.next.set(number + 4);
            self.link.accepted.replace(Some(Rc::clone(&stream)));
            return Poll::Ready(Ok(Half::new(stream)));
        }
    }

    fn opener(&self) -> Opener {
        Opener { link: Rc::clone(&self.link) }
    }
}

impl transport::OpenStreams<Bytes> for Transport {
    type BidiStream = Half;
    type SendStream = Sender;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Half, StreamErrorIncoming>> {
        Poll::Ready(Err(never_opened()))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sender, StreamErrorIncoming>> {
        poll_open(&self.link, cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.link.close(code, reason);
    }
}

/// The crate's handle for opening streams.
pub(super) struct Opener {
    link: Rc<Link>,
}

impl transport::OpenStreams<Bytes> for Opener {
    type BidiStream = Half;
    type SendStream = Sender;

    fn poll_open_bidi(&mut self, _: &mut Context<'_>) -> Poll<Result<Half, StreamErrorIncoming>> {
        Poll::Ready(Err(never_opened()))
    }

    fn poll_open_send(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Sender, StreamErrorIncoming>> {
        poll_open(&self.link, cx)
    }

    fn close(&mut self, code: Code, reason: &[u8]) {
        self.link.close(code, reason);
    }
}

/// Opens a stream of ours: control, QPACK encoder, QPACK decoder.
///
/// A client that does not allow these three at once breaks RFC 9114 §6.2; it is not waited for.
fn poll_open(link: &Link, cx: &mut Context<'_>) -> Poll<Result<Sender, StreamErrorIncoming>> {
    let send = match pin!(link.connection.open_uni()).poll(cx) {
        Poll::Ready(send) => send.map_err(|error| lost(connection_error(error)))?,
        Poll::Pending => {
            link.close(Code::H3_STREAM_CREATION_ERROR, b"three unidirectional streams are needed");
            return Poll::Ready(Err(lost(ended())));
        }
    };
    let id = stream_id(send.id()).map_err(|()| lost(ended()))?;
    let send = Rc::new(RefCell::new(send));
    link.control.borrow_mut().get_or_insert_with(|| Rc::clone(&send));
    Poll::Ready(Ok(Sender::new(id, send)))
}

/// Writes what the crate has left to be written.
pub(super) fn poll_flush(
    stream: &mut quinn::SendStream,
    writing: &mut Option<WriteBuf<Bytes>>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), StreamErrorIncoming>> {
    if let Some(data) = writing {
        ready!(poll_write(stream, data, cx)).map_err(write_error)?;
        *writing = None;
    }
    Poll::Ready(Ok(()))
}

fn poll_write(
    stream: &mut quinn::SendStream,
    data: &mut impl Buf,
    cx: &mut Context<'_>,
) -> Poll<Result<(), quinn::WriteError>> {
    while data.has_remaining() {
        let written = ready!(Pin::new(&mut *stream).poll_write(cx, data.chunk()))?;
        data.advance(written);
    }
    Poll::Ready(Ok(()))
}

/// What the crate is told of a stream that cannot be read on; some faults end the connection here.
pub(super) fn read_fault(fault: Fault, link: &Link) -> StreamErrorIncoming {
    match fault {
        Fault::Stream(error) => read_error(error),
        // RFC 9114 §7.1
        Fault::Truncated => {
            link.close(Code::H3_FRAME_ERROR, b"the stream ended within a frame");
            lost(ended())
        }
        Fault::TooLarge => {
            StreamErrorIncoming::StreamTerminated { error_code: Code::H3_EXCESSIVE_LOAD.value() }
        }
    }
}

pub(super) fn read_error(error: quinn::ReadError) -> StreamErrorIncoming {
    match error {
        quinn::ReadError::Reset(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        quinn::ReadError::ConnectionLost(error) => lost(connection_error(error)),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn write_error(error: quinn::WriteError) -> StreamErrorIncoming {
    match error {
        quinn::WriteError::Stopped(code) => {
            StreamErrorIncoming::StreamTerminated { error_code: code.into_inner() }
        }
        quinn::WriteError::ConnectionLost(error) => lost(connection_error(error)),
        error => StreamErrorIncoming::Unknown(Box::new(error)),
    }
}

fn connection_error(error: quinn::ConnectionError) -> ConnectionErrorIncoming {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => {
            ConnectionErrorIncoming::ApplicationClose { error_code: close.error_code.into_inner() }
        }
        quinn::ConnectionError::TimedOut => ConnectionErrorIncoming::Timeout,
        error => ConnectionErrorIncoming::Undefined(Arc::new(error)),
    }
}

/// The connection was closed on this side.
fn ended() -> ConnectionErrorIncoming {
    ConnectionErrorIncoming::Undefined(Arc::new(quinn::ConnectionError::LocallyClosed))
}

fn lost(connection_error: ConnectionErrorIncoming) -> StreamErrorIncoming {
    StreamErrorIncoming::ConnectionErrorIncoming { connection_error }
}

/// A server opens no bidirectional stream (RFC 9114 §6.1), and the crate's server does not ask for one.
fn never_opened() -> StreamErrorIncoming {
    StreamErrorIncoming::Unknown("a server opens no bidirectional stream".into())
}

fn stream_id(id: quinn::StreamId) -> Result<StreamId, ()> {
    StreamId::try_from(u64::from(id)).map_err(|_| ())
}

/// An error code for quinn.
pub(super) fn varint(code: Code) -> quinn::VarInt {
    quinn::VarInt::from_u64(code.value()).unwrap_or_default()
}
