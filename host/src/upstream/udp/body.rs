//! The packets of a tunnel of UDP, as capsules both ways.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};
use weir_h3::capsule::{self, Capsule, Capsules};

use super::Permit;
use crate::message::body::{Body, BodyError};
use crate::task::Owned;

/// The capsules for the client.
pub(super) struct UdpBody {
    tunnel: Rc<Tunnel>,
    /// Completes when the socket has an error, of which readers and writers are not told.
    fault: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    /// The end of the client's packets.
    ended: Option<oneshot::Receiver<Result<(), BodyError>>>,
    /// Ends the tunnel. It is only set again when it is due.
    timer: Pin<Box<Sleep>>,
    /// Sends the client's packets. It is a task of its own: a client that does not take packets at
    /// the moment can still send some.
    _sending: Owned,
    _permit: Permit,
}

/// The part of a tunnel that both directions use.
struct Tunnel {
    socket: UdpSocket,
    /// The time of the last packet.
    moved: Cell<Instant>,
    /// The time without a packet after which the tunnel ends.
    idle: Cell<Duration>,
}

impl UdpBody {
    /// Begins to send the packets of `client`.
    pub(super) fn new(socket: UdpSocket, client: Body, idle: Duration, permit: Permit) -> Self {
        let now = Instant::now();
        let tunnel = Tunnel { socket, moved: Cell::new(now), idle: Cell::new(idle) };
        let tunnel = Rc::new(tunnel);
        let (end, ended) = oneshot::channel();
        let sending = Rc::clone(&tunnel);
        Self {
            fault: Box::pin(fault(Rc::clone(&tunnel))),
            ended: Some(ended),
            timer: Box::pin(sleep_until(now + idle)),
            _sending: Owned::spawn(async move {
                // The receiver is gone only if the tunnel is.
                let _ = end.send(sending.send(client).await);
            }),
            tunnel,
            _permit: permit,
        }
    }

    /// Completes with an error of the client's packets. A client that has closed its side can wait
    /// for an answer.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let Some(ended) = &mut self.ended else { return Poll::Pending };
        let end = ready!(Pin::new(ended).poll(cx));
        self.ended = None;
        if let Ok(Err(error)) = end {
            return Poll::Ready(error);
        }
        let Tunnel { idle, moved, .. } = &*self.tunnel;
        idle.set(idle.get().min(LINGER));
        self.timer.as_mut().reset(moved.get() + idle.get());
        Poll::Pending
    }

    /// Returns the next packet of the target.
    fn poll_packet(&self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        let Tunnel { socket, moved, .. } = &*self.tunnel;
        loop {
            // Nothing is held while nothing arrives.
            if let Err(error) = ready!(socket.poll_recv_ready(cx)) {
                return Poll::Ready(Err(BodyError::origin(error)));
            }
            let mut packet = BytesMut::with_capacity(ROOM);
            match socket.try_recv_buf(&mut packet) {
                Ok(_) => {
                    moved.set(Instant::now());
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
            self.fault = Box::pin(fault(Rc::clone(&self.tunnel)));
        }
    }

    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let end = self.tunnel.moved.get() + self.tunnel.idle.get();
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(end);
        }
    }
}

impl Tunnel {
    /// Sends the packets of the client until it closes its side.
    async fn send(&self, mut client: Body) -> Result<(), BodyError> {
        // A new socket is writable only after the reactor has seen it.
        let writable = self.socket.writable().await;
        writable.map_err(BodyError::origin)?;
        let mut capsules = Capsules::default();
        loop {
            match capsules.next()? {
                Some(Capsule::Datagram(payload)) => {
                    if let Some(packet) = capsule::as_packet(payload)? {
                        self.moved.set(Instant::now());
                        survive(self.socket.try_send(&packet).map(drop))?;
                    }
                    // One piece of the client's stream can have many packets.
                    coop::consume_budget().await;
                }
                Some(Capsule::Other(_)) => {}
                None => match client.frame().await {
                    Some(frame) => {
                        if let Ok(bytes) = frame?.into_data() {
                            capsules.push(&bytes);
                        }
                    }
                    None => return capsules.end().map_err(BodyError::from),
                },
            }
        }
    }
}

/// Waits for an error of the socket, such as the word that nobody listens.
async fn fault(tunnel: Rc<Tunnel>) -> io::Result<()> {
    let socket = &tunnel.socket;
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
        if let Poll::Ready(error) = this.poll_client(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        if let Poll::Ready(packet) = this.poll_packet(cx) {
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

/// The time for an answer after the client has closed its side.
const LINGER: Duration = Duration::from_secs(3);
