//! The state that the parts of one connection share. All of them run on one thread, in the
//! connection's task.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::{BufMut as _, Bytes, BytesMut};
use rustc_hash::FxHashMap;

use crate::code::{Code, Error, Violation};
use crate::config::Config;
use crate::datagram;
use crate::message::LastAuthority;
use crate::priority::Priority;
use crate::qpack::{Decoder, Encoder};
use crate::settings::Settings;
use crate::stream::Stream;
use crate::useless::Useless;
use crate::varint;

/// A side of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) struct Shared {
    pub(crate) quic: quinn::Connection,
    /// The side that this program is.
    pub(crate) side: Side,
    pub(crate) config: Config,
    pub(crate) decoder: RefCell<Decoder>,
    pub(crate) encoder: RefCell<Encoder>,
    /// The peer's settings, if they have arrived.
    pub(crate) settings: Cell<Option<Settings>>,
    /// Frames for our control stream.
    outbox: RefCell<BytesMut>,
    /// Wakes the writer of the outbox and of QPACK's instructions.
    driver: RefCell<Option<Waker>>,
    /// Requests with sections that wait for QPACK's encoder stream.
    blocked: RefCell<FxHashMap<u64, Waker>>,
    /// Open request streams by their ids, which rise, for later priorities. The oldest streams
    /// nearly always leave first.
    streams: RefCell<VecDeque<(u64, Weak<Stream>)>>,
    /// Priorities that arrived before their request.
    early: RefCell<FxHashMap<u64, Priority>>,
    pub(crate) authority: LastAuthority,
    /// Request streams from this id on are refused.
    pub(crate) limit: Cell<u64>,
    /// The id after the last accepted request stream.
    pub(crate) next: Cell<u64>,
    /// The id after the last request stream that the client opened, accepted or not.
    pub(crate) opened: Cell<u64>,
    /// The last GOAWAY's id, which may only fall (RFC 9114 §5.2).
    pub(crate) announced: Cell<u64>,
    /// The id of the peer's last GOAWAY. A client that has sent one opens no more requests.
    pub(crate) goaway: Cell<Option<u64>>,
    /// Bytes of unfinished frames that request streams hold.
    buffered: Cell<usize>,
    /// Messages on the control stream, and streams of unknown types, in excess of requests.
    useless: RefCell<Useless>,
    /// The buffer for encoding heads; each response takes its part from the front.
    scratch: RefCell<BytesMut>,
    /// Whether the handshake is complete, so that no later request can be a replay.
    is_complete: Cell<bool>,
    /// The tasks that wait for the handshake, or for the peer's settings.
    completion: RefCell<Vec<Waker>>,
    /// The reason why this side closed the connection.
    closed: Cell<Option<Violation>>,
}

impl Shared {
    pub(crate) fn new(
        quic: quinn::Connection,
        is_complete: bool,
        side: Side,
        config: Config,
    ) -> Rc<Self> {
        Rc::new(Self {
            quic,
            side,
            decoder: RefCell::new(Decoder::new(
                config.table_capacity,
                config.blocked_streams as u64,
            )),
            encoder: RefCell::new(Encoder::new(match side {
                Side::Server => ENCODER_TABLE,
                Side::Client => 0,
            })),
            settings: Cell::new(None),
            outbox: RefCell::default(),
            driver: RefCell::default(),
            blocked: RefCell::default(),
            streams: RefCell::default(),
            early: RefCell::default(),
            authority: LastAuthority::default(),
            limit: Cell::new(u64::MAX),
            next: Cell::new(0),
            opened: Cell::new(0),
            announced: Cell::new(u64::MAX),
            goaway: Cell::new(None),
            buffered: Cell::new(0),
            useless: RefCell::default(),
            scratch: RefCell::default(),
            is_complete: Cell::new(is_complete),
            completion: RefCell::default(),
            closed: Cell::new(None),
            config,
        })
    }

    /// The other side.
    pub(crate) fn peer(&self) -> Side {
        match self.side {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }

    /// Closes the connection for a violation, and returns the error.
    pub(crate) fn close(&self, violation: Violation) -> Error {
        if self.closed.get().is_none() {
            self.closed.set(Some(violation));
            self.quic.close(violation.code.varint(), violation.reason.as_bytes());
        }
        Error::Connection(violation)
    }

    /// Returns the violation that closed the connection, or `error` if there was none.
    pub(crate) fn lost(&self, error: quinn::ConnectionError) -> Error {
        self.closed.get().map_or(Error::Lost(error), Error::Connection)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// Notes that the handshake is complete.
    pub(crate) fn complete(&self) {
        self.is_complete.set(true);
        self.wake_waiting();
    }

    /// Completes when the handshake completes.
    pub(crate) fn poll_complete(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_complete.get() {
            return Poll::Ready(());
        }
        self.await_completion(cx);
        Poll::Pending
    }

    /// Notes the peer's settings.
    pub(crate) fn settle(&self, settings: Settings) {
        self.settings.set(Some(settings));
        self.encoder.borrow_mut().peer_settings(settings.table_capacity);
        self.wake_waiting();
    }

    /// Completes with the peer's settings, or with `None` at the connection's end.
    pub(crate) fn poll_settings(&self, cx: &Context<'_>) -> Poll<Option<Settings>> {
        let settings = self.settings.get();
        if settings.is_some() || self.quic.close_reason().is_some() {
            return Poll::Ready(settings);
        }
        self.await_completion(cx);
        Poll::Pending
    }

    /// Wakes the tasks that wait for the handshake or for settings.
    pub(crate) fn wake_waiting(&self) {
        self.completion.take().into_iter().for_each(Waker::wake);
    }

    fn await_completion(&self, cx: &Context<'_>) {
        let mut waiting = self.completion.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
    }

    /// Queues a frame for our control stream.
    pub(crate) fn post(&self, kind: u64, payload: &[u8]) {
        let mut outbox = self.outbox.borrow_mut();
        varint::encode(kind, &mut *outbox);
        varint::encode(payload.len() as u64, &mut *outbox);
        outbox.put_slice(payload);
        drop(outbox);
        self.wake_driver();
    }

    pub(crate) fn take_outbox(&self) -> Option<Bytes> {
        let mut outbox = self.outbox.borrow_mut();
        (!outbox.is_empty()).then(|| outbox.split().freeze())
    }

    /// Registers the task to wake when there are bytes to write.
    pub(crate) fn register_driver(&self, cx: &Context<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
    }

    pub(crate) fn wake_driver(&self) {
        if let Some(waker) = &*self.driver.borrow() {
            waker.wake_by_ref();
        }
    }

    /// Wakes a request when more bytes arrive on QPACK's encoder stream. Each request has one
    /// entry, however often it asks, and none after its end: a waker holds the memory of its task.
    pub(crate) fn await_insertions(&self, id: u64, cx: &Context<'_>) {
        self.blocked.borrow_mut().insert(id, cx.waker().clone());
    }

    pub(crate) fn wake_blocked(&self) {
        self.blocked.take().into_values().for_each(Waker::wake);
    }

    /// Replaces a stream's held bytes in the connection's total.
    ///
    /// # Errors
    /// The connection's limit is passed; the connection has been closed.
    pub(crate) fn hold(&self, before: usize, now: usize) -> Result<(), Error> {
        let buffered = self.buffered.get().saturating_sub(before) + now;
        self.buffered.set(buffered);
        if now > before && buffered > self.config.buffered {
            return Err(self.close(Violation::new(
                Code::H3_EXCESSIVE_LOAD,
                "too many bytes in unfinished frames",
            )));
        }
        Ok(())
    }

    /// Counts items that no request needs: a frame of the control stream, a stream of an unknown
    /// type.
    ///
    /// # Errors
    /// There are too many of them for the number of requests.
    pub(crate) fn indulge(&self) -> Result<(), Violation> {
        if self.useless.borrow_mut().add() {
            return Err(Violation::new(
                Code::H3_EXCESSIVE_LOAD,
                "too many frames and streams beside requests",
            ));
        }
        Ok(())
    }

    pub(crate) fn enter(&self, stream: &Rc<Stream>) {
        let id = stream.id();
        self.useless.borrow_mut().make_up(REQUEST);
        self.streams.borrow_mut().push_back((id, Rc::downgrade(stream)));
        if !self.early.borrow().is_empty()
            && let Some(priority) = self.early.borrow_mut().remove(&id)
        {
            stream.reprioritize(priority);
        }
    }

    pub(crate) fn leave(&self, id: u64) {
        let mut streams = self.streams.borrow_mut();
        if let Ok(place) = streams.binary_search_by_key(&id, |(id, _)| *id) {
            streams.remove(place);
        }
        self.blocked.borrow_mut().remove(&id);
    }

    fn stream(&self, id: u64) -> Option<Rc<Stream>> {
        let streams = self.streams.borrow();
        let place = streams.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        streams.get(place)?.1.upgrade()
    }

    /// Notes that the peer has sent GOAWAY. A server processes no request from `id` on.
    pub(crate) fn leave_from(&self, id: u64) {
        self.goaway.set(Some(id));
        if self.side == Side::Server {
            return;
        }
        let streams = self.streams.borrow();
        let refused = streams.iter().filter(|(stream, _)| *stream >= id);
        refused.filter_map(|(_, stream)| stream.upgrade()).for_each(|stream| stream.refuse());
    }

    /// Applies a PRIORITY_UPDATE, or keeps it for a later request (RFC 9218 §7.1).
    ///
    /// # Errors
    /// The client may not open this stream, or it sends priorities without end.
    pub(crate) fn prioritize(&self, id: u64, priority: Priority) -> Result<(), Violation> {
        let stream = self.stream(id);
        if let Some(stream) = stream {
            stream.reprioritize(priority);
        } else if id >= self.opened.get() {
            self.expect(id)?;
            self.early.borrow_mut().insert(id, priority);
        }
        Ok(())
    }

    /// Hands a datagram to its request. A datagram without an open request is dropped (RFC 9297
    /// §2.1).
    ///
    /// # Errors
    /// The id is that of a stream that the client may not open, or that this client has not opened.
    pub(crate) fn deliver(&self, datagram: Bytes) -> Result<(), Violation> {
        let (id, payload) = datagram::decode(datagram)?;
        match self.stream(id) {
            Some(stream) => stream.deliver(&payload),
            None => self.expect(id)?,
        }
        Ok(())
    }

    /// Checks that a stream that is not open was open before, or may still come.
    fn expect(&self, id: u64) -> Result<(), Violation> {
        let opened = self.opened.get();
        // The limit counts streams, and ids of requests are four apart.
        let may_come = || (id - opened) / 4 < self.config.concurrent_requests;
        if id < opened || (self.side == Side::Server && may_come()) {
            return Ok(());
        }
        Err(Violation::new(Code::H3_ID_ERROR, "a request beyond those that may be opened"))
    }

    /// Encodes into the connection's buffer and returns the encoded part, with room for one more
    /// frame's head.
    pub(crate) fn encode(&self, encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.capacity() == 0 {
            // Later buffers have the same size.
            *scratch = BytesMut::with_capacity(BLOCK);
        }
        scratch.reserve(HEAD);
        encode(&mut scratch);
        let length = scratch.len();
        scratch.put_bytes(0, FRAME_HEAD);
        let mut taken = scratch.split();
        taken.truncate(length);
        taken
    }
}

/// Bytes of the table of repeated fields in responses, even if the client offers more. Requests
/// have none. Those of several users may share a connection, and the table would let one user probe
/// for the fields of another (RFC 9204 §7.1).
const ENCODER_TABLE: usize = 4096;

/// The number of useless frames that one request makes up for: its priority may change some times.
const REQUEST: u32 = 8;

/// Room for most heads.
const HEAD: usize = 512;

/// Bytes allocated at once for heads, one after the other.
const BLOCK: usize = 2048;

/// The most bytes of a frame's type, of those that are sent, and of its length.
const FRAME_HEAD: usize = 9;
