//! [`Pages`]: the metrics and the admin API on the control thread, and their sockets for a process
//! that takes over.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use socket2::SockRef;
use tokio_util::sync::CancellationToken;

use super::{ServerError, misplaced};
use crate::admin::{self, Reach};
use crate::config::{Admin, Config, ControlAddress, MetricsEndpoint};
use crate::control::{Bound, SocketFile};
use crate::listen::BindError;
use crate::task::Tasks;
use crate::telemetry::{self, Telemetry};

/// The metrics and the admin API.
pub(super) struct Pages {
    admin: Option<admin::Serving>,
    sockets: Vec<(&'static str, OwnedFd)>,
    /// The files of Unix sockets.
    files: Vec<Arc<SocketFile>>,
    /// Ends the acceptance of connections.
    stop: CancellationToken,
}

/// The sockets of the process before, by their names.
pub(super) type InheritedPages = Vec<(String, OwnedFd)>;

impl Pages {
    /// Serves the metrics and the admin API, as far as they are wanted.
    pub(super) fn serve(
        config: &Config,
        telemetry: &Arc<Telemetry>,
        reach: Reach,
        mut inherited: InheritedPages,
        tasks: &Tasks,
    ) -> Result<Self, ServerError> {
        let (sockets, files) = (Vec::new(), Vec::new());
        let mut pages = Self { admin: None, sockets, files, stop: CancellationToken::new() };
        let mut before = |name: &str| {
            let at = inherited.iter().position(|(known, _)| known == name);
            at.map(|at| inherited.swap_remove(at).1)
        };
        if let Some(metrics) = &config.telemetry.metrics {
            let bound = pages.metrics(metrics, before(METRICS), telemetry, tasks);
            bound.map_err(|error| unbound(config, "telemetry.metrics", metrics.address, error))?;
        }
        if let Some(admin) = &config.admin {
            let serving = pages.admin(admin, before(ADMIN), reach, tasks);
            pages.admin = Some(serving.map_err(|error| match &admin.address {
                ControlAddress::Tcp(address) => unbound(config, "admin", *address, error),
                ControlAddress::Unix(_) => misplaced(config, "admin.address", &error),
            })?);
        }
        Ok(pages)
    }

    fn metrics(
        &mut self,
        config: &MetricsEndpoint,
        before: Option<OwnedFd>,
        telemetry: &Arc<Telemetry>,
        tasks: &Tasks,
    ) -> io::Result<()> {
        let bound = self.bind(METRICS, &ControlAddress::Tcp(config.address), before)?;
        let address = bound.address().clone();
        telemetry::serve_metrics(bound, config, Arc::clone(&telemetry.metrics), tasks)?;
        tracing::info!(%address, path = config.path, "serving metrics");
        Ok(())
    }

    fn admin(
        &mut self,
        config: &Admin,
        before: Option<OwnedFd>,
        reach: Reach,
        tasks: &Tasks,
    ) -> io::Result<admin::Serving> {
        let bound = self.bind(ADMIN, &config.address, before)?;
        let serving = admin::serve_on(bound, config, reach, tasks)?;
        tracing::info!(address = %serving.address, "serving the admin API");
        Ok(serving)
    }

    /// Binds an address, or takes the socket of the process before if it has that address. Another
    /// address comes from a reload that left the change to the next start.
    fn bind(
        &mut self,
        name: &'static str,
        address: &ControlAddress,
        before: Option<OwnedFd>,
    ) -> io::Result<Bound> {
        let bound = match (before.filter(|socket| has(socket, address)), address) {
            (Some(socket), ControlAddress::Tcp(_)) => Bound::tcp(socket.into())?,
            (Some(socket), ControlAddress::Unix(path)) => {
                Bound::unix(UnixListener::from(socket), path)?
            }
            (None, address) => Bound::new(address)?,
        };
        self.sockets.push((name, bound.as_fd().try_clone_to_owned()?));
        self.files.extend(bound.file());
        Ok(bound.until(self.stop.clone()))
    }

    /// Follows the tokens of another configuration.
    pub(super) fn follow(&self, config: &Config) {
        if let Some(serving) = &self.admin {
            // Without `admin`, no token is right any more. The socket closes with the process.
            serving.set_tokens(config.admin.as_ref().map_or(&[], |admin| &admin.tokens));
        }
    }

    /// Returns the sockets for a process that takes over.
    pub(super) fn offer(&self) -> io::Result<Vec<(&'static str, OwnedFd)>> {
        let offer = |(name, socket): &(&'static str, OwnedFd)| Ok((*name, socket.try_clone()?));
        self.sockets.iter().map(offer).collect()
    }

    /// Leaves the sockets to the process that has taken over.
    pub(super) fn hand_over(&self) {
        self.stop.cancel();
        self.files.iter().for_each(|file| file.give_away());
    }

    /// Owns the sockets: the process before has left them to this one.
    pub(super) fn keep(&self) {
        self.files.iter().for_each(|file| file.keep());
    }
}

/// Whether a socket of the process before has an address of the configuration, whose port may be
/// any.
fn has(socket: &OwnedFd, address: &ControlAddress) -> bool {
    let Ok(bound) = SockRef::from(socket).local_addr() else { return false };
    match address {
        ControlAddress::Tcp(wanted) => bound.as_socket().is_some_and(|bound| {
            bound.ip() == wanted.ip() && (wanted.port() == 0 || bound.port() == wanted.port())
        }),
        ControlAddress::Unix(path) => bound.as_pathname() == Some(path),
    }
}

fn unbound(
    config: &Config,
    path: &'static str,
    address: SocketAddr,
    error: io::Error,
) -> ServerError {
    misplaced(config, &format!("{path}.address"), &BindError::of(address, "TCP")(error))
}

const METRICS: &str = "metrics";
const ADMIN: &str = "admin";
