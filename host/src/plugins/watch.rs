//! Two tasks of the control thread: one ends trials, and one swaps changed files in.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use weir_runtime::with_causes;

use super::generation::Origin;
use super::slot::Slot;
use super::source::{MAX_BYTES, Stamp};
use super::trial::Terms;
use super::{Plugins, compile};
use crate::config::Source;
use crate::task::Tasks;

/// Starts both tasks. They end with the drain.
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
                // A trial is also reviewed before its end, because slow calls cause no failure.
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

/// The file of a loaded plugin.
struct Watched {
    slot: Arc<Slot>,
    file: Follow,
}

/// A file that is checked at intervals.
struct Follow {
    path: PathBuf,
    /// The last stamp. A file that is being written changes between two checks.
    seen: Option<Stamp>,
}

impl Watched {
    fn new(slot: &Arc<Slot>) -> Option<Self> {
        let Source::File(path) = &slot.source else { return None };
        let (slot, file) = (Arc::clone(slot), Follow::new(path.clone(), slot.stamp()));
        slot.plugin.watch.then_some(Self { slot, file })
    }

    /// Returns the stamp of a new version that is completely written. The slot knows the version
    /// that was loaded or refused, since a reload reads files too.
    fn changed(&mut self) -> Option<Stamp> {
        let (known, now) = (self.slot.stamp(), self.file.stable());
        now.filter(|_| now != known)
    }

    /// Swaps a new version in. The slot gets its stamp afterwards: a reload may end this task
    /// during the compilation, and the next task must then find the version again.
    async fn swap(&self, version: Stamp) {
        let (slot, path) = (&self.slot, self.file.path.clone());
        let shown = path.display().to_string();
        tracing::info!(plugin = &*slot.name, file = shown, "file changed; swapping the plugin");
        let turn = loop {
            if let Ok(turn) = slot.shared.compiler.turn().await {
                break turn;
            }
        };
        let terms = Terms::from(slot.plugin.canary);
        let origin = Origin::Source(slot.source.clone());
        if let Err(error) = compile::swap(slot, turn, move || read(&path), origin, terms).await {
            tracing::error!(
                plugin = &*slot.name,
                file = shown,
                reason = with_causes(&error),
                "the changed file was refused; the plugin serves as before"
            );
        }
        slot.set_stamp(Some(version));
    }
}

impl Follow {
    fn new(path: PathBuf, seen: Option<Stamp>) -> Self {
        Self { path, seen }
    }

    /// Returns the stamp of a version that is completely written.
    fn stable(&mut self) -> Option<Stamp> {
        let now = Stamp::of(&self.path);
        let is_stable = now == self.seen;
        self.seen = now;
        now.filter(|_| is_stable)
    }
}

async fn follow(mut files: Vec<Watched>) {
    loop {
        sleep(LOOK_EVERY).await;
        for watched in &mut files {
            if let Some(version) = watched.changed() {
                watched.swap(version).await;
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

/// Time between two checks of files.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time between two reviews of a trial.
const REVIEW_EVERY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;
    use crate::plugins::testing::config;
    use crate::telemetry::metrics::Metrics;

    #[tokio::test]
    async fn a_changed_file_is_found_until_its_swap_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.wasm");
        fs::write(&path, builtin::component("round-robin").unwrap()).unwrap();
        let plugin = format!("{{ name: b, source: \"file:{}\", watch: true }}", path.display());
        let config = config(&plugin, &[("one", "{}")]);
        let plugins = Plugins::load(&config, &Metrics::new(), None).unwrap();
        let watched = || Watched::new(&plugins.slots()[0]).unwrap();
        fs::write(&path, builtin::component("weighted").unwrap()).unwrap();
        let mut dropped = watched();
        assert_eq!(dropped.changed(), None, "it may still be being written");
        let version = dropped.changed();
        assert!(version.is_some());
        let mut next = watched();
        assert_eq!(next.changed(), None);
        assert_eq!(next.changed(), version, "the first task was dropped during its swap");
        next.swap(version.unwrap()).await;
        assert!(plugins.slots()[0].current().1.is_some());
        assert_eq!(next.changed(), None);
        fs::write(&path, b"none").unwrap();
        assert_eq!(next.changed(), None);
        let broken = next.changed().unwrap();
        next.swap(broken).await;
        assert_eq!(next.changed(), None, "a refused version is not tried again");
    }

    #[test]
    fn a_file_that_is_replaced_while_the_first_version_compiles_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.wasm");
        fs::write(&path, b"one").unwrap();
        let loaded = Stamp::of(&path);
        fs::write(&path, b"another").unwrap();
        let mut file = Follow::new(path, loaded);
        assert_eq!(file.stable(), None, "it may still be being written");
        assert!(file.stable().is_some_and(|stamp| Some(stamp) != loaded));
    }
}
