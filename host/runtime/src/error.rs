//! [`PluginError`] lists the failures of a plugin and classifies failed guest calls.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::imports::log::printable;
use crate::limits::{Limits, MemoryRefused};

/// Why a plugin could not be loaded, configured or called.
#[derive(Debug, thiserror::Error)]
pub enum PluginError {
    /// The runtime itself could not start.
    #[error("start the plugin engine")]
    Engine(#[source] Box<dyn Error + Send + Sync>),
    /// The bytes are no component, the component has another world than asked for, or its
    /// description of itself is unusable.
    #[error("plugin {plugin}: {what}")]
    Invalid {
        /// The plugin's name in the configuration.
        plugin: Arc<str>,
        /// The problem.
        what: String,
        /// The runtime's error, if there is one.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// It wanted more memory than its limit, or there is no room for one more instance.
    #[error("plugin {plugin}: {call} asked for more than {limit} bytes of memory")]
    Memory {
        /// The plugin's name in the configuration.
        plugin: Arc<str>,
        /// The function that ran.
        call: &'static str,
        /// Its limit in bytes.
        limit: usize,
        /// The runtime's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It does not accept its configuration.
    #[error("plugin {plugin} refused its configuration: {message}")]
    Refused {
        /// The plugin's name in the configuration.
        plugin: Arc<str>,
        /// Its reason, at most 4 KiB.
        message: String,
    },
    /// A call took more CPU time than its limit.
    #[error("plugin {plugin}: {call} took longer than {limit:?}")]
    Timeout {
        /// The plugin's name in the configuration.
        plugin: Arc<str>,
        /// The function that ran.
        call: &'static str,
        /// Its limit.
        limit: Duration,
    },
    /// A standard component answered with an error in place of a response.
    #[error("plugin {plugin} answered with an error: {code}")]
    Answered {
        /// The plugin's name in the configuration.
        plugin: Arc<str>,
        /// The error of `wasi:http`.
        code: String,
    },
    /// It crashed: a trap, too deep a recursion, or a result that is no value of its type.
    #[error("plugin {plugin}: {call} trapped: {reason}")]
    Trap {
        /// The plugin's name in the configuration.
        plugin: Arc<str>,
        /// The function that ran.
        call: &'static str,
        /// The reason in one line, with the warnings and errors that the guest logged in this call
        /// and the names of its running functions.
        reason: String,
    },
}

impl PluginError {
    /// One word for metrics and logs: `engine`, `error`, `invalid`, `memory`, `refused`, `timeout`
    /// or `trap`.
    pub fn kind(&self) -> &'static str {
        match self {
            PluginError::Engine(_) => "engine",
            PluginError::Invalid { .. } => "invalid",
            PluginError::Memory { .. } => "memory",
            PluginError::Refused { .. } => "refused",
            PluginError::Timeout { .. } => "timeout",
            PluginError::Answered { .. } => "error",
            PluginError::Trap { .. } => "trap",
        }
    }

    /// Returns the error for a component, or an answer of it, that breaks the interface.
    pub fn invalid(plugin: &Arc<str>, what: impl Into<String>) -> PluginError {
        PluginError::Invalid { plugin: Arc::clone(plugin), what: what.into(), source: None }
    }

    /// Returns the error for a component that the runtime does not load, with the runtime's error
    /// as its source.
    pub(crate) fn unloadable(
        plugin: &Arc<str>,
        what: impl Into<String>,
        error: wasmtime::Error,
    ) -> PluginError {
        let source = Some(error.into_boxed_dyn_error());
        PluginError::Invalid { plugin: Arc::clone(plugin), what: what.into(), source }
    }

    /// Classifies a failed call. `limits` are the limits of the call. `words` are the warnings and
    /// errors that the guest logged in the call: a guest's panic message is one of them, and the
    /// trap after it says nothing.
    pub(crate) fn failed(
        plugin: &Arc<str>,
        call: &'static str,
        limits: Limits,
        error: wasmtime::Error,
        words: Option<String>,
    ) -> PluginError {
        let plugin = Arc::clone(plugin);
        if error.is::<MemoryRefused>() || error.is::<PoolConcurrencyLimitError>() {
            let source = error.into_boxed_dyn_error();
            return PluginError::Memory { plugin, call, limit: limits.memory, source };
        }
        if error.downcast_ref::<Trap>() == Some(&Trap::Interrupt) {
            return PluginError::Timeout { plugin, call, limit: limits.time };
        }
        let mut reason = error.root_cause().to_string();
        if let Some(words) = words {
            reason = format!("{reason}; it had logged: {words}");
        }
        if let Some(places) = error.downcast_ref::<WasmBacktrace>().and_then(places) {
            reason = format!("{reason}; in {places}");
        }
        PluginError::Trap { plugin, call, reason }
    }
}

/// Returns the names of the running functions, the innermost first. Most components have no names:
/// their numbers say nothing, and are left out.
fn places(backtrace: &WasmBacktrace) -> Option<String> {
    let text = backtrace.to_string();
    let functions = text.lines().filter_map(|line| line.split_once(" - "));
    let named = functions.map(|(_, function)| function).filter(|name| !name.contains(NAMELESS));
    // The part before the mark is the name of a module.
    let named = named.map(|name| name.split_once('!').map_or(name, |(_, function)| function));
    let all: Vec<String> = named.take(MOST_PLACES).map(plain).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// Returns the name of a function, which its component chooses, on one line and within a bound.
fn plain(name: &str) -> String {
    printable(name.get(..name.floor_char_boundary(MOST_LETTERS)).unwrap_or_default())
}

/// Bytes of a function's name.
const MOST_LETTERS: usize = 120;

/// The functions of a backtrace that are told.
const MOST_PLACES: usize = 8;

/// The mark of a function without a name.
const NAMELESS: &str = "<wasm function ";

/// Returns an error with its causes on one line, the outermost first. A cause is left out if the
/// line has its text already.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
