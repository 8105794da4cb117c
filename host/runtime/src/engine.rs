//! [`Engine`] compiles components, holds the memory of their instances, and owns the clock that
//! bounds their calls.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use wasmtime::component::Component;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::clock::{Clock, Running};
use crate::code::{Code, Outside, Settings};
use crate::error::PluginError;
use crate::service;

/// Compiles plugins and holds the memory that their instances live in. Cloning is cheap and shares
/// it.
///
/// A process needs one engine. The engine runs one thread, the clock. The thread ends when the last
/// clone, plugin and instance is gone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Starts an engine that compiles in this process and keeps no compiled code.
    ///
    /// It reserves the address space for instances at once: about 8 TiB, none of it in use. Where a
    /// limit on address space prevents this, each instance gets its own memory, a little slower.
    ///
    /// # Errors
    ///
    /// [`PluginError::Engine`] if the compiler does not support the machine, or if no thread can
    /// start.
    pub fn new() -> Result<Engine, PluginError> {
        Engine::with_code(None, None)
    }

    /// Starts an engine that keeps compiled code in `directory`, up to 1 GiB, and compiles with
    /// `outside`, if it is given. The name of a file is the component's digest and that of the
    /// compiler and its settings. The engine runs the code in the directory without a check: a
    /// process that can write there can run code in this process. If the directory is not writable,
    /// the engine compiles everything anew.
    ///
    /// # Errors
    ///
    /// As for [`Engine::new`].
    pub fn with_code(
        directory: Option<PathBuf>,
        outside: Option<Arc<dyn Outside>>,
    ) -> Result<Engine, PluginError> {
        Engine::build(Code { directory, outside }, false)
    }

    /// Returns the engine for standard components, with the same cache. The first standard
    /// component starts it.
    ///
    /// # Errors
    ///
    /// As for [`Engine::new`].
    pub(crate) fn standard(&self) -> Result<Engine, PluginError> {
        if let Some(engine) = self.shared.standard.get() {
            return Ok(engine.clone());
        }
        let engine = Engine::build(self.shared.code.clone(), true)?;
        Ok(self.shared.standard.get_or_init(|| engine).clone())
    }

    fn build(code: Code, is_standard: bool) -> Result<Engine, PluginError> {
        let config = of(is_standard);
        let pooled = wasmtime::Engine::new(config().allocation_strategy(pool()));
        let is_pooled = pooled.is_ok();
        let engine = pooled.or_else(|error| {
            tracing::info!(
                error = format!("{error:#}"),
                "no address space for a pool of plugin instances; each gets its own memory"
            );
            wasmtime::Engine::new(&unpooled(config))
        });
        Engine::start(engine, code, Settings { is_standard, is_pooled })
    }

    /// Returns an engine that only compiles, for one with these settings. It needs no pool.
    pub(crate) fn compiler(settings: Settings) -> wasmtime::Result<wasmtime::Engine> {
        let config = of(settings.is_standard);
        let config = if settings.is_pooled { config() } else { unpooled(config) };
        wasmtime::Engine::new(&config)
    }

    /// Compiles a component, or finds its code.
    pub(crate) fn component(
        &self,
        plugin: &Arc<str>,
        wasm: &[u8],
    ) -> Result<Component, PluginError> {
        let Shared { engine, code, settings, .. } = &*self.shared;
        code.load(engine, *settings, plugin, wasm)
    }

    /// The settings that its code depends on.
    #[cfg(test)]
    pub(crate) fn settings(&self) -> Settings {
        self.shared.settings
    }

    /// The Wasmtime engine to compile and link with.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.engine
    }

    /// Keeps the clock ticking until the result is dropped.
    #[inline]
    pub(crate) fn run(&self) -> Running {
        self.shared.clock.run()
    }

    fn start(
        engine: wasmtime::Result<wasmtime::Engine>,
        code: Code,
        settings: Settings,
    ) -> Result<Engine, PluginError> {
        let engine = engine.map_err(|error| PluginError::Engine(error.into_boxed_dyn_error()))?;
        let clock =
            Clock::start(engine.weak()).map_err(|error| PluginError::Engine(Box::new(error)))?;
        let standard = OnceLock::new();
        Ok(Engine { shared: Arc::new(Shared { engine, clock, code, settings, standard }) })
    }
}

struct Shared {
    engine: wasmtime::Engine,
    clock: Clock,
    code: Code,
    settings: Settings,
    standard: OnceLock<Engine>,
}

/// Returns the configuration for plugins of Weir's own worlds, or for standard components.
fn of(is_standard: bool) -> fn() -> Config {
    if is_standard { service::config } else { config }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        // No bookkeeping of concurrent tasks: this halves the cost of a call against the default.
        .concurrency_support(false)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK);
    config
}

fn pool() -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(CORE_INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(TABLES)
        .max_core_instances_per_component(256)
        .max_memories_per_component(64)
        .max_tables_per_component(128)
        .max_tables_per_module(16)
        .table_elements(TABLE_ELEMENTS)
        // With this, a fresh instance for each request costs only the pages that the last one wrote
        // to, if the kernel can report them.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Gives each memory the size that it needs and no reservation: a limited address space can hold
/// that.
fn unpooled(config: fn() -> Config) -> Config {
    let mut config = config();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(1 << 16);
    config
}

/// Instances at once: 64 workers with 15 plugins each, doubled for the time of a swap. Each takes 4
/// GiB of address space; a process has 128 TiB.
const INSTANCES: u32 = 2_000;

/// A component of an interpreted language has up to 110 core instances; one of a compiled language
/// has 4.
const CORE_INSTANCES: u32 = 40_000;

/// In proportion to the core instances; most of them have no table.
const TABLES: u32 = 8_000;

/// The largest table met in practice has 7,700 elements (Python).
const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of a memory or table that stay resident for the next instance in its place.
const KEPT: usize = 64 << 10;

/// Bytes of stack for guest code. Workers have 2 MiB; this leaves the larger part to the host.
pub(crate) const WASM_STACK: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_ends_with_the_last_engine() {
        let engine = Engine::new().unwrap();
        let weak = engine.wasmtime().weak();
        let clone = engine.clone();
        drop(engine);
        assert!(weak.upgrade().is_some());
        drop(clone);
        assert!(weak.upgrade().is_none());
    }

    #[test]
    fn an_engine_starts_without_a_pool() {
        let settings = Settings { is_standard: false, is_pooled: false };
        let engine = wasmtime::Engine::new(&unpooled(config));
        Engine::start(engine, Code::default(), settings).unwrap();
    }
}
