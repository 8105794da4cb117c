//! Host bindings of `wit/`, generated, and nothing else. Only this crate sees the worlds: its public types are its own,
//! or records that a filter returns, which are handed on as they are.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code keeps its generator's style"
)]

/// The largest world brings most interfaces along; the others use its types.
pub mod body_filter {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "body-filter",
        // Calls then take slices of the request as they are; nothing is copied on the host's side.
        ownership: Borrowing { duplicate_if_necessary: true },
        additional_derives: [PartialEq],
        imports: {
            "weir:plugin/host.random": trappable,
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
