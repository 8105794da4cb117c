//! Host bindings of `wit/`, generated, and nothing else. Only this crate sees them: its public types are its own.

#![allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    reason = "generated code keeps its generator's style"
)]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "balancer",
    // `pick` then takes slices of the request as they are; nothing is copied on the host's side.
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { "weir:plugin/host.random": trappable },
});
