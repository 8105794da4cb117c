//! One request's QUIC stream, shared by the h3 crate and the code of the request.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h3::error::Code;
use h3::quic::{self as transport, StreamErrorIncoming, StreamId, WriteBuf};

use super::frames::{Fault, Frames, poll_chunk};
use super::quic::{Link, poll_flush, read_fault, varint};

/// One request's stream, both directions.
pub(super) struct Stream {
    id: StreamId,
    send: RefCell<quinn::SendStream>,
    recv: RefCell<quinn::RecvStream>,
    frames: RefCell<Frames>,
    /// Why the request's code should end the stream, when this layer knows better than the crate.
    fault: Cell<Option<Code>>,
    is_settled: Cell<bool>,
    link: Rc<Link>,
}

impl Stream {
    pub(super) fn new(
        id: StreamId,
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        link: Rc<Link>,
    ) -> Rc<Self> {
        Rc::new(Self {
            id,
            send: RefCell::new(send),
            recv: RefCell::new(recv),
            frames: RefCell::new(Frames::new(link.frame_limit)),
            fault: Cell::new(None),
            is_settled: Cell::new(false),
            link,
        })
    }

    /// Completes when the client wants no (more) response, with its code; when it has all of a finished one, with
    /// `None`; or when the connection is lost.
    pub(super) fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<quinn::VarInt>, quinn::StoppedError>> + 'static {
        self.send.borrow().stopped()
    }

    /// The code of a violation that was found below the crate.
    pub(super) fn fault(&self) -> Option<Code> {
        self.fault.get()
    }

    /// Has the stream end with `code` whatever the request's code ends it with.
    pub(super) fn condemn(&self, code: Code) {
        self.fault.set(Some(code));
    }

    /// Sends a DATA frame without copying its payload. Waits while the client takes nothing.
    pub(super) async fn send_data(&self, payload: Bytes) -> Result<(), quinn::WriteError> {
        let mut chunks = [data_header(payload.len()), payload];
        poll_fn(|cx| {
            let mut send = self.send.borrow_mut();
            while chunks.iter().any(|chunk| !chunk.is_empty()) {
                // As with `poll_chunk`: the future keeps its state in `chunks`.
                ready!(pin!(send.write_chunks(&mut chunks)).poll(cx))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends the response; the rest of the request is not wanted (RFC 9114 §4.1).
    pub(super) fn finish(&self) {
        // Fails only when the client has stopped the stream, which nobody needs to know any more.
        let _ = self.send.borrow_mut().finish();
        self.settle(Code::H3_NO_ERROR);
    }

    /// Ends both directions with an error.
    pub(super) fn abort(&self, code: Code) {
        let code = self.fault.get().unwrap_or(code);
        let _ = self.send.borrow_mut().reset(varint(code));
        self.settle(code);
    }

    /// Reads the request to its end if that is here, or else has the client stop sending.
    fn settle(&self, code: Code) {
        self.is_settled.set(true);
        let mut recv = self.recv.borrow_mut();
        let mut cx = Context::from_waker(Waker::noop());
        match poll_chunk(&mut recv, &mut cx) {
            Poll::Ready(Ok(None) | Err(_)) => {}
            _ => {
                let _ = recv.stop(varint(code));
            }
        }
    }

    fn poll_bytes(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        let bytes = self.frames.borrow_mut().poll_bytes(&mut self.recv.borrow_mut(), cx);
        Poll::Ready(ready!(bytes).map_err(|fault| {
            if matches!(fault, Fault::TooLarge) {
                self.fault.set(Some(Code::H3_EXCESSIVE_LOAD));
            }
            read_fault(fault, &self.link)
        }))
    }
}

impl Drop for Stream {
    /// A stream that nobody settled belonged to a request that was cancelled: its end must not look like one.
    fn drop(&mut self) {
        if !self.is_settled.get() {
            self.abort(Code::H3_REQUEST_CANCELLED);
        }
    }
}

/// The crate's handle of a request stream, or of one direction of it.
pub(super) struct Half {
    stream: Rc<Stream>,
    writing: Option<WriteBuf<Bytes>>,
}

impl Half {
    pub(super) fn new(stream: Rc<Stream>) -> Self {
        Self { stream, writing: None }
    }
}

impl transport::SendStream<Bytes> for Half {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        poll_flush(&mut self.stream.send.borrow_mut(), &mut self.writing, cx)
    }

    fn send_data<T: Into<WriteBuf<Bytes>>>(&mut self, data: T) -> Result<(), StreamErrorIncoming> {
        self.writing = Some(data.into());
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<Result<(), StreamErrorIncoming>> {
        self.stream.finish();
        Poll::Ready(Ok(()))
    }

    fn reset(&mut self, code: u64) {
        let code = quinn::VarInt::from_u64(code).unwrap_or_default();
        let _ = self.stream.send.borrow_mut().reset(code);
    }

    fn send_id(&self) -> StreamId {
        self.stream.id
    }
}

impl transport::RecvStream for Half {
    type Buf = Bytes;

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, StreamErrorIncoming>> {
        self.stream.poll_bytes(cx)
    }

    fn stop_sending(&mut self, code: u64) {
        let code = quinn::VarInt::from_u64(code).unwrap_or_default();
        let _ = self.stream.recv.borrow_mut().stop(code);
    }

    fn recv_id(&self) -> StreamId {
        self.stream.id
    }
}

impl transport::BidiStream<Bytes> for Half {
    type SendStream = Self;
    type RecvStream = Self;

    fn split(self) -> (Self, Self) {
        (Self::new(Rc::clone(&self.stream)), self)
    }
}

/// Type and length of a DATA frame.
fn data_header(length: usize) -> Bytes {
    // An integer of eight bytes is valid for any length, but most fit in four.
    match u32::try_from(length) {
        Ok(length @ 0..0x4000_0000) => {
            let [a, b, c, d] = (length | 0b10 << 30).to_be_bytes();
            Bytes::copy_from_slice(&[0, a, b, c, d])
        }
        _ => {
            let mut header = vec![0];
            header.extend((length as u64 | 0b11 << 62).to_be_bytes());
            header.into()
        }
    }
}
