//! Builds components. Finds a Rust toolchain with the WebAssembly target, compiles a workspace of
//! plugins with it, and wraps each core module as a component. Builds plugins in other languages
//! with their own tools. Detects later that a component is older than its sources.
//!
//! It installs nothing. The binary `weir-sdk-build` is its command line; `make plugins` calls it.

mod component;
mod componentize;
mod dist;
mod guest;
mod interface;
mod project;
mod ready;
mod reference;
#[cfg(test)]
mod released;
mod toolchain;
mod workspace;

pub use component::component;
pub use componentize::componentize;
pub use dist::{Entry, digest, verify, write};
pub use guest::schema;
pub use interface::{Adapter, WIT, World};
pub use project::{build, prepare};
pub use ready::bindings;
pub use reference::{reference, wrapped};
pub use toolchain::Toolchain;
pub use workspace::{Built, Workspace};
