//! [`Sandbox`] holds a store and its limits, and makes one guest call under a deadline.

use std::sync::Arc;

use wasmtime::{Store, StoreContextMut};

use crate::engine::Engine;
use crate::environment::Environment;
use crate::error::PluginError;
use crate::limits::{Deadline, Limits, Memory};
use crate::voice::Voice;

/// The store that one instance of a plugin lives in.
pub(crate) struct Sandbox {
    store: Store<State>,
    limits: Limits,
    engine: Engine,
}

impl Sandbox {
    pub(crate) fn new(
        engine: &Engine,
        plugin: &Arc<str>,
        limits: Limits,
        environment: &Environment,
    ) -> Sandbox {
        let state = State {
            voice: Voice::new(environment, plugin),
            memory: Memory::new(limits.memory),
            deadline: Deadline::default(),
        };
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().deadline.tick()));
        store.set_hostcall_fuel(TRANSFER);
        Sandbox { store, limits, engine: engine.clone() }
    }

    /// Runs guest code that sets up the instance, under the longer limit.
    pub(crate) fn set_up<T>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(StoreContextMut<'_, State>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        let limits = Limits { time: self.limits.time.max(Limits::SETUP), ..self.limits };
        self.run(name, limits, call)
    }

    /// Runs guest code that takes in a change, under a limit between the two others.
    pub(crate) fn learn<T>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(StoreContextMut<'_, State>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        let limits = Limits { time: self.limits.time.max(Limits::UPDATE), ..self.limits };
        self.run(name, limits, call)
    }

    /// Runs guest code that serves a request.
    #[inline]
    pub(crate) fn call<T>(
        &mut self,
        name: &'static str,
        call: impl FnOnce(StoreContextMut<'_, State>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        self.run(name, self.limits, call)
    }

    /// Makes a call as [`Sandbox::call`] does, but with another bound on the result.
    pub(crate) fn call_with<T>(
        &mut self,
        name: &'static str,
        transfer: usize,
        call: impl FnOnce(StoreContextMut<'_, State>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        self.store.set_hostcall_fuel(transfer);
        let result = self.run(name, self.limits, call);
        self.store.set_hostcall_fuel(TRANSFER);
        result
    }

    /// The plugin's name in the configuration.
    pub(crate) fn plugin(&self) -> &Arc<str> {
        self.store.data().voice.plugin()
    }

    /// Notes the request for the following calls.
    #[inline]
    pub(crate) fn serve(&mut self, request: Option<u64>) {
        self.store.data_mut().voice.serve(request);
    }

    /// Bytes of linear memory now.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory.linear()
    }

    #[inline]
    fn run<T>(
        &mut self,
        name: &'static str,
        limits: Limits,
        call: impl FnOnce(StoreContextMut<'_, State>) -> wasmtime::Result<T>,
    ) -> Result<T, PluginError> {
        use wasmtime::AsContextMut;
        let _running = self.engine.run();
        let state = self.store.data_mut();
        state.deadline.begin(limits.time);
        state.voice.begin();
        self.store.set_epoch_deadline(1);
        call(self.store.as_context_mut()).map_err(|error| self.failed(name, limits, error))
    }

    #[cold]
    fn failed(
        &mut self,
        name: &'static str,
        limits: Limits,
        error: wasmtime::Error,
    ) -> PluginError {
        let words = self.store.data_mut().voice.last_words();
        PluginError::failed(self.plugin(), name, limits, error, words)
    }
}

/// The data that the host keeps for an instance.
pub(crate) struct State {
    pub(crate) voice: Voice,
    pub(crate) memory: Memory,
    pub(crate) deadline: Deadline,
}

impl State {
    pub(crate) fn environment(&self) -> &Environment {
        self.voice.environment()
    }
}

/// Bytes that one call may make the host copy out of the guest. The count comes before any
/// allocation: a list with many references to one long string cannot exhaust the host.
const TRANSFER: usize = 512 << 10;
