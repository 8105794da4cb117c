//! A file of endpoints, and the names in it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::sleep;

use super::Look;
use super::names::Names;
use super::report::Trouble;
use crate::config::{self, ConfigErrors, Endpoint, MAX_ENDPOINTS};

/// A file of endpoints.
pub(super) struct File {
    path: PathBuf,
    /// The stamp of the version that was read last, if any was.
    read: Option<Option<Stamp>>,
    /// The last list without faults.
    names: Option<Names>,
    /// The endpoints of the last look, for the addresses of their names.
    present: Vec<Endpoint>,
    fault: Option<Trouble>,
    check_every: Duration,
}

/// The mark of a version of a file. A link in the path that turns to another file changes it too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl File {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            read: None,
            names: None,
            present: Vec::new(),
            fault: None,
            check_every: CHECK_EVERY,
        }
    }

    /// Reads the file if it has changed, and looks up its names that are due.
    pub(super) async fn look(&mut self) -> Look {
        // A change while the file is read changes the stamp again.
        let stamp = Stamp::of(&self.path);
        if self.read != Some(stamp) {
            self.read = Some(stamp);
            self.read();
        }
        let mut look = match &mut self.names {
            Some(names) => names.look().await,
            None => Look { found: None, troubles: Vec::new(), next: None },
        };
        if let Some(found) = &look.found {
            self.present.clone_from(found);
        }
        look.troubles.splice(..0, self.fault.clone());
        look
    }

    /// Completes when the file has changed. Cancel safe.
    pub(super) async fn changed(&self) {
        changed(&self.path, self.read.flatten(), self.check_every).await;
    }

    fn read(&mut self) {
        self.fault = match config::endpoints(&self.path) {
            Err(errors) => Some(Trouble::File(first_lines(&errors))),
            Ok(list) if list.is_empty() => {
                Some(Trouble::NoEndpoints(self.path.display().to_string()))
            }
            Ok(mut list) => {
                let is_too_long = list.len() > MAX_ENDPOINTS;
                list.truncate(MAX_ENDPOINTS);
                self.names = Some(Names::new(list, &self.present));
                is_too_long.then_some(Trouble::TooMany)
            }
        };
    }
}

/// Completes when the file at `path` has another stamp than `known`. The new one must last from one
/// check to the next: a file that is being written may be a valid part of a list.
async fn changed(path: &Path, known: Option<Stamp>, check_every: Duration) {
    let mut seen = known;
    loop {
        sleep(check_every).await;
        let now = Stamp::of(path);
        if now == seen && now != known {
            return;
        }
        seen = now;
    }
}

impl Stamp {
    /// Returns the stamp of a file, or `None` if there is no file.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}

fn first_lines(errors: &ConfigErrors) -> String {
    let lines = errors.problems().iter().take(MAX_LINES).map(ToString::to_string);
    lines.collect::<Vec<_>>().join("; ")
}

/// Short enough for an operator who waits for the effect of a change. A check costs microseconds.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// The most faults of a file in one log line. The rest shows once these are mended.
const MAX_LINES: usize = 8;

#[cfg(test)]
mod tests;
