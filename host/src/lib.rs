//! Weir, a reverse proxy for HTTP/3, HTTP/2 and HTTP/1.1 with its policy in WebAssembly components.
//!
//! The life of a request: [`listen`] makes it a `Request<Body>`, [`proxy`] checks it, and [`route`]
//! finds its route. [`upstream`] picks an endpoint by a plugin and sends the request. The response
//! comes back the same way. [`server`] starts and stops all of this. [`config`] reads a
//! configuration, and [`state`] is the snapshot built from it.

mod admin;
pub mod builtin;
pub mod cli;
pub mod config;
mod control;
pub mod demo;
mod files;
pub mod geoip;
pub mod handoff;
pub mod listen;
pub mod message;
mod net;
pub mod oci;
pub mod plugins;
pub mod proxy;
pub mod route;
pub mod server;
pub mod state;
mod status;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod upstream;
