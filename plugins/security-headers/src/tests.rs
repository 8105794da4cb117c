use weir_sdk::bindings::filtering;

use super::*;
use crate::config::{Framing, Opener, Replaces, Setting, Transport};

/// Makes the filter, with the names of its inputs.
fn tested(config: Config) -> (SecurityHeaders, Vec<String>) {
    let mut needs = FilterNeeds::default();
    let filter = SecurityHeaders::new(config, &mut needs).unwrap();
    (filter, filtering::FilterNeeds::from(needs).response_inputs)
}

/// Returns the fields that are set and the names that are removed, on a response with these fields.
fn edits(config: Config, scheme: &str, said: &[(&str, &str)]) -> Vec<String> {
    let (mut filter, names) = tested(config);
    let input = |name: &String| match name.as_str() {
        ":scheme" => Some(scheme.as_bytes().to_vec()),
        _ => {
            let name = name.strip_prefix("header:").unwrap();
            let found = said.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_bytes().to_vec())
        }
    };
    let inputs: Vec<_> = names.iter().map(input).collect();
    let response = Response { status: 200, inputs: &inputs, context: &[] };
    let edits = match filter.on_response(&response) {
        ResponseDecision::Edit(changes) => changes.edits,
        ResponseDecision::Next => Vec::new(),
        ResponseDecision::Reply(reply) => panic!("{reply:?}"),
    };
    let line = |edit: Edit| match edit {
        Edit::Set(field) => format!("{}: {}", field.name, String::from_utf8(field.value).unwrap()),
        Edit::Remove(name) => format!("-{name}"),
        other => panic!("{other:?}"),
    };
    edits.into_iter().map(line).collect()
}

/// A configuration with everything off.
fn none() -> Config {
    Config {
        strict_transport_security: off(),
        x_content_type_options: off(),
        x_frame_options: off(),
        referrer_policy: off(),
        cross_origin_opener_policy: off(),
        cross_origin_resource_policy: off(),
        ..Config::default()
    }
}

const fn off<T>() -> Option<Setting<T>> {
    Some(Setting::Switch(false))
}

fn given<T>(value: T) -> Option<Setting<T>> {
    Some(Setting::Value(value))
}

fn value(text: &str) -> Option<Setting<String>> {
    given(text.to_owned())
}

#[test]
fn the_defaults_are_on() {
    let wanted = [
        "strict-transport-security: max-age=31536000",
        "x-content-type-options: nosniff",
        "x-frame-options: SAMEORIGIN",
        "referrer-policy: strict-origin-when-cross-origin",
        "cross-origin-opener-policy: same-origin-allow-popups",
        "cross-origin-resource-policy: same-site",
    ];
    assert_eq!(edits(Config::default(), "https", &[]), wanted);
}

#[test]
fn strict_transport_is_said_over_https_only() {
    let plain = edits(Config::default(), "http", &[]);
    assert_eq!(plain.len(), 5);
    assert!(!plain.iter().any(|line| line.starts_with("strict")), "{plain:?}");
}

#[test]
fn strict_transport_has_its_parts() {
    let said = |max_age: &str, subdomains, preload| {
        let transport = Transport { max_age: max_age.to_owned(), subdomains, preload };
        edits(Config { strict_transport_security: given(transport), ..none() }, "https", &[])
    };
    assert_eq!(said("0s", false, false), ["strict-transport-security: max-age=0"]);
    assert_eq!(
        said("12h", true, false),
        ["strict-transport-security: max-age=43200; includeSubDomains"]
    );
    assert_eq!(
        said("365d", true, true),
        ["strict-transport-security: max-age=31536000; includeSubDomains; preload"]
    );
}

#[test]
fn each_field_can_be_replaced_or_turned_off() {
    assert_eq!(edits(none(), "https", &[]), [""; 0]);
    let all = Config {
        content_security_policy: value("default-src 'self'"),
        content_security_policy_report_only: value("default-src 'none'; report-to x"),
        x_content_type_options: given(config::NoSniff::NoSniff),
        x_frame_options: given(Framing::Deny),
        referrer_policy: value("no-referrer, strict-origin"),
        permissions_policy: value("camera=()"),
        cross_origin_opener_policy: given(Opener::SameOrigin),
        cross_origin_embedder_policy: given(config::Embedder::Credentialless),
        cross_origin_resource_policy: given(config::Resource::CrossOrigin),
        ..none()
    };
    let wanted = [
        "content-security-policy: default-src 'self'",
        "content-security-policy-report-only: default-src 'none'; report-to x",
        "x-content-type-options: nosniff",
        "x-frame-options: DENY",
        "referrer-policy: no-referrer, strict-origin",
        "permissions-policy: camera=()",
        "cross-origin-opener-policy: same-origin",
        "cross-origin-embedder-policy: credentialless",
        "cross-origin-resource-policy: cross-origin",
    ];
    assert_eq!(edits(all, "https", &[]), wanted);
}

#[test]
fn what_the_origin_server_says_is_kept_on_wish() {
    let said = [("x-frame-options", "DENY"), ("strict-transport-security", "max-age=1")];
    assert_eq!(edits(Config::default(), "https", &said).len(), 6, "replaced otherwise");
    let kept = edits(Config { replaces: Replaces(false), ..Config::default() }, "https", &said);
    assert_eq!(kept.len(), 4);
    assert!(!kept.iter().any(|line| line.starts_with("x-frame") || line.starts_with("strict")));
}

#[test]
fn what_is_turned_on_has_its_default() {
    let on = Config { x_frame_options: Some(Setting::Switch(true)), ..none() };
    assert_eq!(edits(on, "https", &[]), ["x-frame-options: SAMEORIGIN"]);
}

#[test]
fn names_of_software_are_removed_on_wish() {
    let remove = vec!["Server".to_owned(), "x-powered-by".to_owned()];
    assert_eq!(edits(Config { remove, ..none() }, "http", &[]), ["-server", "-x-powered-by"]);
}

#[test]
fn only_what_is_needed_is_asked_for() {
    assert_eq!(tested(Config::default()).1, [":scheme"]);
    assert_eq!(tested(none()).1, [""; 0]);
    let kept = tested(Config { replaces: Replaces(false), ..Config::default() });
    assert_eq!(kept.1.len(), 7);
}

#[test]
fn mistakes_are_named() {
    let transport = |max_age: &str, subdomains, preload| Config {
        strict_transport_security: given(Transport {
            max_age: max_age.to_owned(),
            subdomains,
            preload,
        }),
        ..none()
    };
    let remove = |name: &str| Config { remove: vec![name.to_owned()], ..Config::default() };
    let wrong = [
        (transport("1y", false, false), "strict_transport_security.max_age:"),
        (transport("", false, false), "strict_transport_security.max_age:"),
        (transport("999999999d", false, false), "strict_transport_security.max_age:"),
        (transport("365d", false, true), "strict_transport_security.preload:"),
        (transport("364d", true, true), "strict_transport_security.preload:"),
        (
            Config { content_security_policy: value("a\r\nx: y"), ..none() },
            "content_security_policy:",
        ),
        (
            Config { permissions_policy: Some(Setting::Switch(true)), ..none() },
            "permissions_policy: has no default",
        ),
        (Config { content_security_policy: value(" "), ..none() }, "content_security_policy:"),
        (Config { permissions_policy: value(&"a".repeat(8193)), ..none() }, "permissions_policy:"),
        (Config { permissions_policy: value("é"), ..none() }, "permissions_policy:"),
        (Config { referrer_policy: value("origin, nothing"), ..none() }, "referrer_policy:"),
        (Config { referrer_policy: value("origin,"), ..none() }, "referrer_policy:"),
        (remove("x a"), "remove[0]:"),
        (remove("Content-Length"), "remove[0]: content-length is the proxy's own"),
        (remove("X-Frame-Options"), "remove[0]: x-frame-options is also set"),
    ];
    for (config, place) in wrong {
        let error = SecurityHeaders::new(config, &mut FilterNeeds::default()).unwrap_err();
        assert!(error.starts_with(place), "{place} {error:?}");
    }
}
