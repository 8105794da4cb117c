//! The UDP socket of one worker as quinn sees it: the packets of the kernel, plus packets from
//! other workers, minus packets for other workers.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

use super::handover::Group;
use super::sender::Sender;
use crate::telemetry::metrics::QuicCounters;

/// A worker's socket: the side that sends, and the sockets that the worker reads at present. A
/// process that has handed its sockets over only sends.
#[derive(Debug)]
pub(super) struct Socket {
    sender: Sender,
    /// Only the endpoint's driver locks it.
    readers: Mutex<Readers>,
    worker: usize,
    group: Arc<Group>,
    counters: QuicCounters,
}

/// The kernel's sockets that one worker reads.
#[derive(Debug, Default)]
struct Readers {
    /// The version of the roster.
    version: usize,
    open: Vec<Reader>,
    /// The turn of a socket, so that none starves the others.
    turn: usize,
}

/// One of the kernel's sockets, registered for reading.
#[derive(Debug)]
struct Reader {
    io: tokio::net::UdpSocket,
    state: UdpSocketState,
}

impl Reader {
    fn new(socket: &UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new(socket.into())?,
            io: tokio::net::UdpSocket::from_std(socket.try_clone()?)?,
        })
    }

    /// Receives from the kernel into `buffers`, or registers the task to be woken.
    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let receive = || self.state.recv((&self.io).into(), buffers, metas);
            // An error concerns an earlier datagram to some client (ICMP). Reading clears it.
            if let Ok(count) = self.io.try_io(Interest::READABLE, receive) {
                return Poll::Ready(Ok(count));
            }
        }
    }
}

impl Socket {
    /// Takes over a descriptor to send with: the worker's own socket, or a duplicate of another
    /// one. The group tells the sockets to read. Must run on the worker's runtime.
    pub(super) fn new(
        sender: UdpSocket,
        worker: usize,
        group: Arc<Group>,
        counters: QuicCounters,
    ) -> io::Result<Self> {
        if let Some(inbox) = group.inbox(worker) {
            inbox.open();
        }
        group.roster.join(worker);
        group.wake();
        let socket = Self {
            sender: Sender::new(sender)?,
            readers: Mutex::default(),
            worker,
            group,
            counters,
        };
        // The registration happens now, so that its error shows before anything is served.
        socket.divide(&mut socket.lock())?;
        Ok(socket)
    }

    fn lock(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the sockets of the present roster, and no others.
    fn follow(&self, readers: &mut Readers) -> io::Result<()> {
        if readers.version == self.group.roster.version() { Ok(()) } else { self.divide(readers) }
    }

    #[cold]
    fn divide(&self, readers: &mut Readers) -> io::Result<()> {
        let (version, sockets) = self.group.roster.share(self.worker);
        readers.open.clear();
        for socket in sockets.iter().filter_map(|index| self.group.sockets().get(*index)) {
            readers.open.push(Reader::new(socket)?);
        }
        readers.version = version;
        self.group.roster.follow(self.worker, version);
        Ok(())
    }

    /// Receives from one of the kernel's sockets, or registers the task to be woken by any.
    fn poll_kernel(
        &self,
        readers: &mut Readers,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        for _ in 0..readers.open.len() {
            let turn = readers.turn % readers.open.len();
            let Some(reader) = readers.open.get(turn) else { break };
            readers.turn = turn + 1;
            let Poll::Ready(count) = reader.poll_recv(cx, buffers, metas)? else { continue };
            for (meta, buffer) in metas.iter_mut().zip(buffers).take(count) {
                self.counters.received(meta.len, meta.stride);
                self.group.receive(self.worker, buffer, meta);
            }
            return Poll::Ready(Ok(count));
        }
        Poll::Pending
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(inbox) = self.group.inbox(self.worker) {
            inbox.close();
        }
        self.group.roster.leave(self.worker);
        self.group.wake();
    }
}

impl AsyncUdpSocket for Socket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(Writable { socket: self, waiting: None })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.sender.try_send(transmit)?;
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
        let Some(inbox) = self.group.inbox(self.worker) else { return Poll::Pending };
        let mut readers = self.lock();
        loop {
            self.follow(&mut readers)?;
            // Each source gets half of the buffers, so that neither starves the other.
            let half = buffers.len() / 2;
            let taken = inbox.take(buffers.get_mut(..half).unwrap_or_default(), metas);
            let (Some(buffers), Some(metas)) = (buffers.get_mut(taken..), metas.get_mut(taken..))
            else {
                return Poll::Ready(Ok(taken));
            };
            match self.poll_kernel(&mut readers, cx, buffers, metas) {
                Poll::Ready(Ok(count)) => return Poll::Ready(Ok(taken + count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if taken > 0 => return Poll::Ready(Ok(taken)),
                // A new roster comes with a wake-up, which only a registered task gets. The roster
                // is therefore compared after the registration.
                Poll::Pending
                    if inbox.register(cx) && readers.version == self.group.roster.version() =>
                {
                    return Poll::Pending;
                }
                Poll::Pending => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.sender.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.sender.state.max_gso_segments()
    }

    fn max_receive_segments(&self) -> usize {
        self.sender.state.gro_segments()
    }

    fn may_fragment(&self) -> bool {
        self.sender.state.may_fragment()
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
        if this.waiting.is_none() {
            // The socket is nearly always writable, and nothing is allocated then.
            let Some(full) = this.socket.sender.full() else { return Poll::Ready(Ok(())) };
            this.waiting = Some(Box::pin(async move { full.writable().await }));
        }
        let Some(waiting) = &mut this.waiting else { return Poll::Ready(Ok(())) };
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
