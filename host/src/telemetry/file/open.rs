//! A log file while it is open.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::World;

/// An open log file.
#[derive(Debug)]
pub(super) struct Open {
    file: File,
    /// The path without links: a link stays where it is when its file is rotated.
    pub(super) path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    /// The bytes in the file.
    pub(super) len: u64,
    /// The time of the first line. `None` if the file is empty.
    begun: Option<SystemTime>,
    /// Whether the last line has no end.
    is_torn: bool,
}

impl Open {
    /// Opens the file at `path`, or makes it. Continues what is there.
    pub(super) fn at(path: &Path, now: SystemTime) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(MODE)
            // Opening a named pipe must fail, not wait for its reader.
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let len = found.len();
        let mut last = [b'\n'];
        if let Some(at) = len.checked_sub(1) {
            let _ = file.read_at(&mut last, at)?;
        }
        // Some file systems do not note when a file was made.
        let made = || found.created().or_else(|_| found.modified()).unwrap_or(now);
        Ok(Self {
            path: fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
            id: id(&found),
            len,
            begun: (len > 0).then(made),
            is_torn: last != [b'\n'],
            file,
        })
    }

    /// Whether `path` still leads to this file. Takes note of the lines that others have appended
    /// or removed.
    pub(super) fn is_at(&mut self, path: &Path) -> bool {
        let Some(found) = fs::metadata(path).ok().filter(|found| id(found) == self.id) else {
            return false;
        };
        self.len = found.len();
        if self.len == 0 {
            (self.begun, self.is_torn) = (None, false);
        }
        true
    }

    /// Returns the age of the first line.
    pub(super) fn age(&self, now: SystemTime) -> Duration {
        let age = self.begun.and_then(|begun| now.duration_since(begun).ok());
        age.unwrap_or_default()
    }

    /// Returns the first lines: those with which the file has at most `size` bytes, and at least
    /// one. Returns all if the file is already larger.
    pub(super) fn fitting<'a>(&self, lines: &'a [u8], size: u64) -> &'a [u8] {
        let room = usize::try_from(size.saturating_sub(self.len)).unwrap_or(usize::MAX);
        if room == 0 || lines.len() <= room {
            return lines;
        }
        let whole = whole_lines(lines.get(..room).unwrap_or_default());
        lines.get(..whole).filter(|lines| !lines.is_empty()).unwrap_or(first_line(lines))
    }

    /// Appends lines. Returns the bytes of those that are in the file as a whole, and the error
    /// that kept the others out.
    pub(super) fn append(
        &mut self,
        lines: &[u8],
        now: SystemTime,
        world: &mut impl World,
    ) -> (usize, Option<io::Error>) {
        if self.is_torn
            && let (0, Some(error)) = self.append_bytes(b"\n", world)
        {
            return (0, Some(error));
        }
        self.is_torn = false;
        self.begun.get_or_insert(now);
        let (written, error) = self.append_bytes(lines, world);
        let written = lines.get(..written).unwrap_or(lines);
        (if error.is_some() { whole_lines(written) } else { written.len() }, error)
    }

    fn append_bytes(&mut self, bytes: &[u8], world: &mut impl World) -> (usize, Option<io::Error>) {
        let mut written = 0;
        loop {
            let Some(rest @ [_, ..]) = bytes.get(written..) else { return (written, None) };
            match world.append(&self.file, rest) {
                Ok(0) => return (written, Some(io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.len = self.len.saturating_add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Some(error)),
            }
        }
    }
}

/// Returns the first line, or all if it has no end.
pub(super) fn first_line(lines: &[u8]) -> &[u8] {
    let end = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |at| at + 1);
    lines.get(..end).unwrap_or(lines)
}

/// Returns the length of the lines that have an end.
fn whole_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

fn id(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// The owner writes, and a group, such as that of a log collector, reads. Records hold query
/// strings, so no one else reads them.
pub(super) const MODE: u32 = 0o640;
