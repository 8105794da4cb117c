//! Core module → component.

use anyhow::Context;
use wit_component::ComponentEncoder;

/// Wraps a core module, as `cargo build --target wasm32-unknown-unknown` makes it of a crate that uses `weir-sdk`,
/// as a component. No adapter is linked in, so a module that imports WASI is refused.
///
/// # Errors
///
/// If the module is not valid, carries no description of its world, or lacks a function of it.
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
