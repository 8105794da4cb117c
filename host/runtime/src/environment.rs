//! [`Environment`] is everything that a plugin can reach beyond its own memory; [`Services`]
//! provides it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use rand::Rng as _;

use crate::imports::log::LogBudget;
use crate::state::{MemoryState, SharedState};

/// How much a line that a plugin logs matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the developer of the plugin.
    Debug,
    /// Worth knowing.
    Info,
    /// Something is degraded.
    Warn,
    /// An operator must act.
    Error,
}

/// A line that a plugin logs.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The plugin's name in the configuration.
    pub plugin: &'a str,
    /// The number of the request that the plugin works on; `None` during setup.
    pub request: Option<u64>,
    /// How much it matters.
    pub level: Level,
    /// The text, without control characters, at most 4 KiB.
    pub message: &'a str,
}

/// A request's number in the format of access records.
struct Id(u64);

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The clock, the randomness, the log and the counters of one plugin. No function may call a plugin
/// or wait.
pub trait Services: Send + Sync {
    /// Nanoseconds since the Unix epoch; by default from the system's clock.
    fn now(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Fills `bytes` with unpredictable bytes; by default from the system's generator.
    fn random(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }

    /// Writes a line, which has no control characters and is bounded in length and rate. The
    /// default writes to `tracing` under the target `weir::plugin`.
    fn log(&self, line: Line<'_>) {
        let Line { plugin, request, level, message } = line;
        let request_id = request.map(Id).map(tracing::field::display);
        match level {
            Level::Debug => tracing::debug!(target: TARGET, plugin, request_id, "{message}"),
            Level::Info => tracing::info!(target: TARGET, plugin, request_id, "{message}"),
            Level::Warn => tracing::warn!(target: TARGET, plugin, request_id, "{message}"),
            Level::Error => tracing::error!(target: TARGET, plugin, request_id, "{message}"),
        }
    }

    /// Adds to one of the plugin's own counters; the default does nothing. The name is checked. The
    /// number of different names is not bounded here.
    fn count(&self, metric: &str, by: u64) {
        let _ = (metric, by);
    }
}

/// The defaults of [`Services`].
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemServices;

impl Services for SystemServices {}

/// A value of the shared state.
#[derive(Debug, Clone, Copy)]
pub enum Preset<'a> {
    /// A counter with this sum.
    Counter(i64),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// Everything that one plugin can reach. Cloning shares it.
#[derive(Clone)]
pub struct Environment {
    services: Arc<dyn Services>,
    state: Arc<dyn SharedState>,
    /// The plugin's own space.
    own: Arc<str>,
    /// The spaces that it shares with other plugins.
    spaces: Spaces,
    /// The budget of all its instances together, also of those that live for one call.
    log: Arc<Mutex<LogBudget>>,
}

#[derive(Clone, Debug)]
enum Spaces {
    Named(Arc<[String]>),
    /// Every space that it asks for.
    All,
}

impl Environment {
    /// Gives a plugin `services`, its own space of `state` under the unique name `own`, and the
    /// shared `spaces`.
    pub fn new(
        services: Arc<dyn Services>,
        state: Arc<dyn SharedState>,
        own: &str,
        spaces: &[String],
    ) -> Self {
        let spaces = Spaces::Named(spaces.into());
        Self { services, state, own: own.into(), spaces, log: Arc::default() }
    }

    /// Lets the plugin reach every space, for trials without a configuration.
    #[must_use]
    pub fn with_every_space(self) -> Self {
        Self { spaces: Spaces::All, ..self }
    }

    /// Returns the same environment with other shared spaces.
    #[must_use]
    pub fn with_spaces(&self, spaces: &[String]) -> Self {
        Self { spaces: Spaces::Named(spaces.into()), ..self.clone() }
    }

    /// Returns the same spaces with other services, another state and a separate log budget.
    #[must_use]
    pub fn apart(&self, services: Arc<dyn Services>, state: Arc<dyn SharedState>) -> Self {
        Self { services, state, log: Arc::default(), ..self.clone() }
    }

    /// Returns a value of the shared state, as the plugin gets it. `None` also if the plugin may
    /// not reach the space.
    pub fn value(&self, space: &str, key: &str) -> Option<Vec<u8>> {
        self.state.get(&self.key(space, key)?, self.services.now())
    }

    /// Changes a value of the shared state, without a time to live. Returns whether the plugin may
    /// reach the space.
    pub fn set_value(&self, space: &str, key: &str, value: Option<Preset<'_>>) -> bool {
        let Some(key) = self.key(space, key) else { return false };
        let now = self.services.now();
        self.state.remove(&key);
        match value {
            Some(Preset::Counter(sum)) => {
                self.state.add(&key, sum, 0, now);
            }
            Some(Preset::Bytes(bytes)) => self.state.set(&key, bytes, 0, now),
            None => {}
        }
        true
    }

    /// Writes a line to the log if the plugin's budget allows it. The message must be
    /// [`printable`](crate::imports::log::printable).
    pub(crate) fn log(&self, line: Line<'_>) {
        let mut budget = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let is_admitted = budget.admit(line.plugin, Instant::now());
        drop(budget);
        if is_admitted {
            self.services.log(line);
        }
    }

    pub(crate) fn services(&self) -> &dyn Services {
        &*self.services
    }

    pub(crate) fn state(&self) -> &dyn SharedState {
        &*self.state
    }

    /// Returns the whole key, or `None` if the plugin may not reach the space. The configuration
    /// forbids NUL in a space's name, so that no two pairs have the same key.
    pub(crate) fn key(&self, space: &str, key: &str) -> Option<Vec<u8>> {
        let (kind, space) = match space {
            "" => (b'p', &*self.own),
            shared if self.is_shared(shared) => (b's', shared),
            _ => return None,
        };
        let mut whole = Vec::with_capacity(space.len() + key.len() + 2);
        whole.push(kind);
        whole.extend_from_slice(space.as_bytes());
        whole.push(0);
        whole.extend_from_slice(key.as_bytes());
        Some(whole)
    }

    fn is_shared(&self, space: &str) -> bool {
        match &self.spaces {
            Spaces::Named(names) => names.iter().any(|name| name == space),
            Spaces::All => !space.contains('\0'),
        }
    }
}

impl Default for Environment {
    /// The system's clock and randomness, counters that nothing reads, and a separate state of 1
    /// MiB.
    fn default() -> Self {
        let state = Arc::new(MemoryState::new(1 << 20));
        Self::new(Arc::new(SystemServices), state, "", &[])
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("own", &self.own).field("spaces", &self.spaces).finish()
    }
}

const TARGET: &str = "weir::plugin";
