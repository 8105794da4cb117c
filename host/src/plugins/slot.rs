//! [`Slot`]: a plugin of the configuration through its generations. Loading, swapping, trying, going back.
//!
//! A slot has a generation that serves and perhaps one on trial beside it. The one on trial gets a share of the requests,
//! or all, or copies of them (in the shadow). What it fails at is done again by the one that serves, so that trying
//! costs no request; when it fails too often or takes longer it is gone at once, and otherwise it serves when its time is over.

mod load;
mod status;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::Value;
use tokio::sync::Notify;
use weir_runtime::{Engine, Environment, Plugin, service};

use super::bounds::Bounds;
use super::compile::Compiler;
use super::generation::{Generation, Origin};
use super::source;
use super::source::Stamp;
use super::trial::{Mode, Terms, Trial};
use crate::config::{self, Canary, OnFailure, PluginLimits, Reuse};
use crate::telemetry::metrics::{self, Swap};
use load::{load, scratch};

pub use load::LoadError;

/// One plugin of the configuration.
pub struct Slot {
    /// Its name there.
    pub name: Arc<str>,
    /// What a filter's failure means.
    pub on_failure: OnFailure,
    /// Names of the upstreams that it may reach.
    pub upstreams: Vec<Arc<str>>,
    /// What is counted for it.
    pub metrics: metrics::Plugin,
    /// How a new generation is tried if nobody says otherwise.
    pub canary: Canary,
    /// The source in the configuration. A generation may have another: [`Generation::origin`].
    pub source: config::Source,
    /// Whether that is watched.
    pub watch: bool,
    /// What it looked like when it was loaded.
    pub(super) stamp: Option<Stamp>,
    /// Whose turn it is to compile.
    pub compiler: Compiler,
    /// Every configuration that it serves under.
    uses: Vec<Use>,
    /// What relative paths in them are below.
    base: PathBuf,
    engine: Engine,
    /// What the configuration says of limits and of instances' lives.
    given: Given,
    environment: Environment,
    lanes: Mutex<Lanes>,
    /// Moves with every change of any slot; what workers compare.
    version: Arc<AtomicU64>,
    /// Wakes who ends trials.
    changed: Arc<Notify>,
}

/// A configuration that a plugin is used with.
#[derive(Debug, Clone)]
pub struct Use {
    /// As what.
    pub role: Role,
    /// Where it is written, such as `plugins[0].config`.
    pub path: String,
    /// The configuration.
    pub config: Value,
}

/// What a plugin is used as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The balancer of the upstream with this name.
    Balancer(Arc<str>),
    /// One of a route's filters.
    Filter,
    /// A route's component.
    Component,
    /// Nothing yet: any world will do, and its configuration is not tried.
    Idle,
}

/// The generations of a slot.
struct Lanes {
    serving: Arc<Generation>,
    trial: Option<Trial>,
    /// The one that served before, to go back to.
    previous: Option<Arc<Generation>>,
    last_number: u64,
    /// What became of the last one that came.
    last: Option<Verdict>,
}

/// What became of a generation, and when.
#[derive(Debug, Clone)]
struct Verdict {
    generation: u64,
    outcome: Swap,
    reason: String,
    at: SystemTime,
}

/// What slots share.
#[derive(Clone)]
pub struct Shared {
    /// Compiles.
    pub engine: Engine,
    /// Moves with every change of any slot.
    pub version: Arc<AtomicU64>,
    /// Wakes who ends trials.
    pub changed: Arc<Notify>,
    /// Compiles one component at a time.
    pub compiler: Compiler,
}

/// What the configuration says of limits and of instances' lives.
type Given = (PluginLimits, Option<Reuse>);

/// A component that was loaded and tried, and is not in use yet.
pub struct Prepared {
    pub(super) plugin: Plugin,
    pub(super) bounds: Bounds,
    pub(super) configs: Configs,
    pub(super) digest: String,
}

/// Configurations as plugins get them, JSON text, by what a plugin is used as.
pub type Configs = Vec<(Role, String)>;

impl Slot {
    /// Loads the first generation.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn new(
        plugin: &config::Plugin,
        component: &source::Component,
        uses: Vec<Use>,
        shared: &Shared,
        environment: Environment,
        metrics: metrics::Plugin,
    ) -> Result<Self, LoadError> {
        let name: Arc<str> = plugin.name.as_str().into();
        let given = (plugin.limits, plugin.reuse);
        let wasm = &component.wasm;
        let base = &plugin.base;
        let prepared =
            load(&shared.engine, &name, wasm, given, (&uses, base), environment.clone())?;
        let origin = Origin::Source(component.source.clone());
        let first = Generation::new(1, prepared, origin, metrics.generation(1));
        metrics.generation.set(1);
        let lanes =
            Lanes { serving: first, trial: None, previous: None, last_number: 1, last: None };
        Ok(Self {
            name,
            on_failure: plugin.on_failure,
            upstreams: plugin.upstreams.iter().map(|name| Arc::from(name.as_str())).collect(),
            metrics,
            canary: plugin.canary,
            source: component.source.clone(),
            watch: plugin.watch,
            stamp: component.stamp,
            compiler: shared.compiler.clone(),
            uses,
            base: plugin.base.clone(),
            engine: shared.engine.clone(),
            given,
            environment,
            lanes: Mutex::new(lanes),
            version: Arc::clone(&shared.version),
            changed: Arc::clone(&shared.changed),
        })
    }

    /// The generation that serves, and the one on trial.
    pub fn current(&self) -> (Arc<Generation>, Option<Trial>) {
        let lanes = self.lanes();
        (Arc::clone(&lanes.serving), lanes.trial.clone())
    }

    /// Loads a component and tries it with each configuration; nothing has changed after that, well or not. Takes as long as
    /// compiling does: not for a thread that serves.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn prepare(&self, wasm: &[u8], mode: Mode) -> Result<Prepared, LoadError> {
        // What runs in the shadow must leave no trace: neither in the state nor in the counters.
        let environment = match mode {
            Mode::Share(_) => self.environment.clone(),
            Mode::Shadow => scratch(&self.environment),
        };
        let uses = (&self.uses[..], &*self.base);
        if mode == Mode::Shadow && service::standard(wasm).is_some() {
            return Err(LoadError::Shadow);
        }
        load(&self.engine, &self.name, wasm, self.given, uses, environment)
    }

    /// Notes that a component was not taken.
    pub fn refuse(&self, reason: String) {
        let mut lanes = self.lanes();
        let number = lanes.last_number + 1;
        self.note(&mut lanes, number, Swap::Refused, reason);
    }

    /// Puts a generation on trial. A trial that runs ends: if it has served for some while without a failure its
    /// generation takes over, else it goes.
    pub fn install(&self, prepared: Prepared, origin: Origin, terms: Terms) -> Arc<Generation> {
        let mut lanes = self.lanes();
        lanes.last_number += 1;
        let number = lanes.last_number;
        let metrics = self.metrics.generation(number);
        let generation = Generation::new(number, prepared, origin, metrics);
        if let Some(before) = lanes.trial.take() {
            let is_proven = before.generation.tally.is_proven() && before.mode != Mode::Shadow;
            let (outcome, reason) = match before.fault(&lanes.serving) {
                Some(fault) => (Swap::RolledBack, fault),
                None if is_proven => (Swap::Promoted, "another generation came".to_owned()),
                None => (Swap::Superseded, "another generation came".to_owned()),
            };
            self.settle(&mut lanes, before, outcome, reason);
        }
        lanes.trial = Some(Trial::new(Arc::clone(&generation), terms));
        drop(lanes);
        tracing::info!(plugin = &*self.name, generation = number, "plugin on trial");
        self.announce();
        generation
    }

    /// Goes back: ends a trial, or else returns to the generation that served before.
    ///
    /// # Errors
    /// If there is nothing to go back to.
    pub fn rollback(&self, reason: &str) -> Result<Arc<Generation>, NothingBefore> {
        let mut lanes = self.lanes();
        if let Some(trial) = lanes.trial.take() {
            self.settle(&mut lanes, trial, Swap::RolledBack, reason.to_owned());
        } else {
            let previous = lanes.previous.take().ok_or(NothingBefore)?;
            let gone = std::mem::replace(&mut lanes.serving, previous);
            self.note(&mut lanes, gone.number, Swap::RolledBack, reason.to_owned());
            self.metrics.generation.set(signed(lanes.serving.number));
        }
        let serving = Arc::clone(&lanes.serving);
        drop(lanes);
        self.announce();
        Ok(serving)
    }

    /// Looks whether the trial is over: at its end, or for its failures. Returns when to look again.
    pub fn review(&self) -> Option<Instant> {
        let mut lanes = self.lanes();
        let trial = lanes.trial.as_ref()?;
        if let Some(reason) = trial.fault(&lanes.serving) {
            let trial = lanes.trial.take()?;
            tracing::warn!(
                plugin = &*self.name,
                generation = trial.generation.number,
                reason,
                "plugin rolled back"
            );
            self.settle(&mut lanes, trial, Swap::RolledBack, reason);
            drop(lanes);
            self.announce();
            return None;
        }
        let ends = trial.ends;
        if ends > Instant::now() {
            return Some(ends);
        }
        let trial = lanes.trial.take()?;
        let reason = match trial.mode {
            Mode::Share(_) => "its trial went well",
            Mode::Shadow => "it has been in the shadow for its time",
        };
        let outcome = match trial.mode {
            Mode::Share(_) => Swap::Promoted,
            Mode::Shadow => Swap::Superseded,
        };
        self.settle(&mut lanes, trial, outcome, reason.to_owned());
        drop(lanes);
        self.announce();
        None
    }

    /// Ends a trial that was taken out of `lanes`.
    fn settle(&self, lanes: &mut Lanes, trial: Trial, outcome: Swap, reason: String) {
        let number = trial.generation.number;
        if outcome == Swap::Promoted {
            let before = std::mem::replace(&mut lanes.serving, trial.generation);
            lanes.previous = Some(before);
            self.metrics.generation.set(signed(number));
            tracing::info!(plugin = &*self.name, generation = number, "plugin serves");
        }
        self.note(lanes, number, outcome, reason);
    }

    fn note(&self, lanes: &mut Lanes, generation: u64, outcome: Swap, reason: String) {
        self.metrics.swap(outcome);
        lanes.last = Some(Verdict { generation, outcome, reason, at: SystemTime::now() });
    }

    fn announce(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_one();
    }

    /// A panic while it is locked cannot leave the lanes between two states.
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// There is no generation to go back to.
#[derive(Debug, thiserror::Error)]
#[error("there is no generation before this one")]
pub struct NothingBefore;

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
