//! Standard components: `wasi:http` of 0.2 and 0.3, unmodified. They run on an engine of their own,
//! where guests may wait.
//!
//! A `Service` is a compiled component. A [`Handler`] is one with its configuration. A [`Call`] is
//! one request of it. Guest code runs only while a call is polled, so that dropping a call ends it.
//! A network request of a guest arrives as an [`Ask`], and the caller answers it or refuses it:
//! nothing here opens a socket.

mod body;
mod call;
mod guest;
mod interfaces;
mod meter;
pub(crate) mod names;
mod outgoing;
mod state;
mod stdio;

use std::sync::Arc;

use wasmtime::Config;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::handler::ProxyPre;
use wasmtime_wasi_http::{p2, p3};

use crate::engine::{Engine, WASM_STACK};
use crate::environment::Environment;
use crate::error::PluginError;
use crate::limits::Limits;
use crate::plugin::{Interfaces, Kind};
use guest::Guest;

pub use body::{Feed, Incoming, channel};
pub use call::{Call, IdleGuest};
pub use outgoing::{Ask, Asks, Errand, asks};
pub use wasmtime_wasi_http::{Error as HttpError, WasiBody as GuestBody};

/// Finds the kind of a component by its imports and exports. Returns `None` if the component is no
/// standard one.
pub fn standard(wasm: &[u8]) -> Option<Kind> {
    names::kind(wasm)
}

/// A component that serves HTTP: compiled and linked.
#[derive(Clone)]
pub(crate) struct Service {
    engine: Engine,
    name: Arc<str>,
    limits: Limits,
    environment: Environment,
    kind: Kind,
    component: Component,
    pre: Arc<ProxyPre<Guest>>,
}

/// A component with its configuration values. Cloning shares it.
#[derive(Clone)]
pub struct Handler {
    service: Service,
    values: Arc<WasiConfigVariables>,
}

impl Service {
    /// Compiles a component that [`standard`] has recognized.
    pub(crate) fn load(
        engine: &Engine,
        name: &Arc<str>,
        wasm: &[u8],
        kind: Kind,
        limits: Limits,
        environment: &Environment,
    ) -> Result<Service, PluginError> {
        let unloadable = |what: &'static str| {
            move |error: wasmtime::Error| PluginError::unloadable(name, what, error)
        };
        let engine = engine.standard()?;
        let component = engine.component(name, wasm)?;
        let mut linker = Linker::new(engine.wasmtime());
        interfaces::add(&mut linker).map_err(unloadable("link the standard interfaces"))?;
        let linked = linker.instantiate_pre(&component).map_err(unloadable(
            "it imports an interface that a standard component does not have",
        ))?;
        let pre = match kind {
            Kind::Proxy => p2::bindings::ProxyPre::new(linked).map(ProxyPre::P2),
            _ => p3::bindings::ServicePre::new(linked).map(ProxyPre::P3),
        };
        let pre = Arc::new(pre.map_err(unloadable("it does not export the whole of wasi:http"))?);
        let (name, environment) = (Arc::clone(name), environment.clone());
        Ok(Service { engine, name, limits, environment, kind, component, pre })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn interfaces(&self) -> Interfaces {
        let (engine, component) = (self.engine.wasmtime(), self.component.component_type());
        Interfaces {
            imports: component.imports(engine).map(|(name, _)| name.to_owned()).collect(),
            exports: component.exports(engine).map(|(name, _)| name.to_owned()).collect(),
        }
    }

    /// Returns the component with other limits for each instance.
    pub(crate) fn with_limits(&self, limits: Limits) -> Service {
        Service { limits, ..self.clone() }
    }

    /// Returns the component in another environment.
    pub(crate) fn handler(
        &self,
        environment: &Environment,
        values: Vec<(String, String)>,
    ) -> Handler {
        let service = Service { environment: environment.clone(), ..self.clone() };
        Handler { service, values: Arc::new(values.into_iter().collect()) }
    }
}

impl std::fmt::Debug for Handler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handler").field("name", &self.service.name).finish_non_exhaustive()
    }
}

/// The configuration of the engine for standard components. Guests wait on fibers. The clock makes
/// a guest yield that does not wait.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(ASYNC_STACK)
        .wasm_component_model_async(true);
    config
}

/// Stack of a fiber: the guest's stack, and as much for the host functions that it calls.
const ASYNC_STACK: usize = 2 * WASM_STACK;
