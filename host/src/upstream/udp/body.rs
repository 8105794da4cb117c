//! The packets of a tunnel of UDP, as capsules both ways.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::{Instant, Sleep, sleep};
use weir_h3::capsule::{self, Capsule, Capsules};

use super::Permit;
use crate::message::body::{Body, BodyError};

/// The capsules for the client. Polling it also sends the client's packets, so that a tunnel needs
/// no task of its own.
pub(super) struct UdpBody {
    socket: Rc<UdpSocket>,
    /// Completes when the socket has an error, of which readers and writers are not told.
    fault: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    /// The capsules of the client.
    client: Body,
    capsules: Capsules,
    /// A packet of the client that the socket does not take yet.
    waiting: Option<Bytes>,
    idle: Duration,
    /// The time of the last packet.
    moved: Instant,
    /// Ends the tunnel. It is only set again when it is due.
    timer: Pin<Box<Sleep>>,
    _permit: Permit,
}

impl UdpBody {
    pub(super) fn new(socket: UdpSocket, client: Body, idle: Duration, permit: Permit) -> Self {
        let (capsules, moved) = (Capsules::default(), Instant::now());
        let timer = Box::pin(sleep(idle));
        let (socket, waiting) = (Rc::new(socket), None);
        let fault = Box::pin(fault(Rc::clone(&socket)));
        Self { socket, fault, client, capsules, waiting, idle, moved, timer, _permit: permit }
    }

    /// Sends the packets of the client. Completes when the client has closed its side.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        for _ in 0..BURST {
            if let Some(packet) = &self.waiting {
                // A socket is ready only after the reactor has seen it.
                let sent = ready!(self.socket.poll_send(cx, packet));
                self.waiting = None;
                self.moved = Instant::now();
                survive(sent.map(drop))?;
            }
            match self.capsules.next().map_err(BodyError::client)? {
                Some(Capsule::Datagram(payload)) => {
                    self.waiting = capsule::as_packet(payload).map_err(BodyError::client)?;
                }
                Some(Capsule::Other(_)) => {}
                None => match ready!(Pin::new(&mut self.client).poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(bytes) = frame.into_data() {
                            self.capsules.push(&bytes);
                        }
                    }
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None if self.capsules.is_between() => return Poll::Ready(Ok(())),
                    // RFC 9297 §3.3
                    None => return Poll::Ready(Err(BodyError::Aborted)),
                },
            }
        }
        // Packets that arrive without end leave time for those of the target.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Returns the next packet of the target.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        loop {
            // Nothing is held while nothing arrives.
            match ready!(self.socket.poll_recv_ready(cx)) {
                Ok(()) => {}
                Err(error) => return Poll::Ready(Err(BodyError::origin(error))),
            }
            let mut packet = BytesMut::with_capacity(ROOM);
            match self.socket.try_recv_buf(&mut packet) {
                Ok(_) => {
                    self.moved = Instant::now();
                    // A copy of the right size, so that a packet that waits keeps no more.
                    return Poll::Ready(Ok(capsule::packet(&packet)));
                }
                Err(error) => survive(Err(error))?,
            }
        }
    }

    /// Completes when the tunnel is of no more use.
    fn poll_fault(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        loop {
            let found = ready!(self.fault.as_mut().poll(cx));
            if let Err(error) = survive(found) {
                return Poll::Ready(error);
            }
            self.fault = Box::pin(fault(Rc::clone(&self.socket)));
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let end = self.moved + self.idle;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
    }
}

/// Waits for an error of a socket, such as the word that nobody listens.
async fn fault(socket: Rc<UdpSocket>) -> io::Result<()> {
    socket.ready(Interest::ERROR).await?;
    // This clears the error.
    match socket.take_error()? {
        Some(error) => Err(error),
        None => socket.try_io(Interest::ERROR, || Err(io::ErrorKind::WouldBlock.into())),
    }
}

/// Passes over the failures of one packet, which is dropped as a network would do. The socket is of
/// no more use when the target says that nobody listens (RFC 9298 §3.1).
fn survive(result: io::Result<()>) -> Result<(), BodyError> {
    match result {
        Err(error) if is_final(&error) => Err(BodyError::origin(error)),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
            tracing::debug!(error = &error as &dyn std::error::Error, "packet dropped");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether no further packet can pass.
fn is_final(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable)
}

impl http_body::Body for UdpBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(ended) = this.poll_out(cx) {
            return Poll::Ready(ended.err().map(Err));
        }
        if let Poll::Ready(packet) = this.poll_in(cx) {
            return Poll::Ready(Some(packet.map(Frame::data)));
        }
        if let Poll::Ready(error) = this.poll_fault(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        this.poll_idle(cx).map(|()| None)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

/// Room for any packet. It is not written before a packet is.
const ROOM: usize = 64 << 10;

/// Parts of the client's stream that are handled at once.
const BURST: usize = 64;
