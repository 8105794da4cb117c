//! The signals that the supervisor obeys.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of the process.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
}

/// A signal that asks for work, not for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// SIGHUP: read the configuration again, and open log files again.
    Reload,
    /// SIGUSR2: start the binary on disk in place of this one.
    Upgrade,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
        })
    }

    /// Completes with the name of a signal that ends the process. Cancel safe.
    pub(super) async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Completes with the next signal: one that ends the process, with its name, or a request.
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Request, &'static str> {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Err("SIGTERM"),
            _ = self.interrupt.recv() => Err("SIGINT"),
            _ = self.hangup.recv() => Ok(Request::Reload),
            _ = self.upgrade.recv() => Ok(Request::Upgrade),
        }
    }
}
