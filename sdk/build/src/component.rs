//! Turns a core module into a component.

use anyhow::Context;
use wit_component::ComponentEncoder;

/// Wraps a core module as a component. The module comes from `cargo build --target
/// wasm32-unknown-unknown` of a crate that uses `weir-sdk`. No adapter is linked in: a module that
/// imports WASI is refused.
///
/// # Errors
///
/// If the module is not valid, has no description of its world, or lacks a function of its world.
pub fn component(core: &[u8]) -> anyhow::Result<Vec<u8>> {
    ComponentEncoder::default()
        .validate(true)
        .module(core)
        .context("read the core module (was it built with weir-sdk?)")?
        .encode()
        .context("encode the component")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn garbage_is_refused() {
        assert!(component(b"\0asm garbage").is_err());
    }
}
