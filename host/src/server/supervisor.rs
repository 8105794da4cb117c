//! [`Supervisor`]: the loop of the control thread over signals, orders, changes of files and ends
//! of workers.

use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::before::Before;
use super::listeners::Listeners;
use super::live::View;
use super::pages::{InheritedPages, Pages};
use super::reload::StateTasks;
use super::signals::{Request, Signals};
use super::systemd::Systemd;
use super::upgrade::{HandedOver, UpgradeError};
use super::worker::{Beginning, Workers};
use super::{Server, ServerError, failed};
use crate::admin::Reach;
use crate::admin::live::Live;
use crate::config::source::Watcher;
use crate::config::{Loader, Stamps};
use crate::net::systemd::State;
use crate::state::current::Current;
use crate::state::orders::{Applied, Errand, Order, OrderError, Orders};
use crate::task::Tasks;
use crate::telemetry::Telemetry;
use crate::telemetry::events::Event;

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
    pub(super) pages: Pages,
    /// The files of the configuration, as they were read.
    pub(super) stamps: Stamps,
    watcher: Watcher,
    pub(super) systemd: Systemd,
    orders: mpsc::Receiver<Errand>,
    /// An upgrade that is under way.
    pub(super) upgrade: Option<LocalBoxFuture<'static, Result<HandedOver, UpgradeError>>>,
}

/// A piece of work of the loop.
enum Job {
    Signal(Request),
    Errand(Errand),
    Files(Vec<PathBuf>),
}

/// The reason why the loop ends.
pub(super) enum End {
    /// A signal or an order.
    Asked(&'static str),
    /// A new process has taken over.
    Upgraded(HandedOver),
    /// A worker thread ended.
    WorkerDied,
}

impl Supervisor {
    /// Starts the workers, serves, and drains.
    pub(super) async fn run(
        server: Server,
        inherited: InheritedPages,
        before: &Before,
        started: impl FnOnce(&Tasks) -> io::Result<()>,
    ) -> Result<(), ServerError> {
        let (drain, close) = (CancellationToken::new(), CancellationToken::new());
        let tasks = Tasks::new(drain.clone(), close.clone());
        let mut signals = Signals::new().map_err(failed("listen for signals"))?;
        let Server { loader, stamps, telemetry, state, listeners } = server;
        let current = Arc::new(Current::new(Arc::clone(&state), before.origin()));
        let (orders, received) = Orders::new();
        let view = Rc::new(View::new(Arc::clone(&current), state.config.workers));
        view.set_listeners(listeners.iter());
        let reach = Reach {
            live: Rc::clone(&view) as Rc<dyn Live>,
            orders,
            events: telemetry.events.clone(),
        };
        let pages = Pages::serve(&state.config, &telemetry, reach, inherited, &tasks)?;
        let state_tasks = StateTasks::start(&state, &tasks);
        let beginning = Beginning {
            current: Arc::clone(&current),
            telemetry: Arc::clone(&telemetry),
            listeners: listeners.iter().map(Arc::clone).collect(),
            drain: drain.clone(),
            close: close.clone(),
        };
        if let Some((begun, shared)) = before.commit().await? {
            state.plugins.import_state(&shared);
            listeners.take_over(&begun)?;
        }
        let workers = Workers::start(state.config.workers, &beginning)?;
        drop((beginning, state));
        started(&tasks).map_err(failed("start the demonstration's origins"))?;
        before.serving().await?;
        pages.keep();
        tracing::info!(workers = workers.count(), "ready");
        let systemd = Systemd::start(&tasks);
        systemd.tell(&[State::Ready, State::Status("serving")]);
        let mut supervisor = Self {
            loader,
            telemetry,
            current,
            listeners,
            workers,
            tasks,
            state_tasks,
            view,
            pages,
            stamps,
            watcher: Watcher::new(),
            orders: received,
            systemd,
            upgrade: None,
        };
        supervisor.watch();
        let end = supervisor.supervise(&mut signals).await;
        supervisor.drain(end, &mut signals, &drain, &close).await
    }

    /// Obeys until the process must end.
    async fn supervise(&mut self, signals: &mut Signals) -> End {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        let died = self.workers.any_end();
        loop {
            let has_leaving = self.listeners.retire();
            let job = tokio::select! {
                biased;
                () = died.cancelled() => return End::WorkerDied,
                signal = signals.next() => match signal {
                    Err(name) => return End::Asked(name),
                    Ok(request) => Job::Signal(request),
                },
                outcome = async {
                    match &mut self.upgrade {
                        Some(upgrade) => upgrade.await,
                        None => std::future::pending().await,
                    }
                } => {
                    self.upgrade = None;
                    match self.end_upgrade(outcome) {
                        Some(end) => return end,
                        None => continue,
                    }
                }
                Some(errand) = self.orders.recv() => Job::Errand(errand),
                // A new process knows which versions this one has read, and follows by itself.
                changed = self.watcher.changed(), if self.upgrade.is_none() => Job::Files(changed),
                () = tokio::time::sleep(RETIRE_EVERY), if has_leaving => continue,
                _ = sweep.tick() => {
                    self.listeners.sweep();
                    continue;
                }
            };
            // A reload may compile for minutes. Its future can be dropped at each of its waits.
            tokio::select! {
                biased;
                () = died.cancelled() => return End::WorkerDied,
                name = signals.end() => return End::Asked(name),
                end = self.work(job) => if let Some(end) = end {
                    return end;
                }
            }
        }
    }

    async fn work(&mut self, job: Job) -> Option<End> {
        match job {
            Job::Signal(Request::Reload) => {
                self.telemetry.reopen_logs();
                if self.upgrade.is_some() {
                    tracing::warn!("files that have changed are read after the upgrade");
                } else {
                    // The outcome is in the log and in the status.
                    let _ = self.read_again("signal").await;
                }
            }
            Job::Signal(Request::Upgrade) => {
                if let Err(error) = self.begin_upgrade() {
                    tracing::error!(error = &error as &dyn std::error::Error, "upgrade");
                }
            }
            // The sender of an errand may have gone in each of these cases.
            Job::Errand(Errand { order: Order::Drain, answer }) => {
                let _ = answer.send(Ok(Applied::default()));
                return Some(End::Asked("drain"));
            }
            Job::Errand(Errand { order, answer }) => {
                let _ = answer.send(self.obey(order).await);
            }
            Job::Files(changed) => self.follow_files(&changed).await,
        }
        None
    }

    /// Watches the files of the configuration and of all certificates.
    pub(super) fn watch(&mut self) {
        let (files, state) = (self.listeners.files(), self.current.state());
        self.watcher.set(self.stamps.iter().cloned().chain(files).chain(state.files()));
    }

    async fn follow_files(&mut self, changed: &[PathBuf]) {
        let is_config = |path| self.stamps.iter().any(|(file, _)| file == path);
        if changed.iter().any(is_config) {
            let _ = self.read_again("file").await;
        } else {
            self.listeners.renew(&self.telemetry.metrics);
            self.current.state().renew();
            self.watch();
        }
    }

    async fn obey(&mut self, order: Order) -> Result<Applied, OrderError> {
        let changes = matches!(order, Order::Reload | Order::Put { .. } | Order::Rollback { .. });
        if changes && self.upgrade.is_some() {
            return Err(OrderError::Refused("an upgrade is under way; try again".to_owned()));
        }
        match order {
            Order::Reload => self.read_again("reload").await,
            Order::Put { text, if_match, is_dry_run } => self.put(text, if_match, is_dry_run).await,
            Order::Rollback { revision } => self.roll_back(revision).await,
            Order::Upgrade => self.begin_upgrade().map(|()| Applied::default()),
            Order::Drain => Err(OrderError::Ending),
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
        signals: &mut Signals,
        drain: &CancellationToken,
        close: &CancellationToken,
    ) -> Result<(), ServerError> {
        let config = Arc::clone(&self.current.state().config);
        let mut grace = config.grace;
        let is_dead = matches!(end, End::WorkerDied);
        let mut is_asked = !matches!(end, End::Upgraded(_));
        match end {
            End::Asked(by) => {
                tracing::info!(signal = by, ?grace, "draining");
                self.systemd.tell(&[State::Stopping]);
            }
            End::Upgraded(handed_over) => {
                grace = config.upgrade_grace;
                // Both processes serve for a moment: a client may have begun with this one.
                tokio::select! {
                    () = tokio::time::sleep(BOTH) => {}
                    _ = signals.end() => {
                        is_asked = true;
                        grace = grace.min(config.grace);
                    }
                }
                handed_over.leave();
                tracing::info!(?grace, "draining: a new process serves");
            }
            End::WorkerDied => {}
        }
        self.view.set_draining();
        self.orders.close();
        while let Ok(Errand { answer, .. }) = self.orders.try_recv() {
            let _ = answer.send(Err(OrderError::Ending));
        }
        let data = json!({ "grace_seconds": grace.as_secs_f64() });
        self.telemetry.events.emit(Event { kind: "drain", data });
        drain.cancel();
        self.listeners.close();
        let mut ended = self.all_ended(signals, grace).await;
        if let (Err(ServerError::Interrupted), false) = (&ended, is_asked) {
            // An upgrade has left the process, and this is its first signal.
            let grace = grace.min(config.grace);
            tracing::info!(?grace, "ending: the process was asked to");
            ended = self.all_ended(signals, grace).await;
        }
        close.cancel();
        if ended.is_ok() {
            self.workers.join();
        } else {
            // Clients of HTTP/3 learn of the end only if they are told.
            let _ = tokio::time::timeout(FAREWELL, self.workers.all_ended()).await;
        }
        tracing::info!("stopped");
        if is_dead { Err(ServerError::Worker) } else { ended }
    }

    /// Waits for the end of all connections, for at most `grace`. A signal cuts the wait.
    async fn all_ended(
        &mut self,
        signals: &mut Signals,
        grace: Duration,
    ) -> Result<(), ServerError> {
        tokio::select! {
            () = self.workers.all_ended() => Ok(()),
            () = tokio::time::sleep(grace) => {
                tracing::warn!(?grace, "the grace period is over: closing the remaining connections");
                Ok(())
            }
            _ = signals.end() => Err(ServerError::Interrupted),
        }
    }
}

/// The time in which an old and a new process both serve, so that a client that has got a Retry
/// from the old one completes there.
const BOTH: Duration = Duration::from_secs(3);

/// The longest time in which workers close their connections when the process must end at once.
const FAREWELL: Duration = Duration::from_millis(250);

/// The interval of the search for old processes that have ended.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The interval of the search for listeners whose last connections have ended.
const RETIRE_EVERY: Duration = Duration::from_millis(250);
