//! An upgrade, from the side of the process that is replaced: it starts the binary on disk and
//! hands its sockets over. Until the new process serves, everything can be taken back.

use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;

use super::supervisor::{End, Supervisor};
use crate::admin::model::UpgradeState;
use crate::handoff::{
    Channel, ChannelError, Commit, Hidden, ListenerPackage, Message, Package, SpawnError,
    SteeringPackage, Successor,
};
use crate::listen::{Feed, Kept, Listening, OfferError};
use crate::net::systemd::State as Report;
use crate::state::State;
use crate::state::orders::OrderError;
use crate::task::Tasks;
use crate::telemetry::events::Event;

/// All that an upgrade needs of the process.
pub(super) struct Upgrade {
    pub(super) state: Arc<State>,
    pub(super) package: Package,
    pub(super) listeners: Vec<Arc<Listening>>,
    /// The sockets of the metrics and the admin API, by their names.
    pub(super) pages: Vec<(&'static str, OwnedFd)>,
    pub(super) tasks: Tasks,
}

/// The sockets that a new process serves, and that process.
pub(super) struct HandedOver {
    pub(super) pid: u32,
    listeners: Vec<Arc<Listening>>,
    /// Keeps the sockets of TCP open until the new process has them all.
    _kept: Vec<Kept>,
}

impl HandedOver {
    /// Leaves the sockets to the new process. The workers can then drain.
    pub(super) fn leave(self) {
        self.listeners.iter().for_each(|listening| listening.share());
    }
}

/// The reason why an upgrade failed. This process serves as before.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// The new process did not start, or did not connect.
    #[error(transparent)]
    Start(#[from] SpawnError),
    /// The sockets cannot be offered.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// No file descriptors are left.
    #[error("duplicate the sockets")]
    Io(#[from] io::Error),
    /// The new process broke the conversation, or tells a failure.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The new process ended.
    #[error("the new process has ended ({0}); its messages are in the log")]
    Ended(ExitStatus),
    /// A worker did not stop reading in time.
    #[error("a worker did not stop reading its socket in time")]
    Stuck,
}

impl Upgrade {
    /// Starts the binary on disk and hands the sockets over. On failure the new process is ended,
    /// and nothing has changed.
    pub(super) async fn run(self) -> Result<HandedOver, UpgradeError> {
        let arguments = std::env::args_os().skip(1);
        let mut successor = Successor::start(None, arguments)?;
        let kept = match self.kept() {
            Ok(kept) => kept,
            Err(error) => {
                successor.kill();
                return Err(error.into());
            }
        };
        let (pid, listeners) = (successor.id(), self.listeners.clone());
        match self.hand(&mut successor, &kept).await {
            Ok(()) => Ok(HandedOver { pid, listeners, _kept: kept }),
            Err(error) => {
                successor.kill();
                kept.iter().for_each(Kept::resume_reading);
                Err(error)
            }
        }
    }

    fn kept(&self) -> io::Result<Vec<Kept>> {
        self.listeners.iter().filter_map(|listening| listening.kept().transpose()).collect()
    }

    async fn hand(self, successor: &mut Successor, kept: &[Kept]) -> Result<(), UpgradeError> {
        let Self { state, mut package, pages, tasks, .. } = self;
        let channel = successor.connect(CONNECT).await?;
        let (mut descriptors, mut feeds) = (Vec::new(), Vec::<Feed>::new());
        for kept in kept {
            let offered = kept.offer("")?;
            package.listeners.push(offered.package);
            descriptors.extend(offered.descriptors);
            feeds.extend(offered.feed);
        }
        for (name, socket) in pages {
            package.listeners.push(page(name));
            descriptors.push(socket);
        }
        channel.offer(package, &descriptors, SEND).await?;
        drop(descriptors);
        expect(&channel, successor, "ready", READY).await?;
        // The new process passes packets back from its first moment.
        feeds.into_iter().for_each(|feed| tasks.spawn(feed.run()));
        let mut begun = Vec::new();
        for kept in kept {
            let stopped = timeout(STOP, kept.stop_reading()).await;
            begun.push(stopped.map_err(|_| UpgradeError::Stuck)?);
        }
        let shared = state.plugins.export_state();
        channel.send(&Message::Commit(Commit { begun, shared }), SEND).await?;
        expect(&channel, successor, "serving", SERVE).await
    }
}

/// Waits for a message of the new process, or for its end.
async fn expect(
    channel: &Channel,
    successor: &mut Successor,
    message: &'static str,
    within: Duration,
) -> Result<(), UpgradeError> {
    tokio::select! {
        biased;
        received = channel.receive(message, within) => Ok(received.map(|_| ())?),
        status = successor.ended() => Err(UpgradeError::Ended(status)),
    }
}

/// Returns the description of a socket of the control thread.
fn page(name: &str) -> ListenerPackage {
    ListenerPackage {
        address: ([0, 0, 0, 0], 0).into(),
        name: name.to_owned(),
        tcp: 1,
        udp: 0,
        steering: SteeringPackage { secret: Hidden::default() },
        generation: 0,
        relays: Vec::new(),
    }
}

impl Supervisor {
    /// Begins to start the binary on disk in place of this one.
    pub(super) fn begin_upgrade(&mut self) -> Result<(), OrderError> {
        if self.upgrade.is_some() {
            return Err(OrderError::Refused("an upgrade is under way already".to_owned()));
        }
        let state = self.current.state();
        let package = Package {
            weir_version: env!("CARGO_PKG_VERSION").to_owned(),
            configuration: state.config.value.to_string(),
            // A path that is no text leaves the new process with the versions that it finds.
            files: serde_json::to_value(&self.stamps).unwrap_or_default(),
            keys: self.listeners.keys().export(),
            plugins: state.plugins.export_components(),
            state: facts(&state),
            ..Package::default()
        };
        let pages = self.pages.offer();
        let pages = pages.map_err(|error| OrderError::Failed(format!("sockets: {error}")))?;
        let listeners = self.listeners.iter().map(Arc::clone).collect();
        let upgrade = Upgrade { state, package, listeners, pages, tasks: self.tasks.clone() };
        self.systemd.tell(&[Report::Reloading]);
        self.view.set_upgrade(UpgradeState::Starting, None);
        self.telemetry.events.emit(Event { kind: "upgrade", data: json!({ "state": "starting" }) });
        tracing::info!("upgrading: starting the binary on disk");
        self.upgrade = Some(Box::pin(upgrade.run()));
        Ok(())
    }

    /// Notes the outcome of an upgrade. Returns the end of this process if a new one serves.
    pub(super) fn end_upgrade(&mut self, outcome: Result<HandedOver, UpgradeError>) -> Option<End> {
        match outcome {
            Ok(handed_over) => {
                let pid = handed_over.pid;
                self.pages.hand_over();
                self.systemd.tell(&[Report::MainPid(pid), Report::Ready]);
                self.view.set_upgrade(UpgradeState::HandedOver, None);
                let data = json!({ "state": "handed-over", "pid": pid });
                self.telemetry.events.emit(Event { kind: "upgrade", data });
                tracing::info!(pid, "a new process serves");
                Some(End::Upgraded(handed_over))
            }
            Err(error) => {
                let reason = weir_runtime::with_causes(&error);
                self.systemd.tell(&[Report::Ready]);
                let data = json!({ "state": "failed", "reason": reason });
                self.telemetry.events.emit(Event { kind: "upgrade", data });
                self.view.set_upgrade(UpgradeState::Failed, Some(reason));
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "the upgrade failed; this process serves as before");
                None
            }
        }
    }
}

/// Returns the facts of upstreams that the new process keeps: health, drains, weights, and the
/// endpoints that the admin API has set.
fn facts(state: &State) -> serde_json::Map<String, Value> {
    let upstreams = state.upstreams.iter();
    upstreams.map(|upstream| (upstream.name.to_string(), upstream.export())).collect()
}

/// The time in which the new process connects. It does so at its start.
const CONNECT: Duration = Duration::from_secs(10);

/// The time for one message to go out.
const SEND: Duration = Duration::from_secs(10);

/// The time in which the new process gets ready. It compiles all plugins, at worst without a cache.
const READY: Duration = Duration::from_secs(300);

/// The time in which all workers stop reading: one turn of each.
const STOP: Duration = Duration::from_secs(1);

/// The time from the commit until the new process serves: the start of its threads.
const SERVE: Duration = Duration::from_secs(10);
