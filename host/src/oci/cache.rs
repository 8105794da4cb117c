//! Packages on disk, by digest. A package that is on disk needs no network.
//!
//! Every file is checked against its digest when it is read, and a damaged file counts as missing.
//! A file is written under a temporary name and renamed: processes may share a folder. If a file
//! cannot be written, the next start pulls the package again.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{Digest, Reference};

/// A folder of packages.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// Makes a cache below `directory`. The folder is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Returns a manifest or a component. Returns `None` if there is none, or if it does not have
    /// its digest.
    pub fn blob(&self, digest: Digest, limit: u64) -> Option<Vec<u8>> {
        let path = self.place(BLOBS, &digest.hex());
        let bytes = read(&path, limit)?;
        if Digest::of(&bytes) == digest {
            return Some(bytes);
        }
        tracing::warn!(file = %path.display(), "a cached package is damaged; it is pulled anew");
        let _ = fs::remove_file(path);
        None
    }

    /// Keeps a manifest or a component.
    pub fn keep_blob(&self, digest: Digest, bytes: &[u8]) {
        self.keep(BLOBS, &digest.hex(), bytes);
    }

    /// Returns the digest that a tag had when it was last resolved.
    pub fn tag(&self, reference: &Reference) -> Option<Digest> {
        let text = read(&self.place(TAGS, &tag_name(reference)?), MAX_TAG)?;
        Digest::parse(String::from_utf8(text).ok()?.trim()).ok()
    }

    /// Keeps the digest of a tag.
    pub fn keep_tag(&self, reference: &Reference, digest: Digest) {
        if let Some(name) = tag_name(reference) {
            self.keep(TAGS, &name, digest.to_string().as_bytes());
        }
    }

    /// Returns the signatures of a package's manifest, not yet checked. Another package may have
    /// the same manifest.
    pub fn signatures(&self, package: &Reference, digest: Digest, limit: u64) -> Option<Vec<u8>> {
        read(&self.place(SIGNATURES, &signatures_name(package, digest)), limit)
    }

    /// Keeps the signatures of a package's manifest.
    pub fn keep_signatures(&self, package: &Reference, digest: Digest, bytes: &[u8]) {
        self.keep(SIGNATURES, &signatures_name(package, digest), bytes);
    }

    fn place(&self, kind: &str, name: &str) -> PathBuf {
        self.directory.join(kind).join(name)
    }

    fn keep(&self, kind: &str, name: &str, bytes: &[u8]) {
        let path = self.place(kind, name);
        if let Err(error) = write(&path, bytes) {
            let file = path.display();
            tracing::warn!(%file, error = &error as &dyn std::error::Error, "a package is not cached");
        } else if kind == BLOBS {
            prune(&self.directory.join(BLOBS), &path, MAX_BLOBS);
        }
    }
}

/// A file's name. Tags may contain characters that a file's name may not, and names may be long.
fn tag_name(reference: &Reference) -> Option<String> {
    let tag = reference.tag.as_ref()?;
    Some(Digest::of(format!("{}:{tag}", reference.name()).as_bytes()).hex())
}

fn signatures_name(package: &Reference, digest: Digest) -> String {
    Digest::of(format!("{}@{digest}", package.name()).as_bytes()).hex()
}

/// Reads a file of at most `limit` bytes, and notes that it is in use.
fn read(path: &Path, limit: u64) -> Option<Vec<u8>> {
    let file = File::open(path).ok()?;
    // A process that may only read the folder cannot set the time.
    let _ = file.set_modified(SystemTime::now());
    let mut bytes = Vec::new();
    (&file).take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(folder)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside =
        folder.join(format!(".{name}.{}.{:08x}", std::process::id(), rand::random::<u32>()));
    let written = fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Removes the files that were unused for longest until at most `limit` bytes are left. It never
/// removes `newest`.
fn prune(folder: &Path, newest: &Path, limit: u64) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let metadata = entry.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        })
        .collect();
    let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
    files.sort();
    for (_, length, path) in files {
        if total <= limit {
            break;
        }
        if path != newest && fs::remove_file(&path).is_ok() {
            total -= length;
        }
    }
}

const BLOBS: &str = "blobs";
const TAGS: &str = "tags";
const SIGNATURES: &str = "signatures";

/// `sha256:`, 64 digits and some space.
const MAX_TAG: u64 = 100;

/// The most bytes of manifests and components together. Compiled code has the same bound.
const MAX_BLOBS: u64 = 512 << 20;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn cache() -> (tempfile::TempDir, Cache) {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("made/oci"));
        (folder, cache)
    }

    #[test]
    fn what_is_kept_is_found_by_its_digest() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"component");
        assert_eq!(cache.blob(digest, 100), None);
        cache.keep_blob(digest, b"component");
        assert_eq!(cache.blob(digest, 100).unwrap(), b"component");
        assert_eq!(cache.blob(digest, 8), None);
        let files = fs::read_dir(cache.directory.join(BLOBS)).unwrap().count();
        assert_eq!(files, 1, "a temporary file is left");
    }

    #[test]
    fn a_damaged_file_is_no_package_and_goes() {
        let (_folder, cache) = cache();
        let digest = Digest::of(b"component");
        cache.keep_blob(digest, b"component");
        let path = cache.place(BLOBS, &digest.hex());
        fs::write(&path, "componenu").unwrap();
        assert_eq!(cache.blob(digest, 100), None);
        assert!(!path.exists());
    }

    #[test]
    fn a_tag_is_remembered_for_its_package_alone() {
        let (_folder, cache) = cache();
        let one = Reference::parse("localhost/a:1").unwrap();
        let digest = Digest::of(b"manifest");
        assert_eq!(cache.tag(&one), None);
        cache.keep_tag(&one, digest);
        assert_eq!(cache.tag(&one), Some(digest));
        for other in ["localhost/a:2", "localhost/b:1", "localhost:1/a:1"] {
            assert_eq!(cache.tag(&Reference::parse(other).unwrap()), None, "{other}");
        }
        fs::write(cache.place(TAGS, &tag_name(&one).unwrap()), "nothing").unwrap();
        assert_eq!(cache.tag(&one), None);
    }

    #[test]
    fn what_was_not_used_for_longest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, age: u64| {
            let path = folder.path().join(name);
            fs::write(&path, [0; 10]).unwrap();
            let time = SystemTime::now() - Duration::from_secs(age);
            File::open(&path).unwrap().set_modified(time).unwrap();
            path
        };
        let (old, new, used) = (file("old", 30), file("new", 40), file("used", 10));
        prune(folder.path(), &new, 20);
        assert!(!old.exists() && new.exists() && used.exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_fault() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let cache = Cache::new(file.join("oci"));
        cache.keep_blob(Digest::of(b"a"), b"a");
        assert_eq!(cache.blob(Digest::of(b"a"), 10), None);
    }
}
