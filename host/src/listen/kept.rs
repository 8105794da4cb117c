//! The sockets of a listener as the thread sees them that starts and stops processes.
//!
//! The sockets themselves move to the workers. [`Kept`] holds duplicates of them, for a process
//! that takes over, and stops and resumes the reading of UDP.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use super::adopt::steer;
use super::handover::Group;
use super::{Sockets, relay};
use crate::handoff::{Begun, ListenerPackage};

/// A listener's sockets, kept for a process that takes over.
///
/// As long as the value lives, the listening sockets of TCP stay open. It must therefore be dropped
/// before the workers drain, or before they stop to serve the listener.
#[derive(Debug)]
pub struct Kept {
    address: SocketAddr,
    tcp: Vec<TcpListener>,
    group: Arc<Group>,
}

/// A listener for the offer to a newer process.
#[derive(Debug)]
pub struct Offered {
    /// The listener's part of the package.
    pub package: ListenerPackage,
    /// The descriptors of the part, in the order of the package.
    pub descriptors: Vec<OwnedFd>,
    /// The packets that the newer process will pass back. `None` without UDP.
    pub feed: Option<Feed>,
}

/// The reason why a listener cannot be offered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfferError {
    /// Every generation is in use.
    #[error("seven older processes still have connections; wait until one has ended")]
    TooMany,
    /// The system has no more descriptors.
    #[error("duplicate the sockets")]
    Io(#[from] io::Error),
}

impl Kept {
    /// Keeps the sockets of a listener, given those of all workers before they serve. Returns
    /// `None` if there is no worker.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn of(sockets: &[Sockets]) -> io::Result<Option<Self>> {
        let Some(first) = sockets.first() else { return Ok(None) };
        let tcp = sockets.iter().flat_map(|sockets| &sockets.tcp).map(TcpListener::try_clone);
        let group = Arc::clone(&first.group);
        Ok(Some(Self { address: first.address, tcp: tcp.collect::<io::Result<_>>()?, group }))
    }

    /// Prepares the offer to a newer process. It changes nothing, so a failed upgrade only drops
    /// the result.
    ///
    /// # Errors
    /// [`OfferError`].
    pub fn offer(&self, name: &str) -> Result<Offered, OfferError> {
        let group = &self.group;
        let mut older = group.older.export()?;
        let own = group.steering.generation;
        group.older.next(own).ok_or(OfferError::TooMany)?;
        let mut feed = None;
        if !group.sockets().is_empty() {
            let (outlet, inlet) = relay::pair()?;
            older.push((own, outlet.duplicate()?));
            feed = Some(Feed { group: Arc::clone(group), inlet });
        }
        let package = ListenerPackage {
            address: self.address,
            name: name.to_owned(),
            tcp: self.tcp.len(),
            udp: group.sockets().len(),
            steering: group.steering.export(),
            generation: own,
            relays: older.iter().map(|(generation, _)| *generation).collect(),
        };
        let mut descriptors = Vec::with_capacity(package.descriptors());
        for listener in &self.tcp {
            descriptors.push(listener.try_clone()?.into());
        }
        for socket in group.sockets() {
            descriptors.push(socket.try_clone()?.into());
        }
        descriptors.extend(older.into_iter().map(|(_, relay)| relay));
        Ok(Offered { package, descriptors, feed })
    }

    /// Stops the reading of UDP on all workers, waits until they have stopped, and returns the
    /// handshakes that were begun. Packets then wait in the kernel's buffers.
    ///
    /// The caller bounds the wait, which lasts one turn of each worker. If the future is dropped,
    /// the caller calls [`Self::resume_reading`].
    pub async fn stop_reading(&self) -> Vec<Begun> {
        self.group.roster.set_reading(false);
        self.group.wake();
        self.group.roster.followed().await;
        let mut begun = self.group.older.early.export();
        begun.push(self.group.seen.export(self.group.steering.generation));
        begun
    }

    /// Reads UDP again, after a newer process has failed.
    pub fn resume_reading(&self) {
        // The newer process may have attached its own program.
        steer(self.address, &self.group);
        self.group.roster.set_reading(true);
        self.group.wake();
    }

    /// Takes the sockets over from an older process that does not read them any more, with the
    /// handshakes that it has begun. Must come before the workers serve.
    pub fn take_over(&self, begun: &[Begun]) {
        self.group.older.early.import(begun);
        steer(self.address, &self.group);
    }

    /// Returns the number of older processes that live.
    #[cfg(test)]
    pub(super) fn sweep(&self) -> usize {
        self.group.older.sweep()
    }
}

/// The packets of a listener that a newer process passes back.
#[derive(Debug)]
pub struct Feed {
    group: Arc<Group>,
    inlet: UnixDatagram,
}

impl Feed {
    /// Puts the packets into the inboxes of the workers, for as long as the process drains. The
    /// future is a task of the control thread, and begins before the older process commits.
    pub async fn run(self) {
        let Self { group, inlet } = self;
        let received = async {
            let inlet = tokio::net::UnixDatagram::from_std(inlet)?;
            let mut buffer = vec![0; relay::BUFFER];
            loop {
                let length = inlet.recv(&mut buffer).await?;
                let message = buffer.get(..length).unwrap_or_default();
                if let Some((meta, datagrams)) = relay::decode(message) {
                    group.deliver(&meta, datagrams);
                }
            }
        };
        let ended: io::Result<()> = received.await;
        if let Err(error) = ended {
            tracing::warn!(%error, "receive QUIC packets from the new process");
        }
    }
}

#[cfg(test)]
mod tests;
