use super::super::{Outdated, Role, Verdict};
use super::*;
use crate::builtin;
use crate::plugins::Plugins;
use crate::plugins::function::Function;
use crate::plugins::health::PATIENCE;
use crate::plugins::testing::{config, follow};
use crate::telemetry::events::Next;
use crate::telemetry::metrics::Metrics;

const HASH: &str = "{ name: b, source: \"builtin:consistent-hash\" }";
const TURNS: &str = "{ name: b, source: \"builtin:round-robin\" }";
const WEIGHTED: &str = "{ name: b, source: \"builtin:weighted\" }";

fn load(plugins: &str, upstreams: &[(&str, &str)], metrics: &Metrics) -> Plugins {
    Plugins::load(&config(plugins, upstreams), metrics, None).unwrap()
}

fn serving(plugins: &Plugins) -> Arc<Generation> {
    plugins.slots()[0].current().0
}

fn role(upstream: &str) -> Role {
    Role::Balancer(upstream.into())
}

/// Loads a configuration after another one and publishes it.
fn reload(
    plugins: &str,
    upstreams: &[(&str, &str)],
    metrics: &Metrics,
    before: &Plugins,
) -> Plugins {
    let next = follow(&config(plugins, upstreams), metrics, before);
    assert!(next.take_over());
    next
}

#[test]
fn an_instance_goes_on_if_nothing_has_changed_for_its_own_upstream() {
    let metrics = Metrics::new();
    let one = load(HASH, &[("one", "{ key: path }")], &metrics);
    let more = [("two", "{ key: client }"), ("one", "{ key: path }")];
    let two = reload(HASH, &more, &metrics, &one);
    let (before, after) = (serving(&one), serving(&two));
    assert!(!Arc::ptr_eq(&before, &after));
    assert!(before.is_same_for(&after, &role("one")));
    let changed = [("two", "{ key: path }"), ("one", "{ key: path }")];
    let three = reload(HASH, &changed, &metrics, &two);
    let changed = serving(&three);
    assert!(after.is_same_for(&changed, &role("one")));
    assert!(!after.is_same_for(&changed, &role("two")));
    let other = load(HASH, &more, &metrics);
    assert!(!after.is_same_for(&serving(&other), &role("one")), "another component");
    for key in ["limits: { memory: 8MiB }", "allow: { state: [shared] }"] {
        let bound = HASH.replace(" }", &format!(", {key} }}"));
        let four = reload(&bound, &more, &metrics, &load(HASH, &more, &metrics));
        assert!(!after.is_same_for(&serving(&four), &role("one")), "{key}");
    }
}

#[test]
fn a_quarantine_lasts_until_the_configuration_changes() {
    let metrics = Metrics::new();
    let one = load(HASH, &[("one", "{ key: path }")], &metrics);
    let generation = serving(&one);
    for _ in 0..PATIENCE {
        let _ = generation.health.suffer(Function::Pick);
    }
    generation.metrics.quarantined.set(1);
    let two = reload(HASH, &[("one", "{ key: path }"), ("two", "{}")], &metrics, &one);
    assert!(serving(&two).health.is_quarantined(), "one more use is no remedy");
    let next = config(HASH, &[("one", "{ key: client }"), ("two", "{}")]);
    let three = follow(&next, &metrics, &two);
    assert!(!serving(&three).health.is_quarantined());
    assert_eq!(generation.metrics.quarantined.get(), 1, "not published yet");
    assert!(three.take_over());
    assert_eq!(generation.metrics.quarantined.get(), 0);
}

#[test]
fn the_clock_of_a_trial_starts_with_the_publication() {
    let metrics = Metrics::new();
    let one = load(TURNS, &[("one", "{}")], &metrics);
    let two = follow(&config(WEIGHTED, &[("one", "{}")]), &metrics, &one);
    let ends = || two.slots()[0].current().1.unwrap().ends;
    let built = ends();
    assert!(two.take_over());
    assert!(ends() > built);
}

#[tokio::test]
async fn a_trial_that_a_reload_ends_is_told_with_its_own_number() {
    let metrics = Metrics::new();
    let one = load(HASH, &[("one", "null")], &metrics);
    let two = reload(TURNS, &[("one", "null")], &metrics, &one);
    assert!(two.slots()[0].current().1.is_some_and(|trial| trial.generation.number == 2));
    let mut told = metrics.events.subscribe(None);
    let three = reload(WEIGHTED, &[("one", "null")], &metrics, &two);
    let Next::Event(event) = told.next().await else { panic!() };
    assert_eq!(event.event.data["generation"], 2);
    assert_eq!(event.event.data["outcome"], "superseded");
    assert!(three.slots()[0].current().1.is_some_and(|trial| trial.generation.number == 3));
}

#[tokio::test]
async fn a_trial_that_rejects_the_new_configuration_is_told_with_the_reason() {
    let metrics = Metrics::new();
    let one = load(HASH, &[("one", "{}")], &metrics);
    let slot = &one.slots()[0];
    let strict = builtin::component("round-robin").unwrap();
    let terms = Terms::from(slot.plugin.canary);
    let prepared = slot.prepare(strict, terms.mode).unwrap();
    slot.install(prepared, Origin::Sent, terms).unwrap();
    let mut told = metrics.events.subscribe(None);
    let two = reload(HASH, &[("one", "{ key: path }")], &metrics, &one);
    let Next::Event(event) = told.next().await else { panic!() };
    assert_eq!(event.event.data["generation"], 2);
    assert_eq!(event.event.data["outcome"], "refused");
    let reason = event.event.data["reason"].as_str().unwrap();
    assert!(reason.contains("upstreams[0].balancer_config"), "{reason}");
    let lanes = two.slots()[0].lanes();
    assert!(lanes.trial.is_none());
    assert!(matches!(lanes.last, Some(Verdict { generation: 2, outcome: Swap::Refused, .. })));
}

#[test]
fn a_swap_into_a_plugin_that_has_left_is_outdated() {
    let metrics = Metrics::new();
    let one = load(TURNS, &[("one", "{}")], &metrics);
    let slot = &one.slots()[0];
    let terms = Terms::from(slot.plugin.canary);
    let prepare = || slot.prepare(builtin::component("weighted").unwrap(), terms.mode).unwrap();
    let two = follow(&config("", &[]), &metrics, &one);
    assert!(slot.install(prepare(), Origin::Sent, terms).is_ok(), "it is not published yet");
    assert!(two.take_over());
    assert!(matches!(slot.install(prepare(), Origin::Sent, terms), Err(Outdated)));
}

#[test]
fn a_shadow_generation_keeps_its_own_state_after_a_reload() {
    let metrics = Metrics::new();
    let one = load(HASH, &[("one", "{}")], &metrics);
    let slot = &one.slots()[0];
    let terms = Terms { mode: Mode::Shadow, ..Terms::from(slot.plugin.canary) };
    let wasm = builtin::component("consistent-hash").unwrap();
    slot.install(slot.prepare(wasm, terms.mode).unwrap(), Origin::Sent, terms).unwrap();
    let own = slot.current().1.unwrap().generation;
    let two = reload(HASH, &[("one", "{ key: path }")], &metrics, &one);
    let (serving, trial) = two.slots()[0].current();
    let environment = &trial.unwrap().generation.environment;
    assert!(Arc::ptr_eq(environment, &own.environment));
    assert!(!Arc::ptr_eq(environment, &serving.environment));
}
