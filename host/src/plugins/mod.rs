//! Plugins: their sources, their generations, and the swap of a generation while requests flow.
//!
//! [`Plugins`] are those of one configuration, shared by all threads. Each is a [`slot::Slot`] with
//! its [`generation`]s. A worker sees them through a [`view::View`]. There each generation has a
//! [`seat::Seat`] with the worker's own instance.
//!
//! The [`health`] of a generation suspends it while it keeps failing. Its `tally` decides a
//! [`trial`]. `schema` checks a configuration against the plugin's own schema, and `secrets` reads
//! the secrets in it. [`compile`] swaps a component in. `watch` swaps changed files in and ends
//! trials.

pub mod bounds;
pub mod compile;
pub mod component;
pub mod function;
pub mod generation;
pub mod health;
pub(crate) mod instance;
pub mod memo;
mod moved;
pub mod outside;
pub mod rules;
mod schema;
pub mod seat;
mod secrets;
mod services;
pub mod slot;
pub mod source;
pub(crate) mod tally;
#[cfg(test)]
mod testing;
pub mod trial;
pub mod view;
pub mod watch;

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;
use weir_runtime::{Engine, MemoryState, PluginError};

use crate::config::{self, Action, Config, ConfigErrors, PluginId, Problem};
use crate::oci::cache::Cache;
use crate::telemetry::metrics::Metrics;
use compile::Compiler;
use slot::{LoadError, Role, Shared, Slot, Succession, Use};
use source::SourceError;

pub use watch::watch as supervise;

/// The plugins of one configuration.
pub struct Plugins {
    slots: Vec<Arc<Slot>>,
    /// The slots that have yet to take generations over.
    taken: Mutex<Succession>,
    shared: Shared,
}

/// The fault of one plugin.
enum Fault {
    Source(SourceError),
    Load(LoadError),
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl Shared {
    /// Starts the plugin runtime.
    fn start(config: &Config) -> Result<Self, PluginsError> {
        let engine = Engine::with_code(cache_directory("code"), outside::compiler());
        Ok(Self {
            engine: engine.map_err(PluginsError::Engine)?,
            version: Arc::new(AtomicU64::new(1)),
            changed: Arc::new(Notify::new()),
            compiler: Compiler::default(),
            state: Arc::new(MemoryState::new(config.state.memory)),
        })
    }
}

/// The reason why the plugins of a configuration are not available.
#[derive(Debug, thiserror::Error)]
pub enum PluginsError {
    /// The plugin runtime could not be set up.
    #[error("start the plugin runtime")]
    Engine(#[source] PluginError),
    /// A component could not be read.
    #[error("plugin {name}")]
    Source {
        /// The plugin's name.
        name: String,
        /// The error of the source.
        source: SourceError,
    },
    /// A component is broken, or has another kind than the configuration requires.
    #[error("load plugin {name}")]
    Load {
        /// The plugin's name.
        name: String,
        /// The error of loading.
        source: LoadError,
    },
    /// Plugins reject their configurations.
    #[error(transparent)]
    Config(ConfigErrors),
}

impl Plugins {
    /// Reads, compiles and configures every plugin. A plugin of `before` with the same name keeps
    /// its generations ([`Slot::follow`]). They are taken over by [`Plugins::take_over`].
    ///
    /// # Errors
    ///
    /// [`PluginsError`] with the name of the plugin.
    pub fn load(
        config: &Config,
        metrics: &Metrics,
        before: Option<&Plugins>,
    ) -> Result<Self, PluginsError> {
        let shared = match before {
            Some(before) => before.shared.clone(),
            None => Shared::start(config)?,
        };
        let mut loaded = Self { slots: Vec::new(), taken: Mutex::default(), shared };
        let taken = loaded.taken.get_mut().unwrap_or_else(PoisonError::into_inner);
        let is_gone = |slot: &&Arc<Slot>| config.plugins.iter().all(|new| new.name != *slot.name);
        taken.gone.extend(before.iter().flat_map(|before| &before.slots).filter(is_gone).cloned());
        let mut problems = Vec::new();
        for (index, plugin) in config.plugins.iter().enumerate() {
            let id = PluginId::new(index);
            let known = before.and_then(|before| before.find(&plugin.name));
            match loaded.add(config, id, plugin, known, metrics) {
                Ok(()) => {}
                Err(Fault::Source(source)) => {
                    return Err(PluginsError::Source { name: plugin.name.clone(), source });
                }
                Err(Fault::Load(LoadError::Config(faults))) => problems.extend(
                    faults.iter().map(|(path, message)| fault(config, plugin, path, message)),
                ),
                Err(Fault::Load(LoadError::Plugin(PluginError::Refused { message, .. }))) => {
                    let path = place(config, id);
                    problems.push(fault(config, plugin, &path, &message));
                }
                Err(Fault::Load(source)) => {
                    return Err(PluginsError::Load { name: plugin.name.clone(), source });
                }
            }
        }
        if problems.is_empty() {
            Ok(loaded)
        } else {
            Err(PluginsError::Config(ConfigErrors::of(problems)))
        }
    }

    /// Adds the slot of a plugin.
    fn add(
        &mut self,
        config: &Config,
        id: PluginId,
        plugin: &config::Plugin,
        known: Option<&Arc<Slot>>,
        metrics: &Metrics,
    ) -> Result<(), Fault> {
        let read = || source::read(plugin, &config.registries, package_cache().as_ref());
        let uses = uses(config, id);
        let Some(known) = known else {
            let (component, own) = (read()?, metrics.plugin(&plugin.name));
            let slot = Slot::new(plugin, &component, uses, &self.shared, own)?;
            self.slots.push(Arc::new(slot));
            return Ok(());
        };
        let component = if known.needs_component(plugin) { Some(read()?) } else { None };
        let (slot, taken) = known.follow(plugin, component.as_ref(), uses, &self.shared)?;
        self.slots.push(Arc::clone(&slot));
        let all = self.taken.get_mut().unwrap_or_else(PoisonError::into_inner);
        all.followed.extend(taken.map(|taken| (slot, taken)));
        Ok(())
    }

    /// Takes the generations of the plugins before over, and ends the plugins that have gone. Must
    /// succeed before the plugins serve. Returns false if a plugin has changed since
    /// [`Plugins::load`]: the caller must load again.
    pub fn take_over(&self) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_complete = taken.complete();
        if is_complete {
            *taken = Succession::default();
        }
        is_complete
    }

    /// Returns all plugins, by their index in the configuration.
    pub fn slots(&self) -> &[Arc<Slot>] {
        &self.slots
    }

    /// Returns the plugin with this name.
    pub fn find(&self, name: &str) -> Option<&Arc<Slot>> {
        self.slots.iter().find(|slot| &*slot.name == name)
    }

    /// Returns the places of the secrets in a configuration of a plugin, as JSON pointers (RFC
    /// 6901). A place that is secret by the schema of any generation in use is one of them.
    pub fn secrets(&self, name: &str, config: &Value) -> Vec<String> {
        let schemas = self.find(name).map(|slot| slot.schemas()).unwrap_or_default();
        secrets::places_by_any(&schemas, config)
    }

    /// Returns the counter that changes with every change of any plugin, over all configurations.
    pub fn counter(&self) -> &Arc<AtomicU64> {
        &self.shared.version
    }

    /// Completes when a plugin has changed since the last call.
    async fn changed(&self) {
        self.shared.changed.notified().await;
    }
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.slots.iter().map(|slot| &slot.name)).finish()
    }
}

/// Lists the uses of a plugin in a configuration.
fn uses(config: &Config, id: PluginId) -> Vec<Use> {
    let own_path = place(config, id);
    let own = id.of(&config.plugins).map_or(&Value::Null, |plugin| &plugin.config);
    let mut uses = Vec::new();
    for (at, upstream) in config.upstreams.iter().enumerate() {
        if upstream.balancer == id {
            let (path, config) = if upstream.balancer_config.is_null() {
                (own_path.clone(), own)
            } else {
                (format!("upstreams[{at}].balancer_config"), &upstream.balancer_config)
            };
            let role = Role::Balancer(upstream.name.as_str().into());
            uses.push(Use { role, path, config: config.clone() });
        }
    }
    if config.routes.iter().any(|route| route.filters.contains(&id)) {
        uses.push(Use { role: Role::Filter, path: own_path.clone(), config: own.clone() });
    }
    let answers = |route: &config::Route| matches!(route.action, Action::Component(of) if of == id);
    if config.routes.iter().any(answers) {
        uses.push(Use { role: Role::Component, path: own_path.clone(), config: own.clone() });
    }
    if uses.is_empty() {
        uses.push(Use { role: Role::Idle, path: own_path, config: own.clone() });
    }
    uses
}

/// Returns the path of a plugin's configuration. For a built-in plugin without an entry in
/// `plugins`, returns the path of its name.
fn place(config: &Config, id: PluginId) -> String {
    let index = id.position();
    let named = config.routes.iter().enumerate().find_map(|(route, other)| {
        let at = other.filters.iter().position(|filter| *filter == id)?;
        Some(format!("routes[{route}].filters[{at}]"))
    });
    match named {
        Some(named) if !config.places.has(&format!("plugins[{index}]")) => named,
        _ => format!("plugins[{index}].config"),
    }
}

fn fault(config: &Config, plugin: &config::Plugin, path: &str, message: &str) -> Problem {
    let name = &plugin.name;
    let hint = match path.starts_with("routes[") {
        true => format!("; configure it by an entry of `plugins` with the name {name}"),
        false => String::new(),
    };
    config.places.problem(path, format!("{path}: plugin {name}: {message}{hint}"))
}

/// Returns the cache of packages, or `None` if nothing is kept.
pub fn package_cache() -> Option<Cache> {
    cache_directory("oci").map(Cache::new)
}

/// Returns the directory of compiled code (`code`) or of packages (`oci`).
///
/// The directory is below `WEIR_PLUGIN_CACHE` (`off` for none), else below the directory of systemd
/// or of the desktop. Each kind has its own directory, and its own bound of bytes.
fn cache_directory(kind: &str) -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(chosen) = variable("WEIR_PLUGIN_CACHE") {
        return (chosen != "off").then(|| PathBuf::from(chosen).join(kind));
    }
    let base = variable("CACHE_DIRECTORY").map(PathBuf::from).or_else(|| {
        let home = || Some(PathBuf::from(variable("HOME")?).join(".cache"));
        let user = variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
        user.map(|user| user.join("weir"))
    })?;
    base.is_absolute().then(|| base.join(kind))
}
