//! The UDP socket of one worker as quinn sees it: the packets of the kernel, plus packets from
//! other workers, minus packets for other workers.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::handover::Group;
use crate::telemetry::metrics::QuicCounters;

/// A worker's socket.
#[derive(Debug)]
pub(super) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    worker: usize,
    group: Arc<Group>,
    counters: QuicCounters,
}

impl Socket {
    /// Takes over a bound socket. Must run on the worker's runtime.
    pub(super) fn new(
        socket: std::net::UdpSocket,
        worker: usize,
        group: Arc<Group>,
        counters: QuicCounters,
    ) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            io: UdpSocket::from_std(socket)?,
            worker,
            group,
            counters,
        })
    }

    /// Receives from the kernel into `buffers`, or registers the task to be woken.
    fn poll_kernel(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let receive = || self.state.recv((&self.io).into(), buffers, metas);
            // An error concerns an earlier datagram to some client (ICMP). Reading clears it.
            let Ok(count) = self.io.try_io(Interest::READABLE, receive) else { continue };
            for (meta, buffer) in metas.iter_mut().zip(buffers).take(count) {
                self.counters.received(meta.len, meta.stride);
                if self.group.is_shared() {
                    self.group.sort(self.worker, buffer, meta);
                }
            }
            return Poll::Ready(Ok(count));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(inbox) = self.group.inbox(self.worker) {
            inbox.close();
        }
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.state.send((&self.io).into(), transmit))?;
        let length = transmit.contents.len();
        self.counters.sent(length, transmit.segment_size.unwrap_or(length));
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        if !self.group.is_shared() {
            return self.poll_kernel(cx, buffers, metas);
        }
        let Some(inbox) = self.group.inbox(self.worker) else { return Poll::Pending };
        loop {
            // Each source gets half of the buffers, so that neither starves the other.
            let half = buffers.len() / 2;
            let taken = inbox.take(buffers.get_mut(..half).unwrap_or_default(), metas);
            let (Some(buffers), Some(metas)) = (buffers.get_mut(taken..), metas.get_mut(taken..))
            else {
                return Poll::Ready(Ok(taken));
            };
            match self.poll_kernel(cx, buffers, metas) {
                Poll::Ready(Ok(count)) => return Poll::Ready(Ok(taken + count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                Poll::Pending if inbox.register(cx) => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.state.may_fragment()
    }
}

/// Waits, for one connection, until the socket takes datagrams.
struct Writable {
    socket: Arc<Socket>,
    waiting: Option<Waiting>,
}

type Waiting = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

impl UdpPoller for Writable {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // The socket is nearly always writable, and nothing is allocated then.
        if this.waiting.is_none() && this.socket.io.try_io(Interest::WRITABLE, || Ok(())).is_ok() {
            return Poll::Ready(Ok(()));
        }
        let socket = &this.socket;
        let waiting = this.waiting.get_or_insert_with(|| {
            let socket = Arc::clone(socket);
            Box::pin(async move { socket.io.writable().await })
        });
        let result = ready!(waiting.as_mut().poll(cx));
        this.waiting = None;
        Poll::Ready(result)
    }
}

impl fmt::Debug for Writable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writable").finish_non_exhaustive()
    }
}
