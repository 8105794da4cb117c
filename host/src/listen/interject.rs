//! Interim responses of HTTP/1.1, written between the responses of hyper.
//!
//! hyper's server sends 100 by itself and has no way to send another interim response.
//! [`Interjecting`] stands between hyper and the connection. hyper flushes only after it has passed
//! on all its output. A flush while a request is being answered is therefore a place between two
//! messages. [`Interjecting`] writes the heads there.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BufMut as _, BytesMut};
use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::message::interim::{Inform, Interim};

/// The heads of a connection's present request for its client.
#[derive(Default)]
pub(super) struct Interjections {
    heads: RefCell<BytesMut>,
    /// Whether a request is being answered and its client accepts interim responses.
    is_open: Cell<bool>,
    /// Whether output is kept, because a tunnel begins after it.
    is_kept: Cell<bool>,
    /// Wakes the answer that waits until its heads are taken.
    taken: Cell<Option<Waker>>,
}

impl Interjections {
    /// Begins a request. A client of HTTP/1.0 accepts no interim responses (RFC 9110 §15.2).
    pub(super) fn open(self: &Rc<Self>, version: Version) -> Interim {
        if version < Version::HTTP_11 {
            return Interim::none();
        }
        self.is_open.set(true);
        Interim::new(Rc::clone(self))
    }

    /// Ends the interim responses. Completes when all heads are on their way, so that the final
    /// response follows them. Cancel safe.
    pub(super) async fn close(&self) {
        poll_fn(|cx| {
            if self.heads.borrow().is_empty() {
                return Poll::Ready(());
            }
            self.taken.set(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
        self.is_open.set(false);
    }

    /// Keeps further output until the tunnel sends it. hyper ends the connection after the head
    /// that opens a tunnel, and may leave a part of that head unsent.
    pub(super) fn keep(&self) {
        self.is_kept.set(true);
    }

    fn take(&self) -> BytesMut {
        if let Some(waker) = self.taken.take() {
            waker.wake();
        }
        self.heads.take()
    }
}

impl Inform for Interjections {
    fn inform(&self, status: StatusCode, fields: &HeaderMap) {
        if !self.is_open.get() {
            return;
        }
        let mut out = self.heads.borrow_mut();
        out.put_slice(b"HTTP/1.1 ");
        out.put_slice(status.as_str().as_bytes());
        out.put_u8(b' ');
        out.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        out.put_slice(b"\r\n");
        for (name, value) in fields {
            out.put_slice(name.as_str().as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
        out.put_slice(b"\r\n");
    }
}

/// A connection with two sources: hyper's output and interim responses.
pub(super) struct Interjecting<T> {
    io: T,
    interjections: Rc<Interjections>,
    /// Heads on their way. They go out before all other output.
    leaving: BytesMut,
}

impl<T> Interjecting<T> {
    pub(super) fn new(io: T, interjections: &Rc<Interjections>) -> Self {
        Self { io, interjections: Rc::clone(interjections), leaving: BytesMut::new() }
    }

    /// Returns the connection, and the output that was kept.
    pub(super) fn into_parts(self) -> (T, BytesMut) {
        (self.io, self.leaving)
    }
}

impl<T: AsyncWrite + Unpin> Interjecting<T> {
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.leaving.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.leaving))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.leaving.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Interjecting<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Interjecting<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.interjections.is_kept.get() {
            self.leaving.put_slice(bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_leave(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.interjections.is_kept.get() {
            buffers.iter().for_each(|bytes| self.leaving.put_slice(bytes));
            return Poll::Ready(Ok(buffers.iter().map(|bytes| bytes.len()).sum()));
        }
        ready!(self.poll_leave(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.interjections.heads.borrow().is_empty() {
            let heads = self.interjections.take();
            self.leaving.unsplit(heads);
        }
        if self.interjections.is_kept.get() {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_leave(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_leave(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_head_comes_before_what_follows_however_little_the_client_takes() {
        // The pipe takes two bytes at a time.
        let (near, mut far) = duplex(2);
        let interjections = Rc::default();
        let mut io = Interjecting::new(near, &interjections);
        let interim = interjections.open(Version::HTTP_11);
        let fields = HeaderMap::from_iter([(http::header::LINK, "a".parse().unwrap())]);
        interim.send(StatusCode::EARLY_HINTS, &fields);
        interim.send(StatusCode::PROCESSING, &HeaderMap::new());
        let writing = async {
            io.flush().await.unwrap();
            interjections.close().await;
            interim.send(StatusCode::EARLY_HINTS, &fields);
            io.write_all(b"HTTP/1.1 200 OK").await.unwrap();
            drop(io);
        };
        let mut text = String::new();
        let (read, ()) = tokio::join!(far.read_to_string(&mut text), writing);
        read.unwrap();
        let want = "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK";
        assert_eq!(text, want);
    }

    #[tokio::test]
    async fn the_final_response_waits_for_its_heads() {
        let interjections: Rc<Interjections> = Rc::default();
        interjections.open(Version::HTTP_11).send(StatusCode::EARLY_HINTS, &HeaderMap::new());
        let mut closing = std::pin::pin!(interjections.close());
        let polled = poll_fn(|cx| Poll::Ready(closing.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        assert!(!interjections.take().is_empty());
        closing.await;
        assert!(!interjections.open(Version::HTTP_10).is_wanted());
    }
}
