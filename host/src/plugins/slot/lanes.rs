//! [`Lanes`]: the generations of a slot, and the outcome of the last new one.

use std::sync::Arc;
use std::time::SystemTime;

use crate::plugins::generation::Generation;
use crate::plugins::source::Stamp;
use crate::plugins::trial::Trial;
use crate::telemetry::metrics::Swap;

/// The generations of a slot.
#[derive(Clone)]
pub(super) struct Lanes {
    pub(super) serving: Arc<Generation>,
    pub(super) trial: Option<Trial>,
    /// The generation that served before, for a rollback.
    pub(super) previous: Option<Arc<Generation>>,
    pub(super) last_number: u64,
    /// The outcome of the last new generation.
    pub(super) last: Option<Verdict>,
    /// The stamp of the file that was loaded or refused last.
    pub(super) stamp: Option<Stamp>,
    /// Counts the changes of the generations.
    pub(super) changes: u64,
    /// Whether another slot has taken the generations over, or the configuration has the plugin no
    /// more.
    pub(super) is_over: bool,
}

/// The outcome of a generation, and its time.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) generation: u64,
    pub(super) outcome: Swap,
    pub(super) reason: String,
    pub(super) at: SystemTime,
}

impl Lanes {
    /// Begins with the first generation.
    pub(super) fn new(first: Arc<Generation>, stamp: Option<Stamp>) -> Self {
        Self {
            last_number: first.number,
            serving: first,
            trial: None,
            previous: None,
            last: None,
            stamp,
            changes: 0,
            is_over: false,
        }
    }

    /// Returns all generations.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Generation>> {
        self.in_use().chain(&self.previous)
    }

    /// Returns the generations that requests use: the serving one, and the one on trial.
    pub(super) fn in_use(&self) -> impl Iterator<Item = &Arc<Generation>> {
        std::iter::once(&self.serving).chain(self.trial.iter().map(|trial| &trial.generation))
    }
}

impl Verdict {
    /// Creates an outcome of the present time.
    pub(super) fn new(generation: u64, outcome: Swap, reason: String) -> Self {
        Self { generation, outcome, reason, at: SystemTime::now() }
    }
}
