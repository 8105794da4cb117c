//! New processes that cannot serve: the present one goes on as if nothing had happened, tells the
//! reason, and can be upgraded later.

use std::path::Path;

use crate::support::tls::Certificate;
use crate::support::tools::builtin;
use crate::support::{Api, Client, Origin, Protocol, Setup, Weir, processes};

use super::load::Load;
use super::program::{Gate, install, script};

/// Upgrades after `spoil`, and again after `repair`. The first attempt must fail with a reason that
/// has all of `hints`.
async fn survives(
    origin: &Origin,
    setup: Setup,
    hints: &[&str],
    spoil: impl FnOnce(),
    repair: impl FnOnce(),
) {
    let mut weir = setup.top(&Api::config("127.0.0.1:0")).start().await;
    let api = Api::of(&weir);
    let kept = weir.client(Protocol::H3).await;
    assert_eq!(kept.get("/bytes/1").await.status, 200);
    let load = Load::start(&weir).await;
    load.go_on().await;
    spoil();
    assert_eq!(api.call("POST", "/api/upgrade", b"").await.0, 202);
    let failed = weir.logged("the upgrade failed; this process serves as before").await;
    let status = api.get("/api/status").await;
    assert_eq!(status["upgrade"]["state"], "failed", "{status}");
    let reason = status["upgrade"]["detail"].as_str().unwrap().to_owned();
    for hint in hints {
        assert!(reason.contains(hint), "{hint}: {reason}");
    }
    assert!(failed["error"].as_str().is_some_and(|e| reason.starts_with(e)), "{failed}: {reason}");
    let (ok, text) = api.command(&["status"]).await;
    assert!(ok && text.contains(hints[0]), "{text}");
    assert_eq!(processes::descendants(weir.pid()), [] as [u32; 0], "the new process has ended");
    load.go_on().await;
    assert_eq!(kept.get("/bytes/1").await.text().await, "x");
    repair();
    let outcome = load.stop(0).await;
    outcome.nothing_refused();
    assert_eq!(origin.requests(), outcome.answered() + 2);
    upgrades(&mut weir, &api, kept).await;
}

/// Checks that the upgrade succeeds now.
async fn upgrades(weir: &mut Weir, api: &Api, kept: Client) {
    assert_eq!(api.call("POST", "/api/upgrade", b"").await.0, 202);
    let new = weir.succeeded().await;
    assert_eq!(api.pid().await, new);
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
    }
    drop(kept);
}

#[tokio::test]
async fn a_plugin_that_has_vanished_stops_no_request() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin])
        .top("plugins: [{ name: v, source: \"file:v.wasm\" }]\n")
        .routes("  - { name: all, filters: [v], upstream: app }");
    let file = setup.directory().join("v.wasm");
    let aside = file.with_extension("aside");
    std::fs::copy(builtin("security-headers"), &file).unwrap();
    let (spoil, repair) = exchange(&file, &aside);
    let hints = ["plugins[0].source", "v.wasm", "the new process cannot serve"];
    survives(&origin, setup, &hints, spoil, repair).await;
}

#[tokio::test]
async fn a_certificate_that_has_vanished_stops_no_request() {
    let origin = Origin::start().await;
    let certificate = Certificate::new();
    let setup = Setup::to([&origin]).tls(&certificate.config());
    let file = certificate.key();
    let aside = format!("{file}.aside");
    let (spoil, repair) = exchange(Path::new(&file), Path::new(&aside));
    let hints = ["key.pem", "the new process cannot serve"];
    survives(&origin, setup, &hints, spoil, repair).await;
}

/// Returns actions that take a file away and that bring it back.
fn exchange(file: &Path, aside: &Path) -> (impl FnOnce(), impl FnOnce()) {
    let [(from, to), (back, there)] =
        [(file, aside), (aside, file)].map(|(from, to)| (from.to_owned(), to.to_owned()));
    let rename = |from, to| move || std::fs::rename(from, to).unwrap();
    (rename(from, to), rename(back, there))
}

#[tokio::test]
async fn a_program_that_ends_stops_no_request() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    let program = setup.directory().join("weir");
    install(&program);
    let setup = setup.program(&program);
    let hints = ["exit status: 3", "its messages are in the log"];
    survives(&origin, setup, &hints, || script(&program, "exit 3"), || install(&program)).await;
}

#[tokio::test]
async fn a_program_that_is_missing_stops_no_request() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    let program = setup.directory().join("weir");
    install(&program);
    let setup = setup.program(&program);
    let remove = || std::fs::remove_file(&program).unwrap();
    let hints = [program.to_str().unwrap(), "No such file"];
    survives(&origin, setup, &hints, remove, || install(&program)).await;
}

#[tokio::test]
async fn a_second_upgrade_at_the_same_time_is_refused() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).top(&Api::config("127.0.0.1:0"));
    let (setup, gate) = Gate::of(setup).await;
    let mut weir = setup.start().await;
    let api = Api::of(&weir);
    gate.close();
    assert_eq!(api.call("POST", "/api/upgrade", b"").await.0, 202);
    assert_eq!(api.get("/api/status").await["upgrade"]["state"], "starting");
    let (status, problem) = api.call("POST", "/api/upgrade", b"").await;
    assert_eq!(status, 409, "{problem}");
    let reason = "an upgrade is under way already";
    assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    let (ok, text) = api.command(&["upgrade"]).await;
    assert!(!ok && text.contains(reason), "{text}");
    for command in [["reload"], ["rollback"]] {
        let (ok, text) = api.command(&command).await;
        assert!(!ok && text.contains("an upgrade is under way; try again"), "{text}");
    }
    weir.signal("USR2");
    weir.logged("upgrade").await;
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
    gate.open().await;
    let new = weir.succeeded().await;
    assert_eq!(api.pid().await, new);
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}
