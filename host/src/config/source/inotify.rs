//! Events of folders from the kernel.
//!
//! Folders are watched, not files: editors and Kubernetes replace a file by renaming another one,
//! and a watch of the old file hears nothing of that. The folder of each link on the way to a file
//! is watched as well. For a file that does not exist, it is the nearest folder that does.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::future::pending;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Event, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's events of a set of folders.
#[derive(Debug)]
pub(super) struct Inotify {
    /// Absent if the kernel has no instance left. The watcher then looks at intervals.
    queue: Option<AsyncFd<OwnedFd>>,
    /// The kernel's numbers of the folders.
    folders: BTreeSet<i32>,
    /// The names of files, links and folders on the watched paths.
    names: HashSet<OsString>,
    is_full: bool,
}

impl Inotify {
    /// Makes one without folders.
    pub(super) fn new() -> Self {
        let queue = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        let queue = queue.map_err(io::Error::from).and_then(register);
        let queue = queue.inspect_err(|error| {
            tracing::warn!(%error, "no events of changed files; Weir looks at intervals");
        });
        let (folders, names) = (BTreeSet::new(), HashSet::new());
        Self { queue: queue.ok(), folders, names, is_full: false }
    }

    /// Watches the folders that lead to `paths`, and no others. A folder that was made anew since
    /// the last call is watched again.
    pub(super) fn follow<'a>(&mut self, paths: impl Iterator<Item = &'a Path>) {
        let Some(queue) = &self.queue else { return };
        let mut walk = Walk::default();
        paths.for_each(|path| walk.add(path));
        let mut folders = BTreeSet::new();
        for folder in &walk.folders {
            // Two paths may lead to one folder. The kernel gives both one number.
            match inotify::add_watch(queue.get_ref(), folder, EVENTS) {
                Ok(number) => {
                    folders.insert(number);
                }
                Err(Errno::NOSPC) if !self.is_full => {
                    self.is_full = true;
                    tracing::warn!(
                        folder = %folder.display(),
                        "no events of changed files: fs.inotify.max_user_watches is reached; Weir \
                         looks at intervals"
                    );
                }
                // It has vanished, or may not be read.
                Err(_) => {}
            }
        }
        for number in self.folders.difference(&folders) {
            // The kernel has removed the watch of a folder that was deleted.
            let _ = inotify::remove_watch(queue.get_ref(), *number);
        }
        self.folders = folders;
        self.names = walk.names;
    }

    /// Completes when a file or a name on the watched paths may have changed. Cancel safe: events
    /// are read only when it completes in the same poll.
    pub(super) async fn heard(&mut self) {
        loop {
            let Some(queue) = &self.queue else { return pending().await };
            let Ok(mut ready) = queue.readable().await else {
                self.queue = None;
                continue;
            };
            let (is_heard, is_empty) = drain(queue.get_ref(), &self.names);
            if is_empty {
                ready.clear_ready();
            }
            if is_heard {
                return;
            }
        }
    }
}

/// Adds the queue to the runtime. It is never replaced or closed while the runtime has it.
#[expect(deprecated, reason = "its unsafe successor is for more types than an OwnedFd")]
fn register(queue: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(queue, Interest::READABLE)
}

/// Reads the events. Returns whether one of them matters, and whether none is left.
fn drain(queue: &OwnedFd, names: &HashSet<OsString>) -> (bool, bool) {
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut reader = Reader::new(queue, &mut buffer);
    let mut is_heard = false;
    for _ in 0..MAX_EVENTS {
        match reader.next() {
            Ok(event) => is_heard |= matters(&event, names),
            Err(Errno::INTR) => {}
            Err(_) => return (is_heard, true),
        }
    }
    (is_heard, false)
}

/// Whether an event may change a stamp. Other files of a folder may be written all the time, such
/// as logs. A name that comes or goes always counts, because a pattern may match it.
fn matters(event: &Event<'_>, names: &HashSet<OsString>) -> bool {
    let kind = event.events();
    if !kind.intersects(ReadFlags::MODIFY | ReadFlags::CLOSE_WRITE) {
        // The end of a watch says nothing about its folder.
        return !kind.contains(ReadFlags::IGNORED);
    }
    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
    name.is_none_or(|name| names.contains(name))
}

/// The way to each of a set of paths.
#[derive(Default)]
struct Walk {
    folders: BTreeSet<PathBuf>,
    names: HashSet<OsString>,
    /// Paths, and the same without links, for many files in one folder.
    known: HashMap<PathBuf, Option<PathBuf>>,
}

impl Walk {
    fn add(&mut self, path: &Path) {
        let Ok(path) = std::path::absolute(path) else { return };
        let Some(real) = self.resolve(&path, MAX_LINKS) else { return };
        if let Some(folder) = real.parent() {
            self.folders.insert(folder.to_owned());
        }
        if real.is_dir() {
            self.folders.insert(real);
        }
    }

    /// Returns `path` without links. Notes the folder of each link, and of the first part that does
    /// not exist.
    fn resolve(&mut self, path: &Path, links: usize) -> Option<PathBuf> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let real = self.step(path, links);
        self.known.insert(path.to_owned(), real.clone());
        real
    }

    fn step(&mut self, path: &Path, links: usize) -> Option<PathBuf> {
        let (Some(last), Some(parent)) = (path.components().next_back(), path.parent()) else {
            return Some(path.to_owned());
        };
        let folder = self.resolve(parent, links)?;
        let Component::Normal(name) = last else {
            return Some(folder.parent().unwrap_or(&folder).to_owned());
        };
        self.names.insert(name.to_owned());
        let here = folder.join(name);
        if fs::symlink_metadata(&here).is_ok_and(|found| !found.is_symlink()) {
            return Some(here);
        }
        self.folders.insert(folder.clone());
        let target = fs::read_link(&here).ok()?;
        self.resolve(&folder.join(target), links.checked_sub(1)?)
    }
}

/// Everything that changes a stamp: contents, and names that come or go.
const EVENTS: WatchFlags = WatchFlags::MODIFY
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// The bytes of one read. The longest event has 272.
const BUFFER: usize = 4096;

/// The events of one poll. The kernel may write them as fast as they are read.
const MAX_EVENTS: usize = 1024;

/// The links that the kernel follows on one path.
const MAX_LINKS: usize = 40;

#[cfg(test)]
impl Inotify {
    /// Makes one as on a system without an instance left.
    pub(super) fn deaf() -> Self {
        Self { queue: None, folders: BTreeSet::new(), names: HashSet::new(), is_full: false }
    }
}
