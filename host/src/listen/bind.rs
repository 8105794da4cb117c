//! Binding: a TCP listener and a UDP socket for each worker, all on one port.
//!
//! It runs on the control thread before the workers start. The sockets then move to their workers.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use super::Sockets;
use super::adopt::{Parts, steer};
use super::older::Older;
use super::steer::{MAX_WORKERS, Steering};
use crate::config;

/// Connections that the kernel completes before they are accepted. The system's
/// `net.core.somaxconn` caps the number.
const BACKLOG: i32 = 4096;

/// Bytes that the kernel buffers in each direction for a UDP socket. Measurements showed no effect
/// of a larger buffer. The system's `net.core.rmem_max` and `wmem_max` cap the number.
const UDP_BUFFER: usize = 4 << 20;

/// Number of free TCP ports to try, with port 0, until one is also free for UDP.
const ATTEMPTS: usize = 32;

/// Binds `listener` once per worker. The result has one entry per worker, in the order of the
/// workers. `is_ours` tells that another listener of this process has the port, perhaps at another
/// address: the sockets then share it.
///
/// # Errors
///
/// The error names the address and the transport that failed, and a remedy. The most frequent cause
/// is another process that has the port.
pub fn bind(
    listener: &config::Listener,
    workers: usize,
    is_ours: bool,
) -> Result<Vec<Sockets>, BindError> {
    let workers = workers.clamp(1, MAX_WORKERS);
    let kinds = Kinds::of(listener);
    let mut attempts = if listener.address.port() == 0 { ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match try_bind(listener.address, kinds, workers, is_ours) {
            Err(BindError::InUse { .. }) if attempts > 0 => {}
            result => return result,
        }
    }
}

/// The kinds of sockets that a listener needs.
#[derive(Clone, Copy)]
pub(super) struct Kinds {
    pub(super) tcp: bool,
    pub(super) udp: bool,
}

impl Kinds {
    pub(super) fn of(listener: &config::Listener) -> Self {
        let protocols = listener.protocols;
        Self { tcp: protocols.h1 || protocols.h2, udp: protocols.h3 }
    }
}

fn try_bind(
    wanted: SocketAddr,
    kinds: Kinds,
    workers: usize,
    is_ours: bool,
) -> Result<Vec<Sockets>, BindError> {
    let Bound { address, tcp, udp } = bound(wanted, kinds, workers, is_ours)?;
    let (steering, older) = (Steering::new(workers), Older::default());
    let sockets = Parts { address, tcp, udp, steering, older }.divide();
    let sockets = sockets.map_err(BindError::of(address, "TCP and UDP"))?;
    if let Some(first) = sockets.first() {
        steer(address, &first.group);
    }
    Ok(sockets)
}

/// Sockets that were bound to one address.
pub(super) struct Bound {
    pub(super) address: SocketAddr,
    pub(super) tcp: Vec<TcpListener>,
    pub(super) udp: Vec<UdpSocket>,
}

/// Binds one socket of each kind for each worker.
pub(super) fn bound(
    wanted: SocketAddr,
    kinds: Kinds,
    workers: usize,
    is_ours: bool,
) -> Result<Bound, BindError> {
    // Each socket is first bound alone. Sockets that share a port would hide that another process
    // shares it too.
    let mut address = wanted;
    if kinds.tcp && !is_ours {
        let probe = tcp(address, Sharing::Alone).map_err(BindError::of(address, "TCP"))?;
        address = probe.local_addr().map_err(BindError::of(address, "TCP"))?;
    }
    if kinds.udp && !is_ours {
        let probe = udp(address, Sharing::Alone).map_err(BindError::of(address, "UDP"))?;
        address = probe.local_addr().map_err(BindError::of(address, "UDP"))?;
    }
    let mut bound = Bound { address, tcp: Vec::new(), udp: Vec::new() };
    for _ in 0..workers {
        if kinds.tcp {
            let socket = tcp(address, Sharing::Workers);
            bound.tcp.push(socket.map_err(BindError::of(address, "TCP"))?);
        }
        if kinds.udp {
            let socket = udp(address, Sharing::Workers);
            bound.udp.push(socket.map_err(BindError::of(address, "UDP"))?);
        }
    }
    Ok(bound)
}

/// How the workers share an address.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Sharing {
    Alone,
    Workers,
}

fn tcp(address: SocketAddr, sharing: Sharing) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run in TIME_WAIT then do not block the port.
    socket.set_reuse_address(true)?;
    prepare(&socket, address, sharing)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

pub(super) fn udp(address: SocketAddr, sharing: Sharing) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    prepare(&socket, address, sharing)?;
    if sharing == Sharing::Workers {
        for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
            if let Err(error) = set(&socket, UDP_BUFFER) {
                tracing::debug!(%address, %error, "enlarge UDP buffer");
            }
        }
    }
    Ok(socket.into())
}

fn prepare(socket: &Socket, address: SocketAddr, sharing: Sharing) -> io::Result<()> {
    if sharing == Sharing::Workers {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        // `[::]` includes IPv4, independent of the system's default. A system without IPv4 refuses
        // the option, and needs none.
        let _ = socket.set_only_v6(false);
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())
}

/// The reason why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another socket has the port.
    #[error(
        "bind {address} ({transport}): the port is in use; stop the process that has it, or give the listener another \
         port"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
        /// TCP or UDP.
        transport: &'static str,
    },
    /// The process lacks the permission to bind the port.
    #[error(
        "bind {address} ({transport}): not permitted; ports below 1024 need CAP_NET_BIND_SERVICE or a lower \
         net.ipv4.ip_unprivileged_port_start"
    )]
    Denied {
        /// The address.
        address: SocketAddr,
        /// TCP or UDP.
        transport: &'static str,
    },
    /// No interface has the address.
    #[error(
        "bind {address} ({transport}): this machine does not have the address; 0.0.0.0 or [::] stands for all \
         addresses"
    )]
    NotHere {
        /// The address.
        address: SocketAddr,
        /// TCP or UDP.
        transport: &'static str,
    },
    /// Another error of the system.
    #[error("bind {address} ({transport})")]
    System {
        /// The address.
        address: SocketAddr,
        /// TCP or UDP.
        transport: &'static str,
        /// The error of the system.
        source: io::Error,
    },
}

impl BindError {
    /// Converts the error of an attempt to bind `address`.
    pub(crate) fn of(address: SocketAddr, transport: &'static str) -> impl Fn(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, transport },
            io::ErrorKind::PermissionDenied => Self::Denied { address, transport },
            io::ErrorKind::AddrNotAvailable => Self::NotHere { address, transport },
            _ => Self::System { address, transport, source },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Listener, ListenerLimits, Protocols};
    use crate::listen::tests::listener;

    #[test]
    fn all_sockets_of_port_zero_share_one_port() {
        let sockets = bind(&listener(), 3, false).unwrap();
        assert_eq!(sockets.len(), 3);
        for (worker, sockets) in sockets.iter().enumerate() {
            assert_eq!(sockets.worker, worker);
            assert_eq!(sockets.tcp[0].local_addr().unwrap(), sockets.address());
            assert_eq!(sockets.udp.as_ref().unwrap().local_addr().unwrap(), sockets.address());
        }
    }

    #[test]
    fn only_what_is_served_is_bound() {
        let h3 = Protocols { h3: true, h2: false, h1: false };
        let sockets = bind(&Listener { protocols: h3, ..listener() }, 1, false).unwrap();
        assert!(sockets[0].tcp.is_empty() && sockets[0].udp.is_some());
        let h1 = Protocols { h3: false, h2: false, h1: true };
        let sockets = bind(&Listener { protocols: h1, ..listener() }, 1, false).unwrap();
        assert!(!sockets[0].tcp.is_empty() && sockets[0].udp.is_none());
    }

    #[test]
    fn a_port_that_others_share_is_in_use() {
        let taken = bind(&listener(), 2, false).unwrap();
        let again = Listener { address: taken[0].address(), ..listener() };
        let error = bind(&again, 2, false).err().unwrap();
        assert!(matches!(error, BindError::InUse { transport: "TCP", .. }), "{error}");

        let udp_only = Sockets { tcp: Vec::new(), ..taken.into_iter().next().unwrap() };
        let error = bind(&again, 1, false).err().unwrap();
        assert!(matches!(error, BindError::InUse { transport: "UDP", .. }), "{error}");
        drop(udp_only);
        let _: ListenerLimits = bind(&again, 1, false).map(|_| again.limits).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_told() {
        let elsewhere = Listener { address: "192.0.2.1:0".parse().unwrap(), ..listener() };
        let error = bind(&elsewhere, 1, false).err().unwrap();
        assert!(matches!(error, BindError::NotHere { .. }), "{error}");
    }
}
