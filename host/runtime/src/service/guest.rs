//! [`Guest`] is the data that the host keeps for one instance of a standard component. The instance
//! has no files, no sockets, no arguments and no environment variables.

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime::{ResourceLimiter, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_config::WasiConfigVariables;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::meter::Meter;
use super::outgoing::Asks;
use super::stdio::{Lines, Shared};
use super::{Handler, Service};
use crate::environment::{Environment, Level};
use crate::limits::Memory;

/// The data of a store.
pub(super) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    pub(super) table: ResourceTable,
    /// The receiver of the network requests of the running call.
    pub(super) asks: Asks,
    pub(super) values: Arc<WasiConfigVariables>,
    pub(super) environment: Environment,
    pub(super) voice: Shared,
    memory: Memory,
    pub(super) meter: Arc<Meter>,
}

impl Guest {
    /// Makes a store for an instance of a handler's component.
    pub(super) fn store(
        handler: &Handler,
        meter: Arc<Meter>,
        voice: Shared,
        asks: Asks,
    ) -> Store<Guest> {
        let Handler { service, values } = handler;
        let Service { engine, limits, environment, .. } = service;
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        let lines = |level| Lines::new(&voice, level);
        let wasi = WasiCtxBuilder::new()
            .stdout(lines(Level::Info))
            .stderr(lines(Level::Warn))
            .allow_tcp(false)
            .allow_udp(false)
            .max_random_size(RANDOM)
            .build();
        let guest = Guest {
            wasi,
            http,
            table,
            asks,
            values: Arc::clone(values),
            environment: environment.clone(),
            voice,
            memory: Memory::new(limits.memory),
            meter,
        };
        let mut store = Store::new(engine.wasmtime(), guest);
        store.limiter(|guest| guest);
        store.epoch_deadline_callback(|store| Ok(store.data().meter.tick()));
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(TRANSFER);
        store
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.asks, table: &mut self.table, ctx: &mut self.http }
    }
}

impl ResourceLimiter for Guest {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grows = self.memory.memory_growing(current, desired, maximum);
        self.meter.set_memory(self.memory.linear());
        grows
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.memory_grow_failed(error)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.memory.table_growing(current, desired, maximum)
    }

    fn table_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        self.memory.table_grow_failed(error)
    }
}

/// Resources that a guest may hold in the host at once: requests, responses, fields, streams. One
/// request needs some dozen. Languages that collect garbage hold the resources of each piece of a
/// body for a while. Most entries take some hundred bytes, but fields may have up to [`FIELDS`].
/// The bound limits the host memory of a hostile guest to 512 MiB.
const RESOURCES: usize = 1 << 12;

/// Bytes of a header or trailer section in the host's form, which is up to twice the size sent.
const FIELDS: usize = 128 << 10;

/// Bytes of randomness that a guest gets at once.
const RANDOM: u64 = 64 << 10;

/// Bytes that one call of the guest may make the host copy out of it.
const TRANSFER: usize = 4 << 20;
