//! The library for Weir plugins written in Rust.
//!
//! A balancer is a type that implements [`Balancer`] under
//! [`#[weir_sdk::balancer]`](macro@balancer). A filter is a type that implements [`Filter`] under
//! [`#[weir_sdk::filter]`](macro@filter). The attribute exports the type on WebAssembly and nothing
//! elsewhere, so that unit tests run the logic natively, with `cargo test`.
//!
//! A balancer chooses:
//!
//! ```
//! use weir_sdk::{Balancer, BalancerNeeds, Endpoint, NoConfig, Pick, Refused};
//!
//! struct First(Option<u32>);
//!
//! #[weir_sdk::balancer]
//! impl Balancer for First {
//!     type Config = NoConfig;
//!
//!     fn new(_config: NoConfig, _needs: &mut BalancerNeeds) -> Result<Self, Refused> {
//!         Ok(First(None))
//!     }
//!
//!     fn update(&mut self, endpoints: Vec<Endpoint>) {
//!         self.0 = endpoints.first().map(|endpoint| endpoint.id);
//!     }
//!
//!     fn pick(&mut self, _pick: &Pick<'_>) -> Option<u32> {
//!         self.0
//!     }
//! }
//! ```
//!
//! A filter asks for its inputs once and decides with them for each request:
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::Deserialize;
//! use weir_sdk::{
//!     Filter, FilterNeeds, Input, Refused, Request, RequestDecision, edit, reply,
//! };
//!
//! #[derive(Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// The tenant that may pass.
//!     tenant: String,
//! }
//!
//! struct Gate {
//!     tenant: String,
//!     given: Input,
//! }
//!
//! #[weir_sdk::filter]
//! impl Filter for Gate {
//!     type Config = Config;
//!
//!     fn new(config: Config, needs: &mut FilterNeeds) -> Result<Self, Refused> {
//!         Ok(Gate { tenant: config.tenant, given: needs.header("x-tenant") })
//!     }
//!
//!     fn on_request(&mut self, request: &Request<'_>) -> RequestDecision {
//!         match request.text(self.given) {
//!             Some(tenant) if tenant == self.tenant => {
//!                 edit().set("x-checked", "1").into()
//!             }
//!             _ => reply(403).body("unknown tenant\n").into(),
//!         }
//!     }
//! }
//!
//! let mut needs = FilterNeeds::default();
//! let mut gate = Gate::new(Config { tenant: "acme".into() }, &mut needs).unwrap();
//! let values = needs.request().with(gate.given, "acme");
//! assert!(matches!(gate.on_request(&values.request()), RequestDecision::Edit(_)));
//! ```
//!
//! `weir plugin build` turns the crate into a component. The interface itself is in `wit/`, in WIT;
//! this crate adds no protocol of its own.

// The attributes name this crate, also in its own tests.
extern crate self as weir_sdk;

mod balancer;
#[doc(hidden)]
pub mod bindings;
mod config;
pub mod credential;
mod export;
mod filter;
pub mod host;
mod needs;
pub mod parse;
mod refused;
mod secret;
pub mod state;

pub use balancer::{Balancer, BalancerNeeds, Endpoint, Outcome, Pick, TRIED};
pub use bindings::types::Manifest;
pub use config::{Config, NoConfig};
pub use filter::{
    Attribute, BodyDecision, BodyFilter, Changes, Edit, Fetch, Filter, FilterNeeds, Header, Next,
    Piece, Reply, Request, RequestDecision, Response, ResponseDecision, edit, fetch, next, reply,
};
pub use needs::{Input, ResponseInput, Values};
pub use refused::Refused;
pub use secret::Secret;

/// Exports the type of an `impl Balancer for …` from a component.
pub use weir_sdk_macros::balancer;
/// Exports the type of an `impl BodyFilter for …`, which is also a [`Filter`], from a component.
pub use weir_sdk_macros::body_filter;
/// Exports the type of an `impl Filter for …` from a component.
pub use weir_sdk_macros::filter;
