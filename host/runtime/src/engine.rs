//! [`Engine`] compiles components, holds the memory of their instances, and owns the clock that
//! bounds their calls.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig,
};

use crate::clock::{Clock, Running};
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
    /// Starts an engine without a cache of compiled code.
    ///
    /// It reserves the address space for instances at once: about 8 TiB, none of it in use. Where a
    /// limit on address space prevents this, each instance gets its own memory, a little slower.
    ///
    /// # Errors
    ///
    /// [`PluginError::Engine`] if the compiler does not support the machine, or if no thread can
    /// start.
    pub fn new() -> Result<Engine, PluginError> {
        Engine::build(None, config)
    }

    /// Starts an engine that keeps compiled code in `directory`, up to 1 GiB. The key of an entry
    /// is the component's digest, the compiler's version and its settings. The engine runs the code
    /// in the directory without a check: a process that can write there can run code in this
    /// process. If the directory does not exist or is not writable, the engine compiles everything
    /// anew.
    ///
    /// # Errors
    ///
    /// As for [`Engine::new`].
    pub fn with_cache(directory: &Path) -> Result<Engine, PluginError> {
        let mut cache = CacheConfig::new();
        cache.with_directory(directory).with_files_total_size_soft_limit(CACHE);
        match Cache::new(cache) {
            Ok(cache) => Engine::build(Some(cache), config),
            Err(error) => {
                let directory = directory.display();
                tracing::info!(%directory, error = format!("{error:#}"), "no cache of compiled code");
                Engine::build(None, config)
            }
        }
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
        let engine = Engine::build(self.shared.cache.clone(), service::config)?;
        Ok(self.shared.standard.get_or_init(|| engine).clone())
    }

    fn build(cache: Option<Cache>, config: fn() -> Config) -> Result<Engine, PluginError> {
        let pooled =
            wasmtime::Engine::new(config().cache(cache.clone()).allocation_strategy(pool()));
        let engine = pooled.or_else(|error| {
            tracing::info!(
                error = format!("{error:#}"),
                "no address space for a pool of plugin instances; each gets its own memory"
            );
            wasmtime::Engine::new(unpooled(config).cache(cache.clone()))
        });
        Engine::start(engine, cache)
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
        cache: Option<Cache>,
    ) -> Result<Engine, PluginError> {
        let engine = engine.map_err(|error| PluginError::Engine(error.into_boxed_dyn_error()))?;
        let clock =
            Clock::start(engine.weak()).map_err(|error| PluginError::Engine(Box::new(error)))?;
        let standard = OnceLock::new();
        Ok(Engine { shared: Arc::new(Shared { engine, clock, cache, standard }) })
    }
}

struct Shared {
    engine: wasmtime::Engine,
    clock: Clock,
    cache: Option<Cache>,
    standard: OnceLock<Engine>,
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

/// Bytes of compiled code on disk; the code of one interpreter has 60 MiB.
const CACHE: u64 = 1 << 30;

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
        Engine::start(wasmtime::Engine::new(&unpooled(config)), None).unwrap();
    }
}
