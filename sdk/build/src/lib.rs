//! Builds components: finds a Rust toolchain that has the WebAssembly target, compiles a workspace of plugins with
//! it, wraps each core module as a component, has plugins in other languages built by the tools of those, and tells later
//! whether a component is older than its sources.
//!
//! It installs nothing. The binary `weir-sdk-build` is this library's face; `make plugins` calls it.

mod component;
mod dist;
mod guest;
mod project;
mod reference;
mod toolchain;
mod workspace;

pub use component::component;
pub use dist::{Entry, digest, verify, write};
pub use project::build;
pub use reference::reference;
pub use toolchain::Toolchain;
pub use workspace::{Built, Workspace};
