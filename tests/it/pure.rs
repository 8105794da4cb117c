//! Filters that decide by what they are given alone, which are not asked the same again.

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
        for _ in 0..10 {
            for who in ["ann", "bob"] {
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
        assert_eq!(calls + remembered, 60.0, "{function}");
        // Each of two is asked twice, and a few times more if both have the same place.
        assert!((4.0..=40.0).contains(&calls), "{function}: {calls}");
        assert!(remembered >= 20.0, "{function}: {remembered}");
    }
}

#[tokio::test]
async fn what_differs_with_each_request_is_asked_each_time() {
    let origin = Origin::start().await;
    let weir = with(&origin, "{ name: f, source: builtin:headers, config: { request: { set: { x-id: '${request.id}' } } } }").await;
    let client = weir.client(Protocol::H2).await;
    let mut last = String::new();
    for _ in 0..8 {
        get(&client, "ann").await;
        let id = origin.head().header("x-id").to_owned();
        assert_ne!(id, last);
        last = id;
    }
    assert_eq!(counted(&weir, "weir_plugin_calls_total", "on-request").await, 8.0);
}

/// `naughty` counts its calls, says that it is pure, and is believed until it is asked again.
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
    while seen.last().is_none_or(|last| *last < 5) {
        get(&client, "ann").await;
        seen.push(origin.head().header("x-calls").parse::<u32>().unwrap());
        assert!(seen.len() < 3000, "it is never asked again");
    }
    assert_eq!(seen[..3], [1, 2, 2], "it is believed at first");
    assert_eq!(seen[seen.len() - 4..], [2, 3, 4, 5], "it is not believed any more");
    let record = weir.logged(REFUTED).await;
    assert_eq!(record["plugin"], "f", "{record}");
}

const REFUTED: &str = "plugin calls itself pure, but decided otherwise when it was given the same again: nothing is remembered of it any more";
