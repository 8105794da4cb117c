//! [`Watcher`]: waits until files or folders change.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::inotify::Inotify;
use super::stamp::Stamp;

/// Watches a set of files and folders.
///
/// A file changes with its stamp, and a folder with the names in it. Events of the kernel tell when
/// to look, and the watcher also looks at intervals: a network file system has no events.
#[derive(Debug)]
pub struct Watcher {
    events: Inotify,
    entries: BTreeMap<PathBuf, Entry>,
    next_look: Instant,
    pending: Option<Pending>,
    every: Duration,
}

/// A watched file or folder.
#[derive(Debug)]
struct Entry {
    /// The stamp of the version that the owner knows.
    known: Stamp,
    /// The stamp at the last look.
    seen: Stamp,
}

/// A change that may not have ended.
#[derive(Debug)]
struct Pending {
    first: Instant,
    last: Instant,
    /// Whether the kernel tells of each further step. Otherwise two looks must find the same.
    is_heard: bool,
}

impl Pending {
    /// Returns the moment of the next look.
    fn due(&self) -> Instant {
        (self.last + QUIET).min(self.first + LONGEST)
    }
}

impl Watcher {
    /// Makes a watcher of nothing. It must be made and used within a runtime of tokio.
    pub fn new() -> Self {
        Self::with(Inotify::new(), LOOK_EVERY)
    }

    fn with(events: Inotify, every: Duration) -> Self {
        let next_look = Instant::now() + every;
        Self { events, entries: BTreeMap::new(), next_look, pending: None, every }
    }

    /// Replaces the watched paths. Each has the stamp from before its owner read it: a version that
    /// came since is a change.
    pub fn set(&mut self, paths: impl IntoIterator<Item = (PathBuf, Stamp)>) {
        self.entries.clear();
        for (path, known) in paths {
            // Of two stamps, the first is from before the first reading.
            self.entries.entry(path).or_insert(Entry { known, seen: known });
        }
        self.pending = None;
        self.next_look = Instant::now();
    }

    /// Completes when a watched path has changed, appeared or vanished, and then nothing has
    /// happened for 100 ms, or at most 1 s has passed. Returns the paths. Cancel safe.
    pub async fn changed(&mut self) -> Vec<PathBuf> {
        loop {
            let due = self.pending.as_ref().map_or(self.next_look, Pending::due);
            tokio::select! {
                // Events may come without end.
                biased;
                () = sleep_until(due) => {
                    let changed = self.look();
                    if !changed.is_empty() {
                        return changed;
                    }
                }
                () = self.events.heard() => self.note(),
            }
        }
    }

    fn note(&mut self) {
        let now = Instant::now();
        let first = self.pending.as_ref().map_or(now, |pending| pending.first);
        self.pending = Some(Pending { first, last: now, is_heard: true });
    }

    /// Compares all stamps. Returns the paths that have changed, if the change has ended.
    fn look(&mut self) -> Vec<PathBuf> {
        let now = Instant::now();
        self.next_look = now + self.every;
        // Before the stamps are read: a change after them is an event.
        self.events.follow(self.entries.keys().map(PathBuf::as_path));
        let mut is_stable = true;
        for (path, entry) in &mut self.entries {
            let seen = Stamp::of(path);
            is_stable &= seen == entry.seen;
            entry.seen = seen;
        }
        let pending = self.pending.take();
        if self.entries.values().all(|entry| entry.known == entry.seen) {
            return Vec::new();
        }
        let pending = pending.unwrap_or(Pending { first: now, last: now, is_heard: false });
        let is_over = pending.is_heard || now >= pending.first + LONGEST;
        if is_over || (is_stable && now > pending.first) {
            return self.take();
        }
        self.pending = Some(Pending { last: now, ..pending });
        Vec::new()
    }

    /// Returns the paths that have changed. Their owner knows them from now on.
    fn take(&mut self) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for (path, entry) in &mut self.entries {
            if entry.known != entry.seen {
                entry.known = entry.seen;
                changed.push(path.clone());
            }
        }
        changed
    }
}

impl Default for Watcher {
    fn default() -> Self {
        Self::new()
    }
}

/// A program that writes several files makes shorter pauses between them.
const QUIET: Duration = Duration::from_millis(100);

/// The delay of a change while a file is written all the time.
const LONGEST: Duration = Duration::from_secs(1);

/// The time between two looks without events. A look at 1000 files takes some milliseconds.
const LOOK_EVERY: Duration = Duration::from_secs(5);

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
