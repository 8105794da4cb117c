//! Two tasks of the control thread: trials end when their time is over, and changed files are swapped in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::Plugins;
use super::slot::{LoadError, Slot, Terms};
use super::source::MAX_BYTES;
use crate::config::Source;
use crate::task::Tasks;

/// Starts both; they end with the drain.
pub fn watch(plugins: &Arc<Plugins>, tasks: &Tasks) {
    let (reviewed, stop) = (Arc::clone(plugins), tasks.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = review(&reviewed) => {}
            () = stop.draining() => {}
        }
    });
    let files: Vec<_> = plugins.slots().iter().filter_map(Watched::new).collect();
    if !files.is_empty() {
        let stop = tasks.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = follow(files) => {}
                () = stop.draining() => {}
            }
        });
    }
}

async fn review(plugins: &Plugins) {
    loop {
        let next = plugins.slots().iter().filter_map(|slot| slot.review()).min();
        match next {
            Some(at) => {
                // A trial is looked at before its end too: what is slow shows without a failure.
                let at = Instant::from_std(at).min(Instant::now() + REVIEW_EVERY);
                tokio::select! {
                    () = sleep_until(at) => {}
                    () = plugins.changed() => {}
                }
            }
            None => plugins.changed().await,
        }
    }
}

/// A file that a plugin was loaded from.
struct Watched {
    slot: Arc<Slot>,
    path: PathBuf,
    /// What was loaded, or refused.
    known: Option<Stamp>,
    /// What was seen last: a file that is being written changes between two looks.
    seen: Option<Stamp>,
}

/// What tells one version of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Stamp {
    /// Follows links, so that a link that is turned to another file (as Kubernetes updates volumes) is a change.
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;
        let metadata = fs::metadata(path).ok()?;
        let modified = metadata.modified().ok();
        Some(Self { modified, length: metadata.len(), inode: metadata.ino() })
    }
}

impl Watched {
    fn new(slot: &Arc<Slot>) -> Option<Self> {
        let Source::File(path) = &slot.source else { return None };
        let stamp = Stamp::of(path);
        slot.watch.then(|| Self {
            slot: Arc::clone(slot),
            path: path.clone(),
            known: stamp,
            seen: stamp,
        })
    }

    /// Whether there is a new version that nobody is writing to any more.
    fn has_changed(&mut self) -> bool {
        let now = Stamp::of(&self.path);
        let is_stable = now == self.seen;
        self.seen = now;
        let is_new = is_stable && now.is_some() && now != self.known;
        if is_new {
            self.known = now;
        }
        is_new
    }

    async fn swap(&self) {
        let (slot, path) = (Arc::clone(&self.slot), self.path.clone());
        let shown = path.display().to_string();
        tracing::info!(plugin = &*slot.name, file = shown, "file changed; swapping the plugin");
        let terms = Terms::from(slot.canary);
        let swapped = compile(move || {
            let wasm = read(&path).map_err(|error| error.to_string())?;
            slot.swap(&wasm, terms).map_err(|error: LoadError| chain(&error))
        });
        if let Err(reason) = swapped.await.unwrap_or_else(|| Err(TOO_LONG.to_owned())) {
            tracing::error!(
                plugin = &*self.slot.name,
                file = shown,
                reason,
                "the changed file was refused; the plugin serves as before"
            );
        }
    }
}

async fn follow(mut files: Vec<Watched>) {
    loop {
        sleep(LOOK_EVERY).await;
        for file in &mut files {
            if file.has_changed() {
                file.swap().await;
            }
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut wasm = Vec::new();
    fs::File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut wasm)?;
    Ok(wasm)
}

/// Runs what compiles on a thread of its own, and gives up on it (`None`) after two minutes. The thread ends by
/// itself; a component that takes so long has at most [`MAX_BYTES`] to keep it busy with.
pub async fn compile<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new().name("plugin-compiler".to_owned()).spawn(move || {
        // Nobody waits any more if this fails.
        let _ = done.send(work());
    });
    spawned.ok()?;
    tokio::time::timeout(COMPILE, result).await.ok()?.ok()
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}

/// Why a swap did not happen in time.
pub const TOO_LONG: &str = "compiling it takes longer than two minutes";

/// How long a component may take to compile; the largest known ones take half a minute.
const COMPILE: Duration = Duration::from_secs(120);

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often a trial is looked at.
const REVIEW_EVERY: Duration = Duration::from_millis(200);
