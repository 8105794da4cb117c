//! Runs Weir's plugins: WebAssembly components under limits of memory and time.
//!
//! [`Engine`] compiles, [`Plugin`] is a component that was compiled, found to be of one of the worlds and asked what it is;
//! [`BalancerInstance`] and [`FilterInstance`] are running copies of one with a memory of their own. Calls are synchronous
//! and made on the caller's thread; none takes longer than its limit of CPU time, and what a guest may keep in memory,
//! return, log and allocate in the host is bounded.
//!
//! This crate knows no socket and no configuration file, gives a guest nothing but an [`Environment`], and decides nothing
//! about failures: it tells their kind ([`PluginError::kind`]), and whoever called drops the instance. The proxy calls
//! it, and so do the tools that test plugins.

#![cfg_attr(
    not(feature = "wasi-http"),
    allow(dead_code, reason = "a second engine, which only standard components need")
)]

mod balancer;
mod bindings;
mod clock;
mod engine;
mod environment;
mod error;
pub mod filter;
mod imports;
mod instance;
mod limits;
mod plugin;
#[cfg_attr(not(feature = "wasi-http"), path = "service/absent.rs")]
pub mod service;
mod state;
mod version;
mod voice;

pub use balancer::{BalancerInstance, Endpoint, Needs, Outcome, Pick, TRIED};
pub use engine::Engine;
pub use environment::{Environment, Level, Line, Services, SystemServices};
pub use error::PluginError;
pub use filter::{FilterInstance, FilterNeeds};
pub use limits::Limits;
pub use plugin::{Interfaces, Kind, MAX_COMPONENT, Manifest, Plugin};
pub use state::{MemoryState, SharedState};
