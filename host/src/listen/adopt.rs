//! Sockets that another process has bound: an older Weir, or systemd.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use socket2::{SockRef, Type};

use super::bind::{self, BindError, Kinds};
use super::handover::Group;
use super::older::{Older, OlderProcess};
use super::relay::Outlet;
use super::steer::{GENERATIONS, MAX_WORKERS, Steering};
use super::{Sockets, kernel};
use crate::config;
use crate::handoff::{ListenerPackage, SteeringPackage};

/// The sockets of one listener that another process has bound.
#[derive(Debug)]
pub struct Inherited {
    address: SocketAddr,
    tcp: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    predecessor: Option<Predecessor>,
}

/// The QUIC state of the process that has served the sockets.
#[derive(Debug)]
struct Predecessor {
    steering: SteeringPackage,
    generation: u8,
    relays: Vec<(u8, OwnedFd)>,
}

/// The reason why sockets of another process cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdoptError {
    /// A descriptor is missing or left over.
    #[error("the listener at {address} has {received} descriptors instead of {expected}")]
    Count {
        /// The address of the listener.
        address: SocketAddr,
        /// The number in the package.
        expected: usize,
        /// The number that came.
        received: usize,
    },
    /// A descriptor is another socket than its place tells.
    #[error("a descriptor of the listener at {address} is no {expected} socket of that address")]
    Kind {
        /// The address of the listener.
        address: SocketAddr,
        /// The expected kind.
        expected: &'static str,
    },
    /// The secret of connection ids or a generation is damaged.
    #[error("the QUIC state of the listener at {0} is damaged")]
    Steering(SocketAddr),
    /// A socket that the other process does not have cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The system does not allow an operation on a socket.
    #[error("prepare the sockets of another process")]
    Io(#[from] io::Error),
}

impl Inherited {
    /// Takes over a listener of an older process. `descriptors` are those of this listener.
    ///
    /// # Errors
    /// [`AdoptError`]. All descriptors are closed.
    pub fn from_package(
        package: ListenerPackage,
        descriptors: Vec<OwnedFd>,
    ) -> Result<Self, AdoptError> {
        let address = package.address;
        let (expected, received) = (package.descriptors(), descriptors.len());
        if expected != received {
            return Err(AdoptError::Count { address, expected, received });
        }
        let mut descriptors = descriptors.into_iter();
        let tcp: Vec<OwnedFd> = descriptors.by_ref().take(package.tcp).collect();
        let udp: Vec<OwnedFd> = descriptors.by_ref().take(package.udp).collect();
        for (sockets, kind, expected) in [(&tcp, Type::STREAM, "TCP"), (&udp, Type::DGRAM, "UDP")] {
            if !sockets.iter().all(|socket| is_bound(socket, kind, address)) {
                return Err(AdoptError::Kind { address, expected });
            }
        }
        let predecessor = Predecessor {
            steering: package.steering,
            generation: package.generation,
            relays: package.relays.into_iter().zip(descriptors).collect(),
        };
        Ok(Self {
            address,
            tcp: tcp.into_iter().map(TcpListener::from).collect(),
            udp: udp.into_iter().map(UdpSocket::from).collect(),
            predecessor: Some(predecessor),
        })
    }

    /// Takes over the sockets that systemd has bound to one address.
    pub fn activated(address: SocketAddr, tcp: Vec<TcpListener>, udp: Vec<UdpSocket>) -> Self {
        Self { address, tcp, udp, predecessor: None }
    }

    /// Returns the bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Divides the sockets of another process among `workers` workers, whose number need not be that of
/// the sockets. The result is as that of [`super::bind()`].
///
/// Sockets that the configuration does not use are closed, and those that it needs in addition are
/// bound. A worker that has no UDP socket of its own gets its packets from the others.
///
/// # Errors
/// [`AdoptError`].
pub fn adopt(
    listener: &config::Listener,
    inherited: Inherited,
    workers: usize,
) -> Result<Vec<Sockets>, AdoptError> {
    let workers = workers.clamp(1, MAX_WORKERS);
    let kinds = Kinds::of(listener);
    let Inherited { address, mut tcp, mut udp, predecessor } = inherited;
    tcp.truncate(if kinds.tcp { usize::MAX } else { 0 });
    udp.truncate(if kinds.udp { usize::MAX } else { 0 });
    let missing = Kinds { tcp: kinds.tcp && tcp.is_empty(), udp: kinds.udp && udp.is_empty() };
    let bound = bind::bound(address, missing, workers, false)?;
    tcp.extend(bound.tcp);
    udp.extend(bound.udp);
    for listener in &tcp {
        listener.set_nonblocking(true)?;
    }
    for socket in &udp {
        socket.set_nonblocking(true)?;
    }
    let is_new = predecessor.is_none() || missing.udp;
    let (steering, older) = match predecessor {
        Some(predecessor) => {
            extend(&mut udp, address, workers);
            predecessor.continued(workers).ok_or(AdoptError::Steering(address))?
        }
        None => (Steering::new(workers), Older::default()),
    };
    let sockets = Parts { address, tcp, udp, steering, older }.divide()?;
    // An older process still reads the sockets, and its program serves it best until it commits.
    if let Some(first) = sockets.first().filter(|_| is_new) {
        steer(address, &first.group);
    }
    Ok(sockets)
}

impl Predecessor {
    /// Returns the mapping of the next generation, and the older processes.
    fn continued(self, workers: usize) -> Option<(Steering, Older)> {
        if self.generation >= GENERATIONS {
            return None;
        }
        let generation = (self.generation + 1) % GENERATIONS;
        let steering = Steering::import(&self.steering, generation, workers)?;
        let mut processes = Vec::new();
        for (older, relay) in self.relays {
            if older == generation {
                return None;
            }
            processes.push(OlderProcess::new(older, Outlet::adopt(relay).ok()?));
        }
        Some((steering, Older::new(processes)))
    }
}

/// Binds further sockets of the port, up to one for each worker, so that the kernel spreads packets
/// over all of them. If the system refuses, the workers hand packets over.
fn extend(udp: &mut Vec<UdpSocket>, address: SocketAddr, workers: usize) {
    while !udp.is_empty() && udp.len() < workers {
        match bind::udp(address, bind::Sharing::Workers) {
            Ok(socket) => udp.push(socket),
            Err(error) => {
                tracing::info!(%address, %error, "a worker gets no UDP socket of its own");
                return;
            }
        }
    }
}

/// Whether a descriptor is a socket of a kind at an address, for TCP a listening one.
fn is_bound(socket: &OwnedFd, kind: Type, address: SocketAddr) -> bool {
    let socket = SockRef::from(socket);
    let is_there = socket.local_addr().is_ok_and(|local| local.as_socket() == Some(address));
    let is_listening = socket.is_listener().unwrap_or(false);
    socket.r#type().is_ok_and(|found| found == kind)
        && is_there
        && is_listening == (kind == Type::STREAM)
}

/// The sockets of a listener before their division among workers.
pub(super) struct Parts {
    pub(super) address: SocketAddr,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) steering: Steering,
    pub(super) older: Older,
}

impl Parts {
    /// Divides the sockets among the workers of the steering. Each worker gets at least one
    /// descriptor of each kind: with too few sockets some are duplicates. Workers that share a
    /// listening socket of TCP accept in turn.
    pub(super) fn divide(self) -> io::Result<Vec<Sockets>> {
        let workers = self.steering.workers as usize;
        let count = self.tcp.len();
        let mut shares: Vec<Vec<TcpListener>> = (0..workers).map(|_| Vec::new()).collect();
        if count > 0 {
            for (worker, share) in shares.iter_mut().enumerate().skip(count) {
                share.extend(self.tcp.get(worker % count).map(TcpListener::try_clone).transpose()?);
            }
        }
        for (index, listener) in self.tcp.into_iter().enumerate() {
            if let Some(share) = shares.get_mut(index % workers) {
                share.push(listener);
            }
        }
        let group = Arc::new(Group::new(self.steering, self.udp, self.older));
        let mut divided = Vec::with_capacity(workers);
        for (worker, tcp) in shares.into_iter().enumerate() {
            let senders = group.sockets();
            let udp = senders.get(worker % senders.len().max(1));
            let udp = udp.map(|socket| socket.try_clone()).transpose()?;
            let (address, group) = (self.address, Arc::clone(&group));
            divided.push(Sockets { address, worker, tcp, udp, group });
        }
        Ok(divided)
    }
}

/// Lets the kernel steer packets, so that the workers need not hand them over.
pub(super) fn steer(address: SocketAddr, group: &Group) {
    let [first, _, ..] = group.sockets() else { return };
    if let Err(error) = kernel::attach(first, &group.steering, group.sockets().len()) {
        tracing::warn!(
            %address,
            error = &error as &dyn std::error::Error,
            "the system does not steer QUIC packets; workers hand them over among themselves"
        );
    }
}
