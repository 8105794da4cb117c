//! The functions of the host for plugins. Natively, in unit tests, they are stand-ins: lines and
//! counts go nowhere, the clock is the machine's, and random bytes are not secret.

#[cfg_attr(target_arch = "wasm32", path = "host/component.rs")]
#[cfg_attr(not(target_arch = "wasm32"), path = "host/native.rs")]
mod imp;

use std::time::Duration;

pub use crate::bindings::host::Level;

/// Writes a line to the host's log, with the plugin's name. At most 4 KiB per line, and 20 lines
/// per second.
pub fn log(level: Level, message: &str) {
    imp::log(level, message);
}

/// Returns the time since the Unix epoch, to the microsecond.
pub fn now() -> Duration {
    Duration::from_micros(imp::now_us())
}

/// Returns eight unpredictable bytes: a seed. It is a call of the host: make it once, not in each
/// `pick`.
pub fn random() -> u64 {
    imp::random()
}

/// Adds to the counter `weir_plugin_custom_total{plugin,metric}`. `metric` has only letters, digits
/// and underscores.
pub fn count(metric: &str, by: u64) {
    imp::count(metric, by);
}

/// Makes a panic write its message and position to the host's log before it ends the instance; the
/// trap has neither. Every instance calls this before any code of the plugin. Natively panics print
/// their message anyway.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub fn tell_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}
