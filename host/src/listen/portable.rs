//! Stands in for `kernel` where the system cannot do these things; callers fall back.

use std::io;
use std::net::{TcpListener, UdpSocket};

use super::steer::Steering;

/// Fails: workers then hand packets over among themselves.
pub(super) fn attach(_: &UdpSocket, _: &Steering) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails: a connection that is made in the instant before the listener closes is lost.
pub(super) fn refuse_new_handshakes(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
