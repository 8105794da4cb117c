//! Runs Weir's plugins: WebAssembly components under limits of memory and time.
//!
//! [`Engine`] compiles. [`Plugin`] is a compiled component with a known world and a description of
//! itself. [`BalancerInstance`] and [`FilterInstance`] are running copies of a plugin, each with
//! its own memory. Calls are synchronous and run on the caller's thread. No call takes longer than
//! its limit of CPU time. The memory, results, log lines and host allocations of a guest are
//! bounded.
//!
//! This crate knows no socket and no configuration file, and gives a guest nothing but an
//! [`Environment`]. It decides nothing about failures: it reports their kind
//! ([`PluginError::kind`]), and the caller drops the instance. The proxy and the tools that test
//! plugins call it.

mod balancer;
mod bindings;
mod bounds;
mod clock;
pub mod code;
mod engine;
mod environment;
mod error;
pub mod filter;
mod imports;
mod instance;
mod limits;
mod plugin;
pub mod service;
mod state;
mod version;
mod voice;

pub use balancer::{BalancerInstance, BalancerNeeds, Endpoint, Outcome, Pick, TRIED};
pub use engine::Engine;
pub use environment::{Environment, Level, Line, Preset, Services, SystemServices};
pub use error::{PluginError, with_causes};
pub use filter::{FilterInstance, FilterNeeds};
pub use limits::Limits;
pub use plugin::{Interfaces, Kind, MAX_COMPONENT, Manifest, Plugin};
pub use state::{MemoryState, SharedState, StateEntry, StateValue};
