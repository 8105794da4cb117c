//! Rotated files: `NAME.YYYY-MM-DDTHH-MM-SS`, or `NAME.YYYY-MM-DDTHH-MM-SS.N` if several are of one
//! second. Only regular files with such a name are ever deleted.

use std::ffi::OsStr;
use std::fs::{self, DirEntry, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::open::MODE;
use crate::telemetry::clock::Timestamp;

/// A rotated file.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rotated {
    // The fields are compared in this order: the oldest file is the least.
    time: String,
    number: u32,
    path: PathBuf,
    len: u64,
}

/// Renames the file at `path` to that of a rotated file of this time.
pub(super) fn set_aside(path: &Path, now: SystemTime) -> io::Result<()> {
    let name = reserve(path, now)?;
    fs::rename(path, &name).inspect_err(|_| drop(fs::remove_file(&name)))
}

/// Returns the bytes in the rotated files of `path`.
pub(super) fn total(path: &Path) -> u64 {
    sum(&list(path))
}

/// Deletes the oldest rotated files of `path` until at most `room` bytes are in the others. Returns
/// the bytes that are left.
pub(super) fn prune(path: &Path, room: u64) -> u64 {
    let mut files = list(path);
    files.sort();
    let mut left = sum(&files);
    for file in files {
        if left <= room {
            break;
        }
        let result = fs::remove_file(&file.path);
        // Another process may have deleted the file.
        if result.is_ok() || result.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            left = left.saturating_sub(file.len);
        }
    }
    left
}

/// Makes an empty file with a name that is free. Renaming to it replaces no file of another
/// process, because that process also makes its own first.
fn reserve(path: &Path, now: SystemTime) -> io::Result<PathBuf> {
    let time = Timestamp(now).to_string().replace(':', "-");
    let time = time.get(..FORM.len()).unwrap_or_default();
    for number in 0..MOST_IN_A_SECOND {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{time}"));
        if number > 0 {
            name.push(format!(".{number}"));
        }
        match OpenOptions::new().write(true).create_new(true).mode(MODE).open(&name) {
            Ok(_) => return Ok(name.into()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("too many files were rotated within one second"))
}

/// Returns the rotated files of `path`. A folder that cannot be read has none.
fn list(path: &Path) -> Vec<Rotated> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.filter_map(|entry| rotated(&entry.ok()?, name)).collect()
}

fn rotated(entry: &DirEntry, name: &OsStr) -> Option<Rotated> {
    let found = entry.file_name();
    let end = found.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b".")?;
    let (time, number) = parse(std::str::from_utf8(end).ok()?)?;
    let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
    Some(Rotated { time: time.to_owned(), number, path: entry.path(), len: metadata.len() })
}

/// Reads `YYYY-MM-DDTHH-MM-SS` or `YYYY-MM-DDTHH-MM-SS.N`.
fn parse(text: &str) -> Option<(&str, u32)> {
    let (time, number) = match text.split_once('.') {
        Some((_, number)) if number.starts_with(['0', '+']) => return None,
        Some((time, number)) => (time, number.parse().ok()?),
        None => (text, 0),
    };
    let has_form = |(found, form): (u8, u8)| match form {
        b'0' => found.is_ascii_digit(),
        other => found == other,
    };
    (time.len() == FORM.len() && time.bytes().zip(FORM.bytes()).all(has_form))
        .then_some((time, number))
}

fn sum(files: &[Rotated]) -> u64 {
    files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.len))
}

/// The form of the time in a name. The zeros stand for digits.
const FORM: &str = "0000-00-00T00-00-00";

/// The most rotated files of one second. The search for a free name tries each of them.
const MOST_IN_A_SECOND: u32 = 1000;

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_names_that_rotation_gives_are_taken() {
        let time = "2026-01-02T03-04-05";
        assert_eq!(parse(time), Some((time, 0)));
        assert_eq!(parse("2026-01-02T03-04-05.12"), Some((time, 12)));
        for text in [
            "",
            "1",
            "gz",
            "2026-01-02",
            "2026-01-02T03:04:05",
            "2026-01-02T03-04-05.",
            "2026-01-02T03-04-05.0",
            "2026-01-02T03-04-05.01",
            "2026-01-02T03-04-05.+1",
            "2026-01-02T03-04-05.gz",
            "2026-01-02T03-04-05.1.gz",
            "2026-01-02T03-04-05Z",
            "x026-01-02T03-04-05",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
