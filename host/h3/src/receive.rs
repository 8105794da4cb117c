//! The peer's direction of one request's stream: checks the order of frames, decodes sections and
//! counts lengths.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};

use crate::code::{Code, Error, Violation};
use crate::frame::{Event, Frames, Kind, Treatment};
use crate::message::{self, RequestSection, ResponseSection};
use crate::priority::Priority;
use crate::qpack::{DecodeError, Malformed, Sink};
use crate::stream::Stream;

/// A part of a message after its head.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// A part of the body; never empty.
    Data(Bytes),
    /// The trailers; nothing follows.
    Trailers(HeaderMap),
}

/// The direction from the peer.
pub(crate) struct Receiving {
    pub(crate) quic: quinn::RecvStream,
    frames: Frames,
    /// A chunk that was read together with the one before it.
    ahead: Bytes,
    pub(crate) phase: Phase,
    /// A section that cannot be decoded yet.
    blocked: Option<Bytes>,
    /// Trailers, held until it is certain that nothing follows.
    trailers: Option<Box<HeaderMap>>,
    /// Bytes that count towards the connection's total.
    pub(crate) held: usize,
    /// The value of content-length, and the bytes of the body so far.
    declared: Option<u64>,
    read: u64,
    /// Frames without any use, in a row.
    idle: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Head,
    Body,
    /// After the head of a CONNECT, which has no trailers (RFC 9114 §4.4).
    Tunnel,
    /// After the trailers.
    Rest,
    Ended,
}

impl Receiving {
    pub(crate) fn new(quic: quinn::RecvStream) -> Self {
        Self {
            quic,
            frames: Frames::default(),
            ahead: Bytes::new(),
            phase: Phase::Head,
            blocked: None,
            trailers: None,
            held: 0,
            declared: None,
            read: 0,
            idle: 0,
        }
    }

    /// Reads the head into `request`, which must be new, and returns its urgency if it has one.
    pub(crate) fn poll_request(
        &mut self,
        request: &mut Request<()>,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Priority>, Error>> {
        let extended = stream.shared.config.extended_connect;
        let section = match ready!(self.poll_section(stream, cx))? {
            Some(section) => section,
            None => return Poll::Ready(Err(Error::Stream(NO_REQUEST))),
        };
        let mut fields = RequestSection::new(request, &stream.shared.authority);
        let decoded = ready!(self.poll_decode(section, &mut fields, stream, cx));
        // Even if the head is wrong, the frames after it are those of a body.
        self.phase = Phase::Body;
        decoded?;
        let noted = fields.finish(extended).map_err(malformed)?;
        self.declared = noted.length;
        if request.method() == Method::CONNECT {
            self.phase = Phase::Tunnel;
        }
        Poll::Ready(Ok(noted.priority))
    }

    /// Reads the head of an interim or the final response into `response`, which must be new.
    pub(crate) fn poll_response(
        &mut self,
        response: &mut Response<()>,
        method: &Method,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let section = match ready!(self.poll_section(stream, cx))? {
            Some(section) => section,
            None => return Poll::Ready(Err(Error::Stream(NO_RESPONSE))),
        };
        let mut fields = ResponseSection::new(response);
        ready!(self.poll_decode(section, &mut fields, stream, cx))?;
        let length = fields.finish(method).map_err(malformed)?;
        let status = response.status();
        if status.is_informational() {
            return Poll::Ready(Ok(()));
        }
        self.declared = length;
        self.phase = Phase::Body;
        if method == Method::CONNECT && status.is_success() {
            (self.phase, self.declared) = (Phase::Tunnel, None);
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_part(
        &mut self,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Part>, Error>> {
        if stream.is_settled() && self.phase != Phase::Ended {
            // quinn reports a stopped stream as ended, even if parts are missing.
            return Poll::Ready(Err(Error::Reset(Code::H3_NO_ERROR)));
        }
        if let Some(section) = self.blocked.take() {
            return self.poll_trailers(section, stream, cx);
        }
        if self.trailers.is_some() {
            return self.poll_rest(stream, cx);
        }
        match ready!(self.poll_event(stream, cx))? {
            Some(Event::Piece(data)) => {
                self.read += data.len() as u64;
                if self.declared.is_some_and(|declared| self.read > declared) {
                    return Poll::Ready(Err(Error::Stream(OTHER_LENGTH)));
                }
                Poll::Ready(Ok(Some(Part::Data(data))))
            }
            Some(Event::Whole(_, section)) => {
                self.phase = Phase::Rest;
                self.check_length()?;
                self.poll_trailers(section, stream, cx)
            }
            Some(Event::TooLarge(_)) => Poll::Ready(Err(Error::Stream(LARGE_FRAME))),
            None => {
                self.check_length()?;
                Poll::Ready(Ok(None))
            }
        }
    }

    /// The rest of the body in bytes, if there was a content-length.
    pub(crate) fn remaining(&self) -> Option<u64> {
        self.declared.map(|declared| declared.saturating_sub(self.read))
    }

    /// Whether a section was read but not decoded.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    fn poll_trailers(
        &mut self,
        section: Bytes,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Part>, Error>> {
        let mut fields = HeaderMap::new();
        ready!(self.poll_decode(section, &mut fields, stream, cx))?;
        message::section(&fields).map_err(malformed)?;
        self.trailers = Some(Box::new(fields));
        self.poll_rest(stream, cx)
    }

    /// Returns the trailers at the end of the stream: a message that continues or breaks off is not
    /// complete.
    fn poll_rest(
        &mut self,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Part>, Error>> {
        match ready!(self.poll_event(stream, cx))? {
            None => Poll::Ready(Ok(self.trailers.take().map(|fields| Part::Trailers(*fields)))),
            // `treat` lets no frame through here.
            Some(_) => Poll::Ready(Err(Error::Stream(UNEXPECTED))),
        }
    }

    /// Returns the payload of the first HEADERS frame, or `None` if the stream ends before it.
    fn poll_section(
        &mut self,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Error>> {
        if let Some(section) = self.blocked.take() {
            return Poll::Ready(Ok(Some(section)));
        }
        Poll::Ready(match ready!(self.poll_event(stream, cx))? {
            Some(Event::Whole(_, section)) => Ok(Some(section)),
            Some(Event::TooLarge(_)) => Err(Error::Stream(LARGE_FRAME)),
            // DATA cannot come before HEADERS: `treat` has refused it.
            Some(Event::Piece(_)) | None => Ok(None),
        })
    }

    /// Decodes a section, or waits for the insertions that it refers to.
    fn poll_decode(
        &mut self,
        section: Bytes,
        sink: &mut impl Sink,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Error>> {
        let shared = &stream.shared;
        let mut decoder = shared.decoder.borrow_mut();
        let decoded = decoder.decode(stream.id, &section, shared.config.section(), sink);
        if decoder.has_feedback() {
            shared.wake_driver();
        }
        drop(decoder);
        Poll::Ready(match decoded {
            Ok(_) => self.hold(stream, 0),
            Err(DecodeError::Blocked(_)) => {
                self.hold(stream, section.len())?;
                self.blocked = Some(section);
                shared.await_insertions(stream.id, cx);
                return self.poll_reset(stream, cx).map(Err);
            }
            Err(DecodeError::TooLarge) => Err(Error::TooLarge),
            Err(DecodeError::Malformed(Malformed::Refused(reason))) => Err(malformed(reason)),
            Err(DecodeError::Malformed(_)) => {
                Err(malformed("a name or value that no field may have"))
            }
            Err(DecodeError::Overflow) => Err(Error::Stream(OVERFLOW)),
            Err(DecodeError::Connection(error)) => Err(shared.close(error.into())),
        })
    }

    /// Completes when the insertions that a section waits for cannot come or are not wanted: the
    /// peer resets the stream, or the connection ends.
    fn poll_reset(&mut self, stream: &Stream, cx: &mut Context<'_>) -> Poll<Error> {
        if let Some(error) = stream.shared.quic.close_reason() {
            return Poll::Ready(stream.shared.lost(error));
        }
        // The future registers the task, and has no state between polls.
        match pin!(self.quic.received_reset()).poll(cx) {
            Poll::Ready(Ok(Some(code))) => Poll::Ready(Error::Reset(code.into())),
            Poll::Ready(Err(quinn::ResetError::ConnectionLost(error))) => {
                Poll::Ready(stream.shared.lost(error))
            }
            // The stream has ended after the section, which may still be decoded.
            Poll::Ready(_) | Poll::Pending => Poll::Pending,
        }
    }

    /// Returns the next event of the stream by the rules of its phase, or `None` at its end.
    fn poll_event(
        &mut self,
        stream: &Stream,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Event>, Error>> {
        if self.phase == Phase::Ended {
            return Poll::Ready(Ok(None));
        }
        let largest = stream.shared.config.headers_frame();
        loop {
            let (phase, idle) = (self.phase, &mut self.idle);
            let event = self.frames.next(|kind, length| treat(phase, kind, length, largest, idle));
            let event = event.map_err(|violation| stream.shared.close(violation))?;
            self.hold(stream, self.frames.collected())?;
            if event.is_some() {
                return Poll::Ready(Ok(event));
            }
            match ready!(self.poll_more(cx))? {
                Some(bytes) => self.frames.push(bytes),
                None => {
                    self.frames.end().map_err(|violation| stream.shared.close(violation))?;
                    self.phase = Phase::Ended;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// Reads a chunk. The first read also collects the next chunk or the end of the stream: most
    /// requests are one chunk, and a look at the stream costs more than the data.
    pub(crate) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, quinn::ReadError>> {
        if !self.ahead.is_empty() {
            return Poll::Ready(Ok(Some(std::mem::take(&mut self.ahead))));
        }
        if self.phase != Phase::Head {
            return poll_chunk(&mut self.quic, cx);
        }
        let mut chunks = [Bytes::new(), Bytes::new()];
        // As with `poll_chunk`, the future keeps its state in the stream.
        let read = ready!(pin!(self.quic.read_chunks(&mut chunks)).poll(cx))?;
        let [chunk, ahead] = chunks;
        self.ahead = ahead;
        Poll::Ready(Ok(read.map(|_| chunk)))
    }

    /// Adds the bytes that this stream holds to the connection's total.
    fn hold(&mut self, stream: &Stream, bytes: usize) -> Result<(), Error> {
        if bytes == self.held {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.held, bytes);
        stream.shared.hold(before, bytes)
    }

    /// RFC 9114 §4.1.2.
    fn check_length(&self) -> Result<(), Error> {
        match self.declared {
            Some(declared) if declared != self.read => Err(Error::Stream(OTHER_LENGTH)),
            _ => Ok(()),
        }
    }
}

/// Decides on a frame of a message (RFC 9114 §4.1, §7.2).
pub(crate) fn treat(
    phase: Phase,
    kind: Kind,
    length: u64,
    largest: usize,
    idle: &mut u32,
) -> Result<Treatment, Violation> {
    let treatment = match (kind, phase) {
        (Kind::Unknown, _) => Treatment::Skip,
        (Kind::Headers, Phase::Head | Phase::Body) => Treatment::Collect(largest),
        (Kind::Data, Phase::Body | Phase::Tunnel) => Treatment::Stream,
        _ => return Err(UNEXPECTED),
    };
    *idle = match kind {
        Kind::Data if length > 0 => 0,
        _ => *idle + 1,
    };
    if *idle > USELESS {
        return Err(USELESS_FRAMES);
    }
    Ok(treatment)
}

/// Reads a chunk without copying it.
pub(crate) fn poll_chunk(
    stream: &mut quinn::RecvStream,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, quinn::ReadError>> {
    // The future has no state between polls (it is quinn's private `poll_read_chunk`), so a new one
    // each time loses nothing.
    let chunk = ready!(pin!(stream.read_chunk(usize::MAX, true)).poll(cx))?;
    Poll::Ready(Ok(chunk.map(|chunk| chunk.bytes)))
}

fn malformed(reason: &'static str) -> Error {
    Error::Stream(Violation::new(Code::H3_MESSAGE_ERROR, reason))
}

/// Frames in a row that carry nothing. Unknown frames as padding are allowed (RFC 9114 §9), but a
/// thousand have no use.
const USELESS: u32 = 1000;

const UNEXPECTED: Violation =
    Violation::new(Code::H3_FRAME_UNEXPECTED, "a frame that may not come here in a message");
const USELESS_FRAMES: Violation =
    Violation::new(Code::H3_EXCESSIVE_LOAD, "too many frames that carry nothing");
const OVERFLOW: Violation =
    Violation::new(Code::QPACK_DECOMPRESSION_FAILED, "an integer past 62 bits");
const LARGE_FRAME: Violation = Violation::new(
    Code::H3_EXCESSIVE_LOAD,
    "a HEADERS frame beyond what any allowed section takes",
);
const NO_REQUEST: Violation =
    Violation::new(Code::H3_REQUEST_INCOMPLETE, "the stream ended before the request's head");
const NO_RESPONSE: Violation =
    Violation::new(Code::H3_MESSAGE_ERROR, "the stream ended before the response's head");
const OTHER_LENGTH: Violation =
    Violation::new(Code::H3_MESSAGE_ERROR, "the body is not as long as content-length says");
