//! Sending on a UDP socket that the process may not read.
//!
//! The runtime can only watch a socket for both directions. A process that has handed its sockets
//! over would then wake up for each packet that the newer process reads. The socket is therefore
//! watched only while its buffer is full, which is rare.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quinn_udp::{Transmit, UdpSocketState};
use tokio::io::Interest;

/// The sending side of a UDP socket.
#[derive(Debug)]
pub(super) struct Sender {
    socket: UdpSocket,
    pub(super) state: UdpSocketState,
    /// Avoids the lock while the buffer has room.
    is_full: AtomicBool,
    watched: Mutex<Option<Arc<tokio::net::UdpSocket>>>,
}

impl Sender {
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        Ok(Self {
            state: UdpSocketState::new((&socket).into())?,
            socket,
            is_full: AtomicBool::new(false),
            watched: Mutex::default(),
        })
    }

    /// Sends, or fails with `WouldBlock` and begins to watch the socket.
    pub(super) fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.is_full.load(Ordering::Acquire) {
            return self.try_again(transmit);
        }
        let sent = self.state.send((&self.socket).into(), transmit);
        if sent.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.watch()?;
        }
        sent
    }

    #[cold]
    fn watch(&self) -> io::Result<()> {
        let watched = tokio::net::UdpSocket::from_std(self.socket.try_clone()?)?;
        *self.lock() = Some(Arc::new(watched));
        self.is_full.store(true, Ordering::Release);
        Ok(())
    }

    #[cold]
    fn try_again(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut watched = self.lock();
        let send = || self.state.send((&self.socket).into(), transmit);
        let sent = match &*watched {
            Some(socket) => socket.try_io(Interest::WRITABLE, send),
            None => send(),
        };
        if sent.is_ok() {
            *watched = None;
            self.is_full.store(false, Ordering::Release);
        }
        sent
    }

    /// Returns the socket to wait for, or `None` if the buffer has room.
    #[inline]
    pub(super) fn full(&self) -> Option<Arc<tokio::net::UdpSocket>> {
        if self.is_full.load(Ordering::Acquire) { self.lock().clone() } else { None }
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<tokio::net::UdpSocket>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_buffer_is_watched_until_it_has_room() {
        let own = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = Sender::new(own.try_clone().unwrap()).unwrap();
        let contents = [0; 1000];
        let transmit = Transmit {
            destination: own.local_addr().unwrap(),
            ecn: None,
            contents: &contents,
            segment_size: None,
            src_ip: None,
        };
        sender.try_send(&transmit).unwrap();
        assert!(sender.full().is_none());

        // The buffer is full, as far as the sender can tell, until a send succeeds.
        sender.watch().unwrap();
        let full = sender.full().expect("the socket is watched");
        full.writable().await.unwrap();
        sender.try_send(&transmit).unwrap();
        assert!(sender.full().is_none());
    }
}
