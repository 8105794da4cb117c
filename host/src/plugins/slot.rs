//! [`Slot`]: a plugin of the configuration through its generations. Loading, swapping, trying, going back.
//!
//! A slot has a generation that serves and perhaps one on trial beside it. The one on trial gets a share of the requests,
//! or all, or copies of them (in the shadow). What it fails at is done again by the one that serves, so that trying
//! costs no request; when it fails too often or takes longer it is gone at once, and otherwise it serves when its time is over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};
use tokio::sync::Notify;
use weir_runtime::{
    Engine, Environment, Kind, Limits, MemoryState, Plugin, PluginError, SystemServices,
};

use super::generation::Generation;
use super::{schema, source};
use crate::config::{self, Canary, OnFailure, Reuse};
use crate::proxy::input::{Inputs, ResponseInputs};
use crate::telemetry::metrics::{self, Swap};

/// One plugin of the configuration.
pub struct Slot {
    /// Its name there.
    pub name: Arc<str>,
    /// What a filter's failure means.
    pub on_failure: OnFailure,
    /// How long an instance lives.
    pub reuse: Reuse,
    /// Indexes of the upstreams that it may reach.
    pub upstreams: Vec<usize>,
    /// The configuration of a filter, JSON text.
    pub config: String,
    /// What is counted for it.
    pub metrics: metrics::Plugin,
    /// How a new generation is tried if nobody says otherwise.
    pub canary: Canary,
    /// Where it came from.
    pub source: config::Source,
    /// Whether that is watched.
    pub watch: bool,
    /// Every configuration that it serves under.
    uses: Vec<Use>,
    engine: Engine,
    limits: Limits,
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
    /// An upstream's balancer.
    Balancer,
    /// One of a route's filters.
    Filter,
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

/// A generation on trial.
#[derive(Debug, Clone)]
pub struct Trial {
    /// What is tried.
    pub generation: Arc<Generation>,
    /// How.
    pub mode: Mode,
    ends: Instant,
}

/// How a generation is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// It serves this share of requests, in ten thousandths.
    Share(u32),
    /// It is called beside the one that serves, and decides nothing.
    Shadow,
}

/// What is asked of a swap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// How it is tried.
    pub mode: Mode,
    /// How long.
    pub time: Duration,
}

impl From<Canary> for Terms {
    fn from(canary: Canary) -> Self {
        Self { mode: Mode::share(canary.share), time: canary.time }
    }
}

impl Mode {
    /// A share from 0 to 1.
    pub fn share(share: f64) -> Self {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 10,000")]
        Self::Share((share.clamp(0.0, 1.0) * f64::from(WHOLE)).round() as u32)
    }
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
    #[error("it is of the world {is}, and the configuration uses it as a {wanted}")]
    World {
        /// Its world.
        is: &'static str,
        /// What it is used as.
        wanted: &'static str,
    },
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
}

impl Slot {
    /// Loads the first generation.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn new(
        plugin: &config::Plugin,
        wasm: &[u8],
        uses: Vec<Use>,
        shared: &Shared,
        environment: Environment,
        metrics: metrics::Plugin,
    ) -> Result<Self, LoadError> {
        let name: Arc<str> = plugin.name.as_str().into();
        let limits = Limits { memory: plugin.limits.memory, time: plugin.limits.time };
        let compiled = Plugin::load(&shared.engine, &name, wasm, limits, &environment)?;
        try_out(&compiled, &uses)?;
        let first = Arc::new(Generation {
            number: 1,
            digest: source::digest(wasm),
            loaded: SystemTime::now(),
            metrics: metrics.generation(1),
            health: Default::default(),
            tally: Default::default(),
            plugin: compiled,
        });
        metrics.generation.set(1);
        let lanes =
            Lanes { serving: first, trial: None, previous: None, last_number: 1, last: None };
        Ok(Self {
            name,
            on_failure: plugin.on_failure,
            reuse: plugin.reuse,
            upstreams: plugin.upstreams.clone(),
            config: text(&plugin.config),
            metrics,
            canary: plugin.canary,
            source: plugin.source.clone(),
            watch: plugin.watch,
            uses,
            engine: shared.engine.clone(),
            limits,
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

    /// Loads a component and puts it on trial. Takes as long as compiling does: not for a thread that serves.
    ///
    /// A trial that runs ends: if it has served for some while without a failure its generation takes over, else it goes.
    ///
    /// # Errors
    /// [`LoadError`]; nothing has changed then.
    pub fn swap(&self, wasm: &[u8], terms: Terms) -> Result<Arc<Generation>, LoadError> {
        let loaded = self.load(wasm, terms.mode);
        let plugin = loaded.inspect_err(|error| {
            self.metrics.swap(Swap::Refused);
            let mut lanes = self.lanes();
            lanes.last = Some(Verdict {
                generation: lanes.last_number + 1,
                outcome: Swap::Refused,
                reason: error.to_string(),
                at: SystemTime::now(),
            });
        })?;
        let mut lanes = self.lanes();
        lanes.last_number += 1;
        let number = lanes.last_number;
        let generation = Arc::new(Generation {
            number,
            digest: source::digest(wasm),
            loaded: SystemTime::now(),
            metrics: self.metrics.generation(number),
            health: Default::default(),
            tally: Default::default(),
            plugin,
        });
        if let Some(before) = lanes.trial.take() {
            let proven = before.generation.tally.is_proven() && before.mode != Mode::Shadow;
            let outcome = if proven { Swap::Promoted } else { Swap::Superseded };
            self.settle(&mut lanes, before, outcome, "another generation came".to_owned());
        }
        let ends = Instant::now() + terms.time;
        let trial = Trial { generation: Arc::clone(&generation), mode: terms.mode, ends };
        lanes.trial = Some(trial);
        drop(lanes);
        tracing::info!(plugin = &*self.name, generation = number, "plugin on trial");
        self.announce();
        Ok(generation)
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

    /// What the admin API tells of it.
    pub fn status(&self) -> Value {
        let lanes = self.lanes();
        let serving = &lanes.serving;
        let manifest = serving.plugin.manifest();
        let state = match &lanes.trial {
            _ if serving.health.is_quarantined() => "quarantined",
            Some(Trial { mode: Mode::Shadow, .. }) => "shadow",
            Some(_) => "canary",
            None => "serving",
        };
        let source = match &self.source {
            config::Source::Builtin(name) => format!("builtin:{name}"),
            config::Source::File(path) => format!("file:{}", path.display()),
        };
        let schema = serde_json::from_str(&manifest.config_schema).unwrap_or(Value::Null);
        json!({
            "name": &*self.name,
            "world": serving.plugin.kind().world(),
            "state": state,
            "source": source,
            "generation": generation_status(serving),
            "trial": lanes.trial.as_ref().map(|trial| json!({
                "generation": generation_status(&trial.generation),
                "mode": match trial.mode { Mode::Share(_) => "share", Mode::Shadow => "shadow" },
                "share": match trial.mode {
                    Mode::Share(share) => Some(f64::from(share) / f64::from(WHOLE)),
                    Mode::Shadow => None,
                },
                "seconds_left": trial.ends.saturating_duration_since(Instant::now()).as_secs_f64(),
                "calls": trial.generation.tally.trial_calls.load(Ordering::Relaxed),
            })),
            "previous": lanes.previous.as_deref().map(generation_status),
            "last_swap": lanes.last.as_ref().map(|last| json!({
                "generation": last.generation,
                "outcome": last.outcome.label(),
                "reason": last.reason,
                "at": seconds(last.at),
            })),
            "manifest": {
                "name": manifest.name,
                "version": manifest.version,
                "summary": manifest.summary,
                "config_schema": schema,
            },
            "limits": {
                "memory_bytes": self.limits.memory,
                "time_seconds": self.limits.time.as_secs_f64(),
            },
        })
    }

    fn load(&self, wasm: &[u8], mode: Mode) -> Result<Plugin, LoadError> {
        // What runs in the shadow must leave no trace: neither in the state nor in the counters.
        let environment = match mode {
            Mode::Share(_) => self.environment.clone(),
            Mode::Shadow => Environment::new(
                Arc::new(SystemServices),
                Arc::new(MemoryState::new(SHADOW_STATE)),
                &self.name,
                self.environment.spaces(),
            ),
        };
        let plugin = Plugin::load(&self.engine, &self.name, wasm, self.limits, &environment)?;
        try_out(&plugin, &self.uses)?;
        Ok(plugin)
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

impl Trial {
    /// Why it must end, if it must.
    fn fault(&self, serving: &Generation) -> Option<String> {
        let tally = &self.generation.tally;
        let failures = tally.failures.load(Ordering::Relaxed);
        let calls = tally.trial_calls.load(Ordering::Relaxed).max(failures);
        if failures >= FEW && failures * 100 > calls {
            return Some(format!("{failures} of {calls} calls failed"));
        }
        let (new, old) = (tally.mean()?, serving.tally.mean()?);
        (new > old * 2 + SLACK)
            .then(|| format!("a call takes {new:?}, with the generation before {old:?}"))
    }
}

impl super::generation::Tally {
    /// Whether it has served enough to be relied on.
    fn is_proven(&self) -> bool {
        self.failures.load(Ordering::Relaxed) == 0
            && self.trial_calls.load(Ordering::Relaxed) >= PROVEN
    }
}

/// Configures an instance for each use and throws it away: what a plugin refuses, it refuses before any request.
fn try_out(plugin: &Plugin, uses: &[Use]) -> Result<(), LoadError> {
    for wanted in uses {
        let is_fit = match wanted.role {
            Role::Balancer => plugin.kind() == Kind::Balancer,
            Role::Filter => plugin.kind() != Kind::Balancer,
            Role::Idle => continue,
        };
        if !is_fit {
            let role = if wanted.role == Role::Balancer { "balancer" } else { "filter" };
            return Err(LoadError::World { is: plugin.kind().world(), wanted: role });
        }
        let schema = &plugin.manifest().config_schema;
        let faults = schema::check(schema, &wanted.config).map_err(LoadError::Schema)?;
        if !faults.is_empty() {
            let place = |fault: schema::Fault| (wanted.path.clone() + &fault.path, fault.message);
            return Err(LoadError::Config(faults.into_iter().map(place).collect()));
        }
        let config = text(&wanted.config);
        if wanted.role == Role::Balancer {
            let instance = plugin.balancer(&config)?;
            Inputs::parse(&instance.needs().inputs).map_err(LoadError::Input)?;
        } else {
            let instance = plugin.filter(&config)?;
            Inputs::parse(&instance.needs().inputs).map_err(LoadError::Input)?;
            ResponseInputs::parse(&instance.needs().response_inputs).map_err(LoadError::Input)?;
        }
    }
    Ok(())
}

/// A configuration as plugins get it.
pub fn text(config: &Value) -> String {
    if config.is_null() { "{}".to_owned() } else { config.to_string() }
}

fn generation_status(generation: &Generation) -> Value {
    let manifest = generation.plugin.manifest();
    json!({
        "number": generation.number,
        "version": manifest.version,
        "sha256": generation.digest,
        "loaded": seconds(generation.loaded),
        "failures": generation.tally.failures.load(Ordering::Relaxed),
        "mean_call_seconds": generation.tally.mean().map(|mean| mean.as_secs_f64()),
        "quarantined": generation.health.is_quarantined(),
    })
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// All requests, in the unit of [`Mode::Share`].
pub const WHOLE: u32 = 10_000;

/// Failures that may be chance.
const FEW: u64 = 3;

/// Calls without a failure after which a generation is relied on before its time is over.
const PROVEN: u64 = 20;

/// A call may take twice the time of the old generation's and this more before it is too long.
const SLACK: Duration = Duration::from_micros(20);

/// Bytes of state of a generation in the shadow.
const SHADOW_STATE: usize = 4 << 20;
