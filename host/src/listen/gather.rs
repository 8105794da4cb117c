//! One write for all output of an HTTP/2 connection in its turn.
//!
//! h2 writes and flushes each DATA frame separately. For each small response that is one system
//! call and one TLS record, a quarter of its total cost. [`Gathered`] keeps these writes. [`Turns`]
//! writes them out once each time the connection has been polled. Output therefore waits no longer
//! than the connection's turn.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Maximum number of bytes kept for the end of the turn: two full TLS records.
const KEPT: usize = 32 << 10;

/// Initial capacity of a turn, in bytes: a few small responses.
const FIRST: usize = 4 << 10;

/// A write of at least this many bytes goes out at once, because a copy would cost more than a
/// separate write.
const LARGE: usize = 8 << 10;

/// Returns a connection and the end of its turns.
pub(super) fn gather<T>(io: T) -> (Gathered<T>, Turns<T>) {
    let shared = Rc::new(RefCell::new(Shared { io, kept: Vec::new(), failure: None }));
    (Gathered(Rc::clone(&shared)), Turns(shared))
}

/// A connection with small writes and flushes that wait for the end of its turn.
pub(super) struct Gathered<T>(Rc<RefCell<Shared<T>>>);

/// Ends the turns of a connection.
pub(super) struct Turns<T>(Rc<RefCell<Shared<T>>>);

/// The connection and the bytes gathered for it, shared by both halves.
struct Shared<T> {
    io: T,
    kept: Vec<u8>,
    /// The error of a write, until the connection has received it.
    failure: Option<io::Error>,
}

impl<T: AsyncWrite + Unpin> Turns<T> {
    /// Runs the future that drives the connection. Writes out the connection's output whenever that
    /// future waits.
    pub(super) async fn run<F: Future>(&self, mut connection: Pin<&mut F>) -> F::Output {
        std::future::poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            let shared = &mut *self.0.borrow_mut();
            if let Poll::Ready(Err(error)) = shared.poll_flush(cx) {
                // The connection must be polled again at once to receive the error.
                shared.failure = Some(error);
                cx.waker().wake_by_ref();
            }
            polled
        })
        .await
    }
}

impl<T: AsyncWrite + Unpin> Shared<T> {
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_out(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_write_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut written = 0;
        let ended = loop {
            let Some(rest) = self.kept.get(written..).filter(|rest| !rest.is_empty()) else {
                // The memory is released, because most connections have no output most of the time.
                self.kept = Vec::new();
                return Poll::Ready(Ok(()));
            };
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => break Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(more)) => written += more,
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        self.kept.drain(..written);
        ended
    }

    fn failed(&mut self) -> io::Result<()> {
        self.failure.take().map_or(Ok(()), Err)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = &mut *self.0.borrow_mut();
        if let Some(error) = shared.failure.take() {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut shared.io).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let shared = &mut *self.0.borrow_mut();
        shared.failed()?;
        let bytes = buffers.iter().map(|buffer| buffer.len()).sum::<usize>();
        if bytes >= LARGE || shared.kept.len() + bytes > KEPT {
            ready!(shared.poll_write_out(cx))?;
        }
        if bytes >= LARGE {
            return Pin::new(&mut shared.io).poll_write_vectored(cx, buffers);
        }
        if shared.kept.is_empty() {
            shared.kept.reserve(FIRST.max(bytes));
        }
        for buffer in buffers {
            shared.kept.extend_from_slice(buffer);
        }
        Poll::Ready(Ok(bytes))
    }

    fn is_write_vectored(&self) -> bool {
        self.0.borrow().io.is_write_vectored()
    }

    /// Does not write: the kept bytes go out at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.borrow_mut().failed())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shared = &mut *self.0.borrow_mut();
        ready!(shared.poll_flush(cx))?;
        Pin::new(&mut shared.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    /// Takes writes while there is room, and counts them.
    #[derive(Default)]
    struct Counting {
        writes: Vec<usize>,
        room: usize,
        is_gone: bool,
    }

    impl AsyncRead for Counting {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Counting {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.is_gone {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(taken);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Runs one turn that writes and flushes each of these numbers of bytes separately.
    async fn turn(gathered: &mut Gathered<Counting>, turns: &Turns<Counting>, pieces: &[usize]) {
        let mut writing = pin!(async {
            for piece in pieces {
                gathered.write_all(&vec![7; *piece]).await.unwrap();
                gathered.flush().await.unwrap();
            }
        });
        turns.run(writing.as_mut()).await;
    }

    #[tokio::test]
    async fn the_small_writes_of_a_turn_are_one() {
        let (mut gathered, turns) = gather(Counting { room: usize::MAX, ..Counting::default() });
        turn(&mut gathered, &turns, &[100, 1024, 9, 1024]).await;
        turn(&mut gathered, &turns, &[5]).await;
        assert_eq!(turns.0.borrow().io.writes, [2157, 5]);
        turn(&mut gathered, &turns, &[100, LARGE, 3]).await;
        assert_eq!(turns.0.borrow().io.writes[2..], [100, LARGE, 3]);
        let many = [1000; 100];
        turn(&mut gathered, &turns, &many).await;
        let writes = turns.0.borrow().io.writes[5..].to_vec();
        assert_eq!(writes, [32_000, 32_000, 32_000, 4_000]);
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_holds_up_its_connection() {
        let (mut gathered, turns) = gather(Counting { room: 10, ..Counting::default() });
        turn(&mut gathered, &turns, &[1000; 32]).await;
        assert_eq!(turns.0.borrow().kept.len(), 32_000 - 10);
        let mut writing = pin!(gathered.write_all(&[7; 1000]));
        let polled = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        turns.0.borrow_mut().io.room = usize::MAX;
        turns.run(writing).await.unwrap();
        let total: usize = turns.0.borrow().io.writes.iter().sum();
        assert_eq!(total, 33_000);
        assert_eq!(turns.0.borrow().kept.capacity(), 0);
    }

    #[tokio::test]
    async fn a_connection_learns_that_its_client_is_gone() {
        let (mut gathered, turns) = gather(Counting { is_gone: true, ..Counting::default() });
        let mut reading = pin!(async {
            gathered.write_all(b"response").await.unwrap();
            gathered.read_u8().await
        });
        let error = turns.run(reading.as_mut()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn what_is_kept_goes_out_before_the_end() {
        let (near, mut far) = duplex(1 << 16);
        let (mut gathered, _turns) = gather(near);
        gathered.write_all(b"goodbye").await.unwrap();
        gathered.shutdown().await.unwrap();
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "goodbye");
    }
}
