//! The generated host bindings of `wit/`, and nothing else. Only this crate sees the worlds. Its
//! public types are its own, except the records that a filter returns, which it hands on unchanged.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code keeps its generator's style"
)]

/// The largest world defines most interfaces; the other worlds use its types.
pub mod body_filter {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "body-filter",
        // With this, calls take slices of the request, and the host copies nothing.
        ownership: Borrowing { duplicate_if_necessary: true },
        additional_derives: [PartialEq],
        imports: {
            "weir:plugin/host.random": trappable,
            "weir:plugin/host.count": trappable,
            "weir:plugin/state": trappable,
        },
    });
}

pub mod filter {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "filter",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "weir:plugin/types": super::body_filter::weir::plugin::types,
            "weir:plugin/filtering": super::body_filter::weir::plugin::filtering,
            "weir:plugin/host": super::body_filter::weir::plugin::host,
            "weir:plugin/state": super::body_filter::weir::plugin::state,
        },
    });
}

pub mod balancer {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "balancer",
        ownership: Borrowing { duplicate_if_necessary: true },
        with: {
            "weir:plugin/types": super::body_filter::weir::plugin::types,
            "weir:plugin/host": super::body_filter::weir::plugin::host,
            "weir:plugin/state": super::body_filter::weir::plugin::state,
        },
    });
}

pub use balancer::weir::plugin::balancing;
pub use body_filter::weir::plugin::{bodies, filtering, host, state, types};
