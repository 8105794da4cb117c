//! Swaps of plugins under load: by the admin API, by the commands, by a changed file; canaries,
//! shadows, and the rollback.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::Value;

use crate::support::tools::{builtin, guest};
use crate::support::weir::WEIR;
use crate::support::{Origin, Protocol, Setup, Weir, spawn, until};

const TOKEN: &str = "s3cret";

/// The component `versioned` with another version and other faults.
fn version(version: u64, faults: &str) -> Vec<u8> {
    let wasm = std::fs::read(guest("versioned")).unwrap();
    let (from, to) = (
        b"version=0000000000000000 faults=none............".to_vec(),
        format!("version={version:016} faults={faults:.<16}").into_bytes(),
    );
    let at = wasm.windows(from.len()).position(|window| window == from).expect("the mark");
    [&wasm[..at], &to, &wasm[at + to.len()..]].concat()
}

/// A Weir with the plugin `v` on every route, and its admin API.
struct Swapping {
    weir: Weir,
    admin: String,
    file: PathBuf,
}

impl Swapping {
    async fn start(origin: &Origin, extra: &str) -> Self {
        let setup = Setup::to([origin]);
        let file = setup.directory().join("v.wasm");
        std::fs::write(&file, version(1, "none")).unwrap();
        let top = format!(
            "plugins: [{{ name: v, source: \"file:v.wasm\" {extra} }}]\n\
             admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\n"
        );
        let setup = setup.top(&top).routes("  - { name: all, filters: [v], upstream: app }");
        let weir = setup.start().await;
        Self { admin: weir.admin_address().to_string(), weir, file }
    }

    /// Runs `weir plugin …` with the token.
    fn command(&self, arguments: &[&str]) -> (bool, String, String) {
        let output = Command::new(WEIR)
            .arg("plugin")
            .args(arguments)
            .env("WEIR_ADMIN", &self.admin)
            .env("WEIR_ADMIN_TOKEN", TOKEN)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    /// Swaps in a version from a separate file.
    fn swap(&self, wasm: &[u8], arguments: &[&str]) -> (bool, String, String) {
        let path = self.file.with_file_name("next.wasm");
        std::fs::write(&path, wasm).unwrap();
        self.command(&[&["swap", "v", path.to_str().unwrap()], arguments].concat())
    }

    fn status(&self) -> Value {
        let (ok, text, errors) = self.command(&["list", "--json"]);
        assert!(ok, "{errors}");
        let all: Value = serde_json::from_str(&text).unwrap();
        let named = |plugin: &&Value| plugin["name"] == "v";
        all["plugins"].as_array().unwrap().iter().find(named).unwrap().clone()
    }

    async fn until_generation(&self, number: u64) {
        let serves = async || (self.status()["generation"]["number"] == number).then_some(());
        until(format!("generation {number}"), serves).await;
    }

    async fn version(&self, protocol: Protocol) -> u64 {
        let answer = self.weir.client(protocol).await.get("/who").await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert_eq!(answer.header("x-generation"), "whole");
        answer.header("x-version").parse().unwrap()
    }
}

#[tokio::test]
async fn a_swap_takes_the_next_request_and_a_rollback_returns() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, "").await;
    assert_eq!(v.version(Protocol::H3).await, 1);
    let (ok, text, errors) = v.swap(&version(2, "none"), &["--for", "1s"]);
    assert!(ok, "{errors}");
    assert!(text.contains("generation 2 gets 100% of the requests"), "{text}");
    for protocol in Protocol::ALL {
        assert_eq!(v.version(protocol).await, 2, "{protocol:?}");
    }
    v.until_generation(2).await;
    assert_eq!(v.status()["previous"]["number"], 1);
    let (ok, text, errors) = v.command(&["rollback", "v"]);
    assert!(ok && text == "v: generation 1 serves\n", "{text}{errors}");
    assert_eq!(v.version(Protocol::H2).await, 1);
    let (ok, _, errors) = v.command(&["rollback", "v"]);
    assert!(!ok && errors.contains("no previous generation"), "{errors}");
    let rows = v.command(&["list"]).1;
    assert!(rows.contains("NAME") && rows.contains("v "), "{rows}");
}

#[tokio::test]
async fn what_cannot_serve_changes_nothing_and_says_why() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, "").await;
    let round_robin = std::fs::read(builtin("round-robin")).unwrap();
    let wrong: [(&[u8], &str); 5] = [
        (b"no component", "not a WebAssembly component"),
        (b"\0asm\x01\0\0\0", "core module"),
        (b"\0asm\x0d\0\x01\0", "none of weir:plugin's worlds"),
        (&round_robin, "of the world balancer"),
        (&version(2, "refuse"), "refuses its configuration"),
    ];
    for (wasm, hint) in wrong {
        let (ok, _, errors) = v.swap(wasm, &[]);
        assert!(!ok && errors.contains(hint) && errors.contains("422"), "{hint}: {errors}");
        assert_eq!(v.version(Protocol::H3).await, 1);
    }
    let status = v.status();
    assert_eq!(status["state"], "serving");
    assert_eq!(status["last_swap"]["outcome"], "refused");
    let refused = v.weir.metric("weir_plugin_swaps_total", &["outcome=\"refused\""]).await;
    assert!((refused - 5.0).abs() < f64::EPSILON);
    let counted = v.weir.metric("weir_plugin_custom_total", &[]).await;
    assert!(counted.abs() < f64::EPSILON, "what was only tried counts nowhere");
}

#[tokio::test]
async fn the_api_is_closed_to_strangers() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, "").await;
    let curl = |arguments: &[&str], path: &str| {
        let output = Command::new("curl")
            .args(["-s", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(arguments)
            .arg(format!("http://{}{path}", v.admin))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let token = format!("Authorization: Bearer {TOKEN}");
    assert_eq!(curl(&["-H", &token], "/api/plugins"), "200");
    assert_eq!(curl(&["-H", &token], "/api/plugins/v"), "200");
    assert_eq!(curl(&[], "/api/plugins"), "401");
    assert_eq!(curl(&["-H", "Authorization: Bearer wrong"], "/api/plugins"), "401");
    assert_eq!(curl(&["-H", &token, "-H", "Host: evil.example"], "/api/plugins"), "403");
    assert_eq!(curl(&["-H", &token, "-H", "Origin: http://evil.example"], "/api/plugins"), "403");
    assert_eq!(curl(&["-H", &token], "/api/plugins/nobody"), "404");
    assert_eq!(curl(&["-H", &token], "/other"), "404");
    assert_eq!(curl(&["-H", &token, "-X", "DELETE"], "/api/plugins/v"), "405");
    assert_eq!(curl(&["-H", &token, "-X", "PUT", "-d", "x"], "/api/plugins/v?shares=1"), "400");
}

#[tokio::test]
async fn a_canary_gets_its_share_and_then_all() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, "").await;
    let (ok, _, errors) = v.swap(&version(2, "none"), &["--share", "30%", "--for", "3s"]);
    assert!(ok, "{errors}");
    let client = v.weir.client(Protocol::H3).await;
    let mut news = 0;
    for _ in 0..400 {
        let answer = client.get("/who").await;
        assert_eq!(answer.header("x-generation"), "whole", "a request meets one generation");
        news += u32::from(answer.header("x-version").ends_with('2'));
    }
    assert!((60..180).contains(&news), "{news} of 400 requests met the canary");
    v.until_generation(2).await;
    assert_eq!(v.version(Protocol::H1).await, 2);
}

#[tokio::test]
async fn a_canary_that_fails_costs_no_request_and_goes_by_itself() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, ", on_failure: closed").await;
    for faults in ["trap", "trap-response", "invalid-response"] {
        let (ok, _, errors) = v.swap(&version(2, faults), &["--share", "50", "--for", "1h"]);
        assert!(ok, "{errors}");
        for protocol in Protocol::ALL {
            let client = v.weir.client(protocol).await;
            for _ in 0..50 {
                let answer = client.get("/who").await;
                assert_eq!(answer.status, 200, "{faults} {protocol:?}");
                assert!(answer.header("x-version").ends_with('1'), "{faults} {protocol:?}");
                assert_eq!(answer.header("x-generation"), "whole", "{faults} {protocol:?}");
            }
        }
        let status = v.status();
        assert_eq!(status["state"], "serving", "{faults}: {status}");
        let last = &status["last_swap"];
        assert_eq!(last["outcome"], "rolled_back", "{faults}");
        assert!(last["reason"].as_str().unwrap().contains("calls failed"), "{faults}: {status}");
    }
}

/// For scripts: the command ends with the trial, and its exit code is the outcome.
#[tokio::test]
async fn a_command_can_wait_for_the_outcome() {
    let origin = Origin::start().await;
    let mut v = Swapping::start(&origin, "").await;
    let (ok, text, errors) = v.swap(&version(2, "none"), &["--for", "1s", "--wait"]);
    assert!(ok, "{errors}");
    let served = "v: generation 2 serves: its trial is over, and no request reached it\n";
    assert!(text.ends_with(served), "{text}");
    assert_eq!(v.weir.logged("plugin serves").await["generation"], 2);
    let keep = ["--for", "1s", "--wait", "--on-no-traffic", "keep"];
    let (ok, _, errors) = v.swap(&version(3, "none"), &keep);
    assert!(!ok && errors.contains("generation 3 was rolled back: no request"), "{errors}");
    let (ok, _, errors) = v.swap(&version(4, "none"), &["--for", "1s", "--wait", "--shadow"]);
    assert!(ok, "{errors}");
    assert_eq!(v.version(Protocol::H2).await, 2);
    // The generation fails on requests while the command waits.
    let (path, admin) = (v.file.with_file_name("next.wasm"), v.admin.clone());
    std::fs::write(&path, version(5, "trap")).unwrap();
    let waiting = Command::new(WEIR)
        .args(["plugin", "swap", "v", path.to_str().unwrap(), "--for", "1h", "--wait"])
        .envs([("WEIR_ADMIN", admin.as_str()), ("WEIR_ADMIN_TOKEN", TOKEN)])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let client = v.weir.client(Protocol::H2).await;
    let failed = async || {
        assert_eq!(client.get("/who").await.status, 200);
        (v.status()["last_swap"]["generation"] == 5).then_some(())
    };
    until("the end of the trial", failed).await;
    // The failures of a generation that is gone are still to be read, twice.
    let failures = ["plugin=\"v\"", "generation=\"5\"", "kind=\"trap\""];
    for _ in 0..2 {
        assert!(v.weir.metric("weir_plugin_failures_total", &failures).await >= 3.0);
    }
    let gone = async || (!v.weir.metrics().await.contains("generation=\"5\"")).then_some(());
    until("the end of the series", gone).await;
    let output = waiting.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("generation 5 was rolled back: "), "{errors}");
    assert!(errors.contains("calls failed"), "{errors}");
    assert_eq!(v.weir.logged("plugin rolled back").await["generation"], 3);
    // The list has the outcome too, also of a component that was refused.
    let rows = v.command(&["list"]).1;
    assert!(rows.contains("5 was rolled back: "), "{rows}");
    let (ok, _, errors) = v.swap(b"none", &["--wait"]);
    assert!(!ok, "{errors}");
    assert!(v.command(&["list"]).1.contains("6 was refused: "));
    assert_eq!(v.weir.logged("plugin refused").await["generation"], 6);
}

#[tokio::test]
async fn a_canary_that_is_slow_goes_by_itself() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, ", limits: { time: 500ms }").await;
    let client = v.weir.client(Protocol::H3).await;
    // Enough calls of the first version to know the time of one; its first calls are all timed.
    for _ in 0..100 {
        client.get("/who").await;
    }
    let (ok, _, errors) = v.swap(&version(2, "slow"), &["--for", "1h"]);
    assert!(ok, "{errors}");
    let gone = async || {
        for _ in 0..50 {
            assert_eq!(client.get("/who").await.status, 200);
        }
        (v.status()["last_swap"]["outcome"] == "rolled_back").then_some(())
    };
    until("the slow generation to go", gone).await;
    assert!(
        v.status()["last_swap"]["reason"].as_str().unwrap().contains("a call of on-request takes")
    );
}

#[tokio::test]
async fn a_canary_that_is_far_too_slow_shows_on_a_quiet_route() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, ", limits: { time: 500ms }").await;
    let client = v.weir.client(Protocol::H2).await;
    for generation in [1, 2] {
        for _ in 0..12 {
            assert_eq!(client.get("/who").await.status, 200);
        }
        if generation == 1 {
            let (ok, _, errors) = v.swap(&version(2, "crawl"), &["--for", "1h"]);
            assert!(ok, "{errors}");
        }
    }
    // A further generation promotes a canary that has had its calls without a failure; this one is
    // too slow.
    let (ok, _, errors) = v.swap(&version(3, "none"), &["--for", "1h"]);
    assert!(ok, "{errors}");
    let status = v.status();
    assert_eq!(status["generation"]["number"], 1, "{status}");
}

#[tokio::test]
async fn a_generation_in_the_shadow_is_measured_and_decides_nothing() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, "").await;
    for (number, faults, decision) in
        [(1, "none", "same"), (2, "none", "different"), (3, "trap", "failed")]
    {
        let (ok, text, errors) = v.swap(&version(number, faults), &["--shadow", "--for", "1h"]);
        assert!(ok && text.contains("in the shadow"), "{text}{errors}");
        for protocol in Protocol::ALL {
            assert_eq!(v.version(protocol).await, 1);
        }
        let label = format!("decision=\"{decision}\"");
        let calls =
            v.weir.metric("weir_plugin_shadow_calls_total", &["plugin=\"v\"", &label]).await;
        assert!(calls >= 3.0, "{decision}: {calls}");
    }
    assert_eq!(v.status()["generation"]["number"], 1);
    // An invalid result counts as a failure, like any other.
    let (ok, _, errors) = v.swap(&version(4, "invalid-response"), &["--shadow", "--for", "1h"]);
    assert!(ok, "{errors}");
    for protocol in Protocol::ALL {
        assert_eq!(v.version(protocol).await, 1);
    }
    let status = v.status();
    assert_eq!(status["last_swap"]["outcome"], "rolled_back", "{status}");
}

#[tokio::test]
async fn what_plugins_keep_in_the_state_outlives_a_swap() {
    let origin = Origin::start().await;
    let component = builtin("rate-limit");
    let plugin = format!(
        "plugins: [{{ name: v, source: \"file:{}\", config: {{ requests: 3, per: 1h }} }}]\n\
         admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\n",
        component.display()
    );
    let setup = Setup::to([&origin]).top(&plugin);
    let weir = setup.routes("  - { name: all, filters: [v], upstream: app }").start().await;
    let admin = Admin { address: weir.admin_address().to_string() };
    for wanted in [200, 200] {
        assert_eq!(weir.get(Protocol::H3, "/who").await.0, wanted);
    }
    let (status, body) =
        admin.put("/api/plugins/v?for=1h", std::fs::read(component).unwrap()).await;
    assert_eq!(status, 200, "{body}");
    for wanted in [200, 429] {
        assert_eq!(weir.get(Protocol::H2, "/who").await.0, wanted);
    }
}

#[tokio::test]
async fn a_balancer_s_old_generations_go_without_traffic_too() {
    let origin = Origin::start().await;
    let component = builtin("round-robin");
    let plugin = format!(
        "plugins: [{{ name: v, source: \"file:{}\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\n",
        component.display()
    );
    let weir = Setup::to([&origin]).top(&plugin).upstream("balancer: v").start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 200);
    }
    let admin = Admin { address: weir.admin_address().to_string() };
    let component = std::fs::read(component).unwrap();
    for number in [2.0, 3.0] {
        let (status, body) = admin.put("/api/plugins/v?for=1s", component.clone()).await;
        assert_eq!(status, 200, "{body}");
        let serves = |generation| generation == number;
        weir.until_metric("weir_plugin_generation", &["plugin=\"v\""], serves).await;
    }
    // The last generation but one is kept for a rollback; the first is dropped.
    let is_gone = async || {
        let metrics = weir.metrics().await;
        let first = |line: &str| line.contains("plugin=\"v\"") && line.contains("generation=\"1\"");
        (!metrics.lines().any(first)).then_some(())
    };
    until("the series of the first generation to end", is_gone).await;
}

#[tokio::test]
async fn compiled_code_is_taken_from_the_cache_by_the_next_process() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, "").await;
    let config = v.file.with_file_name("weir.yaml");
    let cache = tempfile::tempdir().unwrap();
    let check = || {
        let output = Command::new(WEIR)
            .args(["check", "-c", config.to_str().unwrap()])
            .env("WEIR_PLUGIN_CACHE", cache.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        compiled(cache.path())
    };
    let first = check();
    assert!(!first.is_empty());
    assert_eq!(check(), first, "nothing was compiled and written again");
}

/// Returns the files of compiled code below a folder, with their inodes. A file that is written
/// again has another one.
fn compiled(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, metadata) = (entry.path(), entry.metadata().unwrap());
        if metadata.is_dir() {
            found.extend(compiled(&path));
        } else if path.extension().is_some_and(|extension| extension == "cwasm") {
            found.push((path, metadata.ino()));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn the_token_may_stand_in_a_file_or_a_variable() {
    let origin = Origin::start().await;
    let home = std::env::var("HOME").unwrap();
    for (token, value) in [("file:token.txt", "from-a-file"), ("env:HOME", &home)] {
        let setup = Setup::to([&origin]);
        std::fs::write(setup.directory().join("token.txt"), "from-a-file\n").unwrap();
        let top = format!("admin: {{ address: \"127.0.0.1:0\", token: \"{token}\" }}\n");
        let weir = setup.top(&top).start().await;
        let list = |token: &str| {
            let mut list = Command::new(WEIR);
            list.args(["plugin", "list", "--admin", &weir.admin_address().to_string()]);
            list.env("WEIR_ADMIN_TOKEN", token).output().unwrap().status.success()
        };
        assert!(list(value), "{token}");
        assert!(!list(token), "{token}");
    }
}

#[tokio::test]
async fn a_changed_file_is_swapped_in_and_a_broken_one_is_not() {
    let origin = Origin::start().await;
    let mut v = Swapping::start(&origin, ", canary: { for: 1s }").await;
    std::fs::write(&v.file, b"half a file").unwrap();
    v.weir.logged("the changed file was refused; the plugin serves as before").await;
    assert_eq!(v.version(Protocol::H3).await, 1);
    replace(&v.file, &version(2, "none"));
    v.until_generation(2).await;
    assert_eq!(v.version(Protocol::H3).await, 2);
}

/// Replaces a file as tools do: writes a new file beside it, then renames it.
fn replace(path: &Path, bytes: &[u8]) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, bytes).unwrap();
    std::fs::rename(beside, path).unwrap();
}

#[tokio::test]
async fn five_hundred_swaps_under_load_fail_no_request() {
    let origin = Origin::start().await;
    let v = Swapping::start(&origin, ", on_failure: closed").await;
    let (stop, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = Vec::new();
    for protocol in Protocol::ALL.into_iter().cycle().take(6) {
        let client = v.weir.client(protocol).await;
        let (stop, requests) = (Arc::clone(&stop), Arc::clone(&requests));
        load.push(spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = client.get("/who").await;
                assert_eq!(answer.status, 200, "{protocol:?}");
                assert_eq!(answer.header("x-generation"), "whole", "{protocol:?}");
                requests.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    let mut memory = 0;
    for number in 0..500_u64 {
        let wasm = match number % 5 {
            0 => version(number % 10, "trap"),
            3 => version(number % 10, "trap-response"),
            1 => version(number % 10, "refuse"),
            2 => b"no component".to_vec(),
            _ => version(number % 10, "none"),
        };
        let client = Admin { address: v.admin.clone() };
        let (status, body) = client.put("/api/plugins/v?for=1s", wasm).await;
        let wanted = if matches!(number % 5, 1 | 2) { 422 } else { 200 };
        assert_eq!(status, wanted, "{number}: {body}");
        // Some requests meet each generation.
        let seen = requests.load(Ordering::Relaxed);
        let more = async || (requests.load(Ordering::Relaxed) >= seen + 6).then_some(());
        until("requests under load", more).await;
        if number == 50 {
            memory = v.weir.memory();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in load {
        task.await.unwrap();
    }
    let (after, total) = (v.weir.memory(), requests.load(Ordering::Relaxed));
    assert!(total > 3000, "{total} requests");
    assert!(after < memory + (48 << 20), "{} MiB, then {} MiB", memory >> 20, after >> 20);
    // Those that are over stay for two scrapes.
    let few = async || {
        let generations = v.weir.metrics().await.matches("weir_plugin_instances{").count();
        (generations < 12).then_some(())
    };
    until("the end of series of generations", few).await;
}

/// The admin API without a process for each call.
struct Admin {
    address: String,
}

impl Admin {
    async fn put(&self, path: &str, body: Vec<u8>) -> (u16, String) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(&self.address).await.unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        (status.unwrap_or(0), answer)
    }
}
