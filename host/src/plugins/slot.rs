//! [`Slot`]: a plugin of one configuration, with its generations: loading, swap, trial, rollback.
//!
//! A reload of the configuration makes another slot of a plugin that changed (`follow`).
//! Generations outlive it: the slot takes them over, fitted to its configuration.
//!
//! A slot has a serving generation, and perhaps one on trial. The trial gets a share of the
//! requests, all of them, or copies of them (in the shadow). If it fails on a request, the serving
//! generation repeats the work, so that a trial costs no request. A trial that fails too often or
//! takes longer ends at once. Otherwise its generation serves at the end of the trial.

mod follow;
mod lanes;
mod load;
mod status;
mod succession;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use tokio::sync::Notify;
use weir_runtime::{Engine, Environment, MemoryState, Plugin, service};

use super::bounds::Bounds;
use super::compile::Compiler;
use super::generation::{Generation, Origin};
use super::services::Counting;
use super::source;
use super::source::Stamp;
use super::trial::{Mode, Terms, Trial};
use crate::config::{self, OnFailure};
use crate::telemetry::metrics::{self, Swap};
use lanes::{Lanes, Verdict};
use load::{Fitting, load, load_in_turn, scratch};

pub use load::LoadError;
pub use succession::{Succession, TakeOver};

/// One plugin of the configuration.
pub struct Slot {
    /// The name in the configuration.
    pub name: Arc<str>,
    /// The consequence of a filter's failure.
    pub on_failure: OnFailure,
    /// Names of the upstreams that it may reach.
    pub upstreams: Vec<Arc<str>>,
    /// The metrics of the plugin.
    pub metrics: metrics::PluginCounters,
    /// The plugin as configured. A generation may have another source: [`Generation::origin`].
    pub plugin: config::Plugin,
    /// The source in the configuration. The source of a package includes its digest.
    pub source: config::Source,
    /// The data that slots share.
    pub shared: Shared,
    /// All configurations under which the plugin serves.
    uses: Vec<Use>,
    services: Arc<Counting>,
    environment: Arc<Environment>,
    lanes: Mutex<Lanes>,
}

/// One use of a plugin, with its configuration.
#[derive(Debug, Clone)]
pub struct Use {
    /// The role of the plugin.
    pub role: Role,
    /// The path of the configuration, such as `plugins[0].config`.
    pub path: String,
    /// The configuration.
    pub config: Value,
}

/// The role of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The balancer of the upstream with this name.
    Balancer(Arc<str>),
    /// One of a route's filters.
    Filter,
    /// A route's component.
    Component,
    /// No role yet. The plugin may have any world, and its configuration is not tried.
    Idle,
}

/// The data that slots share.
#[derive(Clone)]
pub struct Shared {
    /// The engine, which compiles components.
    pub engine: Engine,
    /// Changes with every change of any slot.
    pub version: Arc<AtomicU64>,
    /// Wakes the task that ends trials.
    pub changed: Arc<Notify>,
    /// Compiles one component at a time.
    pub compiler: Compiler,
    /// State that plugins share.
    pub state: Arc<MemoryState>,
}

/// A component that was loaded and tried, but is not in use yet.
pub struct Prepared {
    pub(super) plugin: Plugin,
    /// Everything that its instances can reach.
    pub(super) environment: Arc<Environment>,
    pub(super) bounds: Bounds,
    pub(super) configs: Configs,
    pub(super) digest: String,
    /// The component, if no source has it.
    pub(super) wasm: Option<Arc<[u8]>>,
}

impl Prepared {
    /// Keeps the bytes of a component that no source has, for a process that takes over.
    #[must_use]
    pub fn sent(self, wasm: Arc<[u8]>) -> Self {
        Self { wasm: Some(wasm), ..self }
    }
}

/// The configurations that plugins get, as JSON text, by role.
pub type Configs = Vec<(Role, String)>;

impl Slot {
    /// Loads the first generation.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the component cannot be loaded.
    pub fn new(
        plugin: &config::Plugin,
        component: &source::Component,
        uses: Vec<Use>,
        shared: &Shared,
        metrics: metrics::PluginCounters,
    ) -> Result<Self, LoadError> {
        let services = Arc::new(Counting::new(metrics.clone()));
        let environment = Arc::new(shared.environment(&services, plugin));
        let fitting = Fitting { uses: &uses, plugin, environment: Arc::clone(&environment) };
        let prepared = load_in_turn(shared, &component.wasm, fitting)?;
        let origin = Origin::Source(component.source.clone());
        let first = Generation::new(1, prepared, origin, metrics.generation(1));
        metrics.generation.set(1);
        let lanes = Lanes::new(first, component.stamp);
        let source = component.source.clone();
        Ok(Self::with(plugin, source, uses, (services, environment), metrics, shared, lanes))
    }

    fn with(
        plugin: &config::Plugin,
        source: config::Source,
        uses: Vec<Use>,
        (services, environment): (Arc<Counting>, Arc<Environment>),
        metrics: metrics::PluginCounters,
        shared: &Shared,
        lanes: Lanes,
    ) -> Self {
        Self {
            name: plugin.name.as_str().into(),
            on_failure: plugin.on_failure,
            upstreams: plugin.upstreams.iter().map(|name| Arc::from(name.as_str())).collect(),
            metrics,
            plugin: plugin.clone(),
            source,
            shared: shared.clone(),
            uses,
            services,
            environment,
            lanes: Mutex::new(lanes),
        }
    }

    /// Returns the serving generation, and the trial if there is one.
    pub fn current(&self) -> (Arc<Generation>, Option<Trial>) {
        let lanes = self.lanes();
        (Arc::clone(&lanes.serving), lanes.trial.clone())
    }

    /// Loads a component and tries it with each configuration. Changes nothing, whether it succeeds
    /// or fails.
    ///
    /// The call takes as long as the compilation, so a serving thread must not make it.
    ///
    /// # Errors
    ///
    /// [`LoadError`] if the component cannot be loaded.
    pub fn prepare(&self, wasm: &[u8], mode: Mode) -> Result<Prepared, LoadError> {
        // A shadow generation must leave no trace, neither in the state nor in the counters.
        let environment = match mode {
            Mode::Share(_) => Arc::clone(&self.environment),
            Mode::Shadow => Arc::new(scratch(&self.environment)),
        };
        if mode == Mode::Shadow && service::standard(wasm).is_some() {
            return Err(LoadError::Shadow);
        }
        let fitting = Fitting { uses: &self.uses, plugin: &self.plugin, environment };
        load(&self.shared.engine, wasm, fitting)
    }

    /// Returns the JSON Schemas of the configuration: by the serving generation, and by the one on
    /// trial if there is one.
    pub(super) fn schemas(&self) -> Vec<String> {
        let lanes = self.lanes();
        let schema =
            |generation: &Arc<Generation>| generation.plugin.manifest().config_schema.clone();
        lanes.in_use().map(schema).collect()
    }

    /// Returns the stamp of the file that was loaded or refused last.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.lanes().stamp
    }

    /// Notes the stamp of a file that is loaded or refused.
    pub(super) fn set_stamp(&self, stamp: Option<Stamp>) {
        self.lanes().stamp = stamp;
    }

    /// Notes that a component was refused.
    pub fn refuse(&self, reason: String) {
        let mut lanes = self.lanes();
        let number = lanes.last_number + 1;
        self.note(&mut lanes, number, Swap::Refused, reason);
    }

    /// Puts a generation on trial and ends a running trial. The generation of the running trial
    /// takes over if it has served enough calls without a failure. Otherwise it is dropped.
    ///
    /// # Errors
    ///
    /// A reload of the configuration was faster.
    pub fn install(
        &self,
        prepared: Prepared,
        origin: Origin,
        terms: Terms,
    ) -> Result<Arc<Generation>, Outdated> {
        let mut lanes = self.lanes();
        if lanes.is_over {
            return Err(Outdated);
        }
        lanes.changes += 1;
        lanes.last_number += 1;
        let number = lanes.last_number;
        let metrics = self.metrics.generation(number);
        let generation = Generation::new(number, prepared, origin, metrics);
        if let Some(before) = lanes.trial.take() {
            let is_proven = before.generation.tally.is_proven() && before.mode != Mode::Shadow;
            let (outcome, reason) = match before.fault(&lanes.serving) {
                Some(fault) => (Swap::RolledBack, fault),
                None if is_proven => (Swap::Promoted, "another generation arrived".to_owned()),
                None => (Swap::Superseded, "another generation arrived".to_owned()),
            };
            self.settle(&mut lanes, before, outcome, reason);
        }
        lanes.trial = Some(Trial::new(Arc::clone(&generation), terms));
        drop(lanes);
        tracing::info!(plugin = &*self.name, generation = number, "plugin on trial");
        self.metrics.trial(number);
        self.announce();
        Ok(generation)
    }

    /// Serves by a generation at once, before any request.
    pub(super) fn restore(&self, prepared: Prepared, origin: Origin, number: u64) {
        let mut lanes = self.lanes();
        lanes.last_number = lanes.last_number.max(number);
        lanes.serving = Generation::new(number, prepared, origin, self.metrics.generation(number));
        self.metrics.generation.set(signed(number));
        drop(lanes);
        self.announce();
    }

    /// Rolls back: ends the trial, or without a trial returns to the previous generation.
    ///
    /// # Errors
    ///
    /// There is no previous generation.
    pub fn rollback(&self, reason: &str) -> Result<Arc<Generation>, NothingBefore> {
        let mut lanes = self.lanes();
        if lanes.is_over {
            return Err(NothingBefore);
        }
        if let Some(trial) = lanes.trial.take() {
            self.settle(&mut lanes, trial, Swap::RolledBack, reason.to_owned());
        } else {
            let previous = lanes.previous.take().ok_or(NothingBefore)?;
            let gone = std::mem::replace(&mut lanes.serving, previous);
            self.metrics.linger(&gone.metrics);
            self.note(&mut lanes, gone.number, Swap::RolledBack, reason.to_owned());
            self.metrics.generation.set(signed(lanes.serving.number));
        }
        let serving = Arc::clone(&lanes.serving);
        drop(lanes);
        self.announce();
        Ok(serving)
    }

    /// Ends the trial if its time is over or it has failed too much. Returns the time of the next
    /// review.
    pub fn review(&self) -> Option<Instant> {
        let mut lanes = self.lanes();
        if lanes.is_over {
            return None;
        }
        let trial = lanes.trial.as_ref()?;
        if let Some(reason) = trial.fault(&lanes.serving) {
            let trial = lanes.trial.take()?;
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
        let (outcome, reason) = trial.outcome();
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
        } else {
            self.metrics.linger(&trial.generation.metrics);
        }
        self.note(lanes, number, outcome, reason);
    }

    fn note(&self, lanes: &mut Lanes, generation: u64, outcome: Swap, reason: String) {
        let plugin = &*self.name;
        match outcome {
            Swap::Promoted => tracing::info!(plugin, generation, reason, "plugin serves"),
            Swap::Superseded => tracing::info!(plugin, generation, reason, "plugin's trial ended"),
            Swap::RolledBack => tracing::warn!(plugin, generation, reason, "plugin rolled back"),
            Swap::Refused => tracing::warn!(plugin, generation, reason, "plugin refused"),
        }
        lanes.changes += 1;
        self.metrics.swap(generation, outcome, &reason);
        lanes.last = Some(Verdict::new(generation, outcome, reason));
    }

    fn announce(&self) {
        self.shared.version.fetch_add(1, Ordering::Release);
        self.shared.changed.notify_one();
    }

    /// Locks the lanes. A panic under the lock cannot leave them between two states.
    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Returns everything that the instances of a plugin can reach.
    fn environment(&self, services: &Arc<Counting>, plugin: &config::Plugin) -> Environment {
        let (services, state) = (Arc::clone(services) as Arc<_>, Arc::clone(&self.state) as Arc<_>);
        Environment::new(services, state, &plugin.name, &plugin.spaces)
    }
}

/// A reload of the configuration has replaced or removed the slot meanwhile.
#[derive(Debug, thiserror::Error)]
#[error("the configuration was reloaded meanwhile; try again")]
pub struct Outdated;

/// There is no previous generation to return to.
#[derive(Debug, thiserror::Error)]
#[error("there is no previous generation")]
pub struct NothingBefore;

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
