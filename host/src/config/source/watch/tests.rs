use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::super::inotify::Inotify;
use super::*;

/// A time that no test needs, so that a lost change fails.
const LONG: Duration = Duration::from_secs(60);

/// Watches by events only, so that a test does not pass by the look at intervals.
fn watcher(paths: &[&Path]) -> Watcher {
    let mut watcher = Watcher::with(Inotify::new(), LONG * 10);
    set(&mut watcher, paths);
    watcher
}

fn set(watcher: &mut Watcher, paths: &[&Path]) {
    watcher.set(paths.iter().map(|path| (path.to_path_buf(), Stamp::of(path))));
}

/// Takes the first look, after which only events lead to another.
async fn settle(watcher: &mut Watcher) {
    let quiet = tokio::time::timeout(Duration::from_millis(20), watcher.changed()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

async fn changed(watcher: &mut Watcher) -> Vec<PathBuf> {
    tokio::time::timeout(LONG, watcher.changed()).await.unwrap()
}

fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_replaced_removed_or_made_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let (path, other) = (folder.path().join("weir.yaml"), folder.path().join("other"));
    fs::write(&path, "1").unwrap();
    fs::write(&other, "1").unwrap();
    let mut watcher = watcher(&[&path, &other]);
    settle(&mut watcher).await;
    fs::write(&path, "22").unwrap();
    assert_eq!(changed(&mut watcher).await, std::slice::from_ref(&path));
    replace(&path, "333");
    assert_eq!(changed(&mut watcher).await, std::slice::from_ref(&path));
    fs::remove_file(&path).unwrap();
    fs::write(&other, "4444").unwrap();
    assert_eq!(changed(&mut watcher).await, [other, path.clone()]);
    fs::write(&path, "1").unwrap();
    assert_eq!(changed(&mut watcher).await, [path]);
}

#[tokio::test]
async fn a_change_between_the_stamp_and_the_watch_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weir.yaml");
    fs::write(&path, "1").unwrap();
    let stamp = Stamp::of(&path);
    fs::write(&path, "22").unwrap();
    let mut watcher = Watcher::with(Inotify::new(), LONG * 10);
    watcher.set([(path.clone(), stamp)]);
    assert_eq!(changed(&mut watcher).await, [path]);
}

#[tokio::test]
async fn many_files_that_change_together_are_one_report() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<PathBuf> = (0..20).map(|at| folder.path().join(format!("{at:02}"))).collect();
    let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let mut watcher = watcher(&all);
    settle(&mut watcher).await;
    for path in &paths {
        fs::write(path, "new").unwrap();
    }
    assert_eq!(changed(&mut watcher).await, paths);
}

#[tokio::test]
async fn each_step_of_a_change_delays_its_report_but_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let mut watcher = watcher(&[&path]);
    fs::write(&path, "1").unwrap();
    watcher.note();
    let first = watcher.pending.as_ref().unwrap().first;
    watcher.note();
    let pending = watcher.pending.as_mut().unwrap();
    assert_eq!((pending.first, pending.due()), (first, pending.last + QUIET));
    pending.last = first + LONGEST;
    assert_eq!(pending.due(), first + LONGEST);
    assert_eq!(watcher.look(), std::slice::from_ref(&path));
    fs::write(&path, "22").unwrap();
    assert_eq!(watcher.look(), [""; 0].map(PathBuf::from), "the file may still be being written");
    fs::write(&path, "333").unwrap();
    assert_eq!(watcher.look(), [""; 0].map(PathBuf::from), "it was");
    assert_eq!(watcher.look(), [path]);
}

#[tokio::test]
async fn a_volume_of_kubernetes_that_turns_its_link_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, text) in [("..1", "one"), ("..2", "two!")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("a.yaml"), text).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/a.yaml", at("a.yaml")).unwrap();
    let path = at("a.yaml");
    let mut watcher = watcher(&[&path, folder.path()]);
    settle(&mut watcher).await;
    symlink("..2", at("..tmp")).unwrap();
    fs::rename(at("..tmp"), at("..data")).unwrap();
    assert_eq!(
        changed(&mut watcher).await,
        std::slice::from_ref(&path),
        "the names of the folder are as before"
    );
    fs::write(at("..2").join("a.yaml"), "three").unwrap();
    assert_eq!(changed(&mut watcher).await, [path]);
}

#[tokio::test]
async fn a_link_in_the_middle_of_a_path_is_followed_anew() {
    let folder = tempfile::tempdir().unwrap();
    for (version, text) in [("v1", "one"), ("v2", "two!")] {
        fs::create_dir_all(folder.path().join(version).join("conf")).unwrap();
        fs::write(folder.path().join(version).join("conf/a.yaml"), text).unwrap();
    }
    symlink("v1", folder.path().join("current")).unwrap();
    let path = folder.path().join("current/conf/a.yaml");
    let mut watcher = watcher(&[&path]);
    settle(&mut watcher).await;
    symlink("v2", folder.path().join("next")).unwrap();
    fs::rename(folder.path().join("next"), folder.path().join("current")).unwrap();
    assert_eq!(changed(&mut watcher).await, [path]);
}

#[tokio::test]
async fn a_folder_may_be_made_and_removed_and_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let sites = folder.path().join("deep/sites");
    let path = sites.join("a.yaml");
    let mut watcher = watcher(&[&path, &sites]);
    settle(&mut watcher).await;
    for text in ["1", "22"] {
        fs::create_dir_all(&sites).unwrap();
        fs::write(&path, text).unwrap();
        assert_eq!(changed(&mut watcher).await, [sites.clone(), path.clone()]);
        fs::write(&path, "another").unwrap();
        assert_eq!(changed(&mut watcher).await, std::slice::from_ref(&path));
        fs::remove_dir_all(folder.path().join("deep")).unwrap();
        assert_eq!(changed(&mut watcher).await, [sites.clone(), path.clone()]);
    }
}

#[tokio::test]
async fn a_folder_changes_with_its_names_and_not_with_its_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "1").unwrap();
    let stamp = Stamp::of(folder.path());
    fs::write(folder.path().join("a.yaml"), "22").unwrap();
    fs::write(folder.path().join(".a.yaml.swp"), "").unwrap();
    assert_eq!(stamp, Stamp::of(folder.path()));
    let mut watcher = watcher(&[folder.path()]);
    settle(&mut watcher).await;
    fs::rename(folder.path().join("a.yaml"), folder.path().join("b.yaml")).unwrap();
    assert_eq!(changed(&mut watcher).await, [folder.path()]);
}

#[tokio::test]
async fn paths_that_are_no_longer_of_the_set_are_not_watched() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (old, new) = (one.path().join("a"), two.path().join("b"));
    let mut watcher = watcher(&[&old]);
    settle(&mut watcher).await;
    set(&mut watcher, &[&new]);
    settle(&mut watcher).await;
    fs::write(&old, "1").unwrap();
    fs::write(&new, "1").unwrap();
    assert_eq!(changed(&mut watcher).await, [new]);
}

#[tokio::test]
async fn without_events_the_watcher_looks_at_intervals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let stamp = Stamp::of(&path);
    let mut watcher = Watcher::with(Inotify::deaf(), Duration::from_millis(5));
    watcher.set([(path.clone(), stamp)]);
    settle(&mut watcher).await;
    fs::write(&path, "1").unwrap();
    assert_eq!(changed(&mut watcher).await, [path]);
}

#[test]
fn a_watcher_runs_on_a_runtime_of_one_thread() {
    let options = tokio::runtime::LocalOptions::default();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build_local(options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    runtime.block_on(async {
        let mut watcher = watcher(&[&path]);
        settle(&mut watcher).await;
        fs::write(&path, "1").unwrap();
        assert_eq!(changed(&mut watcher).await, std::slice::from_ref(&path));
    });
}

#[test]
fn a_loop_of_links_ends() {
    let folder = tempfile::tempdir().unwrap();
    symlink("b", folder.path().join("a")).unwrap();
    symlink("a", folder.path().join("b")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let path = folder.path().join("a");
        let mut watcher = watcher(&[&path]);
        settle(&mut watcher).await;
        fs::remove_file(&path).unwrap();
        fs::write(&path, "a file").unwrap();
        assert_eq!(changed(&mut watcher).await, [path]);
    });
}
