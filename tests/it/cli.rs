//! The commands: their output and their exit codes. 0 done, 1 failed, 2 wrong usage, 78
//! configuration error.

use std::process::Command;

use tempfile::TempDir;

use crate::support::weir::{self, WEIR, free_address};
use crate::support::{Origin, Protocol, Setup, Weir};

#[test]
fn help_lists_the_commands_and_the_exit_codes() {
    let (code, text, _) = weir::run(&["--help"]);
    assert_eq!(code, 0);
    for word in ["demo", "run", "check", "schema", "78"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn wrong_usage_is_a_2() {
    for arguments in [
        &[][..],
        &["serve"],
        &["run"],
        &["run", "--nonsense"],
        &["check"],
        &["run", "-c", "x", "--plugin", "no-equals-sign"],
        &["run", "-c", "x", "--upstream", "http://127.0.0.1:1"],
        &["run", "-c", "x", "--listen", "127.0.0.1:1"],
    ] {
        let (code, _, errors) = weir::run(arguments);
        assert_eq!(code, 2, "{arguments:?}: {errors}");
    }
    let (_, _, errors) = weir::run(&["run"]);
    assert!(errors.contains("--config <FILE>|--upstream <URL>"), "{errors}");
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("weir.yaml");
    std::fs::write(&file, "").unwrap();
    let (code, _, errors) = weir::run(&["check", file.to_str().unwrap()]);
    assert_eq!(code, 2, "{errors}");
    assert!(errors.contains(&format!("--config {}", file.display())), "{errors}");
}

#[test]
fn the_schema_is_json_and_knows_every_section() {
    let (code, text, _) = weir::run(&["schema"]);
    assert_eq!(code, 0);
    let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
    for section in
        ["listeners", "plugins", "upstreams", "routes", "telemetry", "shutdown", "workers"]
    {
        assert!(schema["properties"][section].is_object(), "{section} in {text}");
    }
}

#[test]
fn every_error_of_a_configuration_is_told_with_its_place_and_what_would_help() {
    let cases = [
        ("listners: []\n", "weir.yaml:1:1", "did you mean \"listeners\""),
        (
            &with(
                "upstreams: [{ name: app, balancr: weighted, endpoints: [{ address: \"127.0.0.1:1\" }] }]",
            ),
            "weir.yaml:3:",
            "did you mean \"balancer\"",
        ),
        (
            &with(
                "routes: [{ upstream: ap }]\nupstreams: [{ name: app, endpoints: [{ address: \"127.0.0.1:1\" }] }]",
            ),
            "weir.yaml:3:",
            "app",
        ),
        (&with("routes: [{ respond: {} }]\nshutdown: { grace: 30 }"), "weir.yaml:4:", "s"),
        (&with("routes: [{ respond: {} }]\nshutdown: { grace: 3parsecs }"), "weir.yaml:4:", "ms"),
        ("listeners: [\n", "weir.yaml:2:", ""),
        (
            "listeners:\n  - address: nowhere\nroutes: [{ respond: {} }]\n",
            "weir.yaml:2:",
            "0.0.0.0:443",
        ),
        (
            "listeners:\n  - { address: \"127.0.0.1:0\", tls: { certificates: [{ cert: a.pem, key: b.pem }] } }\nroutes: [{ respond: {} }]\n",
            "a.pem",
            "",
        ),
    ];
    for (yaml, place, help) in cases {
        let (code, errors) = check(yaml);
        assert_eq!(code, 78, "{yaml}: {errors}");
        assert!(
            errors.contains(place) && errors.contains(help),
            "{yaml}: expected {place} and {help} in: {errors}"
        );
    }
}

#[test]
fn a_certificate_that_does_not_fit_its_key_is_told() {
    let directory = TempDir::new().unwrap();
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(directory.path().join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(
            directory.path().join(format!("{name}.key")),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
    };
    certificate("one");
    certificate("other");
    let yaml = "listeners:\n  - { address: \"127.0.0.1:0\", tls: { certificates: [{ cert: one.pem, key: other.key }] } }\nroutes: [{ respond: {} }]\n";
    let (code, errors) = check_in(&directory, yaml);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("one.pem") && errors.contains("other.key"), "{errors}");
    assert!(errors.contains("weir.yaml:2:61: listeners[0].tls.certificates[0].cert: "), "{errors}");
}

#[test]
fn a_file_that_is_missing_is_told() {
    let (code, _, errors) = weir::run(&["check", "-c", "/nonexistent/weir.yaml"]);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("/nonexistent/weir.yaml"), "{errors}");
}

#[test]
fn a_plugin_that_cannot_be_used_is_told_where_its_source_is_written() {
    let directory = TempDir::new().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(directory.path().join(name), bytes);
    write("broken.wasm", b"not a component").unwrap();
    // The preamble of a component, without content.
    write("empty.wasm", b"\0asm\x0d\0\x01\0").unwrap();
    let filter = std::fs::read(crate::support::tools::builtin("headers")).unwrap();
    write("filter.wasm", &filter).unwrap();
    for (file, hint) in
        [("broken.wasm", "component"), ("empty.wasm", "world"), ("filter.wasm", "balancer")]
    {
        let yaml = with(&format!(
            "plugins:\n  - name: bad\n    source: \"file:{file}\"\nupstreams: [{{ name: app, balancer: bad, endpoints: [{{ address: \"127.0.0.1:1\" }}] }}]\nroutes: [{{ upstream: app }}]"
        ));
        for command in ["check", "run"] {
            let (code, errors) = command_in(command, &directory, &yaml);
            assert_eq!(code, 78, "{command} {file}: {errors}");
            assert!(errors.contains("weir.yaml:5:13: plugins[0].source: "), "{command}: {errors}");
            assert!(errors.contains("bad") && errors.contains(hint), "{file}: {errors}");
        }
    }
}

#[test]
fn a_digest_that_differs_is_told() {
    let directory = TempDir::new().unwrap();
    let component = crate::support::tools::builtin("round-robin");
    std::fs::copy(component, directory.path().join("rr.wasm")).unwrap();
    let zeros = "0".repeat(64);
    let yaml = with(&format!(
        "plugins: [{{ name: rr, source: \"file:rr.wasm\", sha256: \"{zeros}\" }}]\nupstreams: [{{ name: app, balancer: rr, endpoints: [{{ address: \"127.0.0.1:1\" }}] }}]\nroutes: [{{ upstream: app }}]"
    ));
    let (code, errors) = check_in(&directory, &yaml);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("sha256") || errors.contains("SHA-256"), "{errors}");
}

#[tokio::test]
async fn a_good_configuration_is_checked_and_nothing_is_started() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    let config = setup.write(free_address());
    let (code, _, errors) = weir::run(&["check", "-c", config.to_str().unwrap()]);
    assert_eq!((code, origin.connections()), (0, 0), "{errors}");
}

#[test]
fn an_address_in_use_is_told_where_it_is_written() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let taken_udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = taken_udp.local_addr().unwrap();
    let listener = |address| {
        format!("listeners:\n  - {{ address: \"{address}\", tls: {{ self_signed: {{}} }} }}\n")
    };
    let any = listener(([127, 0, 0, 1], 0).into());
    let cases = [
        (listener(address), "weir.yaml:2:16: listeners[0].address: bind", address),
        (listener(udp), "weir.yaml:2:16: listeners[0].address: bind", udp),
        (
            format!("{any}telemetry:\n  metrics: {{ address: \"{address}\" }}\n"),
            "weir.yaml:4:23: telemetry.metrics.address: bind",
            address,
        ),
        (
            format!("{any}admin:\n  token: secret\n  address: \"{address}\"\n"),
            "weir.yaml:5:12: admin.address: bind",
            address,
        ),
    ];
    for (lines, place, address) in cases {
        let yaml = format!("{lines}routes: [{{ respond: {{}} }}]\n");
        let directory = TempDir::new().unwrap();
        let (code, errors) = command_in("run", &directory, &yaml);
        assert_eq!(code, 78, "{yaml}: {errors}");
        assert!(errors.contains(&format!("{place} {address} ")), "{place}: {errors}");
        assert!(errors.contains("the port is in use"), "{errors}");
        // Only binding a port shows whether it is free, and `check` does not bind it.
        assert_eq!(command_in("check", &directory, &yaml).0, 0);
    }
    let taken = address.to_string();
    for argument in ["--listen", "--metrics", "--admin"] {
        let mut arguments = vec!["demo"];
        for other in ["--listen", "--metrics", "--admin"] {
            arguments.extend([other, if other == argument { &taken } else { "127.0.0.1:0" }]);
        }
        let (code, _, errors) = weir::run(&arguments);
        assert_eq!(code, 78, "{argument}: {errors}");
        assert!(errors.contains(&format!("{argument}: ")) && errors.contains(&taken), "{errors}");
    }
}

#[tokio::test]
async fn the_shortest_way_to_proxy_something_needs_no_file() {
    let (code, _, errors) = weir::run(&["run", "--upstream", "ftp://127.0.0.1:1"]);
    assert_eq!(code, 78, "{errors}");
    assert!(errors.contains("http://"), "{errors}");
}

#[tokio::test]
async fn the_demo_serves_three_origins_on_all_protocols() {
    let directory = TempDir::new().unwrap();
    let any = ["--listen", "--metrics", "--admin"].map(|key| [key, "127.0.0.1:0"]).concat();
    let mut command = Command::new(WEIR);
    command.arg("demo").args(any);
    let demo = Weir::start(command, ([127, 0, 0, 1], 0).into(), true, directory).await;
    for protocol in Protocol::ALL {
        let (status, _) = demo.get(protocol, "/").await;
        assert_eq!(status, 200, "{protocol:?}");
    }
    assert!(demo.metric("backend_health_status", &[]).await >= 3.0);
    assert!(demo.printed().contains("curl"), "what to try: {}", demo.printed());
    // The printed command can list its plugins.
    let printed = demo.printed();
    let token = printed.split("WEIR_ADMIN_TOKEN=").nth(1).and_then(|rest| rest.lines().next());
    let mut list = Command::new(WEIR);
    list.args(["plugin", "list", "--token", token.unwrap(), "--admin"]);
    let listed = list.arg(demo.admin_address().to_string()).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("consistent-hash") && listed.contains("headers"), "{listed}");
}

/// A configuration with a listener and these lines.
fn with(lines: &str) -> String {
    let routes = if lines.contains("routes:") { "" } else { "\nroutes: [{ respond: {} }]" };
    format!("listeners:\n  - address: \"127.0.0.1:0\"\n{lines}{routes}\n")
}

fn check(yaml: &str) -> (i32, String) {
    check_in(&TempDir::new().unwrap(), yaml)
}

fn check_in(directory: &TempDir, yaml: &str) -> (i32, String) {
    command_in("check", directory, yaml)
}

fn command_in(command: &str, directory: &TempDir, yaml: &str) -> (i32, String) {
    let path = directory.path().join("weir.yaml");
    std::fs::write(&path, yaml).unwrap();
    let (code, _, errors) = weir::run(&[command, "-c", path.to_str().unwrap()]);
    (code, errors)
}

#[test]
fn check_explains_which_route_gets_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weir.yaml");
    let text = "listeners: [{ address: '127.0.0.1:0' }]\n\
        upstreams: [{ name: app, endpoints: [{ address: '127.0.0.1:1' }] }]\n\
        routes:\n\
        - { name: host, match: { host: '*.example.com' }, upstream: app }\n\
        - { name: path, match: { path: '/api/*' }, upstream: app }\n\
        - { name: method, match: { methods: [PUT, POST] }, upstream: app }\n\
        - { name: field, match: { headers: { x-a: b } }, upstream: app }\n\
        - { name: client, match: { client: [10.0.0.0/8] }, upstream: app }\n\
        - { name: query, match: { query: { v: '2' } }, respond: { status: 204 } }\n\
        - { name: last, match: { path: '/web/*' }, filters: [request-id], upstream: app }\n";
    std::fs::write(&file, text).unwrap();
    let explain = |arguments: &[&str]| {
        let file = file.to_str().unwrap();
        weir::run(&[&["check", "-c", file, "--explain"], arguments].concat())
    };
    let before = "1. host: the host is not *.example.com\n";
    let (code, out, _) = explain(&["https://shop.test/web/x"]);
    let expected = format!(
        "{before}2. path: the path is not /api/*\n3. method: the method is not PUT or POST\n\
         4. field: x-a is not \"b\"\n5. client: the client is not in 10.0.0.0/8\n\
         6. query: the query has not v=2\n7. last: matches, to upstream app through request-id\n"
    );
    assert_eq!((code, out), (0, expected));
    let (_, out, _) = explain(&["http://shop.test/api/1"]);
    assert_eq!(out, format!("{before}2. path: matches, to upstream app\n"));
    let (_, out, _) = explain(&["http://a.example.com/", "--client", "10.0.0.1"]);
    assert_eq!(out, "1. host: matches, to upstream app\n");
    let (_, out, _) = explain(&["http://x/?v=2", "--header", "x-c: d"]);
    assert!(out.ends_with("6. query: matches, to a fixed response with 204\n"), "{out}");
    let (_, out, _) = explain(&["http://x/"]);
    assert!(out.ends_with("no route matches: the answer is 404\n"), "{out}");
    assert_eq!(explain(&["/path"]).0, 1);
}
