//! Replaces `kernel` on systems without these functions. All functions fail, and callers fall back.

use std::io;
use std::net::{TcpListener, UdpSocket};

use super::steer::Steering;

/// Fails. Workers then hand packets over among themselves.
pub(super) fn attach(_: &UdpSocket, _: &Steering, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Fails. A connection that is made in the instant before the listener closes is then lost.
pub(super) fn refuse_new_handshakes(_: &TcpListener) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
