//! Runs Weir's plugins: WebAssembly components under limits of memory and time.
//!
//! [`Engine`] compiles, [`Balancer`] is a plugin that was compiled and checked, and [`BalancerInstance`] is one
//! running copy of it with a memory of its own. Calls are synchronous and made on the caller's thread; none
//! takes longer than its limit of CPU time, and what a guest may keep in memory, return, log and allocate in
//! the host is bounded.
//!
//! This crate knows no socket and no configuration file, gives a guest nothing but `weir:plugin/host`, and
//! decides nothing about failures: it tells their kind ([`PluginError::kind`]), and whoever called drops
//! the instance. The host's upstreams call it, and so do the tools that test plugins.

mod balancer;
mod bindings;
mod engine;
mod error;
mod imports;
mod instance;
mod limits;

pub use balancer::{Balancer, BalancerInstance, Endpoint, Manifest, Needs, Outcome, Pick, TRIED};
pub use engine::Engine;
pub use error::PluginError;
pub use limits::Limits;
