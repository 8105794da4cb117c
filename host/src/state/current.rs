//! [`Current`]: the state that serves, and its publication to all workers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::State;
use crate::config::Config;

/// The state that serves. Workers follow it by one atomic comparison for each request.
#[derive(Debug)]
pub struct Current {
    /// Changes with every publication and with every change of any plugin.
    version: Arc<AtomicU64>,
    serving: Mutex<Serving>,
}

/// The published state, and its history.
#[derive(Debug)]
struct Serving {
    state: Arc<State>,
    /// The last configurations that served, the present one at the end.
    revisions: Vec<Revision>,
    /// The last configuration that was refused after the present one was published.
    refused: Option<Refused>,
}

/// A configuration that serves or has served.
#[derive(Debug, Clone)]
pub struct Revision {
    /// Its number since the start, from 1.
    pub number: u64,
    /// The digest of its values, for If-Match.
    pub tag: String,
    /// The time of its publication.
    pub at: SystemTime,
    /// Its origin: `start`, `file`, `api`, `rollback` or `upgrade`.
    pub origin: &'static str,
    /// The configuration, for a rollback.
    pub config: Arc<Config>,
}

/// A configuration that was refused.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The time of the refusal.
    pub at: SystemTime,
    /// The errors, each with file, line and column.
    pub reason: String,
}

impl Current {
    /// Publishes the first state. `origin` is that of its configuration.
    pub fn new(state: Arc<State>, origin: &'static str) -> Self {
        let version = Arc::clone(state.plugins.counter());
        let revisions = vec![Revision::new(1, &state.config, origin)];
        let serving = Serving { state, revisions, refused: None };
        Self { version, serving: Mutex::new(serving) }
    }

    /// Publishes a state. Requests that begin from now on are served by it. Returns its revision.
    pub fn publish(&self, state: Arc<State>, origin: &'static str) -> u64 {
        let mut serving = self.lock();
        let mut number = serving.revisions.last().map_or(0, |last| last.number) + 1;
        // Equal values are the same revision: only files behind them have changed.
        if serving.revisions.last().is_some_and(|last| last.tag == state.config.tag) {
            serving.revisions.pop();
            number -= 1;
        }
        serving.revisions.push(Revision::new(number, &state.config, origin));
        if serving.revisions.len() > REVISIONS {
            serving.revisions.remove(0);
        }
        serving.refused = None;
        let before = std::mem::replace(&mut serving.state, state);
        drop(serving);
        // The number changes last: a worker that sees it finds the new state.
        self.version.fetch_add(1, Ordering::Release);
        drop(before);
        number
    }

    /// Notes that a configuration was refused.
    pub fn refuse(&self, reason: String) {
        self.lock().refused = Some(Refused { at: SystemTime::now(), reason });
    }

    /// Returns the state that serves.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.lock().state)
    }

    /// Returns the revision that serves, and its state.
    pub fn serving(&self) -> (Revision, Arc<State>) {
        let serving = self.lock();
        let state = Arc::clone(&serving.state);
        // There is always one: the list begins with the first and never loses the last.
        let last = serving.revisions.last().cloned();
        (last.unwrap_or_else(|| Revision::new(0, &state.config, "start")), state)
    }

    /// Returns a number that changes with every publication and every change of a plugin. It must
    /// be read before the state that it is to describe.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the last configurations that served, the present one at the end.
    pub fn revisions(&self) -> Vec<Revision> {
        self.lock().revisions.clone()
    }

    /// Returns the configuration that was refused since the last publication.
    pub fn refused(&self) -> Option<Refused> {
        self.lock().refused.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Serving> {
        // Each change is a few assignments that cannot panic.
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Revision {
    fn new(number: u64, config: &Arc<Config>, origin: &'static str) -> Self {
        let tag = config.tag.clone();
        Self { number, tag, at: SystemTime::now(), origin, config: Arc::clone(config) }
    }
}

/// Configurations that are kept for a rollback, the present one included.
const REVISIONS: usize = 16;
