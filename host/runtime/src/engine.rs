//! [`Engine`]: how components are compiled and where their instances live, and the clock that bounds their calls.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig,
};

use crate::clock::{Clock, Running};
use crate::error::PluginError;
use crate::service;

/// Compiles plugins and holds the memory that their instances live in. Cloning is cheap and shares it.
///
/// A process needs one. It runs a thread, the clock, that ends when the last clone, plugin and instance is gone.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

impl Engine {
    /// Starts an engine that compiles everything anew.
    ///
    /// The address space for instances is reserved at once, about 8 TiB and none of it used; where that is not
    /// to be had (a limit on address space), instances get their memory one by one, and a little slower.
    ///
    /// # Errors
    ///
    /// [`PluginError::Engine`] on a machine that the compiler cannot work for, or with no thread to be had.
    pub fn new() -> Result<Engine, PluginError> {
        Engine::build(None, config)
    }

    /// Starts an engine that keeps compiled code in `directory`, up to 1 GiB, keyed by the component's digest, the
    /// compiler's version and its settings. What is there is run without a check: whoever can write to it can run code
    /// in this process. Without the directory, or without the right to write to it, everything is compiled anew.
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

    /// The engine that standard components run on, with the same cache; started when the first of them is loaded.
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

    /// Compiles and links with this.
    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.shared.engine
    }

    /// Has the clock tick until the result is dropped.
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
        // Halves the cost of a call against the default: no bookkeeping of concurrent tasks.
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
        // A fresh instance for each request then costs what the last one wrote to, where the kernel can tell.
        .pagemap_scan(Enabled::Auto)
        .linear_memory_keep_resident(KEPT)
        .table_keep_resident(KEPT);
    InstanceAllocationStrategy::Pooling(pool)
}

/// Memories of their size and no more: what a limited address space can hold.
fn unpooled(config: fn() -> Config) -> Config {
    let mut config = config();
    config
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .memory_reservation(0)
        .memory_reservation_for_growth(1 << 20)
        .memory_guard_size(1 << 16);
    config
}

/// Instances at once: 64 workers with 15 plugins each, twice over while they are swapped. Each takes 4 GiB of
/// address space, of which a process has 128 TiB.
const INSTANCES: u32 = 2_000;

/// A component of an interpreted language has up to 110 core instances, one of a compiled language 4.
const CORE_INSTANCES: u32 = 40_000;

/// As for core instances, most of which have no table.
const TABLES: u32 = 8_000;

/// The largest table met in practice has 7,700 elements (Python).
const TABLE_ELEMENTS: usize = 20_000;

/// Bytes of a memory or table that stay resident for the next instance to take its place.
const KEPT: usize = 64 << 10;

/// Bytes of compiled code on disk; that of an interpreter has 60 MiB.
const CACHE: u64 = 1 << 30;

/// Stack of guest code. Workers have 2 MiB, of which this leaves the larger part to the host.
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
