//! [`Stamp`]: versions of files and folders.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// Distinguishes versions of a file or folder without reading a file. It moves to a new process,
/// where a version that has come meanwhile is a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// Nothing is there, or it cannot be seen.
    Absent,
    File {
        modified: Option<SystemTime>,
        length: u64,
        inode: u64,
    },
    /// The set of names, not the files behind them.
    Folder {
        names: u64,
        count: usize,
    },
}

impl Stamp {
    /// Reads the stamp of a file or folder. Follows links, so that a link with a new target is a
    /// change. Kubernetes updates volumes that way.
    pub fn of(path: &Path) -> Self {
        Self(match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => folder(path),
            Ok(metadata) => file(&metadata),
            Err(_) => Kind::Absent,
        })
    }
}

fn file(metadata: &Metadata) -> Kind {
    let modified = metadata.modified().ok();
    Kind::File { modified, length: metadata.len(), inode: metadata.ino() }
}

/// Sums the hashes of the names, because the system lists them in no order. Hidden names match no
/// pattern, and editors make many.
fn folder(path: &Path) -> Kind {
    let Ok(entries) = fs::read_dir(path) else { return Kind::Absent };
    let (mut names, mut count) = (0_u64, 0_usize);
    for name in entries.flatten().map(|entry| entry.file_name()) {
        if !name.as_encoded_bytes().starts_with(b".") {
            let mut hasher = DefaultHasher::new();
            name.hash(&mut hasher);
            names = names.wrapping_add(hasher.finish());
            count = count.saturating_add(1);
        }
    }
    Kind::Folder { names, count }
}
