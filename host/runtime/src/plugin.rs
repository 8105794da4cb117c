//! [`Plugin`] is a compiled component with a known world and a description of itself.

use std::sync::Arc;

use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, InstancePre, Linker};

use crate::bindings::{balancer, body_filter, filter, types};
use crate::bounds;
use crate::engine::Engine;
use crate::environment::Environment;
use crate::error::PluginError;
use crate::instance::{Sandbox, State};
use crate::limits::Limits;
use crate::service::{self, Handler, Service};
use crate::version;

/// A compiled plugin with a known world and its manifest. Cloning shares it. Workers make their
/// instances from it with [`Plugin::balancer`] or [`Plugin::filter`].
#[derive(Clone)]
pub struct Plugin {
    pub(crate) engine: Engine,
    pub(crate) name: Arc<str>,
    pub(crate) limits: Limits,
    pub(crate) environment: Environment,
    pub(crate) world: World,
    manifest: Arc<Manifest>,
}

/// The world of a component, ready to be instantiated.
#[derive(Clone)]
pub(crate) enum World {
    Balancer(balancer::BalancerPre<State>),
    Filter(filter::FilterPre<State>),
    BodyFilter(body_filter::BodyFilterPre<State>),
    /// A standard component.
    Standard(Service),
}

/// The use of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// World `balancer`: an upstream's `balancer`.
    Balancer,
    /// World `filter`: one of a route's `filters`.
    Filter,
    /// World `body-filter`: a filter that also sees bodies.
    BodyFilter,
    /// `wasi:http/service` of 0.3: a route's `component`.
    Service,
    /// `wasi:http/middleware` of 0.3: one of a route's `filters`.
    Middleware,
    /// `wasi:http/proxy` of 0.2: a route's `component`.
    Proxy,
}

impl Kind {
    /// The world's name.
    pub fn world(self) -> &'static str {
        match self {
            Kind::Balancer => "balancer",
            Kind::Filter => "filter",
            Kind::BodyFilter => "body-filter",
            Kind::Service => "wasi:http/service",
            Kind::Middleware => "wasi:http/middleware",
            Kind::Proxy => "wasi:http/proxy",
        }
    }

    /// Whether it is a standard component, and not of one of Weir's own worlds.
    pub fn is_standard(self) -> bool {
        matches!(self, Kind::Service | Kind::Middleware | Kind::Proxy)
    }
}

impl Plugin {
    /// Compiles a component, finds its world and calls `describe`. `name` is the plugin's name in
    /// logs and errors. Takes about 0.1 s for a small component and seconds for one with an
    /// interpreter, unless the engine's cache has it. A standard component has no `describe` and
    /// does not run here.
    ///
    /// # Errors
    ///
    /// [`PluginError::Invalid`] if the bytes are no component, or if the component imports another
    /// interface than those of `weir:plugin`, or another version of them. Also if it has none of
    /// the worlds, or describes itself beyond the bounds. Otherwise the error of the call of
    /// `describe`.
    pub fn load(
        engine: &Engine,
        name: &str,
        wasm: &[u8],
        limits: Limits,
        environment: &Environment,
    ) -> Result<Plugin, PluginError> {
        let name: Arc<str> = name.into();
        check_bytes(&name, wasm)?;
        if let Some(kind) = service::standard(wasm) {
            let service = Service::load(engine, &name, wasm, kind, limits, environment)?;
            let manifest = Arc::new(Manifest::standard(kind));
            let (engine, environment) = (engine.clone(), environment.clone());
            let world = World::Standard(service);
            return Ok(Plugin { engine, name, limits, environment, world, manifest });
        }
        let world = link(engine, &name, wasm)?;
        let mut sandbox = Sandbox::new(engine, &name, limits, environment);
        let manifest = match &world {
            World::Balancer(world) => {
                let guest = sandbox.set_up("instantiate", |store| world.instantiate(store))?;
                sandbox.set_up("describe", |store| guest.call_describe(store))
            }
            World::Filter(world) => {
                let guest = sandbox.set_up("instantiate", |store| world.instantiate(store))?;
                sandbox.set_up("describe", |store| guest.call_describe(store))
            }
            World::BodyFilter(world) => {
                let guest = sandbox.set_up("instantiate", |store| world.instantiate(store))?;
                sandbox.set_up("describe", |store| guest.call_describe(store))
            }
            World::Standard(_) => {
                return Err(PluginError::invalid(&name, "it is a standard component"));
            }
        };
        let manifest = Arc::new(Manifest::check(&name, manifest?)?);
        let (engine, environment) = (engine.clone(), environment.clone());
        Ok(Plugin { engine, name, limits, environment, world, manifest })
    }

    /// The name that it was loaded with.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The use of this plugin.
    pub fn kind(&self) -> Kind {
        match &self.world {
            World::Balancer(_) => Kind::Balancer,
            World::Filter(_) => Kind::Filter,
            World::BodyFilter(_) => Kind::BodyFilter,
            World::Standard(service) => service.kind(),
        }
    }

    /// The plugin's description of itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The limits of each instance.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The environment of its instances.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the same plugin in another environment, without compiling it again.
    #[must_use]
    pub fn with_environment(&self, environment: Environment) -> Plugin {
        Plugin { environment, ..self.clone() }
    }

    /// Returns the same plugin with other limits for each instance, without compiling it again.
    #[must_use]
    pub fn with_limits(&self, limits: Limits) -> Plugin {
        let world = match &self.world {
            World::Standard(service) => World::Standard(service.with_limits(limits)),
            world => world.clone(),
        };
        Plugin { limits, world, ..self.clone() }
    }

    /// Returns a standard component together with the values that it reads through `wasi:config`,
    /// or `None` for a plugin of Weir's own worlds.
    pub fn handler(&self, values: Vec<(String, String)>) -> Option<Handler> {
        match &self.world {
            World::Standard(service) => Some(service.handler(&self.environment, values)),
            World::Balancer(_) | World::Filter(_) | World::BodyFilter(_) => None,
        }
    }

    /// The full names of the imports with functions, and its exports outside the world's
    /// interfaces.
    pub fn interfaces(&self) -> Interfaces {
        let pre = match &self.world {
            World::Standard(service) => return service.interfaces(),
            World::Balancer(world) => world.instance_pre(),
            World::Filter(world) => world.instance_pre(),
            World::BodyFilter(world) => world.instance_pre(),
        };
        let (engine, component) = (self.engine.wasmtime(), pre.component().component_type());
        let names = |name: (&str, _)| name.0.to_owned();
        // The bindings of a language may name every interface of types. A plugin uses functions.
        let is_used = |item: &ComponentItem| match item {
            ComponentItem::ComponentInstance(interface) => interface
                .exports(engine)
                .any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_))),
            _ => true,
        };
        let imports = component.imports(engine).filter(|(_, item)| is_used(&item.ty));
        Interfaces {
            imports: imports.map(|(name, item)| names((name, item))).collect(),
            exports: component.exports(engine).map(|(name, item)| names((name, item))).collect(),
        }
    }

    pub(crate) fn sandbox(&self) -> Sandbox {
        Sandbox::new(&self.engine, &self.name, self.limits, &self.environment)
    }

    /// Returns the error for a plugin that has not the wanted world.
    pub(crate) fn is_no(&self, wanted: Kind) -> PluginError {
        let (wanted, is) = (wanted.world(), self.kind().world());
        PluginError::invalid(&self.name, format!("it is a {is}, not a {wanted}"))
    }

    /// Returns the error for a configuration that the guest does not accept.
    pub(crate) fn refused(&self, message: String) -> PluginError {
        PluginError::Refused { plugin: Arc::clone(&self.name), message: cut(message, MAX_MESSAGE) }
    }
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (name, kind) = (&self.name, self.kind());
        f.debug_struct("Plugin").field("name", name).field("kind", &kind).finish_non_exhaustive()
    }
}

/// The imports and exports of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interfaces {
    /// Names of the imported interfaces, such as `weir:plugin/host@0.1.0`.
    pub imports: Vec<String>,
    /// Names of the exported functions.
    pub exports: Vec<String>,
}

/// A plugin's description of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its own name, at most 64 bytes.
    pub name: String,
    /// Its version, at most 64 bytes.
    pub version: String,
    /// One sentence, at most 1 KiB.
    pub summary: String,
    /// A JSON Schema of its configuration, at most 64 KiB, or empty.
    pub config_schema: String,
}

impl Manifest {
    /// The manifest of a standard component: only its world is known.
    fn standard(kind: Kind) -> Manifest {
        let (name, version) = (kind.world().to_owned(), String::new());
        let summary = "A standard component".to_owned();
        Manifest { name, version, summary, config_schema: String::new() }
    }

    fn check(plugin: &Arc<str>, told: types::Manifest) -> Result<Manifest, PluginError> {
        let bounds = [
            ("name", &told.name, MAX_NAME),
            ("version", &told.version, MAX_NAME),
            ("summary", &told.summary, MAX_SUMMARY),
            ("config-schema", &told.config_schema, MAX_SCHEMA),
        ];
        for (field, value, most) in bounds {
            if value.len() > most {
                let what = format!("describe: {field} has more than {most} bytes");
                return Err(PluginError::invalid(plugin, what));
            }
        }
        let types::Manifest { name, version, summary, config_schema } = told;
        Ok(Manifest { name, version, summary, config_schema })
    }
}

/// Checks the names of inputs that a plugin asks for.
pub(crate) fn check_inputs(plugin: &Arc<str>, inputs: &[String]) -> Result<(), PluginError> {
    let what = if inputs.len() > MAX_INPUTS {
        format!("configure: it needs more than {MAX_INPUTS} inputs")
    } else if inputs.iter().any(|input| input.len() > MAX_INPUT) {
        format!("configure: the name of an input has more than {MAX_INPUT} bytes")
    } else {
        return Ok(());
    };
    Err(PluginError::invalid(plugin, what))
}

fn check_bytes(plugin: &Arc<str>, wasm: &[u8]) -> Result<(), PluginError> {
    if wasm.len() > MAX_COMPONENT {
        let what = format!("it is larger than {MAX_COMPONENT} bytes");
        return Err(PluginError::invalid(plugin, what));
    }
    if !wasm.starts_with(MAGIC) {
        return Err(PluginError::invalid(plugin, "this is not a WebAssembly component"));
    }
    if wasm.starts_with(CORE_MODULE) {
        let what = "this is a core module, not a component: make a component of it with \
            `weir plugin componentize`, or build the module's project with `weir plugin build FOLDER`";
        return Err(PluginError::invalid(plugin, what));
    }
    bounds::check(wasm).map_err(|excess| PluginError::invalid(plugin, excess.to_string()))
}

fn link(engine: &Engine, plugin: &Arc<str>, wasm: &[u8]) -> Result<World, PluginError> {
    let unloadable = |what: &'static str| {
        move |error: wasmtime::Error| PluginError::unloadable(plugin, what, error)
    };
    let invalid = |what| PluginError::invalid(plugin, what);
    // Before compiling, which takes long for a component of an earlier Weir too.
    let names = service::names::all(wasm);
    version::check_standard(names.iter().copied()).map_err(invalid)?;
    version::check(names.iter().copied()).map_err(invalid)?;
    let component = engine.component(plugin, wasm)?;
    let mut linker = Linker::new(engine.wasmtime());
    body_filter::BodyFilter::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)
        .map_err(unloadable("link weir:plugin"))?;
    let linked = linker.instantiate_pre(&component).map_err(unloadable(
        "it imports an interface that a plugin does not have; only weir:plugin/host and weir:plugin/state exist",
    ))?;
    let world = world(engine, &component, linked).map_err(|(kind, error)| match kind {
        Some(kind) => {
            let what = format!("it does not implement the world weir:plugin/{}", kind.world());
            PluginError::unloadable(plugin, what, error)
        }
        None => {
            PluginError::unloadable(plugin, "it implements none of weir:plugin's worlds", error)
        }
    })?;
    version::expect_named(names.iter().copied()).map_err(invalid)?;
    Ok(world)
}

/// Finds the world by the function that only it has, so that an error about a missing function
/// names the right world.
fn world(
    engine: &Engine,
    component: &Component,
    linked: InstancePre<State>,
) -> Result<World, (Option<Kind>, wasmtime::Error)> {
    let exports = |name| component.component_type().get_export(engine.wasmtime(), name).is_some();
    let lacks = |kind| move |error| (Some(kind), error);
    if exports("pick") {
        balancer::BalancerPre::new(linked).map(World::Balancer).map_err(lacks(Kind::Balancer))
    } else if exports("on-request-body") || exports("on-response-body") {
        let world = body_filter::BodyFilterPre::new(linked).map(World::BodyFilter);
        world.map_err(lacks(Kind::BodyFilter))
    } else if exports("on-request") {
        filter::FilterPre::new(linked).map(World::Filter).map_err(lacks(Kind::Filter))
    } else {
        Err((None, wasmtime::Error::msg("it exports neither `pick` nor `on-request`")))
    }
}

/// Cuts between characters.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// The first bytes of every WebAssembly file.
const MAGIC: &[u8] = b"\0asm";

/// The first bytes of a core module; a component has another version in the second half.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Bytes of a component; Python components, the largest, have 18 MiB. Compiling takes time and
/// memory in proportion.
pub const MAX_COMPONENT: usize = 64 << 20;

const MAX_NAME: usize = 64;
const MAX_SUMMARY: usize = 1 << 10;
const MAX_SCHEMA: usize = 64 << 10;
const MAX_MESSAGE: usize = 4 << 10;
const MAX_INPUTS: usize = 64;
const MAX_INPUT: usize = 256;
