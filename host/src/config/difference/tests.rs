use std::path::Path;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::config::{Overrides, from_text};

fn lines(before: &Value, after: &Value) -> Vec<String> {
    difference(before, after).iter().map(line).collect()
}

fn line(change: &Change) -> String {
    let text = |value: &Option<Value>| value.as_ref().map_or("-".to_owned(), Value::to_string);
    format!("{}: {} > {}", change.path, text(&change.before), text(&change.after))
}

#[test]
fn items_are_compared_by_their_names_and_addresses() {
    let before = json!({
        "listeners": [{ "address": "[::1]:1" }, { "address": "[::1]:2", "quic": { "retry": "never" } }],
        "upstreams": [
            { "name": "app", "timeouts": { "connect": "1s" }, "endpoints": [{ "address": "a:1" }, { "address": "b:1" }] },
            { "name": "old", "endpoints": [] },
        ],
    });
    let after = json!({
        "listeners": [{ "address": "[::1]:2", "quic": { "retry": "always" } }],
        "upstreams": [
            { "name": "new" },
            { "name": "app", "timeouts": { "connect": "2s" }, "endpoints": [{ "address": "b:1", "weight": 2 }] },
        ],
        "workers": 2,
    });
    assert_eq!(
        lines(&before, &after),
        [
            r#"listeners[[::1]:1]: {"address":"[::1]:1"} > -"#,
            r#"listeners[[::1]:2].quic.retry: "never" > "always""#,
            r#"upstreams[app].endpoints[a:1]: {"address":"a:1"} > -"#,
            r"upstreams[app].endpoints[b:1].weight: - > 2",
            r#"upstreams[app].timeouts.connect: "1s" > "2s""#,
            r#"upstreams[old]: {"endpoints":[],"name":"old"} > -"#,
            r#"upstreams[new]: - > {"name":"new"}"#,
            "workers: - > 2",
        ]
    );
}

#[test]
fn a_route_that_is_inserted_without_a_name_changes_no_other() {
    let route = |to: &str| json!({ "upstream": to });
    let before = json!([route("a"), route("b"), route("c")]);
    let after = json!([route("a"), route("x"), route("b"), route("c")]);
    assert_eq!(lines(&before, &after), [r#"[1]: - > {"upstream":"x"}"#]);
    assert_eq!(lines(&after, &before), [r#"[1]: {"upstream":"x"} > -"#]);
    let other = json!([route("a"), route("y"), route("c")]);
    assert_eq!(lines(&before, &other), [r#"[1].upstream: "b" > "y""#]);
}

#[test]
fn a_new_order_of_routes_is_a_change_because_the_first_match_wins() {
    let (a, b) = (json!({ "name": "a" }), json!({ "name": "b" }));
    let plain = json!({ "upstream": "x" });
    assert_eq!(
        lines(&json!({ "routes": [a, b] }), &json!({ "routes": [b, a] })),
        [r#"routes: ["[a]","[b]"] > ["[b]","[a]"]"#]
    );
    assert_eq!(
        lines(&json!([plain, b]), &json!([b, plain])),
        [r#": ["[0]","[b]"] > ["[b]","[1]"]"#]
    );
    assert!(
        lines(&json!([a, b]), &json!([a, plain, b])).iter().all(|line| line.starts_with("[1]"))
    );
}

#[test]
fn lists_of_scalars_and_items_with_one_address_are_compared() {
    assert_eq!(
        lines(&json!({ "p": ["h3", "h1"] }), &json!({ "p": ["h1"] })),
        [r#"p: ["h3","h1"] > ["h1"]"#]
    );
    let two = json!([{ "address": "a:0" }, { "address": "a:0" }]);
    let changed = json!([{ "address": "a:0" }, { "address": "a:0", "tls": {} }]);
    assert_eq!(lines(&two, &changed), ["[a:0 #2].tls: - > {}"]);
}

#[test]
fn a_changed_secret_is_a_change_that_shows_nothing() {
    let config = |token: &str, key: &str| json!({ "admin": { "token": token }, "plugins": [{ "name": "p", "config": { "key": { "k": key } } }] });
    let secrets = |_: &str, _: &Value| vec!["/key".to_owned()];
    let changes = masked_difference(&config("one", "two"), &config("three", "four"), &secrets);
    assert_eq!(
        changes.iter().map(line).collect::<Vec<_>>(),
        [
            r#"admin.token: "<secret>" > "<secret>""#,
            r#"plugins[p].config.key: "<secret>" > "<secret>""#,
        ]
    );
    let reference = masked_difference(&config("one", "two"), &config("env:T", "two"), &secrets);
    assert_eq!(
        reference.iter().map(line).collect::<Vec<_>>(),
        [r#"admin.token: "<secret>" > "env:T""#]
    );
}

#[test]
fn only_a_real_change_of_a_setting_needs_a_restart() {
    let config = |more: &str| {
        let text = format!(
            "listeners: [{{ address: '127.0.0.1:0' }}]\nroutes: [{{ respond: {{}} }}]\n{more}"
        );
        from_text("weir.yaml", &text, Path::new(""), &Overrides::default()).unwrap()
    };
    let workers = config("workers: 3");
    assert_eq!(needs_restart(&workers, &config("workers: 3\nshutdown: { grace: 1s }")), [""; 0]);
    let after = config(
        "workers: 2\nstate: { memory: 2MiB }\ntelemetry: { tracing: { otlp: 'http://127.0.0.1:4317' } }",
    );
    assert_eq!(needs_restart(&workers, &after), ["workers", "state.memory", "telemetry.tracing"]);
}

/// Configurations with many equal parts.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![(0..3).prop_map(Value::from), "[ab]".prop_map(Value::from)];
    leaf.prop_recursive(4, 30, 4, |inner| {
        let named = |key: &'static str, inner: BoxedStrategy<Value>| {
            ("[abc]", inner).prop_map(move |(name, value)| json!({ key: name, "v": value }))
        };
        let item = prop_oneof![
            named("name", inner.clone().boxed()),
            named("address", inner.clone().boxed()),
            inner.clone().prop_map(|value| json!({ "v": value })),
        ];
        prop_oneof![
            proptest::collection::vec(item, 0..4).prop_map(Value::Array),
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            proptest::collection::btree_map("[ab]", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn there_is_a_difference_exactly_if_the_values_differ(before in values(), after in values()) {
        prop_assert!(difference(&before, &before).is_empty());
        prop_assert_eq!(difference(&before, &after).is_empty(), before == after);
    }

    #[test]
    fn the_way_back_has_the_same_changes_in_reverse(before in values(), after in values()) {
        let there = difference(&before, &after);
        let back = difference(&after, &before);
        prop_assert_eq!(there.len(), back.len());
        for change in there {
            let is_reverse = |other: &Change| other.before == change.after && other.after == change.before;
            prop_assert!(change.path.contains('[') || back.iter().any(is_reverse), "{:?}", change);
        }
    }
}
