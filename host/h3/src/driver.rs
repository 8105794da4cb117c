//! The streams of a connection without requests (RFC 9114 §6.2): control and QPACK, both ways.

mod outgoing;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::stream;

use crate::code::{Code, Error, Violation};
use crate::control::{Control, Word};
use crate::receive::poll_chunk;
use crate::shared::{Shared, Side};
use crate::varint;
use outgoing::Outgoing;

/// Opens our streams, serves the peer's, and returns the reason of the connection's end.
pub(crate) async fn drive(shared: Rc<Shared>, handshake: Option<quinn::ZeroRttAccepted>) -> Error {
    let end = match Driver::open(&shared).await {
        Ok(mut driver) => {
            driver.handshake = handshake;
            poll_fn(|cx| driver.poll(cx)).await
        }
        Err(error) => error,
    };
    // Settings and insertions come no more.
    shared.wake_waiting();
    shared.wake_blocked();
    end
}

struct Driver {
    shared: Rc<Shared>,
    accepting: Accepting,
    /// Streams of unknown type so far.
    nameless: Vec<Nameless>,
    control: Option<(quinn::RecvStream, Control)>,
    encoder: Option<quinn::RecvStream>,
    decoder: Option<quinn::RecvStream>,
    /// Present if datagrams were announced.
    datagrams: Option<Datagrams>,
    /// Present until the handshake is complete.
    handshake: Option<quinn::ZeroRttAccepted>,
    ours: Ours,
}

type Accepting =
    Pin<Box<dyn futures_util::Stream<Item = Result<quinn::RecvStream, quinn::ConnectionError>>>>;

type Datagrams = Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, quinn::ConnectionError>>>>;

/// A stream of the peer, with the part of its type that has arrived.
struct Nameless {
    stream: quinn::RecvStream,
    read: BytesMut,
}

/// The streams that we opened.
struct Ours {
    control: Outgoing,
    /// Our insertions into the peer's table; opened with the first one.
    encoder: Option<Outgoing>,
    /// Our feedback on the peer's insertions; opened with the first message.
    decoder: Option<Outgoing>,
}

impl Driver {
    /// Opens the control stream and queues SETTINGS. QPACK streams open with an instruction.
    async fn open(shared: &Rc<Shared>) -> Result<Self, Error> {
        let mut settings = BytesMut::new();
        shared.config.settings().encode(&mut settings);
        let mut prelude = BytesMut::new();
        varint::encode(CONTROL, &mut prelude);
        varint::encode(SETTINGS, &mut prelude);
        varint::encode(settings.len() as u64, &mut prelude);
        prelude.put_slice(&settings);
        let quic = shared.quic.clone();
        let accepting =
            Box::pin(stream::unfold(
                quic,
                |quic| async move { Some((quic.accept_uni().await, quic)) },
            ));
        let quic = shared.quic.clone();
        let datagrams = shared.config.datagrams.then(|| -> Datagrams {
            Box::pin(stream::unfold(quic, |quic| async move {
                Some((quic.read_datagram().await, quic))
            }))
        });
        let control = Outgoing::new(open_uni(shared).await?, prelude.freeze());
        Ok(Self {
            shared: Rc::clone(shared),
            accepting,
            nameless: Vec::new(),
            control: None,
            encoder: None,
            decoder: None,
            datagrams,
            handshake: None,
            ours: Ours { control, encoder: None, decoder: None },
        })
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Error> {
        self.shared.register_driver(cx);
        if let Some(handshake) = &mut self.handshake
            && Pin::new(handshake).poll(cx).is_ready()
        {
            self.handshake = None;
            self.shared.complete();
        }
        let end = match self.serve(cx) {
            Ok(()) => return Poll::Pending,
            Err(end) => end,
        };
        Poll::Ready(match end {
            End::Violation(violation) => self.shared.close(violation),
            End::Lost(error) => self.shared.lost(error),
        })
    }

    fn serve(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        while let Poll::Ready(accepted) = self.accepting.as_mut().poll_next(cx) {
            let stream = accepted.unwrap_or(Err(quinn::ConnectionError::LocallyClosed))?;
            self.nameless.push(Nameless { stream, read: BytesMut::new() });
        }
        self.name(cx)?;
        self.read_control(cx)?;
        self.read_encoder(cx)?;
        self.read_decoder(cx)?;
        if let Some(datagrams) = &mut self.datagrams {
            while let Poll::Ready(Some(datagram)) = datagrams.as_mut().poll_next(cx) {
                self.shared.deliver(datagram?)?;
            }
        }
        self.write(cx)
    }

    /// Reads the types of new streams (RFC 9114 §6.2).
    fn name(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let mut index = 0;
        while let Some(nameless) = self.nameless.get_mut(index) {
            match nameless.poll_kind(cx)? {
                Poll::Pending => index += 1,
                Poll::Ready(kind) => {
                    let Nameless { stream, read } = self.nameless.swap_remove(index);
                    match kind {
                        Some(kind) => self.adopt(kind, stream, read.freeze())?,
                        None => self.shared.indulge()?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes in a stream of the peer by its type, with the bytes after the type.
    fn adopt(&mut self, kind: u64, mut stream: quinn::RecvStream, rest: Bytes) -> Result<(), End> {
        match kind {
            CONTROL if self.control.is_none() => {
                let mut control = Control::of(self.shared.peer());
                control.push(rest);
                obey(&self.shared, &mut control)?;
                self.control = Some((stream, control));
            }
            ENCODER if self.encoder.is_none() => {
                insert(&self.shared, &rest)?;
                self.encoder = Some(stream);
            }
            DECODER if self.decoder.is_none() => {
                self.shared.encoder.borrow_mut().decoder_stream(&rest)?;
                self.decoder = Some(stream);
            }
            CONTROL | ENCODER | DECODER => return Err(TWICE.into()),
            PUSH => return Err(no_push(self.shared.peer()).into()),
            // A stream of an extension, or of a type reserved to be ignored (RFC 9114 §6.2.3, §9).
            _ => {
                self.shared.indulge()?;
                let _ = stream.stop(Code::H3_STREAM_CREATION_ERROR.varint());
            }
        }
        Ok(())
    }

    fn read_control(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some((stream, control)) = &mut self.control else { return Ok(()) };
        while let Poll::Ready(chunk) = poll_critical(stream, cx) {
            control.push(chunk?);
            obey(&self.shared, control)?;
        }
        Ok(())
    }

    fn read_encoder(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(stream) = &mut self.encoder else { return Ok(()) };
        while let Poll::Ready(chunk) = poll_critical(stream, cx) {
            insert(&self.shared, &chunk?)?;
        }
        Ok(())
    }

    fn read_decoder(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(stream) = &mut self.decoder else { return Ok(()) };
        while let Poll::Ready(chunk) = poll_critical(stream, cx) {
            self.shared.encoder.borrow_mut().decoder_stream(&chunk?)?;
        }
        Ok(())
    }

    /// Writes the queued data of our streams, as far as the peer's credit allows.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Self { shared, ours, .. } = self;
        while let Poll::Ready(written) = ours.control.poll_write(cx) {
            written?;
            let Some(frames) = shared.take_outbox() else { break };
            ours.control.waiting = frames;
        }
        poll_instructions(&mut ours.encoder, ENCODER, shared, cx, || {
            shared.encoder.borrow_mut().take_instructions()
        })?;
        poll_instructions(&mut ours.decoder, DECODER, shared, cx, || {
            shared.decoder.borrow_mut().take_feedback()
        })?;
        // RFC 9204 §7.3: each request adds feedback, even a request that is reset.
        if shared.decoder.borrow().unsent() > UNSENT {
            return Err(FEEDBACK.into());
        }
        Ok(())
    }
}

impl Nameless {
    /// Returns the type when it is complete, or `None` if the stream ended before, which must be
    /// tolerated (RFC 9114 §6.2).
    fn poll_kind(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<u64>>, End> {
        loop {
            if let Some((kind, rest)) = varint::decode(&self.read) {
                let size = self.read.len() - rest.len();
                self.read.advance(size);
                return Ok(Poll::Ready(Some(kind)));
            }
            match poll_chunk(&mut self.stream, cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(Some(chunk))) => self.read.extend_from_slice(&chunk),
                Poll::Ready(Err(quinn::ReadError::ConnectionLost(error))) => {
                    return Err(error.into());
                }
                Poll::Ready(Ok(None) | Err(_)) => return Ok(Poll::Ready(None)),
            }
        }
    }
}

/// The reason why the connection is over.
enum End {
    Violation(Violation),
    Lost(quinn::ConnectionError),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<crate::qpack::Error> for End {
    fn from(error: crate::qpack::Error) -> Self {
        Self::Violation(error.into())
    }
}

impl From<quinn::ConnectionError> for End {
    fn from(error: quinn::ConnectionError) -> Self {
        Self::Lost(error)
    }
}

/// Opens a unidirectional stream. A peer that allows too few of them breaks RFC 9114 §6.2; the
/// driver does not wait for it.
async fn open_uni(shared: &Shared) -> Result<quinn::SendStream, Error> {
    let opened = poll_fn(|cx| Poll::Ready(pin!(shared.quic.open_uni()).poll(cx))).await;
    match opened {
        Poll::Ready(stream) => stream.map_err(|error| shared.lost(error)),
        Poll::Pending => Err(shared.close(NO_STREAMS)),
    }
}

/// Acts on the messages of the control stream.
fn obey(shared: &Shared, control: &mut Control) -> Result<(), End> {
    while let Some(word) = control.next(|| shared.indulge())? {
        match word {
            Word::Settings(settings) => shared.settle(settings),
            Word::Goaway(id) => shared.leave_from(id),
            Word::Priority(id, priority) => shared.prioritize(id, priority)?,
        }
    }
    Ok(())
}

/// Applies instructions of the peer's QPACK encoder.
fn insert(shared: &Shared, instructions: &[u8]) -> Result<(), End> {
    shared.decoder.borrow_mut().encoder_stream(instructions)?;
    shared.wake_blocked();
    Ok(())
}

/// The violation of a peer that opens a push stream (RFC 9114 §4.6, §6.2.2). No client gets
/// permission.
fn no_push(peer: Side) -> Violation {
    match peer {
        Side::Client => CLIENT_PUSH,
        Side::Server => SERVER_PUSH,
    }
}

/// Writes QPACK's instructions; the first one opens their stream.
fn poll_instructions(
    outgoing: &mut Option<Outgoing>,
    kind: u64,
    shared: &Shared,
    cx: &mut Context<'_>,
    mut take: impl FnMut() -> Option<Bytes>,
) -> Result<(), End> {
    loop {
        if let Some(outgoing) = outgoing {
            match outgoing.poll_write(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(written) => written?,
            }
        }
        let Some(instructions) = take() else { return Ok(()) };
        match outgoing {
            Some(outgoing) => outgoing.waiting = instructions,
            None => {
                let Poll::Ready(stream) = pin!(shared.quic.open_uni()).poll(cx) else {
                    return Err(NO_STREAMS.into());
                };
                let mut waiting = BytesMut::new();
                varint::encode(kind, &mut waiting);
                waiting.put_slice(&instructions);
                *outgoing = Some(Outgoing::new(stream?, waiting.freeze()));
            }
        }
    }
}

/// Reads a stream that must stay open as long as the connection (RFC 9114 §6.2.1, RFC 9204 §4.2).
fn poll_critical(stream: &mut quinn::RecvStream, cx: &mut Context<'_>) -> Poll<Result<Bytes, End>> {
    Poll::Ready(match ready!(poll_chunk(stream, cx)) {
        Ok(Some(chunk)) => Ok(chunk),
        Err(quinn::ReadError::ConnectionLost(error)) => Err(error.into()),
        Ok(None) | Err(_) => Err(CLOSED.into()),
    })
}

/// Types of unidirectional streams (RFC 9114 §6.2, RFC 9204 §4.2).
const CONTROL: u64 = 0x00;
const PUSH: u64 = 0x01;
const ENCODER: u64 = 0x02;
const DECODER: u64 = 0x03;

/// Bytes of feedback that may wait for the peer's credit: that on some 20,000 requests.
const UNSENT: usize = 64 << 10;

/// The SETTINGS frame's type.
const SETTINGS: u64 = 0x04;

const TWICE: Violation =
    Violation::new(Code::H3_STREAM_CREATION_ERROR, "a second stream of a type that comes once");
const CLIENT_PUSH: Violation =
    Violation::new(Code::H3_STREAM_CREATION_ERROR, "a push stream from a client");
const SERVER_PUSH: Violation =
    Violation::new(Code::H3_ID_ERROR, "a push stream without permission to push");
const CLOSED: Violation =
    Violation::new(Code::H3_CLOSED_CRITICAL_STREAM, "a control or QPACK stream was closed");
const FEEDBACK: Violation =
    Violation::new(Code::H3_EXCESSIVE_LOAD, "QPACK's decoder stream is given no credit");
const NO_STREAMS: Violation =
    Violation::new(Code::H3_STREAM_CREATION_ERROR, "three unidirectional streams are needed");
