//! Starts everything, owns every thread, and stops everything: signal, drain, close, join.
//!
//! `supervisor` is the control thread's loop over signals, orders and changes. `reload` puts another
//! configuration in place, `listeners` opens and closes listeners, and `worker` is a thread that
//! serves.

mod listeners;
mod live;
mod reload;
mod signals;
mod supervisor;
mod worker;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Request, Response};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use weir_runtime::with_causes;

use crate::config::{Config, ConfigErrors, ListenerId, Loader, Stamps};
use crate::listen::Handler;
use crate::message::body::Body;
use crate::message::interim::Interim;
use crate::message::peer::Peer;
use crate::plugins::PluginsError;
use crate::proxy::Follower;
use crate::state::{State, StateError};
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Metrics;
use crate::tls::{Tickets, TicketsError};
use crate::upstream::discover;
use listeners::Listeners;
use supervisor::Supervisor;

impl Handler for Follower {
    fn serve(
        &self,
        request: Request<Body>,
        peer: Peer,
        interim: Interim,
    ) -> impl Future<Output = Response<Body>> {
        Self::serve(self, request, peer, interim)
    }
}

/// The reason why serving could not begin, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The configuration names an unusable address, component or certificate.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// The plugin runtime failed.
    #[error(transparent)]
    State(PluginsError),
    /// The system has no randomness for the keys of session tickets.
    #[error(transparent)]
    Tickets(#[from] TicketsError),
    /// Threads, signals or sockets failed.
    #[error("{what}")]
    Io {
        /// The attempt.
        what: &'static str,
        /// The error of the system.
        source: io::Error,
    },
    /// A worker thread ended before the drain.
    #[error("a worker thread ended unexpectedly")]
    Worker,
    /// A second signal came before the drain was over.
    #[error("ended by a second signal before every request was answered")]
    Interrupted,
}

/// The parts of a server that its supervisor takes over.
struct Parts {
    loader: Loader,
    stamps: Stamps,
    telemetry: Arc<Telemetry>,
    state: Arc<State>,
    listeners: Listeners,
}

/// Listeners that are bound and workers that are about to serve.
pub struct Server {
    parts: Parts,
    /// The runtime of the control thread.
    runtime: LocalRuntime,
}

impl Server {
    /// Builds the state of `config` and binds every listener. All faults show before anything is
    /// served. `loader` reads the configuration again when a file of `stamps` changes.
    ///
    /// # Errors
    /// [`ServerError`], with the attempt.
    pub fn bind(
        mut config: Config,
        (loader, stamps): (Loader, Stamps),
        telemetry: Arc<Telemetry>,
    ) -> Result<Self, ServerError> {
        // A proxy needs two descriptors for each request. The soft limit of 1,024 is for programs
        // that use select.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let runtime = local_runtime().map_err(failed("start the control thread"))?;
        runtime.block_on(discover::begin(config.upstreams.iter_mut()));
        let mut listeners = Listeners::new(config.workers, Tickets::new()?);
        let plan = listeners.plan(&config.listeners);
        let state = state(Arc::new(config), &plan.ids(), &telemetry.metrics, None)?;
        let opened = listeners.prepare(plan, &state.config, &telemetry.metrics)?;
        // Nothing serves yet, so no worker must hear of it.
        drop(listeners.complete(opened, &telemetry.metrics));
        let parts = Parts { loader, stamps, telemetry, state: Arc::new(state), listeners };
        Ok(Self { parts, runtime })
    }

    /// Returns the addresses of the listeners, as bound.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.parts.listeners.addresses()
    }

    /// Serves until SIGTERM or SIGINT. Calls `started` once every listener is open. Then drains: no
    /// new connections, GOAWAY to the open ones, and up to `shutdown.grace` for requests in flight.
    ///
    /// # Errors
    /// [`ServerError`] if a thread or a signal handler is not available, a worker dies, or a second
    /// signal cuts the drain.
    pub fn run(self, started: impl FnOnce(&Tasks) -> io::Result<()>) -> Result<(), ServerError> {
        self.runtime.block_on(Supervisor::run(self.parts, started))
    }
}

/// Loads and compiles every plugin and reads the databases. Opens no socket. An error has the place
/// of its cause in the configuration.
///
/// # Errors
/// [`ServerError::Config`], or [`ServerError::State`] if it is not the configuration's fault.
pub fn state(
    config: Arc<Config>,
    listeners: &[ListenerId],
    metrics: &Metrics,
    before: Option<&State>,
) -> Result<State, ServerError> {
    let error = match State::build(Arc::clone(&config), listeners, metrics, before) {
        Ok(state) => return Ok(state),
        Err(StateError::Plugins(error)) => error,
        Err(StateError::GeoIp(index, error)) => {
            return Err(misplaced(&config, &format!("geoip.databases[{index}]"), &error));
        }
    };
    Err(match &error {
        PluginsError::Source { name, .. } | PluginsError::Load { name, .. } => {
            let index = config.plugins.iter().position(|plugin| plugin.name == *name);
            let path = format!("plugins[{}].source", index.unwrap_or_default());
            misplaced(&config, &path, &error)
        }
        PluginsError::Config(errors) => ServerError::Config(errors.clone()),
        PluginsError::Engine(_) => ServerError::State(error),
    })
}

/// Returns an error and its causes, with the place of the cause in the configuration.
fn misplaced(
    config: &Config,
    path: &str,
    error: &(dyn std::error::Error + 'static),
) -> ServerError {
    let message = format!("{path}: {}", with_causes(error));
    ServerError::Config(config.places.problem(path, message).into())
}

fn local_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Io { what, source }
}
