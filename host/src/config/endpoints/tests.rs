use std::fs;

use proptest::prelude::*;

use super::*;
use crate::config::{
    Config, Discovery, Dns, DnsRecords, Endpoint, MAX_ENDPOINTS, Overrides, from_text,
};

/// Reads a file with this text. Errors show it as `endpoints.yaml`.
fn read(text: &str) -> Result<Vec<NamedEndpoint>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints.yaml");
    fs::write(&path, text).unwrap();
    let prefix = format!("{}/", folder.path().display());
    endpoints(&path).map_err(|errors| errors.to_string().replace(&prefix, ""))
}

/// A configuration with one upstream, in a folder with `endpoints.yaml`.
fn configured(source: &str, file: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("endpoints.yaml"), file).unwrap();
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\nroutes: [{{ upstream: app }}]\n\
         upstreams:\n- name: app\n  {source}\n"
    );
    let prefix = format!("{}/", folder.path().display());
    from_text("weir.yaml", &text, folder.path(), &Overrides::default())
        .map_err(|errors| errors.to_string().replace(&prefix, ""))
}

fn found(source: &str, file: &str) -> (Vec<Endpoint>, Discovery, Vec<String>) {
    let mut config = configured(source, file).unwrap();
    let upstream = config.upstreams.remove(0);
    let warnings = config.warnings.iter().map(|warning| warning.message().to_owned());
    (upstream.endpoints, upstream.discovery, warnings.collect())
}

#[test]
fn a_list_and_a_mapping_in_yaml_and_json_mean_the_same() {
    let texts = [
        "- { address: 'a.test:1', weight: 2, zone: z, labels: { k: v } }\n- address: '[::1]:2'\n",
        "# made\nendpoints:\n- { address: 'a.test:1', weight: 2, zone: z, labels: { k: v } }\n\
         - address: '[::1]:2'\n",
        r#"[{"address":"a.test:1","weight":2,"zone":"z","labels":{"k":"v"}},{"address":"[::1]:2"}]"#,
        r#"{"endpoints":[{"address":"a.test:1","weight":2,"zone":"z","labels":{"k":"v"}},
           {"address":"[::1]:2"}]}"#,
    ];
    for text in texts {
        let list = read(text).unwrap();
        let [first, second] = list.as_slice() else { panic!("{list:?}") };
        assert_eq!((first.name().as_str(), first.ip(), first.weight), ("a.test:1", None, 2));
        assert_eq!((first.zone.as_str(), first.labels["k"].as_str()), ("z", "v"));
        assert_eq!((second.name().as_str(), second.port, second.weight), ("[::1]:2", 2, 1));
        assert!(second.ip().is_some());
    }
    assert_eq!(read("[]"), Ok(Vec::new()));
    assert_eq!(read("endpoints: []"), Ok(Vec::new()));
}

#[test]
fn a_fault_has_its_place_in_the_file_of_endpoints() {
    let cases = [
        ("", "endpoints.yaml: is empty"),
        (
            "- address: '127.0.0.1'\n",
            "endpoints.yaml:1:12: [0].address: \"127.0.0.1\" has no port; write \"127.0.0.1:8080\"",
        ),
        (
            "endpoint: []\n",
            "endpoints.yaml:1:1: unknown key \"endpoint\" at the top level; did you mean \"endpoints\"?",
        ),
        (
            "endpoints:\n",
            "endpoints.yaml:1:10: endpoints: has no value; give it one or leave the key out",
        ),
        ("- {}\n", "endpoints.yaml:1:3: missing key \"address\" in [0]"),
        (
            "- address: a:1\n- address: a:1\n",
            "endpoints.yaml:2:12: duplicate endpoint \"a:1\"; the first is on line 1",
        ),
        ("- address: a:1\n  weight: 0\n", "endpoints.yaml:1:1: every weight is 0"),
        (
            "endpoints:\n- { address: a:1, weight: 0 }\n",
            "endpoints.yaml:2:3: endpoints: every weight is 0",
        ),
        ("servers", "endpoints.yaml:1:1: expected a mapping, found \"servers\""),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).unwrap_err(), expected, "{text}");
    }
    assert!(endpoints(Path::new("/dev/zero")).unwrap_err().to_string().ends_with("is not a file"));
}

#[test]
fn names_in_a_list_are_kept_and_addresses_need_no_lookup() {
    let (endpoints, discovery, _) = found("endpoints: [{ address: 'localhost:1' }]", "");
    assert_eq!(endpoints[0].address.to_string(), "127.0.0.1:1");
    let Discovery::Names(names) = discovery else { panic!("{discovery:?}") };
    assert_eq!((names[0].host.as_str(), names[0].name()), ("localhost", "localhost:1".to_owned()));
    let (_, discovery, _) = found("endpoints: [{ address: '[::1]:1' }]", "");
    assert_eq!(discovery, Discovery::Static);
}

#[test]
fn a_file_gives_the_addresses_in_it_at_once() {
    let file = "- address: '127.0.0.1:1'\n- address: nowhere.invalid:2\n";
    let (endpoints, discovery, warnings) = found("file: endpoints.yaml", file);
    assert_eq!(endpoints, [Endpoint::at("127.0.0.1:1".parse().unwrap())]);
    let Discovery::File(path) = discovery else { panic!("{discovery:?}") };
    assert!(path.is_absolute() && path.ends_with("endpoints.yaml"));
    assert!(warnings.is_empty(), "{warnings:?}");
    let (endpoints, _, warnings) = found("file: endpoints.yaml", "[]");
    assert!(endpoints.is_empty());
    assert!(warnings[0].ends_with("has no endpoints yet: requests get 503"), "{warnings:?}");
    let many: String = (1..=1100).map(|port| format!("- address: '127.0.0.1:{port}'\n")).collect();
    let (endpoints, _, warnings) = found("file: endpoints.yaml", &many);
    assert_eq!(endpoints.len(), MAX_ENDPOINTS);
    assert!(warnings[0].ends_with("the rest is left out"), "{warnings:?}");
}

#[test]
fn a_dns_name_has_its_defaults() {
    let (endpoints, discovery, _) = found("dns: { name: App.test, port: 80 }", "");
    assert!(endpoints.is_empty());
    let expected = Dns {
        name: "app.test".to_owned(),
        records: DnsRecords::Addresses { port: 80, weight: 1 },
        resolvers: Vec::new(),
        min_ttl: std::time::Duration::from_secs(5),
        max_ttl: std::time::Duration::from_secs(300),
        zone: String::new(),
        labels: std::collections::BTreeMap::new(),
    };
    assert_eq!(discovery, Discovery::Dns(expected));
    let source =
        "dns: { name: _http._tcp.app., type: srv, resolvers: [10.0.0.2, '[::1]:54', '::1'] }";
    let (_, discovery, _) = found(source, "");
    let Discovery::Dns(dns) = discovery else { panic!("{discovery:?}") };
    assert_eq!((dns.name.as_str(), dns.records), ("_http._tcp.app.", DnsRecords::Services));
    let resolvers: Vec<String> = dns.resolvers.iter().map(ToString::to_string).collect();
    assert_eq!(resolvers, ["10.0.0.2:53", "[::1]:54", "[::1]:53"]);
}

#[test]
fn an_upstream_has_exactly_one_source_and_it_is_right() {
    let one = "upstreams[0]: needs exactly one of endpoints, dns and file, has";
    let cases = [
        ("balancer: round-robin", format!("weir.yaml:4:3: {one} 0")),
        ("endpoints: [{ address: '127.0.0.1:1' }]\n  file: x", format!("weir.yaml:4:3: {one} 2")),
        ("dns: { name: a.test }", "weir.yaml:5:8: missing key \"port\" in upstreams[0].dns; type a needs it".to_owned()),
        ("dns: { name: a.test, type: srv, port: 1 }", "weir.yaml:5:35: upstreams[0].dns.port: SRV records have a port of their own".to_owned()),
        ("dns: { name: a.test, type: srv, weight: 1 }", "weir.yaml:5:35: upstreams[0].dns.weight: SRV records have a weight of their own".to_owned()),
        ("dns: { name: a.test, port: 1, min_ttl: 2m, max_ttl: 1m }", "weir.yaml:5:55: upstreams[0].dns.max_ttl: must not be below min_ttl".to_owned()),
        ("dns: { name: 10.0.0.1, port: 1 }", "weir.yaml:5:16: upstreams[0].dns.name: \"10.0.0.1\" is an IP address; write it in endpoints".to_owned()),
        ("dns: { name: 'a.test:80', port: 1 }", "weir.yaml:5:16: upstreams[0].dns.name: \"a.test:80\" is not a DNS name, as in \"app.internal\"".to_owned()),
        ("dns: { name: a, port: 1, resolvers: ['dns.test'] }", "weir.yaml:5:40: upstreams[0].dns.resolvers[0]: \"dns.test\" is not IP or IP:PORT, as in \"10.0.0.2\"".to_owned()),
        ("file: none.yaml", "weir.yaml:5:9: upstreams[0].file: cannot read \"none.yaml\": No such file or directory (os error 2)".to_owned()),
        ("file: endpoints.yaml", "endpoints.yaml:1:5: unknown key \"addres\" in [0]; did you mean \"address\"?".to_owned()),
    ];
    for (source, expected) in cases {
        assert_eq!(configured(source, "- { addres: a:1 }\n").unwrap_err(), expected, "{source}");
    }
}

/// A piece of a file, valid or not.
fn pieces() -> impl Strategy<Value = String> {
    let known = [
        "- ",
        "address: ",
        "127.0.0.1:1",
        "[::1]:2",
        "a.test:3",
        "weight: ",
        "0",
        "65537",
        "zone: ",
        "labels: ",
        "{ k: v }",
        "endpoints: ",
        "\n",
        "  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "'",
        "\"",
        "!!str ",
        "---\n",
        "# ",
        "null",
        "\u{feff}",
        "\0",
    ];
    prop_oneof![
        8 => prop::sample::select(known.as_slice().to_vec()).prop_map(str::to_owned),
        1 => ".{0,4}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, cases: 500, ..ProptestConfig::default()
    })]

    #[test]
    fn every_text_is_a_list_or_has_faults_of_one_line(
        pieces in prop::collection::vec(pieces(), 0..60)
    ) {
        let text = pieces.concat();
        match read(&text) {
            Ok(list) => prop_assert!(list.iter().all(|endpoint| endpoint.port != 0)),
            Err(faults) => {
                let has_place = |line: &str| line.starts_with("endpoints.yaml:");
                prop_assert!(!faults.is_empty() && faults.lines().all(has_place), "{}", faults);
            }
        }
    }

    #[test]
    fn every_sequence_of_bytes_is_read_without_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("endpoints.yaml");
        fs::write(&path, bytes).unwrap();
        let _ = endpoints(&path);
    }
}
