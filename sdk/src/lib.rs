//! What a Weir plugin written in Rust depends on.
//!
//! A balancer is a type that implements [`Balancer`], exported with [`export_balancer!`]. The macro exports it on
//! WebAssembly and expands to nothing elsewhere, so that the logic unit-tests natively, with `cargo test`.
//!
//! ```
//! use weir_sdk::{Balancer, Endpoint, Manifest, Needs, NoConfig, Pick};
//!
//! struct First(Option<u32>);
//!
//! impl Balancer for First {
//!     type Config = NoConfig;
//!
//!     fn describe() -> Manifest {
//!         weir_sdk::manifest!(NoConfig::SCHEMA)
//!     }
//!
//!     fn new(_config: NoConfig) -> Result<Self, String> {
//!         Ok(First(None))
//!     }
//!
//!     fn update(&mut self, endpoints: Vec<Endpoint>) {
//!         self.0 = endpoints.first().map(|endpoint| endpoint.id);
//!     }
//!
//!     fn pick(&mut self, _pick: &Pick<'_>) -> Option<u32> {
//!         self.0
//!     }
//! }
//!
//! weir_sdk::export_balancer!(First);
//! ```
//!
//! `weir-sdk-build` turns the module that `cargo build --target wasm32-unknown-unknown` makes into a component.
//! The interface itself, in the words of WIT, is in `wit/`; this crate adds no protocol of its own.

#[doc(hidden)]
pub mod bindings;
mod config;
mod export;
pub mod host;

pub use bindings::weir::plugin::types::{Endpoint, Manifest, Needs, Outcome};
pub use config::{Config, NoConfig};

/// Chooses the endpoint of each request. There is one instance for each worker and upstream; see the world
/// `balancer` for when each method is called.
pub trait Balancer: Sized + 'static {
    /// The configuration: a type that derives `Deserialize`, or [`NoConfig`]. Make it `#[serde(deny_unknown_fields)]`,
    /// so that a misspelt key is refused with a message that names it; a user who gives none gives `{}`.
    type Config: Config;

    /// What this plugin is; [`manifest!`] fills it from the package.
    fn describe() -> Manifest;

    /// Makes an instance, or says what is wrong with the configuration.
    ///
    /// # Errors
    ///
    /// The reason, for the user.
    fn new(config: Self::Config) -> Result<Self, String>;

    /// What the host is to hand over. Asked once, after [`Balancer::new`]; nothing by default.
    fn needs(&self) -> Needs {
        Needs { inputs: Vec::new(), sequence: false, loads: false, outcomes: false }
    }

    /// Replaces the endpoints to choose from.
    fn update(&mut self, endpoints: Vec<Endpoint>);

    /// Chooses an endpoint by its id, or none if no endpoint should take the request.
    fn pick(&mut self, pick: &Pick<'_>) -> Option<u32>;

    /// Learns how requests ended, in batches, if [`Needs::outcomes`] is set.
    fn observe(&mut self, outcomes: Vec<Outcome>) {
        let _ = outcomes;
    }
}

/// The request that an endpoint is chosen for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pick<'a> {
    /// The request's number in its upstream, over all workers, without gaps; the same for every attempt.
    /// 0 unless [`Needs::sequence`] is set.
    pub sequence: u64,
    /// 0 at first, then counts the retries of this request. A retry should go elsewhere.
    pub attempt: u32,
    /// A value, or none, for each of [`Needs::inputs`].
    pub inputs: &'a [Option<Vec<u8>>],
    /// Requests in flight at each endpoint of the last update, in its order, over all workers; [`TRIED`] for one
    /// that this request was already sent to. Empty unless [`Needs::loads`] is set.
    pub loads: &'a [u32],
}

impl<'a> Pick<'a> {
    /// The value of the input at this place of [`Needs::inputs`], if the request has it.
    pub fn input(&self, index: usize) -> Option<&'a [u8]> {
        self.inputs.get(index)?.as_deref()
    }

    /// The load of the endpoint at this place of the last update; 0 if it was not given.
    pub fn load(&self, index: usize) -> u32 {
        self.loads.get(index).copied().unwrap_or(0)
    }
}

/// The load that marks an endpoint that the request has already tried.
pub const TRIED: u32 = u32::MAX;
