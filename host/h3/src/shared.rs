//! What the parts of one connection share. All of them run on one thread, in the connection's task.

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

pub(crate) struct Shared {
    pub(crate) quic: quinn::Connection,
    pub(crate) config: Config,
    pub(crate) decoder: RefCell<Decoder>,
    pub(crate) encoder: RefCell<Encoder>,
    /// The client's settings, once it has told them.
    pub(crate) settings: Cell<Option<Settings>>,
    /// Frames for our control stream.
    outbox: RefCell<BytesMut>,
    /// Wakes who writes the outbox and QPACK's instructions.
    driver: RefCell<Option<Waker>>,
    /// Requests whose sections wait for QPACK's encoder stream.
    blocked: RefCell<FxHashMap<u64, Waker>>,
    /// Open request streams by their ids, which rise, for priorities that come later. The first to come are nearly always the
    /// first to leave.
    streams: RefCell<VecDeque<(u64, Weak<Stream>)>>,
    /// Priorities that came before their request.
    early: RefCell<FxHashMap<u64, Priority>>,
    pub(crate) authority: LastAuthority,
    /// Request streams from this id on are refused.
    pub(crate) limit: Cell<u64>,
    /// The id after that of the last request stream accepted.
    pub(crate) next: Cell<u64>,
    /// The id after that of the last request stream that came, accepted or not.
    pub(crate) opened: Cell<u64>,
    /// The last GOAWAY's id, which may only fall (RFC 9114 §5.2).
    pub(crate) announced: Cell<u64>,
    /// Whether the client has said that it opens no more requests.
    pub(crate) goaway: Cell<bool>,
    /// Bytes of unfinished frames that request streams hold.
    buffered: Cell<usize>,
    /// Words on the control stream, and streams of unknown types, ahead of requests.
    useless: RefCell<Useless>,
    /// Where heads are encoded; responses take theirs from its front.
    scratch: RefCell<BytesMut>,
    /// Whether the handshake is complete: no request can be a replay any more.
    is_complete: Cell<bool>,
    /// Who waits for that.
    completion: RefCell<Vec<Waker>>,
    /// Why the connection was closed from this side.
    closed: Cell<Option<Violation>>,
}

impl Shared {
    pub(crate) fn new(quic: quinn::Connection, is_complete: bool, config: Config) -> Rc<Self> {
        Rc::new(Self {
            quic,
            decoder: RefCell::new(Decoder::new(
                config.table_capacity,
                config.blocked_streams as u64,
            )),
            encoder: RefCell::new(Encoder::new(ENCODER_TABLE)),
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
            goaway: Cell::new(false),
            buffered: Cell::new(0),
            useless: RefCell::default(),
            scratch: RefCell::default(),
            is_complete: Cell::new(is_complete),
            completion: RefCell::default(),
            closed: Cell::new(None),
            config,
        })
    }

    /// Closes the connection for a violation, and says so.
    pub(crate) fn close(&self, violation: Violation) -> Error {
        if self.closed.get().is_none() {
            self.closed.set(Some(violation));
            self.quic.close(violation.code.varint(), violation.reason.as_bytes());
        }
        Error::Connection(violation)
    }

    /// The violation that the connection was closed for, if that is why it is gone.
    pub(crate) fn lost(&self, error: quinn::ConnectionError) -> Error {
        self.closed.get().map_or(Error::Lost(error), Error::Connection)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete.get()
    }

    /// Notes that the handshake is complete.
    pub(crate) fn complete(&self) {
        self.is_complete.set(true);
        self.completion.take().into_iter().for_each(Waker::wake);
    }

    /// Completes when the handshake has.
    pub(crate) fn poll_complete(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_complete.get() {
            return Poll::Ready(());
        }
        let mut waiting = self.completion.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
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

    /// Notes who is to be woken when there is something to write.
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

    /// Has a request woken when more has come on QPACK's encoder stream. Once for each, however often it asks, and no longer
    /// than it is open: a waker holds the memory of its task.
    pub(crate) fn await_insertions(&self, id: u64, cx: &Context<'_>) {
        self.blocked.borrow_mut().insert(id, cx.waker().clone());
    }

    pub(crate) fn wake_blocked(&self) {
        self.blocked.take().into_values().for_each(Waker::wake);
    }

    /// Counts bytes that a stream holds beyond those it held before.
    ///
    /// # Errors
    /// All that the connection may hold is held; it has been closed.
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

    /// Counts what no request needs: a frame of the control stream, a stream of an unknown type.
    ///
    /// # Errors
    /// There are too many of them for the requests that came.
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

    /// Applies a PRIORITY_UPDATE, or keeps it for a request that is still to come (RFC 9218 §7.1).
    ///
    /// # Errors
    /// The client may not open such a stream, or announces priorities without end.
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

    /// Hands a datagram to its request; one whose request is not there is dropped (RFC 9297 §2.1).
    ///
    /// # Errors
    /// It names no stream that the client may open.
    pub(crate) fn deliver(&self, datagram: Bytes) -> Result<(), Violation> {
        let (id, payload) = datagram::decode(datagram)?;
        match self.stream(id) {
            Some(stream) => stream.deliver(payload),
            None => self.expect(id)?,
        }
        Ok(())
    }

    /// Whether a stream that is not open was, or may come.
    fn expect(&self, id: u64) -> Result<(), Violation> {
        // Streams are limited by their number, and ids of requests are four apart.
        if id.saturating_sub(self.opened.get()) / 4 < self.config.concurrent_requests {
            return Ok(());
        }
        Err(Violation::new(Code::H3_ID_ERROR, "a request beyond those that may be opened"))
    }

    /// Encodes into the connection's buffer and takes what was written, with room for one more frame's head.
    pub(crate) fn encode(&self, encode: impl FnOnce(&mut BytesMut)) -> BytesMut {
        let mut scratch = self.scratch.borrow_mut();
        if scratch.capacity() == 0 {
            // Later ones have the same size.
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

/// Bytes of the table of what repeats in responses, whatever more the client offers.
const ENCODER_TABLE: usize = 4096;

/// What a request makes up for: its priority may change some times.
const REQUEST: u32 = 8;

/// Room that most heads fit in.
const HEAD: usize = 512;

/// Bytes allocated at once for heads, one behind the other.
const BLOCK: usize = 2048;

/// Bytes of a frame's type, of those that are sent, and of its length, at most.
const FRAME_HEAD: usize = 9;
