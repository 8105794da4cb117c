//! Standard components in other languages than Rust: JavaScript by componentize-js, Python by
//! componentize-py. Each test builds its own component, with the interface from the crate of
//! wasmtime's `wasi:http`.

use std::path::{Path, PathBuf};

use http::Request;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::tools::{
    componentize_js, componentize_py, output, packaged, packaged_in, root,
};
use crate::support::{Body, Origin, Protocol, Setup, Weir};

/// A component and the folder that it needs.
struct Built {
    _folder: TempDir,
    wasm: PathBuf,
}

/// The folder of the sources in a language.
fn sources(language: &str) -> PathBuf {
    root().join("tests/components").join(language)
}

/// Writes the interface `wasi:http` into a folder, under this version.
fn interface(folder: &Path, version: &str) {
    let carried = packaged("wasmtime-wasi-http").join("wit/deps");
    let deps = folder.join("deps");
    std::fs::create_dir_all(&deps).unwrap();
    let http = std::fs::read_to_string(carried.join("http.wit")).unwrap();
    let own = http.lines().find_map(|line| line.strip_prefix("package wasi:http@")).unwrap();
    let own = own.trim_end_matches(';');
    for entry in std::fs::read_dir(carried).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        // Feature gates name the version too.
        let text = text.replace(&format!("@{own}"), &format!("@{version}"));
        let text = text.replace(&format!("(version = {own})"), &format!("(version = {version})"));
        std::fs::write(deps.join(path.file_name().unwrap()), text).unwrap();
    }
    let world =
        format!("package weir:tests;\nworld server {{ include wasi:http/proxy@{version}; }}\n");
    std::fs::write(folder.join("world.wit"), world).unwrap();
}

async fn javascript() -> Built {
    let folder = TempDir::new().unwrap();
    // The version of the tool's engine.
    interface(&folder.path().join("wit"), "0.2.10");
    let wasm = folder.path().join("server.wasm");
    let mut tool = componentize_js();
    tool.arg(sources("javascript").join("server.js")).arg("--out").arg(&wasm);
    tool.arg("--wit").arg(folder.path().join("wit")).args(["--world-name", "server"]);
    output(tool).await;
    Built { _folder: folder, wasm }
}

async fn python() -> Built {
    let folder = TempDir::new().unwrap();
    interface(&folder.path().join("wit"), "0.2.12");
    let wasm = folder.path().join("app.wasm");
    let mut tool = componentize_py();
    tool.arg("--wit-path").arg(folder.path().join("wit")).args(["--world", "server"]);
    tool.args(["componentize", "app", "--python-path"]).arg(sources("python"));
    tool.arg("--output").arg(&wasm);
    output(tool).await;
    Built { _folder: folder, wasm }
}

/// A Weir that answers every route by a component, with these keys of its plugin.
async fn served(built: &Built, origin: &Origin, keys: &str) -> Weir {
    let source = built.wasm.display();
    Setup::to([origin])
        .top(&format!("plugins: [{{ name: c, source: \"file:{source}\", {keys} }}]"))
        .routes("  - { name: all, component: c }")
        .compiled()
        .await
        .start()
        .await
}

/// Sends a request and checks that its answer begins and is cut short.
async fn cut(weir: &Weir, protocol: Protocol, path: &str) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    if let Ok(mut answer) = weir.try_send(protocol, request).await {
        assert!(answer.bytes().await.is_err(), "{protocol:?} {path}: {}", answer.status);
    }
}

#[tokio::test]
async fn a_server_in_javascript_answers_on_every_protocol() {
    let origin = Origin::start().await;
    let built = javascript().await;
    let keys = "allow: { upstreams: [app] }";
    let weir = served(&built, &origin, keys).await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = client.get("/").await;
        assert_eq!((answer.status.as_u16(), answer.header("x-language")), (200, "javascript"));
        assert_eq!(answer.text().await, "GET by JavaScript\n", "{protocol:?}");
        let request = Request::post("/echo").body(Body::repeat(20 << 20)).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.text().await.len(), 20 << 20, "{protocol:?}");
        let answer = client.get("/fetch/app/who").await;
        assert_eq!((answer.status.as_u16(), &*answer.text().await), (200, "origin"));
        assert_eq!(origin.head().target, "/who");
        for _ in 0..2 {
            assert_eq!(client.get("/count").await.text().await, "1", "an instance a request");
        }
        assert_eq!(client.get("/nothing").await.status, 404, "{protocol:?}");
        cut(&weir, protocol, "/throw").await;
        cut(&weir, protocol, "/fetch/elsewhere/who").await;
        assert_eq!(weir.get(protocol, "/count").await, (200, "1".to_owned()));
    }
    let failures = weir.metric("weir_plugin_failures_total", &["plugin=\"c\"", "kind=\"invalid\""]);
    assert_eq!(failures.await, 6.0);

    // With an instance that lives on, an unfinished body must end all the same.
    let weir = served(&built, &origin, &format!("{keys}, reuse: worker")).await;
    for protocol in Protocol::ALL {
        cut(&weir, protocol, "/throw").await;
    }
}

#[tokio::test]
async fn a_server_in_python_answers_on_every_protocol() {
    let origin = Origin::start().await;
    let built = python().await;
    for reuse in ["request", "worker"] {
        let weir = served(&built, &origin, &format!("reuse: {reuse}")).await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            let request = Request::post("/a?b").body(Body::repeat(100_000)).unwrap();
            let answer = client.send(request).await;
            assert_eq!((answer.status.as_u16(), answer.header("x-language")), (200, "python"));
            assert_eq!(answer.text().await, "100000 bytes to /a?b, by Python\n", "{protocol:?}");
            assert_eq!(client.get("/raise").await.status, 503, "{protocol:?}");
            cut(&weir, protocol, "/unfinished").await;
            assert_eq!(client.get("/").await.status, 200, "{protocol:?}");
        }
    }
}

/// Reproduces a cargo home that has exactly the packages that a build for this platform downloads.
/// The registry here lists a package for another platform and does not have it.
#[test]
fn a_package_is_found_without_those_that_other_platforms_need() {
    let folder = TempDir::new().unwrap();
    let workspace = folder.path();
    let write = |path: &str, text: &str| {
        let path = workspace.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let checksum = "0".repeat(64);
    write("src/lib.rs", "");
    write(
        "Cargo.toml",
        "[package]\nname = \"here\"\nversion = \"1.0.0\"\nedition = \"2024\"\n\n\
         [target.'cfg(target_os = \"none\")'.dependencies]\nelsewhere = \"1\"\n",
    );
    write(
        "Cargo.lock",
        &format!(
            "version = 4\n\n[[package]]\nname = \"elsewhere\"\nversion = \"1.0.0\"\n\
             source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
             checksum = \"{checksum}\"\n\n[[package]]\nname = \"here\"\nversion = \"1.0.0\"\n\
             dependencies = [\n \"elsewhere\",\n]\n"
        ),
    );
    write(
        ".cargo/config.toml",
        "[source.crates-io]\nreplace-with = \"here\"\n\n[source.here]\nlocal-registry = \"registry\"\n",
    );
    write(
        "registry/index/el/se/elsewhere",
        &format!(
            "{{\"name\":\"elsewhere\",\"vers\":\"1.0.0\",\"deps\":[],\"cksum\":\"{checksum}\",\
             \"features\":{{}},\"yanked\":false}}\n"
        ),
    );
    let found = packaged_in(workspace, "here");
    assert_eq!(found.canonicalize().unwrap(), workspace.canonicalize().unwrap());
}

/// Sends one request that ends in an exception. Returns its record, and the first line with the
/// message.
async fn thrown(weir: &mut Weir, path: &str) -> (Value, Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    if let Ok(mut answer) = weir.try_send(Protocol::H2, request).await {
        // The answer may be cut short.
        let _ = answer.bytes().await;
    }
    (weir.record().await, weir.said("as asked").await)
}

#[tokio::test]
async fn an_exception_in_javascript_is_logged_with_its_request() {
    let origin = Origin::start().await;
    let built = javascript().await;
    let mut weir = served(&built, &origin, "").await;
    let (record, line) = thrown(&mut weir, "/throw").await;
    assert_eq!((&line["request_id"], &line["plugin"]), (&record["request_id"], &"c".into()));
    let place = weir.said("server.js:").await;
    assert_eq!(place["request_id"], record["request_id"]);
    let failed = weir.logged("plugin failed; its request gets nothing more from it").await;
    assert_eq!(failed["request_id"], record["request_id"]);
}

#[tokio::test]
async fn an_exception_in_python_is_told_with_its_place_and_its_request() {
    let origin = Origin::start().await;
    let built = python().await;
    let mut weir = served(&built, &origin, "").await;
    let (record, line) = thrown(&mut weir, "/raise").await;
    assert_eq!((&line["request_id"], &line["plugin"]), (&record["request_id"], &"c".into()));
    let failed = weir.logged("plugin failed; its request gets nothing more from it").await;
    assert_eq!(failed["request_id"], record["request_id"]);
    let error = failed["error"].as_str().unwrap();
    assert!(error.contains("app.py") && error.contains("RuntimeError: as asked"), "{error}");
}
