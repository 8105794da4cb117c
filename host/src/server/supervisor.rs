//! [`Supervisor`]: the loop of the control thread over signals, orders, changes of files and ends of
//! workers.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::listeners::Listeners;
use super::live::View;
use super::reload::StateTasks;
use super::signals::{Request, Signals};
use super::worker::{Beginning, Workers};
use super::{Parts, ServerError, failed, misplaced};
use crate::admin::Reach;
use crate::admin::live::Live;
use crate::config::source::Watcher;
use crate::config::{Config, ControlAddress, Loader, Stamps};
use crate::listen::BindError;
use crate::state::current::Current;
use crate::state::orders::{Applied, Errand, Order, OrderError, Orders};
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::telemetry::events::Event;
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
    /// The process as the admin API sees it.
    pub(super) view: Rc<View>,
    pub(super) admin: Option<admin::Serving>,
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
        let (orders, received) = Orders::new();
        let view = Rc::new(View::new(Arc::clone(&current), state.config.workers));
        view.set_listeners(listeners.iter());
        serve_metrics(&state.config, &telemetry, &tasks)?;
        let reach = Reach {
            live: Rc::clone(&view) as Rc<dyn Live>,
            orders,
            events: telemetry.events.clone(),
        };
        let admin = serve_admin(&state.config, reach, &tasks)?;
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
            view,
            admin,
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
            Order::Put { text, if_match, is_dry_run } => self.put(text, if_match, is_dry_run).await,
            Order::Rollback { revision } => self.roll_back(revision).await,
            Order::Drain | Order::Upgrade => {
                Err(OrderError::Refused("the order has another way".to_owned()))
            }
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
        self.view.set_draining();
        let data = json!({ "grace_seconds": grace.as_secs_f64() });
        self.telemetry.events.emit(Event { kind: "drain", data });
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

/// Serves the metrics, if they are wanted.
fn serve_metrics(
    config: &Config,
    telemetry: &Arc<Telemetry>,
    tasks: &Tasks,
) -> Result<(), ServerError> {
    let Some(metrics) = &config.telemetry.metrics else { return Ok(()) };
    let registry = Arc::clone(&telemetry.metrics);
    let address = telemetry::serve_metrics(metrics, registry, tasks).map_err(|source| {
        let error = BindError::of(metrics.address, "TCP")(source);
        misplaced(config, "telemetry.metrics.address", &error)
    })?;
    tracing::info!(%address, path = metrics.path, "serving metrics");
    Ok(())
}

/// Serves the admin API, if it is wanted.
fn serve_admin(
    config: &Config,
    reach: Reach,
    tasks: &Tasks,
) -> Result<Option<admin::Serving>, ServerError> {
    let Some(admin) = &config.admin else { return Ok(None) };
    let serving = admin::serve(admin, reach, tasks).map_err(|source| match &admin.address {
        ControlAddress::Tcp(address) => {
            let error = BindError::of(*address, "TCP")(source);
            misplaced(config, "admin.address", &error)
        }
        ControlAddress::Unix(_) => misplaced(config, "admin.address", &source),
    })?;
    tracing::info!(address = %serving.address, "serving the admin API");
    Ok(Some(serving))
}

/// The interval of the search for listeners whose last connections have ended.
const RETIRE_EVERY: Duration = Duration::from_millis(250);
