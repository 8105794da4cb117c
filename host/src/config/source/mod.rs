//! The files of a configuration: which ones there are, and when they change.
//!
//! `include` finds and reads the files that the main file includes. `pattern` holds the form of
//! their names. [`Watcher`] waits for a change of files and folders. A [`Stamp`] tells two versions
//! of a file apart. The reader takes it before it reads, so no change between reading and watching
//! is lost.

mod include;
#[cfg(target_os = "linux")]
mod inotify;
#[cfg(not(target_os = "linux"))]
#[path = "silent.rs"]
mod inotify;
mod pattern;
mod stamp;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;

pub(super) use self::pattern::Include;
pub use self::stamp::Stamp;
pub use self::watch::Watcher;
use super::error::Problem;
use crate::oci::Digest;

/// The files that a configuration was read from.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// All files, in the order of their lists. The main file is the first, if there is one.
    pub(super) files: Vec<PathBuf>,
    /// The folders where a new file may match a pattern.
    pub(super) globs: Vec<PathBuf>,
    /// The stamps of both, from before they were read. A file that cannot be read is among them.
    pub(super) stamps: Vec<(PathBuf, Stamp)>,
    /// Patterns without a match.
    pub(super) warnings: Vec<Problem>,
}

impl Sources {
    /// Notes the stamp of a file or folder that is read next.
    pub(super) fn stamp(&mut self, path: &Path) {
        self.stamps.push((path.to_owned(), Stamp::of(path)));
    }
}

/// Returns the tag of a configuration: equal values have equal tags in one process, however they
/// are written. It depends on a secret of the process: a reader of the tag must not be able to try
/// values for the secrets in a configuration.
pub(super) fn tag(value: &Value) -> String {
    static SECRET: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::random::<u128>()));
    let mut text = SECRET.clone();
    canonical(value, &mut text);
    Digest::of(text.as_bytes()).hex().chars().take(TAG_DIGITS).collect()
}

/// Writes JSON with sorted keys and without spaces.
fn canonical(value: &Value, to: &mut String) {
    let mut separator = "";
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            to.push('{');
            for (key, member) in members {
                to.push_str(separator);
                to.push_str(&Value::from(key.as_str()).to_string());
                to.push(':');
                canonical(member, to);
                separator = ",";
            }
            to.push('}');
        }
        Value::Array(items) => {
            to.push('[');
            for item in items {
                to.push_str(separator);
                canonical(item, to);
                separator = ",";
            }
            to.push(']');
        }
        scalar => to.push_str(&scalar.to_string()),
    }
}

/// 64 bits. A process keeps few configurations, and no two of them meet by chance.
const TAG_DIGITS: usize = 16;

#[cfg(test)]
mod tests;
