//! Changed files: an editor's rename, the links of a Kubernetes volume, included files.

use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::Value;

use super::{Live, ask, replace};
use crate::support::{Client, Origin, Protocol, Setup};

/// A route that answers at a path with its own name.
fn site(name: &str, body: &str) -> String {
    let condition = format!("match: {{ path: /{name} }}");
    format!("routes:\n  - {{ name: {name}, {condition}, respond: {{ body: {body} }} }}\n")
}

/// Starts with files that are made before.
async fn start(origin: &Origin, include: &str, make: impl FnOnce(&Path)) -> (Live, Client) {
    let setup = Setup::to([origin]).top(&format!("include: [{include}]"));
    make(setup.directory());
    let live = Live::start(setup).await;
    let client = live.weir.client(Protocol::H3).await;
    (live, client)
}

/// Waits for the next reload that a changed file causes.
async fn reloaded(live: &mut Live) -> Value {
    let event = live.weir.logged("the configuration was reloaded").await;
    assert_eq!(event["origin"], "file", "{event}");
    event
}

#[tokio::test]
async fn a_file_that_an_editor_replaces_or_writes_is_read_again() {
    let origin = Origin::start().await;
    let mut live = Live::start(Setup::to([&origin])).await;
    let client = live.weir.client(Protocol::H2).await;
    live.edit("upstream: app }", "respond: { body: renamed } }");
    assert_eq!(reloaded(&mut live).await["revision"], 2);
    assert_eq!(ask(&client, "/who").await.1, "renamed");
    std::fs::write(&live.file, live.with("renamed", "written")).unwrap();
    assert_eq!(reloaded(&mut live).await["revision"], 3);
    assert_eq!(ask(&client, "/who").await.1, "written");
    assert_eq!(live.get("/api/status").await["configuration"]["origin"], "file");
}

#[tokio::test]
async fn a_signal_reads_the_file_again() {
    let origin = Origin::start().await;
    let mut live = Live::start(Setup::to([&origin])).await;
    let client = live.weir.client(Protocol::H2).await;
    live.weir.signal("HUP");
    let event = live.weir.logged("the configuration was reloaded").await;
    // Equal values are the same revision.
    assert_eq!((&event["origin"], &event["revision"]), (&"signal".into(), &1.into()), "{event}");
    assert_eq!(ask(&client, "/who").await.0, 200);
}

#[tokio::test]
async fn included_files_change_appear_and_vanish() {
    let origin = Origin::start().await;
    let (mut live, client) = start(&origin, "sites/*.yaml", |folder| {
        std::fs::create_dir(folder.join("sites")).unwrap();
        std::fs::write(folder.join("sites/a.yaml"), site("a", "first")).unwrap();
    })
    .await;
    // The routes of the main file come first.
    live.edit("  - { name: all, upstream: app }", "  - { match: { path: /who }, upstream: app }");
    reloaded(&mut live).await;
    assert_eq!(ask(&client, "/a").await, (200, "first".to_owned()));
    let sites = live.file.with_file_name("sites");
    replace(&sites.join("a.yaml"), &site("a", "second"));
    reloaded(&mut live).await;
    assert_eq!(ask(&client, "/a").await, (200, "second".to_owned()));
    assert_eq!(ask(&client, "/b").await.0, 404);
    replace(&sites.join("b.yaml"), &site("b", "new"));
    reloaded(&mut live).await;
    assert_eq!(ask(&client, "/b").await, (200, "new".to_owned()));
    std::fs::remove_file(sites.join("a.yaml")).unwrap();
    reloaded(&mut live).await;
    assert_eq!(ask(&client, "/a").await.0, 404);
    assert_eq!(ask(&client, "/b").await.0, 200);
}

#[tokio::test]
async fn a_fault_in_an_included_file_has_its_place_there() {
    let origin = Origin::start().await;
    let (mut live, client) = start(&origin, "more.yaml", |folder| {
        std::fs::write(folder.join("more.yaml"), site("a", "first")).unwrap();
    })
    .await;
    let more = live.file.with_file_name("more.yaml");
    replace(&more, &site("a", "first").replace("body: first", "bodi: first"));
    live.weir.logged("the configuration was refused; Weir serves as before").await;
    let refused = live.get("/api/status").await["refused"]["reason"].clone();
    let place = format!("{}:2:", more.display());
    assert!(refused.as_str().unwrap().contains(&place), "{refused}");
    std::fs::remove_file(&more).unwrap();
    live.weir.logged("the configuration was refused; Weir serves as before").await;
    assert_eq!(ask(&client, "/who").await.0, 200);
    replace(&more, &site("a", "back"));
    reloaded(&mut live).await;
    assert!(live.get("/api/status").await["refused"].is_null());
}

#[tokio::test]
async fn the_links_of_a_kubernetes_volume_switch_all_files_at_once() {
    let origin = Origin::start().await;
    let (mut live, client) = start(&origin, "volume/*.yaml", |folder| {
        let volume = folder.join("volume");
        for version in ["..1", "..2"] {
            std::fs::create_dir_all(volume.join(version)).unwrap();
            for name in ["a", "b"] {
                let body = format!("{name}{version}");
                let text = site(name, &body);
                std::fs::write(volume.join(version).join(name).with_extension("yaml"), text)
                    .unwrap();
            }
        }
        symlink("..1", volume.join("..data")).unwrap();
        for name in ["a.yaml", "b.yaml"] {
            symlink(Path::new("..data").join(name), volume.join(name)).unwrap();
        }
    })
    .await;
    live.edit("  - { name: all, upstream: app }", "  - { match: { path: /who }, upstream: app }");
    reloaded(&mut live).await;
    assert_eq!(ask(&client, "/a").await, (200, "a..1".to_owned()));
    let volume = live.file.with_file_name("volume");
    symlink("..2", volume.join("..data_tmp")).unwrap();
    std::fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    reloaded(&mut live).await;
    for name in ["a", "b"] {
        let path = format!("/{name}");
        assert_eq!(ask(&client, &path).await, (200, format!("{name}..2")));
    }
    std::fs::remove_dir_all(volume.join("..1")).unwrap();
    assert_eq!(ask(&client, "/a").await.0, 200);
}
