//! [`Balancer`], a plugin of the world `balancer`, and [`BalancerInstance`], a running copy of it.

use std::sync::Arc;

use wasmtime::component::{Component, HasSelf, Linker};

use crate::bindings::weir::plugin::types;
use crate::bindings::{self, BalancerPre};
use crate::engine::Engine;
use crate::error::PluginError;
use crate::instance::{Sandbox, State};
use crate::limits::Limits;

/// A balancer plugin: compiled, its world checked, and asked what it is. Workers share it and make their
/// instances from it.
pub struct Balancer {
    engine: Engine,
    plugin: Arc<str>,
    limits: Limits,
    component: BalancerPre<State>,
    manifest: Manifest,
}

impl Balancer {
    /// Compiles a component, checks that it is a balancer and calls `describe`; `name` is what logs and errors
    /// call it. Takes time: about 0.1 s for a small component, seconds for one that brings an interpreter.
    ///
    /// # Errors
    ///
    /// [`PluginError::Invalid`] if it is no component, imports anything but `weir:plugin/host`, lacks a function
    /// of the world or describes itself beyond the bounds; otherwise what went wrong in `describe`.
    pub fn load(
        engine: &Engine,
        name: &str,
        wasm: &[u8],
        limits: Limits,
    ) -> Result<Balancer, PluginError> {
        let plugin: Arc<str> = name.into();
        let component = compile(engine, &plugin, wasm)?;
        let mut sandbox = Sandbox::new(engine, &plugin, limits);
        let guest = sandbox.set_up("instantiate", |store| component.instantiate(store))?;
        let manifest = sandbox.set_up("describe", |store| guest.call_describe(store))?;
        let manifest = Manifest::check(&plugin, manifest)?;
        Ok(Balancer { engine: engine.clone(), plugin, limits, component, manifest })
    }

    /// What the plugin says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What each instance may take.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Makes a fresh instance and configures it; `config` is JSON text, `null` for none. Takes about 10 µs
    /// besides what the guest does.
    ///
    /// # Errors
    ///
    /// [`PluginError::Refused`] if the plugin does not accept the configuration, [`PluginError::Invalid`] if it
    /// asks for more than there is; otherwise what went wrong in `configure`.
    pub fn instantiate(&self, config: &str) -> Result<BalancerInstance, PluginError> {
        let mut sandbox = Sandbox::new(&self.engine, &self.plugin, self.limits);
        let guest = sandbox.set_up("instantiate", |store| self.component.instantiate(store))?;
        let needs = sandbox.set_up("configure", |store| guest.call_configure(store, config))?;
        let needs = needs.map_err(|message| PluginError::Refused {
            plugin: Arc::clone(&self.plugin),
            message: cut(message, MAX_MESSAGE),
        })?;
        let needs = Needs::check(&self.plugin, needs)?;
        Ok(BalancerInstance { sandbox, guest, needs })
    }
}

/// One instance of a [`Balancer`], for one upstream and one worker.
///
/// After an error from any call it is in no known state: drop it and make another.
pub struct BalancerInstance {
    sandbox: Sandbox,
    guest: bindings::Balancer,
    needs: Needs,
}

impl BalancerInstance {
    /// What the plugin wants to be given.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Replaces the endpoints to choose from.
    ///
    /// # Errors
    ///
    /// What went wrong in the guest.
    pub fn update(&mut self, endpoints: &[Endpoint]) -> Result<(), PluginError> {
        let labels: Vec<Vec<(&str, &str)>> = endpoints.iter().map(Endpoint::labels).collect();
        let endpoints: Vec<_> = endpoints
            .iter()
            .zip(&labels)
            .map(|(endpoint, labels)| endpoint.lower(labels))
            .collect();
        let guest = &self.guest;
        self.sandbox.learn("update", |store| guest.call_update(store, &endpoints))
    }

    /// Chooses an endpoint: an id, or none. The id is the guest's word: whether the last update had it is for
    /// the caller to look up. Costs 0.2 to 0.4 µs with 32 endpoints.
    ///
    /// # Errors
    ///
    /// What went wrong in the guest.
    #[inline]
    pub fn pick(&mut self, pick: Pick<'_>) -> Result<Option<u32>, PluginError> {
        let guest = &self.guest;
        self.sandbox.call("pick", |store| {
            guest.call_pick(store, pick.sequence, pick.attempt, pick.inputs, pick.loads)
        })
    }

    /// Tells how requests ended.
    ///
    /// # Errors
    ///
    /// What went wrong in the guest.
    pub fn observe(&mut self, outcomes: &[Outcome]) -> Result<(), PluginError> {
        let outcomes: Vec<_> = outcomes.iter().map(Outcome::lower).collect();
        let guest = &self.guest;
        self.sandbox.call("observe", |store| guest.call_observe(store, &outcomes))
    }

    /// Bytes of linear memory that it holds now.
    pub fn memory(&self) -> usize {
        self.sandbox.memory()
    }
}

/// What a plugin says about itself.
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

/// What a plugin wants to be given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// Names of the inputs that each pick hands over, in this order; at most 64 of at most 256 bytes. Which names
    /// there are is the host's matter.
    pub inputs: Vec<String>,
    /// Whether [`Pick::sequence`] must count.
    pub sequence: bool,
    /// Whether [`Pick::loads`] must be given.
    pub loads: bool,
    /// Whether [`BalancerInstance::observe`] is to be called.
    pub outcomes: bool,
}

impl Needs {
    fn check(plugin: &Arc<str>, told: types::Needs) -> Result<Needs, PluginError> {
        if told.inputs.len() > MAX_INPUTS {
            let what = format!("configure: it needs more than {MAX_INPUTS} inputs");
            return Err(PluginError::invalid(plugin, what));
        }
        if told.inputs.iter().any(|input| input.len() > MAX_INPUT) {
            let what = format!("configure: the name of an input has more than {MAX_INPUT} bytes");
            return Err(PluginError::invalid(plugin, what));
        }
        let types::Needs { inputs, sequence, loads, outcomes } = told;
        Ok(Needs { inputs, sequence, loads, outcomes })
    }
}

/// A server that may be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// What [`BalancerInstance::pick`] answers with.
    pub id: u32,
    /// IP address and port.
    pub address: String,
    /// Its share relative to the others; 0 asks for no traffic.
    pub weight: u32,
    /// Where it is, or empty.
    pub zone: String,
    /// Names and values from the configuration.
    pub labels: Vec<(String, String)>,
}

impl Endpoint {
    fn labels(&self) -> Vec<(&str, &str)> {
        self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn lower<'a>(&'a self, labels: &'a [(&'a str, &'a str)]) -> types::Endpoint<'a> {
        let Endpoint { id, address, weight, zone, .. } = self;
        types::Endpoint { id: *id, address, weight: *weight, zone, labels }
    }
}

/// The request that an endpoint is chosen for.
#[derive(Debug, Clone, Copy)]
pub struct Pick<'a> {
    /// The request's number in its upstream, over all workers; the same for every attempt. 0 if not needed.
    pub sequence: u64,
    /// 0 at first, then counts the retries of this request.
    pub attempt: u32,
    /// A value, or none, for each of [`Needs::inputs`].
    pub inputs: &'a [Option<&'a [u8]>],
    /// Requests in flight at each endpoint of the last update, in its order; [`TRIED`] for an endpoint that this
    /// request was already sent to. Empty if not needed.
    pub loads: &'a [u32],
}

/// The load that marks an endpoint that a request has already tried.
pub const TRIED: u32 = u32::MAX;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// The endpoint's id.
    pub endpoint: u32,
    /// The response's status; 0 when there was none.
    pub status: u16,
    /// Microseconds from the choice to the response's header section, or to the failure.
    pub duration_us: u64,
}

impl Outcome {
    fn lower(&self) -> types::Outcome {
        let Outcome { endpoint, status, duration_us } = *self;
        types::Outcome { endpoint, status, duration_us }
    }
}

fn compile(
    engine: &Engine,
    plugin: &Arc<str>,
    wasm: &[u8],
) -> Result<BalancerPre<State>, PluginError> {
    if wasm.len() > MAX_COMPONENT {
        let what = format!("it is larger than {MAX_COMPONENT} bytes");
        return Err(PluginError::invalid(plugin, what));
    }
    if wasm.starts_with(CORE_MODULE) {
        let what =
            "this is a core module, not a component; `weir-sdk-build component` makes one of it";
        return Err(PluginError::invalid(plugin, what));
    }
    let unloadable = |what| move |error| PluginError::unloadable(plugin, what, error);
    let component = Component::new(engine.wasmtime(), wasm)
        .map_err(unloadable("this is not a WebAssembly component"))?;
    let mut linker = Linker::new(engine.wasmtime());
    bindings::Balancer::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)
        .map_err(unloadable("link weir:plugin/host"))?;
    let linked = linker.instantiate_pre(&component).map_err(unloadable(
        "it imports what a plugin is not given; only weir:plugin/host is there",
    ))?;
    BalancerPre::new(linked).map_err(unloadable("it is not of the world weir:plugin/balancer"))
}

/// Cuts between characters.
fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

/// How a core module begins; a component has another version in the second half.
const CORE_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Bytes of a component; those of Python, the largest, have 18 MiB. Compiling takes time and memory in proportion.
const MAX_COMPONENT: usize = 64 << 20;

const MAX_NAME: usize = 64;
const MAX_SUMMARY: usize = 1 << 10;
const MAX_SCHEMA: usize = 64 << 10;
const MAX_MESSAGE: usize = 4 << 10;
const MAX_INPUTS: usize = 64;
const MAX_INPUT: usize = 256;
