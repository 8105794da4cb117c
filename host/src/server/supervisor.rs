//! [`Supervisor`]: the loop of the control thread over signals, orders, changes of files and ends of
//! workers.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::listeners::Listeners;
use super::reload::StateTasks;
use super::signals::{Request, Signals};
use super::worker::{Beginning, Workers};
use super::{Parts, ServerError, failed, misplaced};
use crate::config::source::Watcher;
use crate::config::{Loader, Stamps};
use crate::listen::BindError;
use crate::state::current::Current;
use crate::state::orders::{Applied, Errand, Order, OrderError, Orders};
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::{admin, telemetry};

/// The owner of all that lives as long as the process.
pub(super) struct Supervisor {
    pub(super) loader: Loader,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) current: Arc<Current>,
    pub(super) listeners: Listeners,
    pub(super) workers: Workers,
    pub(super) tasks: Tasks,
    /// The tasks of the present configuration.
    pub(super) state_tasks: StateTasks,
    /// The files of the configuration, as they were read.
    pub(super) stamps: Stamps,
    watcher: Watcher,
    orders: mpsc::Receiver<Errand>,
    signals: Signals,
}

/// The reason why the loop ends.
enum End {
    /// A signal or an order.
    Asked(&'static str),
    /// A worker thread ended.
    WorkerDied,
}

impl Supervisor {
    /// Starts the workers, serves, and drains.
    pub(super) async fn run(
        parts: Parts,
        started: impl FnOnce(&Tasks) -> io::Result<()>,
    ) -> Result<(), ServerError> {
        let (drain, close) = (CancellationToken::new(), CancellationToken::new());
        let tasks = Tasks::new(drain.clone(), close.clone());
        let signals = Signals::new().map_err(failed("listen for signals"))?;
        let Parts { loader, stamps, telemetry, state, listeners } = parts;
        let current = Arc::new(Current::new(Arc::clone(&state), "start"));
        let (_orders, received) = Orders::new();
        serve_pages(&state.config, &telemetry, &current, &tasks)?;
        let state_tasks = StateTasks::start(&state, &tasks);
        let beginning = Beginning {
            current: Arc::clone(&current),
            telemetry: Arc::clone(&telemetry),
            listeners: listeners.iter().map(Arc::clone).collect(),
            drain: drain.clone(),
            close: close.clone(),
        };
        let workers = Workers::start(state.config.workers, &beginning)?;
        drop((beginning, state));
        started(&tasks).map_err(failed("start the demonstration's origins"))?;
        tracing::info!(workers = workers.count(), "ready");
        let mut supervisor = Self {
            loader,
            telemetry,
            current,
            listeners,
            workers,
            tasks,
            state_tasks,
            stamps,
            watcher: Watcher::new(),
            orders: received,
            signals,
        };
        supervisor.watch();
        let end = supervisor.supervise().await;
        supervisor.drain(end, &drain, &close).await
    }

    /// Obeys until the process must end.
    async fn supervise(&mut self) -> End {
        loop {
            let has_leaving = self.listeners.retire();
            tokio::select! {
                biased;
                () = self.workers.any_ended() => return End::WorkerDied,
                signal = self.signals.next() => match signal {
                    Err(name) => return End::Asked(name),
                    Ok(Request::Reload) => {
                        self.telemetry.reopen_logs();
                        drop(self.read_again("signal").await);
                    }
                    Ok(Request::Upgrade) => {}
                },
                Some(Errand { order, answer }) = self.orders.recv() => {
                    if let Order::Drain = order {
                        let _ = answer.send(Ok(Applied::default()));
                        return End::Asked("drain");
                    }
                    let result = self.obey(order).await;
                    // The sender may have gone. The order was carried out nevertheless.
                    let _ = answer.send(result);
                }
                changed = self.watcher.changed() => self.follow_files(&changed).await,
                () = tokio::time::sleep(RETIRE_EVERY), if has_leaving => {}
            }
        }
    }

    /// Watches the files of the configuration and of the certificates.
    pub(super) fn watch(&mut self) {
        let files = self.listeners.files();
        self.watcher.set(self.stamps.iter().cloned().chain(files));
    }

    async fn follow_files(&mut self, changed: &[PathBuf]) {
        let is_config = |path| self.stamps.iter().any(|(file, _)| file == path);
        if changed.iter().any(is_config) {
            let _ = self.read_again("file").await;
        } else {
            self.listeners.renew(&self.telemetry.metrics);
            self.watch();
        }
    }

    async fn obey(&mut self, order: Order) -> Result<Applied, OrderError> {
        match order {
            Order::Reload => self.read_again("reload").await,
            _ => Err(OrderError::Refused("not yet".to_owned())),
        }
    }

    /// Reads the configuration's files again.
    async fn read_again(&mut self, origin: &'static str) -> Result<Applied, OrderError> {
        if self.loader.path.is_none() {
            let reason = "Weir runs without a configuration file: there is nothing to read again";
            return Err(OrderError::Refused(reason.to_owned()));
        }
        let loader = self.loader.clone();
        self.reload(Box::new(move || loader.load()), origin).await
    }

    /// Finishes the requests in flight, within the grace period.
    async fn drain(
        mut self,
        end: End,
        drain: &CancellationToken,
        close: &CancellationToken,
    ) -> Result<(), ServerError> {
        let grace = self.current.state().config.grace;
        if let End::Asked(by) = end {
            tracing::info!(signal = by, ?grace, "draining");
        }
        drain.cancel();
        self.listeners.close();
        let ended = tokio::select! {
            () = self.workers.all_ended() => Ok(()),
            () = tokio::time::sleep(grace) => {
                tracing::warn!(?grace, "the grace period is over: closing the remaining connections");
                Ok(())
            }
            _ = self.signals.end() => Err(ServerError::Interrupted),
        };
        close.cancel();
        if ended.is_ok() {
            self.workers.join();
        }
        tracing::info!("stopped");
        match end {
            End::WorkerDied => Err(ServerError::Worker),
            End::Asked(_) => ended,
        }
    }
}

/// Serves the metrics and the admin API.
fn serve_pages(
    config: &crate::config::Config,
    telemetry: &Arc<Telemetry>,
    current: &Arc<Current>,
    tasks: &Tasks,
) -> Result<(), ServerError> {
    let unbound = |path: &'static str, address: SocketAddr| {
        move |source| misplaced(config, path, &BindError::of(address, "TCP")(source))
    };
    if let Some(metrics) = &config.telemetry.metrics {
        let registry = Arc::clone(&telemetry.metrics);
        let address = telemetry::serve_metrics(metrics, registry, tasks)
            .map_err(unbound("telemetry.metrics.address", metrics.address))?;
        tracing::info!(%address, path = metrics.path, "serving metrics");
    }
    if let Some(admin) = &config.admin {
        let address =
            admin::serve(admin, current, tasks).map_err(unbound("admin.address", admin.address))?;
        tracing::info!(%address, "serving the admin API");
    }
    Ok(())
}

/// The interval of the search for listeners whose last connections have ended.
const RETIRE_EVERY: Duration = Duration::from_millis(250);
