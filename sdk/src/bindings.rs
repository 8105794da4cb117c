//! Guest bindings of `wit/`, generated, and nothing else. Public for the export macro.

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

wit_bindgen::generate!({
    path: "../wit",
    world: "balancer",
    pub_export_macro: true,
});
