//! The generated guest bindings of `wit/`, and nothing else. Public for the export macros.
//! `make bindings` writes them.

#![allow(
    missing_docs,
    unsafe_code,
    unused_qualifications,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code keeps its generator's style"
)]

// The largest world defines most interfaces; the other worlds use its types.
#[rustfmt::skip]
pub mod balancer;
#[rustfmt::skip]
pub mod body_filter;
#[rustfmt::skip]
pub mod filter;

pub use balancer::weir::plugin::balancing;
pub use body_filter::weir::plugin::{bodies, filtering, host, state, types};
