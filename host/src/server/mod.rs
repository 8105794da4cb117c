//! Starts everything, owns every thread, and stops everything: signal, drain, close, join.
//!
//! `supervisor` is the control thread's loop over signals, orders and changes. `reload` puts
//! another configuration in place, `listeners` opens and closes listeners, and `worker` is a thread
//! that serves.

mod before;
mod listeners;
mod live;
mod pages;
mod reload;
mod signals;
mod supervisor;
mod systemd;
mod upgrade;
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
use crate::upstream::discover;
pub use before::{Before, BeforeError};
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
    /// The state that the process found at its start cannot be used.
    #[error(transparent)]
    Before(#[from] BeforeError),
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

/// Listeners that are bound and workers that are about to serve.
pub struct Server {
    loader: Loader,
    stamps: Stamps,
    telemetry: Arc<Telemetry>,
    state: Arc<State>,
    listeners: Listeners,
}

impl Server {
    /// Builds the state of `config` and binds every listener. All faults show before anything is
    /// served. The process takes over from `before`. `loader` reads the configuration again when a
    /// file of `stamps` changes.
    ///
    /// # Errors
    /// [`ServerError`], with the attempt.
    pub fn bind(
        mut config: Config,
        (loader, stamps): (Loader, Stamps),
        telemetry: Arc<Telemetry>,
        before: &mut Before,
    ) -> Result<Self, ServerError> {
        // A proxy needs two descriptors for each request. The soft limit of 1,024 is for programs
        // that use select.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        before.runtime.block_on(discover::begin(config.upstreams.iter_mut()));
        let inherited = std::mem::take(&mut before.sockets);
        let mut listeners = Listeners::new(config.workers, before.keys()?, inherited);
        let plan = listeners.plan(&config.listeners);
        let state = state(&Arc::new(config), &plan.ids(), &telemetry.metrics, None)?;
        before.restore(&state)?;
        let opened = listeners.prepare(plan, &state.config, &telemetry.metrics)?;
        listeners.drop_inherited();
        // Nothing serves yet, so no worker must hear of it.
        drop(listeners.complete(opened, &telemetry.metrics));
        Ok(Self { loader, stamps, telemetry, state: Arc::new(state), listeners })
    }

    /// Returns the addresses of the listeners, as bound.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.addresses()
    }

    /// Serves until SIGTERM or SIGINT. Calls `started` once every listener is open. Then drains: no
    /// new connections, GOAWAY to the open ones, and up to `shutdown.grace` for requests in flight.
    ///
    /// # Errors
    /// [`ServerError`] if a thread or a signal handler is not available, a worker dies, or a second
    /// signal cuts the drain.
    pub fn run(
        self,
        before: &mut Before,
        started: impl FnOnce(&Tasks) -> io::Result<()>,
    ) -> Result<(), ServerError> {
        let pages = std::mem::take(&mut before.pages);
        before.runtime.block_on(Supervisor::run(self, pages, before, started))
    }
}

/// Loads and compiles every plugin and reads the databases. Opens no socket. An error has the place
/// of its cause in the configuration.
///
/// # Errors
/// [`ServerError::Config`], or [`ServerError::State`] if it is not the configuration's fault.
pub fn state(
    config: &Arc<Config>,
    listeners: &[ListenerId],
    metrics: &Metrics,
    before: Option<&State>,
) -> Result<State, ServerError> {
    let error = match State::build(Arc::clone(config), listeners, metrics, before) {
        Ok(state) => return Ok(state),
        Err(StateError::Plugins(error)) => error,
        Err(StateError::Tls(name, error)) => {
            let index = config.upstreams.iter().position(|upstream| upstream.name == name);
            let path = format!("upstreams[{}].tls", index.unwrap_or_default());
            return Err(misplaced(config, &path, &error));
        }
        Err(StateError::GeoIp(index, error)) => {
            return Err(misplaced(config, &format!("geoip.databases[{index}]"), &error));
        }
    };
    Err(match &error {
        PluginsError::Source { name, .. } | PluginsError::Load { name, .. } => {
            let index = config.plugins.iter().position(|plugin| plugin.name == *name);
            let path = format!("plugins[{}].source", index.unwrap_or_default());
            misplaced(config, &path, &error)
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
