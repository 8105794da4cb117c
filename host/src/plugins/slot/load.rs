//! Loading: compiles a component and tries it with each configuration, before it becomes a
//! generation.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use weir_runtime::{
    Engine, Environment, Kind, MemoryState, Plugin, PluginError, SystemServices, service,
};

use super::{Configs, Prepared, Role, Shared, Use};
use crate::config;
use crate::message::input::{Inputs, ResponseInputs};
use crate::oci::Digest;
use crate::plugins::bounds::Bounds;
use crate::plugins::compile::CompileError;
use crate::plugins::generation::Generation;
use crate::plugins::{component, schema, secrets};

/// The reason why a component does not become a generation. Nothing has changed in that case.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The component was not compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The bytes are not a component, or the component fails at its first use.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The component has another world than the configuration requires.
    #[error("it is of the world {}, but the configuration uses it as a {wanted}{}", .is.world(), advice(*.is))]
    World {
        /// The kind of the component.
        is: Kind,
        /// The kind that the configuration requires.
        wanted: &'static str,
    },
    /// The limits do not apply to the kind of the component.
    #[error("{0}")]
    Limits(String),
    /// The component cannot run in the shadow.
    #[error("a standard component does not run in the shadow: it would do everything twice")]
    Shadow,
    /// The JSON Schema of the plugin is invalid.
    #[error("its config-schema is not a JSON Schema: {0}")]
    Schema(String),
    /// The configuration violates the schema of the plugin.
    #[error("{}", faults(.0))]
    Config(Vec<(String, String)>),
    /// The plugin requests an input that does not exist.
    #[error("{0}")]
    Input(String),
}

/// Returns advice for a component that the configuration uses wrongly.
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

/// The part of a configuration that a component must fit.
pub(super) struct Fitting<'a> {
    /// All configurations under which it is to serve.
    pub(super) uses: &'a [Use],
    /// The limits and the lifetime of instances, and the base of relative paths.
    pub(super) plugin: &'a config::Plugin,
    /// Everything that its instances can reach.
    pub(super) environment: Arc<Environment>,
}

/// Does the same as [`load`], and waits for a turn of the compiler before it. For a thread of its
/// own, because the wait takes long.
pub(super) fn load_in_turn(
    shared: &Shared,
    wasm: &[u8],
    fitting: Fitting<'_>,
) -> Result<Prepared, LoadError> {
    let _turn = shared.compiler.turn_blocking()?;
    load(&shared.engine, wasm, fitting)
}

/// Compiles a component and tries it with each configuration. The trial run reaches neither the
/// state nor the counters of serving generations.
pub(super) fn load(
    engine: &Engine,
    wasm: &[u8],
    fitting: Fitting<'_>,
) -> Result<Prepared, LoadError> {
    let bounds = fitting.bounds(service::standard(wasm).is_some())?;
    let apart = scratch(&fitting.environment);
    let plugin = Plugin::load(engine, &fitting.plugin.name, wasm, bounds.limits, &apart)?;
    fitting.prepare(&plugin, bounds, Digest::of(wasm).hex())
}

/// Fits a compiled component to another configuration, without compiling it again.
pub(super) fn fit(before: &Generation, fitting: Fitting<'_>) -> Result<Prepared, LoadError> {
    let bounds = fitting.bounds(before.plugin.kind().is_standard())?;
    let apart = scratch(&fitting.environment);
    let plugin = before.plugin.with_limits(bounds.limits).with_environment(apart);
    fitting.prepare(&plugin, bounds, before.digest.clone())
}

impl Fitting<'_> {
    fn bounds(&self, is_standard: bool) -> Result<Bounds, LoadError> {
        let config::Plugin { limits, reuse, .. } = self.plugin;
        Bounds::of(is_standard, limits, *reuse).map_err(LoadError::Limits)
    }

    fn prepare(
        self,
        plugin: &Plugin,
        bounds: Bounds,
        digest: String,
    ) -> Result<Prepared, LoadError> {
        let configs = try_out(plugin, self.uses, &self.plugin.base)?;
        let environment = self.environment;
        let plugin = plugin.with_environment(Environment::clone(&environment));
        Ok(Prepared { plugin, environment, bounds, configs, digest, wasm: None })
    }

    /// Returns whether a generation has these configurations. The secrets in them are read again.
    pub(super) fn is_same(&self, generation: &Generation) -> bool {
        let schema = &generation.plugin.manifest().config_schema;
        self.uses.iter().filter(|wanted| wanted.role != Role::Idle).all(|wanted| {
            let config = secrets::reveal(schema, &wanted.config, &self.plugin.base);
            config.is_ok_and(|config| text(&config) == generation.config(&wanted.role))
        })
    }
}

/// Returns an environment like `like`, with its own state and with counters that are discarded.
pub(super) fn scratch(like: &Environment) -> Environment {
    like.apart(Arc::new(SystemServices), Arc::new(MemoryState::new(SCRATCH_STATE)))
}

/// Configures an instance for each use and discards it. A plugin thus rejects a configuration
/// before any request.
fn try_out(plugin: &Plugin, uses: &[Use], base: &Path) -> Result<Configs, LoadError> {
    let mut configs = Vec::with_capacity(uses.len());
    for wanted in uses {
        let is_fit = match &wanted.role {
            Role::Balancer(_) => plugin.kind() == Kind::Balancer,
            Role::Filter => {
                matches!(plugin.kind(), Kind::Filter | Kind::BodyFilter | Kind::Middleware)
            }
            Role::Component => matches!(plugin.kind(), Kind::Service | Kind::Proxy),
            Role::Idle => continue,
        };
        if !is_fit {
            let wanted = match &wanted.role {
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
        configs.push((wanted.role.clone(), config));
    }
    Ok(configs)
}

/// Returns a configuration in the form that plugins get.
fn text(config: &Value) -> String {
    if config.is_null() { "{}".to_owned() } else { config.to_string() }
}

/// Bytes of state for a generation that is only tried or runs in the shadow.
const SCRATCH_STATE: usize = 4 << 20;
