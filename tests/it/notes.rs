//! The marks that plugins leave on a request: attributes, the filters that were passed over, the
//! reason of a failure, and replies to a request's body.

use http::Request;
use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::tools::guest;
use crate::support::{Body, Origin, Protocol, Setup};

/// A route through the plugin `p`, which behaves by this configuration.
fn naughty(origin: &Origin, config: &str, extra: &str) -> Setup {
    let source = guest("naughty");
    let source = source.display();
    let plugin = format!("{{ name: p, source: \"file:{source}\", config: {config}{extra} }}");
    Setup::to([origin])
        .top(&format!("plugins: [{plugin}]"))
        .routes("  - { filters: [p], upstream: app }")
        .workers(1)
}

#[tokio::test]
async fn attributes_of_filters_are_in_the_access_record_and_go_nowhere_else() {
    let origin = Origin::start().await;
    for side in ["request", "response"] {
        let config = format!("{{ do: attribute, name: plan.now, value: \"a \\nb\", in: {side} }}");
        let mut weir = naughty(&origin, &config, "").start().await;
        for protocol in Protocol::ALL {
            let answer = weir.client(protocol).await.get("/who").await;
            assert_eq!(answer.status, 200, "{config} {protocol:?}");
            let record = weir.record().await;
            assert_eq!(record["attributes"], json!({ "p": { "plan.now": "a  b" } }), "{record}");
            assert_eq!(record["skipped"], Value::Null);
            let has_it = |(_, value): (_, &http::HeaderValue)| value.as_bytes().starts_with(b"a  ");
            assert!(!answer.headers.iter().any(has_it), "{protocol:?}");
            assert!(!origin.head().headers.iter().any(has_it));
        }
    }
}

#[tokio::test]
async fn attributes_with_names_that_are_none_are_a_failure() {
    let origin = Origin::start().await;
    let long = "a".repeat(65);
    for name in ["", "a b", "weir.route", "a-b", "é", long.as_str()] {
        let config = format!("{{ do: attribute, name: \"{name}\", value: x }}");
        let mut weir = naughty(&origin, &config, "").start().await;
        assert_eq!(weir.get(Protocol::H3, "/who").await.0, 503, "{name}");
        let failed = weir.logged("plugin failed; the request is answered with 503").await;
        assert_eq!(failed["kind"], "invalid", "{failed}");
        assert_eq!(weir.record().await["attributes"], Value::Null);
    }
}

#[tokio::test]
async fn a_request_that_passed_a_failed_plugin_is_marked() {
    let origin = Origin::start().await;
    for config in
        ["{ do: trap }", "{ do: trap, in: response }", "{ do: body-late-trap, in: response }"]
    {
        for (on_failure, expected) in [("open", json!(["p"])), ("closed", Value::Null)] {
            let extra = format!(", on_failure: {on_failure}");
            let mut weir = naughty(&origin, config, &extra).start().await;
            for protocol in Protocol::ALL {
                let client = weir.client(protocol).await;
                let request = Request::get("/bytes/10").body(Body::empty()).unwrap();
                if let Ok(mut answer) = client.try_send(request).await {
                    let _ = answer.bytes().await;
                }
                let record = weir.record().await;
                assert_eq!(record["skipped"], expected, "{config} {on_failure} {protocol:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_request_whose_balancer_failed_is_marked() {
    let origin = Origin::start().await;
    let source = guest("turns");
    let plugins = format!("plugins: [{{ name: b, source: \"file:{}\" }}]", source.display());
    let mut weir = Setup::to([&origin]).top(&plugins).upstream("balancer: b").start().await;
    for protocol in Protocol::ALL {
        let request = Request::get("/who").header("x-do", "break").body(Body::empty()).unwrap();
        assert_eq!(weir.try_send(protocol, request).await.unwrap().status, 200);
        assert_eq!(weir.record().await["skipped"], json!(["b"]), "{protocol:?}");
        assert_eq!(weir.get(protocol, "/who").await.0, 200);
        assert_eq!(weir.record().await["skipped"], Value::Null, "{protocol:?}");
    }
}

#[tokio::test]
async fn failures_that_differ_are_all_logged_and_equal_ones_once() {
    let origin = Origin::start().await;
    let source = guest("ledger");
    let plugin = format!("plugins: [{{ name: p, source: \"file:{}\" }}]", source.display());
    let setup = Setup::to([&origin]).top(&plugin).routes("  - { filters: [p], upstream: app }");
    let mut weir = setup.workers(1).start().await;
    let client = weir.client(Protocol::H2).await;
    for (command, reason) in [
        ("break", "broken on purpose"),
        ("break", ""),
        ("add x 9007199254740992 0", "by is 9007199254740992"),
        ("break", ""),
        ("set x y 9007199254740993", "ttl-ms is 9007199254740993"),
    ] {
        let request = Request::get("/").header("x-do", command).body(Body::empty()).unwrap();
        assert_eq!(client.send(request).await.status, 503, "{command}");
        let id = weir.record().await["request_id"].clone();
        if reason.is_empty() {
            continue;
        }
        let failed = weir.logged("plugin failed; the request is answered with 503").await;
        assert!(failed["error"].as_str().unwrap().contains(reason), "{command}: {failed}");
        assert_eq!(failed["request_id"], id, "an equal failure was logged again");
        assert_eq!((&failed["plugin"], &failed["generation"]), (&json!("p"), &json!(1)));
        assert_eq!(failed["function"], "on-request");
    }
}

#[tokio::test]
async fn a_span_has_the_reason_of_a_failure() {
    let mut collector = Collector::start();
    let origin = Origin::start().await;
    let tracing =
        format!("tracing: {{ otlp: \"http://127.0.0.1:{}\", sample: 100% }}", collector.port);
    let setup = naughty(&origin, "{ do: trap }", ", on_failure: open").telemetry(&tracing);
    let weir = setup.start().await;
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
    // The request, the filter, a pick and an attempt.
    let spans = collector.spans(4).await;
    let filter = spans.iter().find(|span| span["name"] == "filter").unwrap();
    let told = filter["status"].as_str().unwrap_or_default();
    assert!(told.contains("as configured") && told.contains("naughty/src/lib.rs:"), "{filter}");
    let request = spans.iter().find(|span| span["attributes"]["weir.skipped"] != Value::Null);
    assert!(request.is_some_and(|span| span["name"] == "GET /*"), "{spans:#?}");
}

#[tokio::test]
async fn a_reply_to_a_request_s_body_is_the_response() {
    let origin = Origin::start().await;
    let config = "{ do: body-reply, count: 422 }";
    for on_failure in ["open", "closed"] {
        let extra = format!(", on_failure: {on_failure}");
        let mut weir = naughty(&origin, config, &extra).start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            let request = Request::post("/count").body(Body::repeat(200 << 10)).unwrap();
            let answer = client.try_send(request).await;
            let answer = answer.unwrap_or_else(|error| panic!("{protocol:?}: {error:?}"));
            assert_eq!(answer.status, 422, "{protocol:?}");
            assert_eq!(answer.text().await, "no more\n", "{protocol:?}");
            let record = weir.record().await;
            assert_eq!((&record["status"], &record["error"]), (&json!(422), &Value::Null));
            assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
            weir.record().await;
        }
        let failures = weir.metric("weir_plugin_failures_total", &["plugin=\"p\""]).await;
        assert!(failures.abs() < f64::EPSILON, "{failures}");
    }
    // A response has begun by the time of its body.
    let config = "{ do: body-reply, count: 422, in: response }";
    let weir = naughty(&origin, config, "").start().await;
    let client = weir.client(Protocol::H2).await;
    let request = Request::get("/bytes/200000").body(Body::empty()).unwrap();
    // The client may learn of the end before it has read the head.
    if let Ok(mut answer) = client.try_send(request).await {
        assert_eq!(answer.status, 200);
        assert!(answer.count().await.is_err());
    }
    let invalid = ["plugin=\"p\"", "kind=\"invalid\""];
    assert!((weir.metric("weir_plugin_failures_total", &invalid).await - 1.0).abs() < f64::EPSILON);
}
