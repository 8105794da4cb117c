//! Plugins over reloads: generations, trials, configurations and state.

use serde_json::Value;

use super::{Live, ask};
use crate::support::tools::builtin;
use crate::support::{Origin, Protocol, Setup, until};

/// A Weir with a plugin `v` on its only route.
async fn start(origin: &Origin, component: &str, config: &str) -> Live {
    let file = builtin(component);
    let plugin = format!(
        "plugins:\n  - name: v\n    source: \"file:{}\"\n    config: {config}\n    \
         on_failure: closed",
        file.display()
    );
    let routes = "  - { name: all, filters: [v], upstream: app }";
    Live::start(Setup::to([origin]).top(&plugin).routes(routes)).await
}

fn tag(value: &str) -> String {
    format!("{{ response: {{ set: {{ x-tag: {value} }} }} }}")
}

async fn plugin(live: &Live) -> Value {
    live.get("/api/plugins/v").await
}

async fn swap(live: &Live, component: &str, query: &str) -> Value {
    let wasm = std::fs::read(builtin(component)).unwrap();
    let path = format!("/api/plugins/v?{query}");
    live.send("PUT", &path, wasm).await.ok()
}

/// The calls of a generation so far.
async fn calls(live: &Live, generation: u64) -> f64 {
    let generation = format!("generation=\"{generation}\"");
    live.weir.metric("weir_plugin_calls_total", &["plugin=\"v\"", &generation]).await
}

#[tokio::test]
async fn a_swapped_generation_serves_on_after_a_reload() {
    let origin = Origin::start().await;
    let live = start(&origin, "headers", &tag("one")).await;
    let client = live.weir.client(Protocol::H3).await;
    assert_eq!(client.get("/who").await.header("x-tag"), "one");
    swap(&live, "headers", "for=1s").await;
    let is_serving = async || (plugin(&live).await["generation"]["number"] == 2).then_some(());
    until("generation 2", is_serving).await;
    let source = plugin(&live).await["generation"]["source"].clone();
    // The first reload changes nothing of the plugin, the second one its bounds.
    live.change("upstream: app }", "upstream: app }\n  - { name: more, upstream: app }").await;
    live.change("on_failure: closed", "on_failure: open").await;
    let status = plugin(&live).await;
    assert_eq!(status["generation"]["number"], 2, "{status}");
    assert_eq!(status["generation"]["source"], source, "{status}");
    assert_eq!(status["previous"]["number"], 1, "{status}");
    let before = calls(&live, 2).await;
    assert_eq!(client.get("/who").await.header("x-tag"), "one");
    assert!(calls(&live, 2).await > before);
    assert_eq!(live.weir.metric("weir_plugin_generation", &["plugin=\"v\""]).await, 2.0);
    let status = live.send("POST", "/api/plugins/v/rollback", "").await.ok();
    assert_eq!(status["generation"]["number"], 1, "{status}");
    assert_eq!(client.get("/who").await.header("x-tag"), "one");
}

#[tokio::test]
async fn a_trial_goes_on_after_a_reload() {
    let origin = Origin::start().await;
    let live = start(&origin, "headers", &tag("one")).await;
    let client = live.weir.client(Protocol::H2).await;
    let status = swap(&live, "headers", "share=50%&for=1h").await;
    assert_eq!(status["state"], "canary", "{status}");
    live.change("on_failure: closed", "on_failure: open").await;
    live.change("x-tag: one", "x-tag: two").await;
    let status = plugin(&live).await;
    assert_eq!(status["state"], "canary", "{status}");
    assert_eq!(status["generation"]["number"], 1, "{status}");
    assert_eq!(status["trial"]["generation"]["number"], 2, "{status}");
    assert_eq!(status["trial"]["share"], 0.5, "{status}");
    let left = status["trial"]["seconds_left"].as_f64().unwrap();
    assert!((3000.0..3600.0).contains(&left), "{status}");
    let before = (calls(&live, 1).await, calls(&live, 2).await);
    for _ in 0..64 {
        assert_eq!(client.get("/who").await.header("x-tag"), "two");
    }
    let after = (calls(&live, 1).await, calls(&live, 2).await);
    assert!(after.0 > before.0 && after.1 > before.1, "{before:?} {after:?}");
}

#[tokio::test]
async fn a_changed_configuration_of_a_plugin_takes_the_next_request() {
    let origin = Origin::start().await;
    let live = start(&origin, "headers", &tag("zero")).await;
    let clients = live.clients().await;
    for (from, to) in [("zero", "one"), ("one", "two"), ("two", "three")] {
        let text = live.with("x-tag: zero", &format!("x-tag: {to}"));
        let applied = live.put(&text).await.ok();
        let change = &applied["changes"][0];
        assert_eq!(change["path"], "plugins[v].config.response.set.x-tag", "{applied}");
        assert_eq!((&change["before"], &change["after"]), (&from.into(), &to.into()));
        for (protocol, client) in &clients {
            assert_eq!(client.get("/who").await.header("x-tag"), to, "{protocol:?}");
        }
    }
    assert_eq!(plugin(&live).await["generation"]["number"], 1);
}

#[tokio::test]
async fn a_configuration_that_a_plugin_refuses_fails_the_reload() {
    let origin = Origin::start().await;
    let live = start(&origin, "rate-limit", "{ requests: 100, per: 1h }").await;
    let clients = live.clients().await;
    // The schema allows the second one, and the plugin itself refuses it.
    for wrong in ["requests: many", "requests: 100, by: \"header:not a name\""] {
        let reply = live.put(&live.with("requests: 100", wrong)).await;
        assert_eq!(reply.status, 422, "{wrong}: {reply:?}");
        let line = 1 + live.text().lines().position(|line| line.contains("requests:")).unwrap();
        let problem = reply.json();
        assert_eq!(problem["errors"][0]["line"], line, "{wrong}: {problem}");
        for (protocol, client) in &clients {
            assert_eq!(ask(client, "/who").await.0, 200, "{wrong} {protocol:?}");
        }
    }
    assert_eq!(live.revision().await, 1);
    assert_eq!(plugin(&live).await["state"], "serving");
}

#[tokio::test]
async fn plugin_state_outlives_a_reload() {
    let origin = Origin::start().await;
    let live = start(&origin, "rate-limit", "{ requests: 4, per: 1h, by: global }").await;
    let client = live.weir.client(Protocol::H3).await;
    let mut taken = Vec::new();
    for turn in 0..6 {
        match turn {
            2 => live.change("on_failure: closed", "on_failure: open").await,
            3 => live.change("workers: 2\n", "workers: 2\ngeoip: {}\n").await,
            _ => {}
        }
        taken.push(ask(&client, "/who").await.0);
    }
    assert_eq!(taken, [200, 200, 200, 200, 429, 429]);
}
