use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::upstream::discover::testing::{PATIENCE, run};

fn file(path: PathBuf) -> File {
    let mut file = File::new(path);
    file.check_every = Duration::from_millis(5);
    file
}

/// Waits for a change, and looks: the endpoints as text, and the faults.
async fn next(file: &mut File) -> (Vec<String>, Vec<String>) {
    timeout(PATIENCE, file.changed()).await.unwrap();
    let look = file.look().await;
    let found = look.found.unwrap_or_default().into_iter().map(|endpoint| endpoint.name);
    (found.collect(), look.troubles.iter().map(ToString::to_string).collect())
}

fn list(ports: &[u16]) -> String {
    ports.iter().map(|port| format!("- address: 127.0.0.1:{port}\n")).collect()
}

fn names(ports: &[u16]) -> Vec<String> {
    ports.iter().map(|port| format!("127.0.0.1:{port}")).collect()
}

/// Replaces a file by rename, as editors do.
fn replace(folder: &TempDir, text: &str) {
    let draft = folder.path().join("draft");
    fs::write(&draft, text).unwrap();
    fs::rename(draft, folder.path().join("endpoints.yaml")).unwrap();
}

#[test]
fn a_file_is_read_again_whenever_it_is_replaced_or_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.yaml");
    let mut file = file(path.clone());
    run(async {
        // It may appear later.
        let look = file.look().await;
        assert!(look.found.is_none());
        assert!(look.troubles[0].to_string().ends_with("(os error 2)"), "{:?}", look.troubles);
        replace(&folder, &list(&[2, 1]));
        assert_eq!(next(&mut file).await, (names(&[2, 1]), vec![]));
        replace(&folder, "{\"endpoints\": [{\"address\": \"127.0.0.1:3\"}]}");
        assert_eq!(next(&mut file).await, (names(&[3]), vec![]));
        fs::write(&path, list(&[4, 5])).unwrap();
        assert_eq!(next(&mut file).await, (names(&[4, 5]), vec![]));
    });
}

#[test]
fn a_link_that_turns_to_another_folder_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, port) in [("v1", 1), ("v2", 2)] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("endpoints.yaml"), list(&[port])).unwrap();
    }
    // As the volumes of Kubernetes do it.
    symlink("v1", at("..data")).unwrap();
    symlink("..data/endpoints.yaml", at("endpoints.yaml")).unwrap();
    let mut file = file(at("endpoints.yaml"));
    run(async {
        assert_eq!(file.look().await.found.unwrap()[0].name, "127.0.0.1:1");
        symlink("v2", at("..new")).unwrap();
        fs::rename(at("..new"), at("..data")).unwrap();
        assert_eq!(next(&mut file).await, (names(&[2]), vec![]));
    });
}

#[test]
fn a_bad_file_and_an_empty_list_and_no_file_leave_the_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.yaml");
    let shown = path.display().to_string();
    let mut file = file(path.clone());
    replace(&folder, &list(&[1]));
    run(async {
        file.look().await;
        replace(&folder, "- address: 127.0.0.1:2\n- adress: 127.0.0.1:3\n  weight: x\n");
        let (found, troubles) = next(&mut file).await;
        assert_eq!(found, names(&[1]));
        let expected = format!(
            "{shown}:2:3: unknown key \"adress\" in [1]; did you mean \"address\"?; \
             {shown}:3:11: [1].weight: expected a whole number, found \"x\""
        );
        assert_eq!(troubles, [expected]);
        replace(&folder, "[]\n");
        let empty = vec![format!("\"{shown}\" has no endpoints")];
        assert_eq!(next(&mut file).await, (names(&[1]), empty));
        fs::remove_file(&path).unwrap();
        let (found, troubles) = next(&mut file).await;
        assert_eq!((found, troubles.len()), (names(&[1]), 1));
        replace(&folder, &list(&[2]));
        assert_eq!(next(&mut file).await, (names(&[2]), vec![]));
    });
}

#[test]
fn a_list_beyond_the_limit_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    let ports: Vec<u16> = (1..=1030).collect();
    replace(&folder, &list(&ports));
    let look = run(file(folder.path().join("endpoints.yaml")).look());
    let found: Vec<String> = look.found.unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(found, names(&ports[..MAX_ENDPOINTS]));
    assert!(matches!(look.troubles.as_slice(), [Trouble::TooMany]));
}
