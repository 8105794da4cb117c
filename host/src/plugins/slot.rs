//! [`Slot`]: a plugin of the configuration through its generations. Loading, swapping, trying, going back.
//!
//! A slot has a generation that serves and perhaps one on trial beside it. The one on trial gets a share of the requests,
//! or all, or copies of them (in the shadow). What it fails at is done again by the one that serves, so that trying
//! costs no request; when it fails too often or takes longer it is gone at once, and otherwise it serves when its time is over.

mod status;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use serde_json::Value;
use tokio::sync::Notify;
use weir_runtime::{
    Engine, Environment, Kind, MemoryState, Plugin, PluginError, SystemServices, service,
};

use super::bounds::Bounds;
use super::compile::Compiler;
use super::generation::Generation;
use super::source::Stamp;
use super::trial::{Mode, Terms, Trial};
use super::{component, schema, secrets, source};
use crate::config::{self, Canary, OnFailure, PluginLimits, Reuse};
use crate::proxy::input::{Inputs, ResponseInputs};
use crate::telemetry::metrics::{self, Swap};

/// One plugin of the configuration.
pub struct Slot {
    /// Its name there.
    pub name: Arc<str>,
    /// What a filter's failure means.
    pub on_failure: OnFailure,
    /// Indexes of the upstreams that it may reach.
    pub upstreams: Vec<usize>,
    /// What is counted for it.
    pub metrics: metrics::Plugin,
    /// How a new generation is tried if nobody says otherwise.
    pub canary: Canary,
    /// Where it came from.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The balancer of the upstream with this index.
    Balancer(usize),
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

/// Why a component does not become a generation. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It is none, or fails from the first.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It is of another world than the configuration needs.
    #[error("it is of the world {}, and the configuration uses it as a {wanted}{}", .is.world(), advice(*.is))]
    World {
        /// What it is.
        is: Kind,
        /// What it is used as.
        wanted: &'static str,
    },
    /// Its limits are none for what it is.
    #[error("{0}")]
    Limits(String),
    /// It cannot run in the shadow.
    #[error("a standard component does not run in the shadow: it would do everything twice")]
    Shadow,
    /// Its JSON Schema is none.
    #[error("its config-schema is no JSON Schema: {0}")]
    Schema(String),
    /// The configuration is not what its schema asks for.
    #[error("{}", faults(.0))]
    Config(Vec<(String, String)>),
    /// It asks for an input that there is not.
    #[error("{0}")]
    Input(String),
}

/// What a component that is used wrongly can be used as.
fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::Service | Kind::Proxy => "; name it as a route's `component`",
        Kind::Middleware => "; it needs a handler after it: name it in the `filters` of a route",
        Kind::Balancer | Kind::Filter | Kind::BodyFilter => "",
    }
}

fn faults(faults: &[(String, String)]) -> String {
    let lines: Vec<String> =
        faults.iter().map(|(path, message)| format!("{path}: {message}")).collect();
    lines.join("; ")
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
        let first = Generation::new(1, prepared, metrics.generation(1));
        metrics.generation.set(1);
        let lanes =
            Lanes { serving: first, trial: None, previous: None, last_number: 1, last: None };
        Ok(Self {
            name,
            on_failure: plugin.on_failure,
            upstreams: plugin.upstreams.clone(),
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
    pub fn install(&self, prepared: Prepared, terms: Terms) -> Arc<Generation> {
        let mut lanes = self.lanes();
        lanes.last_number += 1;
        let number = lanes.last_number;
        let metrics = self.metrics.generation(number);
        let generation = Generation::new(number, prepared, metrics);
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

/// Compiles a component and tries it with each configuration. What is only tried reaches neither the state nor the counters
/// of those that serve.
fn load(
    engine: &Engine,
    name: &str,
    wasm: &[u8],
    (limits, reuse): Given,
    (uses, base): (&[Use], &Path),
    environment: Environment,
) -> Result<Prepared, LoadError> {
    let bounds = Bounds::of(wasm, &limits, reuse).map_err(LoadError::Limits)?;
    let plugin = Plugin::load(engine, name, wasm, bounds.limits, &scratch(&environment))?;
    let configs = try_out(&plugin, uses, base)?;
    let plugin = plugin.with_environment(environment);
    Ok(Prepared { plugin, bounds, configs, digest: source::digest(wasm) })
}

/// An environment like another, with a state of its own and counters that go nowhere.
fn scratch(like: &Environment) -> Environment {
    like.apart(Arc::new(SystemServices), Arc::new(MemoryState::new(SCRATCH_STATE)))
}

/// Configures an instance for each use and throws it away: what a plugin refuses, it refuses before any request.
fn try_out(plugin: &Plugin, uses: &[Use], base: &Path) -> Result<Configs, LoadError> {
    let mut configs = Vec::with_capacity(uses.len());
    for wanted in uses {
        let is_fit = match wanted.role {
            Role::Balancer(_) => plugin.kind() == Kind::Balancer,
            Role::Filter => {
                matches!(plugin.kind(), Kind::Filter | Kind::BodyFilter | Kind::Middleware)
            }
            Role::Component => matches!(plugin.kind(), Kind::Service | Kind::Proxy),
            Role::Idle => continue,
        };
        if !is_fit {
            let wanted = match wanted.role {
                Role::Filter => "filter",
                Role::Component => "component",
                Role::Balancer(_) | Role::Idle => "balancer",
            };
            return Err(LoadError::World { is: plugin.kind(), wanted });
        }
        let place = |fault: schema::Fault| (wanted.path.clone() + &fault.path, fault.message);
        let misplaced = |faults: Vec<_>| LoadError::Config(faults.into_iter().map(place).collect());
        let schema = &plugin.manifest().config_schema;
        let faults = schema::check(schema, &wanted.config).map_err(LoadError::Schema)?;
        if !faults.is_empty() {
            return Err(misplaced(faults));
        }
        let config = text(&secrets::reveal(schema, &wanted.config, base).map_err(misplaced)?);
        if plugin.kind().is_standard() {
            let faults = |message| LoadError::Config(vec![(wanted.path.clone(), message)]);
            component::values(&config).map_err(faults)?;
        } else if matches!(wanted.role, Role::Balancer(_)) {
            let instance = plugin.balancer(&config)?;
            Inputs::parse(&instance.needs().inputs).map_err(LoadError::Input)?;
        } else {
            let instance = plugin.filter(&config)?;
            Inputs::parse(&instance.needs().inputs).map_err(LoadError::Input)?;
            ResponseInputs::parse(&instance.needs().response_inputs).map_err(LoadError::Input)?;
        }
        configs.push((wanted.role, config));
    }
    Ok(configs)
}

/// A configuration as plugins get it.
fn text(config: &Value) -> String {
    if config.is_null() { "{}".to_owned() } else { config.to_string() }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Bytes of state of a generation that is only tried, or runs in the shadow.
const SCRATCH_STATE: usize = 4 << 20;
