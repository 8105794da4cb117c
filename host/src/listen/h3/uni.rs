//! Unidirectional streams as the h3 crate sees them: control and QPACK (RFC 9114 §6.2).

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::quic::{self as transport, StreamErrorIncoming, StreamId, WriteBuf};

use super::frames::{Frames, poll_chunk, read_varint};
use super::quic::{Link, poll_flush, read_error, read_fault};

/// Bytes that a frame on the client's control stream may have: SETTINGS with every setting there is has under 200.
const CONTROL_FRAME: usize = 4096;

/// A stream that the client opened.
pub(super) struct Receiver {
    id: StreamId,
    stream: quinn::RecvStream,
    kind: Kind,
    link: Rc<Link>,
}

enum Kind {
    /// Its type is still being read; what has been of it.
    Unknown(Vec<u8>),
    /// The control stream.
    Control(Frames),
    /// Any other, with what was read along with the type.
    Raw(Bytes),
}

impl Receiver {
    pub(super) fn new(id: StreamId, stream: quinn::RecvStream, link: Rc<Link>) -> Self {
        Self { id, stream, kind: Kind::Unknown(Vec::new()), link }
    }

    /// Hands on the type by itself, so that the frames of a control stream can be told apart from then on.
    fn poll_type(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        loop {
            let Kind::Unknown(read) = &mut self.kind else { return Poll::Ready(Ok(None)) };
            let chunk = ready!(poll_chunk(&mut self.stream, cx)).map_err(read_error)?;
            let Some(mut chunk) = chunk else { return Poll::Ready(Ok(None)) };
            while chunk.has_remaining() {
                read.push(chunk.get_u8());
                let Some((kind, _)) = read_varint(read) else { continue };
                let read = Bytes::from(std::mem::take(read));
                self.kind = match kind {
                    0 => Kind::Control(Frames::resume(chunk, CONTROL_FRAME)),
                    _ => Kind::Raw(chunk),
                };
                return Poll::Ready(Ok(Some(read)));
            }
        }
    }
}

impl transport::RecvStream for Receiver {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        match &mut self.kind {
            Kind::Unknown(_) => self.poll_type(cx),
            Kind::Control(frames) => frames
                .poll_bytes(&mut self.stream, cx)
                .map_err(|fault| read_fault(fault, &self.link)),
            Kind::Raw(held) if !held.is_empty() => Poll::Ready(Ok(Some(std::mem::take(held)))),
            Kind::Raw(_) => poll_chunk(&mut self.stream, cx).map_err(read_error),
        }
    }

    fn stop_sending(&mut self, code: u64) {
        let _ = self.stream.stop(quinn::VarInt::from_u64(code).unwrap_or_default());
    }

    fn recv_id(&self) -> StreamId {
        self.id
    }
}

/// A stream that we opened.
pub(super) struct Sender {
    id: StreamId,
    stream: Rc<RefCell<quinn::SendStream>>,
    writing: Option<WriteBuf<Bytes>>,
}

impl Sender {
    pub(super) fn new(id: StreamId, stream: Rc<RefCell<quinn::SendStream>>) -> Self {
        Self { id, stream, writing: None }
    }
}

impl transport::SendStream<Bytes> for Sender {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        poll_flush(&mut self.stream.borrow_mut(), &mut self.writing, cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        let _ = self.stream.borrow_mut().finish();
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: u64) {
        let code = quinn::VarInt::from_u64(code).unwrap_or_default();
        let _ = self.stream.borrow_mut().reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.id
    }
}
