//! Weir, a reverse proxy for HTTP/3, HTTP/2 and HTTP/1.1 whose policy is WebAssembly components.
//!
//! The life of a request, downward: [`listen`] makes it a `Request<Body>`, [`proxy`] checks it, [`route`] finds where it
//! goes, [`upstream`] picks an endpoint by a plugin and sends it; the response comes back the same way. [`server`] starts
//! all that and takes it down, [`state`] is what a configuration became, [`config`] how it was read.

mod admin;
pub mod cli;
pub mod config;
mod control;
pub mod demo;
mod files;
pub mod geoip;
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
