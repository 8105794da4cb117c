//! Pure filters, which decide by their inputs alone: the same inputs cause no second call.

use crate::support::tools::guest;
use crate::support::weir::Weir;
use crate::support::{Client, Origin, Protocol, Setup};

/// A filter on the only route, on one worker.
async fn with(origin: &Origin, plugin: &str) -> Weir {
    Setup::to([origin])
        .top(&format!("plugins:\n  - {plugin}\n"))
        .routes("  - { name: all, filters: [f], upstream: app }")
        .workers(1)
        .start()
        .await
}

async fn get(client: &Client, who: &str) -> String {
    let request = http::Request::builder().uri("/who").header("x-who", who);
    let answer = client.send(request.body(crate::support::Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 200);
    answer.headers.get("x-seen").map_or(String::new(), |seen| seen.to_str().unwrap().to_owned())
}

async fn counted(weir: &Weir, what: &str, function: &str) -> f64 {
    weir.metric(what, &["plugin=\"f\"", &format!("function=\"{function}\"")]).await
}

const HEADERS: &str = "{ name: f, source: builtin:headers, config: {
        request: { set: { x-name: 'is ${header:x-who}' }, remove: [x-who] }, response: { set: { x-seen: '${header:x-who}' } } } }";

#[tokio::test]
async fn what_was_decided_twice_is_not_asked_again_and_stays_as_it_was() {
    let origin = Origin::start().await;
    let weir = with(&origin, HEADERS).await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for who in ["ann", "bob"] {
            for _ in 0..40 {
                assert_eq!(get(&client, who).await, who, "{protocol:?}");
                let head = origin.head();
                assert_eq!(head.all("x-name"), [format!("is {who}")], "{protocol:?}");
                assert!(head.all("x-who").is_empty(), "{protocol:?}");
            }
        }
    }
    for function in ["on-request", "on-response"] {
        let calls = counted(&weir, "weir_plugin_calls_total", function).await;
        let remembered = counted(&weir, "weir_plugin_remembered_total", function).await;
        assert_eq!(calls + remembered, 240.0, "{function}");
        // The first requests are calls, to measure their time. After that each of the two inputs
        // needs two calls, and at most three times as many if both have the same place in the memo.
        assert!((52.0..=70.0).contains(&calls), "{function}: {calls}");
    }
}

#[tokio::test]
async fn what_differs_with_each_request_is_asked_each_time() {
    let origin = Origin::start().await;
    let weir = with(&origin, "{ name: f, source: builtin:headers, config: { request: { set: { x-id: '${request.id}' } } } }").await;
    let client = weir.client(Protocol::H2).await;
    let mut last = String::new();
    for _ in 0..150 {
        get(&client, "ann").await;
        let id = origin.head().header("x-id").to_owned();
        assert_ne!(id, last);
        last = id;
    }
    assert_eq!(counted(&weir, "weir_plugin_calls_total", "on-request").await, 150.0);
}

/// A stored decision must count as a success for the back-off. Otherwise one client could disable
/// the plugin.
#[tokio::test]
async fn a_request_that_makes_it_fail_costs_no_other_that_is_remembered() {
    let origin = Origin::start().await;
    let plugin = format!(
        "{{ name: f, source: \"file:{}\", on_failure: closed, config: {{ do: pure-trap }} }}",
        guest("naughty").display()
    );
    let weir = with(&origin, &plugin).await;
    let client = weir.client(Protocol::H2).await;
    for _ in 0..60 {
        get(&client, "ann").await;
    }
    assert!(counted(&weir, "weir_plugin_remembered_total", "on-request").await >= 1.0);
    for _ in 0..30 {
        let request = http::Request::builder().uri("/who").header("x-trap", "1");
        let answer = client.send(request.body(crate::support::Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 503);
        get(&client, "ann").await;
    }
    assert_eq!(
        weir.metric("weir_plugin_failures_total", &["plugin=\"f\"", "kind=\"quarantine\""]).await,
        0.0
    );
}

/// `naughty` counts its calls and declares itself pure. Weir trusts it until the next check.
#[tokio::test]
async fn a_filter_that_is_not_pure_is_found_out() {
    let origin = Origin::start().await;
    let naughty = guest("naughty");
    let plugin = format!(
        "{{ name: f, source: \"file:{}\", config: {{ do: pure-calls }} }}",
        naughty.display()
    );
    let mut weir = with(&origin, &plugin).await;
    let client = weir.client(Protocol::H2).await;
    let mut seen = Vec::new();
    let is_believed = |seen: &[u32]| seen.windows(10).any(|calls| calls[0] == calls[9]);
    let counts_on = |calls: &[u32]| calls.windows(2).all(|two| two[1] == two[0] + 1);
    while !is_believed(&seen) || !counts_on(&seen[seen.len() - 5..]) {
        get(&client, "ann").await;
        seen.push(origin.head().header("x-calls").parse::<u32>().unwrap());
        assert!(seen.len() < 3000, "it is never asked again");
    }
    let record = weir.logged(REFUTED).await;
    assert_eq!(record["plugin"], "f", "{record}");
}

const REFUTED: &str = "plugin claims to be pure, but decided differently on the same input: its decisions are not stored any more";
