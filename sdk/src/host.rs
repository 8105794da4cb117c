//! What a plugin may ask of the host. Natively, in unit tests, these are plain stand-ins: lines and counts go
//! nowhere, the clock is the machine's, and random bytes are not secret.

#[cfg_attr(target_arch = "wasm32", path = "host/component.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "host/native.rs")]
mod imp;

pub use crate::bindings::host::Level;

/// Writes a line to the host's log, with the plugin's name. At most 4 KiB, and 20 lines a second.
pub fn log(level: Level, message: &str) {
    imp::log(level, message);
}

/// The time, in nanoseconds since the Unix epoch.
pub fn now() -> u64 {
    imp::now()
}

/// Eight bytes that nobody can predict: a seed. One call of the host, so take it once and not in each `pick`.
pub fn random() -> u64 {
    imp::random()
}

/// Adds to the counter `weir_plugin_custom_total{plugin,metric}`; `metric` is letters, digits and underscores.
pub fn count(metric: &str, by: u64) {
    imp::count(metric, by);
}

/// Has a panic write its message and place to the host's log before it ends the instance: the trap tells neither. An
/// instance does so before it runs any code of the plugin. Natively a panic is told already.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}
