//! Pieces that every TCP server of the process needs: the listeners of requests, and those of
//! metrics and the admin API. Also the words that the process has with systemd.

pub(crate) mod linger;
pub(crate) mod systemd;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Returns the address as its own family: a dual-stack socket shows IPv4 clients as IPv6.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether an accept failed because of the connection that was to be accepted, so that the next may
/// succeed.
pub(crate) fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

/// Lets one event a second through, for logs of events that may come at any rate.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    /// Milliseconds after `start` of the last event, plus one.
    last: AtomicU64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }
}

impl Throttle {
    const EVERY: Duration = Duration::from_secs(1);

    pub(crate) fn is_due(&self) -> bool {
        let now = self.start.elapsed().as_millis() as u64 + 1;
        let last = self.last.load(Ordering::Relaxed);
        let is_due = last == 0 || now.saturating_sub(last) >= Self::EVERY.as_millis() as u64;
        is_due
            && self.last.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
