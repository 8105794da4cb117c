//! The generated guest bindings of `wit/`, and nothing else. Public for the export macros.

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

/// The largest world defines most interfaces; the other worlds use its types.
pub mod body_filter {
    wit_bindgen::generate!({
        path: "../wit",
        world: "body-filter",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        export_macro_name: "export_body_filter_world",
        default_bindings_module: "weir_sdk::bindings::body_filter",
    });
}

pub mod filter {
    wit_bindgen::generate!({
        path: "../wit",
        world: "filter",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        export_macro_name: "export_filter_world",
        default_bindings_module: "weir_sdk::bindings::filter",
        with: {
            "weir:plugin/types@0.2.0": crate::bindings::body_filter::weir::plugin::types,
            "weir:plugin/filtering@0.2.0": crate::bindings::body_filter::weir::plugin::filtering,
            "weir:plugin/host@0.2.0": crate::bindings::body_filter::weir::plugin::host,
            "weir:plugin/state@0.2.0": crate::bindings::body_filter::weir::plugin::state,
        },
    });
}

pub mod balancer {
    wit_bindgen::generate!({
        path: "../wit",
        world: "balancer",
        pub_export_macro: true,
        additional_derives: [PartialEq],
        export_macro_name: "export_balancer_world",
        default_bindings_module: "weir_sdk::bindings::balancer",
        with: {
            "weir:plugin/types@0.2.0": crate::bindings::body_filter::weir::plugin::types,
            "weir:plugin/host@0.2.0": crate::bindings::body_filter::weir::plugin::host,
            "weir:plugin/state@0.2.0": crate::bindings::body_filter::weir::plugin::state,
        },
    });
}

pub use balancer::weir::plugin::balancing;
pub use body_filter::weir::plugin::{bodies, filtering, host, state, types};
