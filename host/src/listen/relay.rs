//! The relay: the way of QUIC packets from the process that reads the sockets back to an older one
//! that has their connections.
//!
//! It is a pair of Unix datagram sockets. The older process makes it, reads the inlet, and sends
//! the outlet to the newer one with the other descriptors. The kernel's buffer bounds it. A full
//! relay drops packets, as a full UDP buffer does, and QUIC sends them again.
//!
//! A message has a header of fixed size and one or more datagrams of one sender: all have one size,
//! except for the last, which may be shorter. The datagrams are those of one receive with GRO. The
//! header does not name the worker, because the older process computes it from the datagram.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use quinn_udp::{EcnCodepoint, RecvMeta};
use socket2::SockRef;

/// Version of the messages.
const VERSION: u8 = 1;

/// Length of a header, in bytes.
const HEADER: usize = 48;

/// Maximum length of the datagrams of a message: the kernel returns no more at a time.
const MOST: usize = 64 << 10;

/// Length of a buffer for every message. The one byte more shows a message that is too long.
pub(super) const BUFFER: usize = HEADER + MOST + 1;

/// Bytes that the kernel buffers: as much as for a UDP socket. The system's `net.core.wmem_max`
/// caps the number.
const CAPACITY: usize = 4 << 20;

/// Bits of the flags of a header: the sender has an IPv6 address, the local address is known, it is
/// an IPv6 address.
const REMOTE_V6: u8 = 1;
const HAS_LOCAL: u8 = 2;
const LOCAL_V6: u8 = 4;

/// The end of a relay at the newer process.
#[derive(Debug)]
pub(super) struct Outlet(UnixDatagram);

/// The outcome of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Sent {
    Whole,
    /// The older process is behind. The packets are lost.
    Full,
    /// The older process has ended.
    Ended,
}

/// Makes a relay. The second value is the inlet, of the older process.
pub(super) fn pair() -> io::Result<(Outlet, UnixDatagram)> {
    let (outlet, inlet) = UnixDatagram::pair()?;
    for socket in [&outlet, &inlet] {
        socket.set_nonblocking(true)?;
    }
    if let Err(error) = SockRef::from(&outlet).set_send_buffer_size(CAPACITY) {
        tracing::debug!(%error, "enlarge the buffer of the relay");
    }
    Ok((Outlet(outlet), inlet))
}

impl Outlet {
    /// Takes over the end of a relay from an older process.
    ///
    /// # Errors
    /// The descriptor is no Unix datagram socket with a peer.
    pub(super) fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        let socket = SockRef::from(&descriptor);
        let is_unix = socket.domain()? == socket2::Domain::UNIX;
        if !is_unix || socket.r#type()? != socket2::Type::DGRAM {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "no relay"));
        }
        // The flag is shared with the process that has made the relay, and is set already.
        socket.set_nonblocking(true)?;
        Ok(Self(descriptor.into()))
    }

    /// Returns another descriptor of this end, for the next process.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.0.try_clone()?.into())
    }

    /// Sends datagrams of one receive. Never waits.
    pub(super) fn send(&self, meta: &RecvMeta, datagrams: &[u8]) -> Sent {
        self.write(&[IoSlice::new(&encode(meta)), IoSlice::new(datagrams)])
    }

    /// Finds out whether the older process lives. It ignores an empty message.
    pub(super) fn probe(&self) -> Sent {
        self.write(&[])
    }

    fn write(&self, parts: &[IoSlice<'_>]) -> Sent {
        match SockRef::from(&self.0).send_vectored(parts) {
            Ok(_) => Sent::Whole,
            Err(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::NotConnected
                | io::ErrorKind::BrokenPipe => Sent::Ended,
                _ => Sent::Full,
            },
        }
    }
}

fn encode(meta: &RecvMeta) -> [u8; HEADER] {
    let (mut flags, mut scope, mut flow) = (0, 0, 0);
    if let SocketAddr::V6(remote) = meta.addr {
        flags |= REMOTE_V6;
        (scope, flow) = (remote.scope_id(), remote.flowinfo());
    }
    if let Some(local) = meta.dst_ip {
        flags |= HAS_LOCAL | if local.is_ipv6() { LOCAL_V6 } else { 0 };
    }
    let ecn = meta.ecn.map_or(0, |ecn| ecn as u8);
    let local = meta.dst_ip.unwrap_or(Ipv6Addr::UNSPECIFIED.into());
    let mut header = [0; HEADER];
    let fields: [&[u8]; 7] = [
        &[VERSION, flags, ecn, 0],
        // No datagram is longer than 65,535 bytes.
        &u16::try_from(meta.stride).unwrap_or(u16::MAX).to_be_bytes(),
        &meta.addr.port().to_be_bytes(),
        &wide(meta.addr.ip()),
        &wide(local),
        &scope.to_be_bytes(),
        &flow.to_be_bytes(),
    ];
    for (byte, value) in header.iter_mut().zip(fields.concat()) {
        *byte = value;
    }
    header
}

fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

/// Reads a message. Returns `None` if it is empty or damaged.
pub(super) fn decode(message: &[u8]) -> Option<(RecvMeta, &[u8])> {
    let (header, datagrams) = message.split_first_chunk::<HEADER>()?;
    let &[version, flags, ecn, _, s0, s1, p0, p1, ref rest @ ..] = header;
    let (remote, rest) = rest.split_first_chunk::<16>()?;
    let (local, rest) = rest.split_first_chunk::<16>()?;
    let (scope, flow) = (rest.first_chunk()?, rest.last_chunk()?);
    let stride = usize::from(u16::from_be_bytes([s0, s1]));
    if version != VERSION || datagrams.is_empty() || datagrams.len() > MOST || stride == 0 {
        return None;
    }
    let (port, address) = (u16::from_be_bytes([p0, p1]), Ipv6Addr::from(*remote));
    let addr = if flags & REMOTE_V6 != 0 {
        let (scope, flow) = (u32::from_be_bytes(*scope), u32::from_be_bytes(*flow));
        SocketAddrV6::new(address, port, flow, scope).into()
    } else {
        (address.to_ipv4_mapped()?, port).into()
    };
    let mut meta = RecvMeta::default();
    (meta.addr, meta.len, meta.stride) = (addr, datagrams.len(), stride);
    meta.ecn = EcnCodepoint::from_bits(ecn);
    if flags & HAS_LOCAL != 0 {
        let local = Ipv6Addr::from(*local);
        let is_v6 = flags & LOCAL_V6 != 0;
        meta.dst_ip = Some(if is_v6 { local.into() } else { local.to_ipv4_mapped()?.into() });
    }
    Some((meta, datagrams))
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use proptest::prelude::*;

    use super::*;

    fn meta(addr: &str, dst_ip: Option<&str>, ecn: Option<EcnCodepoint>) -> RecvMeta {
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (addr.parse().unwrap(), 90, 40);
        (meta.dst_ip, meta.ecn) = (dst_ip.map(|ip| ip.parse().unwrap()), ecn);
        meta
    }

    #[test]
    fn packets_arrive_with_all_that_the_kernel_told() {
        let (outlet, inlet) = pair().unwrap();
        let scoped = SocketAddrV6::new("fe80::1".parse().unwrap(), 443, 9, 3);
        let mut metas = vec![
            meta("192.0.2.7:65535", Some("127.0.0.1"), Some(EcnCodepoint::Ce)),
            meta("192.0.2.7:1", None, None),
            meta("[::ffff:192.0.2.7]:1", Some("::ffff:127.0.0.1"), Some(EcnCodepoint::Ect0)),
            meta("[2001:db8::1]:4433", Some("2001:db8::2"), Some(EcnCodepoint::Ect1)),
        ];
        let scoped = RecvMeta { addr: scoped.into(), ..metas[3] };
        metas.push(scoped);
        let datagrams: Vec<u8> = (0..90).collect();
        for meta in metas {
            assert_eq!(outlet.send(&meta, &datagrams), Sent::Whole);
            let mut buffer = [0; BUFFER];
            let length = inlet.recv(&mut buffer).unwrap();
            let (received, bytes) = decode(&buffer[..length]).unwrap();
            assert_eq!(format!("{received:?}"), format!("{meta:?}"));
            assert_eq!(bytes, datagrams);
        }
    }

    #[test]
    fn a_full_relay_drops_and_does_not_wait() {
        let (outlet, inlet) = pair().unwrap();
        let meta = meta("192.0.2.7:1", None, None);
        let mut sent = 0;
        while outlet.send(&meta, &[0; 1200]) == Sent::Whole {
            sent += 1;
            assert!(sent < 100_000, "the relay has no bound");
        }
        assert!(sent > 50, "the relay takes only {sent} packets");
        assert_eq!(outlet.send(&meta, &[0; 1200]), Sent::Full);
        drop(inlet);
        assert_eq!(outlet.send(&meta, &[0; 1200]), Sent::Ended);
    }

    #[test]
    fn only_a_relay_is_adopted() {
        let (outlet, _inlet) = pair().unwrap();
        assert!(Outlet::adopt(outlet.duplicate().unwrap()).is_ok());
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(Outlet::adopt(udp.into()).is_err());
        let (stream, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(Outlet::adopt(stream.into()).is_err());
    }

    proptest! {
        #[test]
        fn a_damaged_message_is_ignored(message in prop::collection::vec(any::<u8>(), 0..120)) {
            if let Some((meta, datagrams)) = decode(&message) {
                prop_assert!(meta.stride > 0 && !datagrams.is_empty());
            }
        }
    }
}
