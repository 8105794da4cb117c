//! Starts everything, owns every thread, and stops everything: signal, drain, close, join.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{Request, Response};
use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use weir_runtime::with_causes;

use crate::admin;
use crate::config::{Config, ConfigErrors, ListenerId};
use crate::listen::{self, BindError, Edge, Handler, Sockets};
use crate::message::body::Body;
use crate::message::interim::Interim;
use crate::message::peer::Peer;
use crate::plugins::{self, PluginsError};
use crate::proxy::Proxy;
use crate::state::{State, StateError};
use crate::task::Tasks;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::{self, Telemetry};
use crate::upstream::health;

impl Handler for Proxy {
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
    config: Config,
    telemetry: Arc<Telemetry>,
    state: Arc<State>,
    edges: Vec<Arc<Edge>>,
    /// One list for each worker, in the order of the listeners.
    sockets: Vec<Vec<Sockets>>,
}

impl Server {
    /// Builds the state and binds every listener. All faults show before anything is served.
    ///
    /// # Errors
    /// [`ServerError`], with the attempt.
    pub fn bind(config: Config, telemetry: Arc<Telemetry>) -> Result<Self, ServerError> {
        // A proxy needs two descriptors for each request. The soft limit of 1,024 is for programs
        // that use select.
        let _ = rlimit::increase_nofile_limit(u64::MAX);
        let state = Arc::new(state(&config, &telemetry.metrics)?);
        let mut edges = Vec::new();
        let mut sockets: Vec<Vec<Sockets>> = (0..config.workers).map(|_| Vec::new()).collect();
        for (index, listener) in config.listeners.iter().enumerate() {
            let path = format!("listeners[{index}]");
            let bound = listen::bind(listener, config.workers)
                .map_err(|error| misplaced(&config, &format!("{path}.address"), &error))?;
            let address = bound.first().map_or(listener.address, Sockets::address);
            let edge = Edge::new(ListenerId::new(index), listener, address, &telemetry.metrics)
                .map_err(|error| misplaced(&config, &format!("{path}.tls"), &error))?;
            edges.push(edge);
            for (worker, socket) in sockets.iter_mut().zip(bound) {
                worker.push(socket);
            }
            tracing::info!(%address, protocols = %listener.protocols, "listening");
        }
        Ok(Self { config, telemetry, state, edges, sockets })
    }

    /// Returns the addresses of the listeners, as bound.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets.iter().flatten().map(Sockets::address).take(self.edges.len())
    }

    /// Serves until SIGTERM or SIGINT. Calls `started` once every listener is open. Then drains: no
    /// new connections, GOAWAY to the open ones, and up to `shutdown.grace` for requests in flight.
    ///
    /// # Errors
    /// [`ServerError`] if a thread or a signal handler is not available, a worker dies, or a second
    /// signal cuts the drain.
    pub fn run(self, started: impl FnOnce(&Tasks) -> io::Result<()>) -> Result<(), ServerError> {
        let runtime = local_runtime().map_err(failed("start the control thread"))?;
        runtime.block_on(self.control(started))
    }

    async fn control(
        self,
        started: impl FnOnce(&Tasks) -> io::Result<()>,
    ) -> Result<(), ServerError> {
        let (drain, close) = (CancellationToken::new(), CancellationToken::new());
        let tasks = Tasks::new(drain.clone(), close.clone());
        let mut signals = Signals::new().map_err(failed("listen for signals"))?;
        if let Some(metrics) = &self.config.telemetry.metrics {
            let registry = Arc::clone(&self.telemetry.metrics);
            let address = telemetry::serve_metrics(metrics, registry, &tasks)
                .map_err(self.unbound("telemetry.metrics.address", metrics.address))?;
            tracing::info!(%address, path = metrics.path, "serving metrics");
        }
        if let Some(admin) = &self.config.admin {
            let address = admin::serve(admin, &self.state.plugins, &tasks)
                .map_err(self.unbound("admin.address", admin.address))?;
            tracing::info!(%address, "serving the admin API");
        }
        for upstream in &self.state.upstreams {
            health::start(upstream, &tasks);
        }
        plugins::supervise(&self.state.plugins, &tasks);
        let grace = self.config.grace;
        let workers = Workers::start(self, &drain, &close)?;
        started(&tasks).map_err(failed("start the demonstration's origins"))?;
        tracing::info!(workers = workers.threads.len(), "ready");

        let died = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, ?grace, "draining");
                false
            }
            () = workers.any_ended() => true,
        };
        drain.cancel();
        let ended = tokio::select! {
            () = workers.all_ended() => Ok(()),
            () = tokio::time::sleep(grace) => {
                tracing::warn!(?grace, "the grace period is over: closing the remaining connections");
                Ok(())
            }
            _ = signals.next() => Err(ServerError::Interrupted),
        };
        close.cancel();
        if ended.is_ok() {
            workers.join();
        }
        tracing::info!("stopped");
        if died { Err(ServerError::Worker) } else { ended }
    }

    /// Makes an error for an address that cannot be bound, with its place in the configuration.
    fn unbound(
        &self,
        path: &'static str,
        address: SocketAddr,
    ) -> impl Fn(io::Error) -> ServerError {
        move |source| misplaced(&self.config, path, &BindError::of(address, "TCP")(source))
    }
}

/// Loads and compiles every plugin and reads the databases. Opens no socket. An error has the place
/// of its cause in the configuration.
///
/// # Errors
/// [`ServerError::Config`], or [`ServerError::State`] if it is not the configuration's fault.
pub fn state(config: &Config, metrics: &Metrics) -> Result<State, ServerError> {
    let error = match State::build(config, metrics) {
        Ok(state) => return Ok(state),
        Err(StateError::Plugins(error)) => error,
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

/// The worker threads.
struct Workers {
    threads: Vec<JoinHandle<()>>,
    /// Each worker cancels its token at its end, also after a panic.
    ends: Vec<CancellationToken>,
    /// The first worker to end cancels it.
    any_end: CancellationToken,
}

impl Workers {
    fn start(
        server: Server,
        drain: &CancellationToken,
        close: &CancellationToken,
    ) -> Result<Self, ServerError> {
        let (started, starts) = sync_channel(server.sockets.len());
        let (mut threads, mut ends) = (Vec::new(), Vec::new());
        let any_end = CancellationToken::new();
        for (index, sockets) in server.sockets.into_iter().enumerate() {
            let worker = Worker {
                sockets,
                edges: server.edges.clone(),
                state: Arc::clone(&server.state),
                telemetry: Arc::clone(&server.telemetry),
                // Child tokens: every poll of a task locks its own token, and workers share no
                // lock.
                drain: drain.child_token(),
                close: close.child_token(),
            };
            let (end, started) = (CancellationToken::new(), started.clone());
            let guards = (end.clone().drop_guard(), any_end.clone().drop_guard());
            let thread = std::thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    let _guards = guards;
                    worker.run(&started);
                })
                .map_err(failed("start a worker thread"))?;
            threads.push(thread);
            ends.push(end);
        }
        drop(started);
        Self::wait(&starts, threads.len())?;
        Ok(Self { threads, ends, any_end })
    }

    fn wait(starts: &Receiver<io::Result<()>>, workers: usize) -> Result<(), ServerError> {
        for _ in 0..workers {
            let start = starts.recv().map_err(|_| ServerError::Worker)?;
            start.map_err(failed("serve on a worker thread"))?;
        }
        Ok(())
    }

    async fn any_ended(&self) {
        self.any_end.cancelled().await;
    }

    async fn all_ended(&self) {
        for end in &self.ends {
            end.cancelled().await;
        }
    }

    fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker thread panicked");
            }
        }
    }
}

/// The parts of one worker thread.
struct Worker {
    sockets: Vec<Sockets>,
    edges: Vec<Arc<Edge>>,
    state: Arc<State>,
    telemetry: Arc<Telemetry>,
    drain: CancellationToken,
    close: CancellationToken,
}

impl Worker {
    fn run(self, started: &SyncSender<io::Result<()>>) {
        match local_runtime() {
            Ok(runtime) => runtime.block_on(self.serve(started)),
            Err(error) => drop(started.send(Err(error))),
        }
    }

    async fn serve(self, started: &SyncSender<io::Result<()>>) {
        let close = self.close.clone();
        let tasks = Tasks::new(self.drain, self.close);
        let proxy = Rc::new(Proxy::new(self.state, self.telemetry, tasks.clone()));
        for (sockets, edge) in self.sockets.into_iter().zip(self.edges) {
            if let Err(error) = listen::serve(sockets, &edge, &proxy, &tasks) {
                drop(started.send(Err(error)));
                return;
            }
        }
        drop(started.send(Ok(())));
        let sweep = async {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                proxy.sweep();
            }
        };
        tokio::select! {
            () = tasks.draining() => {}
            () = sweep => {}
        }
        tasks.finished().await;
        // The grace period is over for some clients. quinn's own tasks still have to send them
        // CONNECTION_CLOSE.
        if close.is_cancelled() {
            tokio::time::sleep(LAST_WORDS).await;
        }
    }
}

struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { terminate, interrupt })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn local_runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Io { what, source }
}

/// The time that a worker goes on after it has cut its connections off.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// The interval of the search for connections to origins that were idle for too long.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
