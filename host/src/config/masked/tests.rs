use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Each plugin has its secrets below `secret`.
fn secrets(name: &str, config: &Value) -> Vec<String> {
    assert!(!name.is_empty());
    let keys = config["keys"].as_array().map_or(0, Vec::len);
    let of_keys = (0..keys).map(|at| format!("/keys/{at}/secret"));
    of_keys.chain(["/secret".to_owned()]).collect()
}

fn configuration() -> Value {
    json!({
        "admin": { "address": "127.0.0.1:1", "token": "top" },
        "registries": [
            { "host": "a.test", "username": "ann", "password": "sesame",
              "signatures": { "keys": ["a public key"] } },
            { "host": "b.test", "token": "file:b.token" },
        ],
        "plugins": [
            { "name": "p", "config": { "secret": "one", "keys": [{ "id": "x", "secret": "two" }] } },
            { "name": "q", "config": { "secret": "env:Q", "plain": "text" } },
        ],
        "upstreams": [{ "name": "u", "balancer": "p", "balancer_config": { "secret": 7 } }],
    })
}

#[test]
fn every_secret_is_masked_and_every_reference_stays() {
    let expected = json!({
        "admin": { "address": "127.0.0.1:1", "token": MASK },
        "registries": [
            { "host": "a.test", "username": "ann", "password": MASK,
              "signatures": { "keys": ["a public key"] } },
            { "host": "b.test", "token": "file:b.token" },
        ],
        "plugins": [
            { "name": "p", "config": { "secret": MASK, "keys": [{ "id": "x", "secret": MASK }] } },
            { "name": "q", "config": { "secret": "env:Q", "plain": "text" } },
        ],
        "upstreams": [{ "name": "u", "balancer": "p", "balancer_config": { "secret": MASK } }],
    });
    assert_eq!(masked(&configuration(), &secrets), expected);
}

#[test]
fn a_balancer_without_a_name_is_the_default_one() {
    let seen = std::cell::RefCell::new(Vec::new());
    let note = |name: &str, _: &Value| {
        seen.borrow_mut().push(name.to_owned());
        vec![String::new()]
    };
    let value = json!({ "upstreams": [{ "name": "u", "balancer_config": { "a": 1 } }] });
    assert_eq!(masked(&value, &note)["upstreams"][0]["balancer_config"], MASK);
    assert_eq!(*seen.borrow(), ["round-robin"]);
}

#[test]
fn a_secret_returns_to_its_item_wherever_that_stands_now() {
    let present = configuration();
    let mut sent = masked(&present, &secrets);
    sent["registries"].as_array_mut().unwrap().remove(1);
    sent["plugins"].as_array_mut().unwrap().reverse();
    sent["plugins"][1]["config"]["more"] = json!(true);
    unmask(&mut sent, &present).unwrap();
    assert_eq!(sent["admin"]["token"], "top");
    assert_eq!(sent["registries"][0]["password"], "sesame");
    let config = json!({ "secret": "one", "keys": [{ "id": "x", "secret": "two" }], "more": true });
    assert_eq!(sent["plugins"][1]["config"], config);
    assert_eq!(sent["upstreams"][0]["balancer_config"]["secret"], 7);
}

#[test]
fn a_mask_at_a_new_place_is_an_error_with_its_path() {
    let mut sent = masked(&configuration(), &secrets);
    sent["registries"][0]["host"] = json!("evil.test");
    sent["plugins"][0]["config"]["keys"] = json!([{ "id": "y", "secret": MASK }]);
    sent["routes"] = json!([{ "respond": { "body": MASK } }]);
    assert_eq!(
        unmask(&mut sent, &configuration()),
        Err(vec![
            "plugins[0].config.keys[0].secret".to_owned(),
            "registries[0].password".to_owned(),
            "routes[0].respond.body".to_owned(),
        ])
    );
}

#[test]
fn a_secret_never_moves_to_an_item_that_only_stands_at_its_position() {
    let present = json!({ "keys": [{ "user": "ann", "k": "one" }, { "user": "bob", "k": "two" }] });
    let mut sent = json!({ "keys": [{ "user": "bob", "k": MASK }] });
    unmask(&mut sent, &present).unwrap();
    assert_eq!(sent, json!({ "keys": [{ "user": "bob", "k": "two" }] }));
    let mut sent = json!({ "keys": [{ "user": "eve", "k": MASK }, { "user": "bob", "k": MASK }] });
    assert_eq!(unmask(&mut sent, &present), Err(vec!["keys[0].k".to_owned()]));
    let mut sent = json!({ "list": [MASK] });
    let present = json!({ "list": ["one", "two"] });
    assert_eq!(unmask(&mut sent, &present), Err(vec!["list[0]".to_owned()]));
}

/// A configuration of plugins with secrets, lists without names and repeated names.
fn configurations() -> impl Strategy<Value = Value> {
    let secret = prop_oneof!["[a-z]{1,4}", "env:[A-Z]", "file:[a-z]", Just(MASK.to_owned())];
    let key = ("[ab]", secret.clone(), any::<bool>()).prop_map(|(name, secret, is_named)| {
        let label = if is_named { "id" } else { "user" };
        json!({ label: name, "secret": secret })
    });
    let config = (proptest::option::of(secret.clone()), proptest::collection::vec(key, 0..4))
        .prop_map(|(secret, keys)| json!({ "secret": secret, "keys": keys, "x": [1, "<secret>"] }));
    let plugin =
        ("[abc]", config).prop_map(|(name, config)| json!({ "name": name, "config": config }));
    (secret, proptest::collection::vec(plugin, 0..4))
        .prop_map(|(token, plugins)| json!({ "admin": { "token": token }, "plugins": plugins }))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_masked_and_sent_back_is_as_before(present in configurations()) {
        let mut sent = masked(&present, &secrets);
        prop_assert_eq!(unmask(&mut sent, &present), Ok(()));
        prop_assert_eq!(sent, present);
    }

    #[test]
    fn no_secret_is_left_after_masking(present in configurations()) {
        let shown = masked(&present, &secrets);
        for plugin in shown["plugins"].as_array().unwrap() {
            let keys = plugin["config"]["keys"].as_array().unwrap().iter();
            for secret in keys.map(|key| &key["secret"]).chain([&plugin["config"]["secret"]]) {
                let text = secret.as_str().unwrap();
                prop_assert!(text == MASK || text.starts_with("env:") || text.starts_with("file:"));
            }
        }
    }
}
