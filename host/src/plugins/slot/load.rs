//! From a component to what can become a generation: compiled, and tried with each configuration.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use weir_runtime::{Engine, Environment, Kind, MemoryState, Plugin, PluginError, SystemServices};

use super::{Configs, Given, Prepared, Role, Use};
use crate::message::input::{Inputs, ResponseInputs};
use crate::plugins::bounds::Bounds;
use crate::plugins::{component, schema, secrets, source};

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

/// Compiles a component and tries it with each configuration. What is only tried reaches neither the state nor the counters
/// of those that serve.
pub(super) fn load(
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
pub(super) fn scratch(like: &Environment) -> Environment {
    like.apart(Arc::new(SystemServices), Arc::new(MemoryState::new(SCRATCH_STATE)))
}

/// Configures an instance for each use and throws it away: what a plugin refuses, it refuses before any request.
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

/// A configuration as plugins get it.
fn text(config: &Value) -> String {
    if config.is_null() { "{}".to_owned() } else { config.to_string() }
}

/// Bytes of state of a generation that is only tried, or runs in the shadow.
const SCRATCH_STATE: usize = 4 << 20;
