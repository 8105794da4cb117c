//! The integration tests: the real binary between real sockets, one file per behaviour.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test, at the place where it does"
)]
#![allow(clippy::print_stdout, reason = "figures and missing tools, shown beside a test's result")]

#[path = "../support/mod.rs"]
mod support;

mod attacks;
mod authority;
mod balance;
mod bodiless;
mod builtins;
mod cancel;
mod cli;
mod clients;
mod compiling;
mod component_languages;
mod components;
mod connect_udp;
mod connection_fields;
mod control;
mod crashes;
mod decisions;
mod differential;
mod docs;
mod duties;
mod errors;
mod examples;
mod files;
mod filters;
mod grpc;
mod h2_origins;
mod h3_frames;
mod h3_origins;
mod headers;
mod health;
mod incident;
mod interim;
mod limits;
mod listeners;
mod live;
mod matrix;
mod naughty;
mod notes;
mod oci;
mod plugin_cli;
mod pure;
mod routes;
mod shutdown;
mod smuggling;
mod soak;
mod streaming;
mod structure;
mod swap;
mod telemetry;
mod timeouts;
mod tls_origins;
mod true_client;
mod tunnel_origins;
mod tunnels;
mod upgrade;
