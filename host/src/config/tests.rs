use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{
    Action, Config, ConfigErrors, Overrides, PluginLimits, Protocols, Retry, Source, Tls, defaults,
    from_text, from_upstreams, load, reference, schema,
};
use crate::oci::Credentials;

/// Compares the errors of every file in tests/golden/config with the text beside it.
/// `UPDATE_GOLDEN=1` writes the texts anew.
#[test]
fn every_fault_is_reported_with_its_place() {
    let base = folder();
    let mut seen = 0;
    for entry in fs::read_dir(root("tests/golden/config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        seen += 1;
        let text = fs::read_to_string(&path).unwrap();
        let errors = from_text("weir.yaml", &text, base.path(), &Overrides::default())
            .expect_err(&format!("{} is accepted", path.display()));
        let actual = format!("{errors}\n").replace(&format!("{}/", base.path().display()), "");
        let golden = path.with_extension("txt");
        if updates() {
            fs::write(&golden, &actual).unwrap();
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(actual, expected, "{}", path.display());
    }
    assert!(seen > 15, "{seen} files found");
}

#[test]
fn every_example_configuration_loads_without_a_warning() {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("certs")).unwrap();
    for name in ["example.com", "example.org"] {
        pair(&copy.path().join("certs").join(name), name);
    }
    let mut seen = 0;
    for entry in fs::read_dir(root("configs")).unwrap() {
        let path = entry.unwrap().path();
        let beside = copy.path().join(path.file_name().unwrap());
        fs::copy(&path, &beside).unwrap();
        let config = load(&beside, &Overrides::default()).unwrap();
        assert!(config.warnings.is_empty(), "{}: {:?}", path.display(), config.warnings);
        seen += 1;
    }
    assert!(seen >= 7, "{seen} files found");
}

#[test]
fn the_configuration_beside_each_example_plugin_loads_without_a_warning() {
    let copy = tempfile::tempdir().unwrap();
    for component in ["balancer/bounded.wasm", "filter/tenants.wasm"] {
        let path = copy.path().join(component);
        fs::create_dir(path.parent().unwrap()).unwrap();
        fs::write(path, "built by CI's test of the example").unwrap();
    }
    let mut seen = 0;
    for entry in fs::read_dir(root("examples")).unwrap() {
        let path = entry.unwrap().path().join("weir.yaml");
        if path.exists() {
            let beside = copy.path().join("weir.yaml");
            fs::copy(&path, &beside).unwrap();
            let config = load(&beside, &Overrides::default()).unwrap();
            assert!(config.warnings.is_empty(), "{}: {:?}", path.display(), config.warnings);
            seen += 1;
        }
    }
    assert_eq!(seen, 8);
}

#[test]
fn the_full_example_shows_the_defaults() {
    let full = parse(&fs::read_to_string(root("configs/full.yaml")).unwrap()).unwrap();
    let minimal = parse(&fs::read_to_string(root("configs/minimal.yaml")).unwrap()).unwrap();
    let shown = |value: &dyn std::fmt::Debug| format!("{value:?}");
    let (full_listener, listener) = (&full.listeners[0], &minimal.listeners[0]);
    assert_eq!(shown(&full_listener.quic), shown(&listener.quic));
    assert_eq!(shown(&full_listener.limits), shown(&listener.limits));
    assert_eq!(shown(&full_listener.tls), shown(&listener.tls));
    assert_eq!(full_listener.protocols, listener.protocols);
    assert_eq!(shown(&full.upstreams[0].timeouts), shown(&minimal.upstreams[0].timeouts));
    assert_eq!(shown(&full.upstreams[0].limits), shown(&minimal.upstreams[0].limits));
    let limits = PluginLimits {
        memory: Some(defaults::PLUGIN_MEMORY),
        time: Some(defaults::PLUGIN_TIME),
        ..PluginLimits::default()
    };
    assert_eq!(full.plugins[0].limits, limits);
    assert_eq!(shown(&full.telemetry.log), shown(&minimal.telemetry.log));
    assert_eq!((full.grace, full.workers), (minimal.grace, minimal.workers));
    let keys = keys(&schema());
    let text = fs::read_to_string(root("configs/full.yaml")).unwrap();
    for key in keys {
        assert!(text.contains(&format!("{key}:")), "configs/full.yaml does not show {key}");
    }
}

#[test]
fn a_configuration_means_what_it_says() {
    let config = parse(
        "
listeners:
  - address: '[::1]:0'
    tls: { self_signed: { names: [A.example] } }
    quic: { keep_alive: 0s, retry: always }
  - address: 127.0.0.1:0
  - address: 127.0.0.1:0
upstreams:
  - name: app
    balancer: least-connections
    balancer_config: { a: [1, 2.5, -3, null, text] }
    endpoints: [{ address: 'localhost:3000', labels: { v: '2' } }, { address: '[::1]:3001' }]
    health: { path: '/h?x=1', expect: [204, 300-399] }
    timeouts: { first_byte: 0s, total: 1500ms }
routes:
  - match: { host: '*.Example.com', path: /api/*, methods: [PUT], headers: { X-A: b } }
    upstream: app
  - respond: { status: 404, body: no }
telemetry: { metrics: {}, tracing: { otlp: 'http://127.0.0.1:4317/', sample: 2.5% } }
workers: 3
",
    )
    .unwrap();
    let [secure, plain, _] = config.listeners.as_slice() else { panic!() };
    assert_eq!(secure.protocols, Protocols { h3: true, h2: true, h1: true });
    assert_eq!(plain.protocols, Protocols { h3: false, h2: false, h1: true });
    assert!(
        matches!(&secure.tls, Some(Tls::SelfSigned { names }) if names.as_slice() == ["a.example"])
    );
    assert_eq!((secure.quic.keep_alive, secure.quic.retry), (None, Retry::Always));
    let upstream = &config.upstreams[0];
    let balancer = upstream.balancer.of(&config.plugins).unwrap();
    assert_eq!(balancer.source, Source::Builtin("least-connections".to_owned()));
    assert_eq!(upstream.balancer_config.to_string(), r#"{"a":[1,2.5,-3,null,"text"]}"#);
    assert_eq!(upstream.endpoints[0].name, "localhost:3000");
    assert_eq!(upstream.endpoints[0].address.to_string(), "127.0.0.1:3000");
    assert_eq!(upstream.endpoints[1].name, "[::1]:3001");
    assert_eq!(upstream.health.as_ref().unwrap().expect, [(204, 204), (300, 399)]);
    assert_eq!(upstream.timeouts.first_byte, None);
    assert_eq!(upstream.timeouts.total, Some(Duration::from_millis(1500)));
    assert_eq!(config.routes[0].name, "*.example.com/api/*");
    assert_eq!(config.routes[0].matcher.headers[0].0, "x-a");
    assert!(matches!(config.routes[0].action, Action::Upstream(id) if id.position() == 0));
    assert!(matches!(&config.routes[1].action, Action::Respond(r) if r.status == 404));
    let tracing = config.telemetry.tracing.unwrap();
    assert_eq!((tracing.otlp.as_str(), tracing.sample), ("http://127.0.0.1:4317", 0.025));
    assert_eq!(config.telemetry.metrics.unwrap().address.port(), 9090);
    assert_eq!(config.workers, 3);
}

#[test]
fn what_is_probably_a_mistake_is_a_warning() {
    let config = parse(
        "
listeners: [{ address: '127.0.0.1:0' }]
plugins: [{ name: mine, source: 'builtin:weighted' }]
upstreams: [{ name: app, endpoints: [{ address: '127.0.0.1:1' }] }]
routes:
  - match: { path: /api/* }
    respond: {}
  - match: { path: /apix }
    respond: {}
  - match: { path: /api, methods: [GET] }
    respond: {}
  - respond: {}
  - match: { host: example.com }
    respond: {}
",
    )
    .unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "weir.yaml:3:19: plugin \"mine\" is not used",
            "weir.yaml:4:21: no route leads to upstream \"app\"",
            "weir.yaml:10:5: routes[2] never matches: routes[0] takes all its requests",
            "weir.yaml:13:5: routes[4] never matches: routes[3] takes all its requests",
        ]
    );
}

#[test]
fn a_pattern_with_names_takes_the_requests_of_later_ones() {
    let warnings = |earlier: &str, later: &str| {
        let text = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]
routes:
  - {{ match: {{ path: '{earlier}' }}, respond: {{}} }}
  - {{ match: {{ path: '{later}' }}, respond: {{}} }}"
        );
        parse(&text).unwrap().warnings.len()
    };
    for (earlier, later) in [
        ("/users/{id}", "/users/5"),
        ("/users/{id}", "/users/{name}"),
        ("/users/{id}/*", "/users/5"),
        ("/users/{id}/*", "/users/5/a/b"),
        ("/users/*", "/users/{id}/{*rest}"),
        ("/{*all}", "/users/{id}"),
    ] {
        assert_eq!(warnings(earlier, later), 1, "{earlier} {later}");
    }
    for (earlier, later) in [
        ("/users/5", "/users/{id}"),
        ("/users/{id}", "/users/"),
        ("/users/{id}", "/users/5/a"),
        ("/users/{id}", "/users/*"),
        ("/users/{id}/a", "/users/{id}/{*rest}"),
    ] {
        assert_eq!(warnings(earlier, later), 0, "{earlier} {later}");
    }
}

#[test]
fn a_pattern_of_paths_is_checked() {
    let error = |route: &str| {
        let text = format!("listeners: [{{ address: '127.0.0.1:0' }}]\nroutes: [{{ {route} }}]");
        parse(&text).map(drop).map_err(|errors| errors.to_string())
    };
    for (pattern, said) in [
        ("/a/{b}c", "a name in braces is a whole segment"),
        ("/a/{b", "a name in braces is a whole segment"),
        ("/a/{}", "a name has letters, digits"),
        ("/a/{b-c}", "a name has letters, digits"),
        ("/a/{b}/{b}", "has the name \\\"b\\\" twice"),
        ("/{*a}/b", "a name has letters, digits"),
        ("/a*/{b}", "that is not its last segment"),
        ("/{a}/b c", "percent-encoded"),
    ] {
        let text = error(&format!("match: {{ path: '{pattern}' }}, respond: {{}}")).unwrap_err();
        assert!(text.contains(&said.replace("\\\"", "\"")), "{pattern}: {text}");
    }
    let udp = "connect_udp: { targets: ['a.test:53'] }";
    error(&format!("match: {{ path: '/{{target_host}}/{{target_port}}' }}, {udp}")).unwrap();
    for matcher in ["{}", "{ path: '/{target_host}/53' }", "{ path: /x/target_host/target_port }"] {
        let text = error(&format!("match: {matcher}, {udp}")).unwrap_err();
        assert!(text.contains("needs a match.path with {target_host} and {target_port}"), "{text}");
    }
    let both = error(&format!("{udp}, respond: {{}}")).unwrap_err();
    assert!(both.contains("has connect_udp and respond"), "{both}");
}

#[test]
fn a_host_that_does_not_resolve_is_an_error() {
    let errors = parse(
        "
listeners: [{ address: '127.0.0.1:0' }]
upstreams: [{ name: app, endpoints: [{ address: 'nowhere.invalid:1' }] }]
routes: [{ upstream: app }]
",
    )
    .unwrap_err();
    let text = errors.to_string();
    assert!(text.starts_with("weir.yaml:3:49: upstreams[0].endpoints[0].address: cannot resolve \"nowhere.invalid\": "), "{text}");
}

#[test]
fn a_plugin_of_the_command_line_replaces_or_joins_those_of_the_file() {
    let base = folder();
    let component = base.path().join("x.wasm");
    let text = "
listeners: [{ address: '127.0.0.1:0' }]
plugins: [{ name: mine, source: 'file:old.wasm', sha256: SHA, config: { a: 1 }, limits: { time: 7ms } }]
upstreams: [{ name: app, balancer: mine, endpoints: [{ address: '127.0.0.1:1' }] }]
routes: [{ upstream: app }]
"
    .replace("SHA", &"0".repeat(64));
    let replaced = overrides(&[("mine", component.to_str().unwrap()), ("new", "builtin:weighted")]);
    let config = from_text("weir.yaml", &text, base.path(), &replaced).unwrap();
    assert_eq!(config.plugins[0].source, Source::File(component));
    assert_eq!(config.plugins[0].sha256, None);
    assert_eq!(config.plugins[0].limits.time, Some(Duration::from_millis(7)));
    assert_eq!(config.plugins[1].name, "new");

    let wrong = overrides(&[("mine", "/missing.wasm"), ("new", "file:/gone.wasm")]);
    let errors = from_text("weir.yaml", &text, base.path(), &wrong).unwrap_err();
    assert_eq!(
        lines(&errors),
        [
            "--plugin mine=/missing.wasm: plugins[0].source: cannot read \"/missing.wasm\": No such file or directory (os error 2)",
            "--plugin new=file:/gone.wasm: plugins[1].source: cannot read \"/gone.wasm\": No such file or directory (os error 2)",
        ]
    );
    let wrong = overrides(&[("a b", "x.wasm"), ("c", "builtin:weigted"), ("d", "oci:x")]);
    let errors = from_text("weir.yaml", &text, base.path(), &wrong).unwrap_err();
    assert_eq!(
        lines(&errors),
        [
            "--plugin a b=x.wasm: \"a b\" is not a name: up to 64 letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit",
            "--plugin c=builtin:weigted: no built-in plugin \"weigted\"; did you mean \"weighted\"?",
            "--plugin d=oci:x: \"x\" names no registry, as in \"registry.example.com/plugins/canary:1.2\"",
        ]
    );
}

#[test]
fn upstreams_of_the_command_line_need_no_file() {
    let urls = ["http://127.0.0.1:3000", "http://127.0.0.1/", "http://[::1]:1"];
    let mut arguments =
        Overrides { upstreams: urls.map(str::to_owned).into(), ..Overrides::default() };
    let config = from_upstreams(&arguments).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8443");
    assert_eq!(config.listeners[0].protocols, Protocols { h3: true, h2: true, h1: true });
    let names: Vec<&str> = config.upstreams[0].endpoints.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["127.0.0.1:3000", "127.0.0.1:80", "[::1]:1"]);
    assert_eq!(config.upstreams[0].balancer.of(&config.plugins).unwrap().name, "round-robin");
    assert!(config.warnings.is_empty());

    arguments.listen = Some("[::1]:9443".parse().unwrap());
    let config = from_upstreams(&arguments).unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "[::1]:9443");

    arguments.plugins = vec![("mine".to_owned(), "builtin:weighted".to_owned())];
    let config = from_upstreams(&arguments).unwrap();
    assert_eq!(config.upstreams[0].balancer.of(&config.plugins).unwrap().name, "mine");

    let urls = ["ftp://a", "127.0.0.1:80", "http://127.0.0.1:1/x", "http://", "http://127.0.0.1:x"];
    let arguments = Overrides { upstreams: urls.map(str::to_owned).into(), ..Overrides::default() };
    assert_eq!(
        lines(&from_upstreams(&arguments).unwrap_err()),
        [
            "--upstream 127.0.0.1:80: is not a URL; write \"http://127.0.0.1:80\"",
            "--upstream ftp://a: ftp:// is not supported for upstreams; use http:// or https://",
            "--upstream http://: \"\" is not HOST:PORT, as in \"127.0.0.1:8080\"",
            "--upstream http://127.0.0.1:1/x: has a path; requests keep the path that the client asked for",
            "--upstream http://127.0.0.1:x: \"127.0.0.1:x\" is not HOST:PORT, as in \"127.0.0.1:8080\"",
        ]
    );
    let twice =
        Overrides { upstreams: vec!["http://127.0.0.1:1".to_owned(); 2], ..Overrides::default() };
    assert_eq!(
        lines(&from_upstreams(&twice).unwrap_err()),
        ["--upstream http://127.0.0.1:1: duplicate endpoint \"127.0.0.1:1\""]
    );
    let errors = from_text("weir.yaml", MINIMAL, Path::new(""), &twice).unwrap_err();
    assert_eq!(
        lines(&errors),
        ["--upstream http://127.0.0.1:1: is for running without a configuration file"]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let base = tempfile::tempdir().unwrap();
    let missing = load(Path::new("missing.yaml"), &Overrides::default()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "missing.yaml: cannot read: No such file or directory (os error 2)"
    );
    let large = base.path().join("large.yaml");
    fs::write(&large, format!("{MINIMAL}# {}", "x".repeat(1 << 20))).unwrap();
    let errors = load(&large, &Overrides::default()).unwrap_err();
    assert!(errors.to_string().ends_with("large.yaml: is larger than 1024 KiB"), "{errors}");
    let deep = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(
        parse(&deep(100)).unwrap_err().to_string(),
        "weir.yaml:1:65: is nested more than 64 deep"
    );
    parse(&deep(100_000)).unwrap_err();
    parse(&"- ".repeat(100_000)).unwrap_err();
    let bytes = base.path().join("bytes.yaml");
    fs::write(&bytes, b"\xff\xfe\x00").unwrap();
    assert!(load(&bytes, &Overrides::default()).is_err());
}

/// An editor may have saved any half of a file.
#[test]
fn no_part_of_a_file_makes_the_loader_panic() {
    let text = fs::read_to_string(root("configs/full.yaml")).unwrap();
    for (end, _) in text.char_indices().step_by(3) {
        let _ = parse(&text[..end]);
        let _ = parse(&text[end..]);
    }
}

#[test]
fn a_registry_is_reached_as_its_entry_says_and_a_moving_tag_is_warned_of() {
    let base = folder();
    fs::write(base.path().join("password"), "sesame\n").unwrap();
    let text = format!(
        "{MINIMAL}
plugins:
  - {{ name: tagged, source: 'oci:A.example:5000/x:1' }}
  - {{ name: pinned, source: 'oci:localhost/x@sha256:{}' }}
registries:
  - {{ host: a.example:5000, username: u, password: file:password, plain_http: true }}
  - {{ host: localhost, ca: a.crt }}
  - {{ host: unused.example }}
",
        "ab".repeat(32)
    );
    let config = from_text("weir.yaml", &text, base.path(), &Overrides::default()).unwrap();
    let Source::Oci(reference) = &config.plugins[0].source else { panic!() };
    assert_eq!(reference.registry, "a.example:5000");
    let [plain, secure, _] = config.registries.as_slice() else { panic!() };
    let basic = Credentials::Basic { username: "u".into(), password: "sesame".into() };
    assert_eq!((plain.credentials.as_ref(), plain.plain_http), (Some(&basic), true));
    assert_eq!((secure.ca.len(), secure.plain_http), (1, false));
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    for said in ["can be moved", "unencrypted", "no plugin is from registry \"unused.example\""] {
        let count = warnings.iter().filter(|warning| warning.contains(said)).count();
        assert_eq!(count, 1, "{said}: {warnings:#?}");
    }
}

#[test]
fn a_route_that_looks_for_an_underscore_is_told_what_it_needs() {
    let warnings = |limits: &str| {
        let text = format!(
            "listeners: [{{ address: '127.0.0.1:0', limits: {limits} }}]
routes:
  - match: {{ headers: {{ api_key: a, x-team: b }} }}
    respond: {{}}
"
        );
        let config = from_text("weir.yaml", &text, Path::new("."), &Overrides::default()).unwrap();
        config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        warnings("{}"),
        [
            "weir.yaml:3:23: \"api_key\" never matches: fields with an underscore are left out of requests \
             (listeners[].limits.underscores_in_headers)"
        ]
    );
    assert!(warnings("{ underscores_in_headers: true }").is_empty());
}

#[test]
fn the_reference_is_up_to_date() {
    let path = root("docs/configuration.md");
    if updates() {
        fs::write(&path, reference()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference(),
        "out of date; run: weir schema --reference > docs/configuration.md"
    );
}

#[test]
fn every_key_of_the_schema_is_described_and_strict() {
    fn look(path: &str, schema: &serde_json::Value) {
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{path} takes unknown keys");
            for (key, schema) in properties {
                let path = format!("{path}.{key}");
                assert!(schema["description"].is_string(), "{path} has no description");
                assert!(schema.get("$ref").is_none() && schema.get("anyOf").is_none(), "{path}");
                if let Some(format) = schema["format"].as_str() {
                    assert!(super::formats::format(format).is_some(), "{path} has format {format}");
                }
                assert!(schema["type"] != "integer" || schema["maximum"].is_u64(), "{path}");
                look(&path, schema);
            }
        }
        if schema["items"].is_object() {
            look(&format!("{path}[]"), &schema["items"]);
        }
    }
    look("", &schema());
}

#[test]
fn every_example_of_a_format_is_taken() {
    for format in super::formats::FORMATS {
        for example in format.examples {
            (format.measure)(example).unwrap();
        }
    }
}

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    from_text("weir.yaml", text, Path::new(""), &Overrides::default())
}

fn lines(errors: &ConfigErrors) -> Vec<String> {
    errors.problems().iter().map(ToString::to_string).collect()
}

fn overrides(plugins: &[(&str, &str)]) -> Overrides {
    let plugins = plugins.iter().map(|(name, from)| ((*name).to_owned(), (*from).to_owned()));
    Overrides { plugins: plugins.collect(), ..Overrides::default() }
}

fn updates() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A folder with certificates, good and bad, and a component.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    pair(&folder.path().join("a"), "localhost");
    pair(&folder.path().join("b"), "localhost");
    write("garbage.pem", "no PEM at all\n");
    write("damaged.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    write("damaged.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    write("x.wasm", "not checked here");
    folder
}

/// Writes PATH.crt and PATH.key.
fn pair(path: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let with = |extension: &str| PathBuf::from(format!("{}.{extension}", path.display()));
    fs::write(with("crt"), made.cert.pem()).unwrap();
    fs::write(with("key"), made.signing_key.serialize_pem()).unwrap();
}

/// Returns every key of a schema.
fn keys(schema: &serde_json::Value) -> Vec<String> {
    let mut found = Vec::new();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        found.push(key.clone());
        found.extend(keys(schema));
        found.extend(keys(&schema["items"]));
    }
    found
}

const MINIMAL: &str = "
listeners: [{ address: '127.0.0.1:0' }]
routes: [{ respond: {} }]
";
