//! The operator's view: metrics under their exact names, access records, traces.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Request;
use serde_json::Value;

use crate::support::collector::Collector;
use crate::support::tools::{self, python};
use crate::support::weir::refusing_address;
use crate::support::{Body, Origin, Protocol, Setup, Weir, within};

/// The names that dashboards use.
const NAMES: &[&str] = &[
    "quic_connections_total",
    "quic_connections_active",
    "quic_handshakes_total",
    "quic_handshake_duration_seconds",
    "quic_bytes_sent_total",
    "quic_bytes_received_total",
    "http_requests_total",
    "http_request_duration_seconds",
    "backend_health_status",
    "backend_requests_total",
    "weir_plugin_calls_total",
    "weir_plugin_call_duration_seconds",
    "weir_plugin_failures_total",
    "weir_plugin_instances",
    "weir_plugin_memory_bytes",
];

#[tokio::test]
async fn the_official_parser_finds_every_name() {
    let (_origin, weir) = used().await;
    let mut parse = python("metrics.py");
    parse.arg(format!("http://{}/metrics", weir.metrics_address()));
    let families: Value = serde_json::from_str(&tools::output(parse).await).unwrap();
    let found: BTreeSet<_> = families.as_object().unwrap().keys().map(String::as_str).collect();
    let missing: Vec<_> = NAMES.iter().filter(|name| !found.contains(**name)).collect();
    assert!(missing.is_empty(), "missing {missing:?} among {found:?}");
    let labels = |name: &str| {
        families[name]["labels"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l.as_str().unwrap().to_owned())
            .collect::<BTreeSet<_>>()
    };
    for (name, expected) in [
        ("http_requests_total", &["method", "protocol", "route", "status"][..]),
        ("backend_health_status", &["endpoint", "upstream"]),
        ("backend_requests_total", &["endpoint", "upstream"]),
        ("weir_plugin_calls_total", &["function", "generation", "plugin"]),
    ] {
        assert_eq!(labels(name), expected.iter().map(ToString::to_string).collect(), "{name}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_method_status_protocol_and_route() {
    let (_origin, weir) = used().await;
    for protocol in Protocol::ALL {
        let label = format!("protocol=\"{}\"", protocol.label());
        let labels = ["method=\"GET\"", "status=\"200\"", "route=\"all\"", &label];
        weir.until_metric("http_requests_total", &labels, |n| n == 5.0).await;
        assert_eq!(weir.metric("http_request_duration_seconds_count", &[&label]).await, 5.0);
    }
    assert_eq!(weir.metric("backend_requests_total", &["upstream=\"app\""]).await, 15.0);
    assert_eq!(weir.metric("quic_connections_total", &[]).await, 1.0);
    assert!(weir.metric("quic_handshake_duration_seconds_count", &[]).await >= 1.0);
    assert!(weir.metric("quic_bytes_sent_total", &[]).await > 1200.0);
    assert!(weir.metric("quic_bytes_received_total", &[]).await > 1200.0);
    let picks = ["plugin=\"round-robin\"", "function=\"pick\""];
    assert_eq!(weir.metric("weir_plugin_calls_total", &picks).await, 15.0);
    assert!(weir.metric("weir_plugin_instances", &["plugin=\"round-robin\""]).await >= 1.0);
    assert!(weir.metric("weir_plugin_memory_bytes", &["plugin=\"round-robin\""]).await >= 65536.0);
}

#[tokio::test]
async fn a_method_that_is_made_up_makes_no_new_series() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let client = weir.client(Protocol::H2).await;
    let series = async || {
        weir.metrics().await.lines().filter(|l| l.starts_with("http_requests_total{")).count()
    };
    for at in 0..50 {
        let request = Request::builder().method(format!("M{at}").as_str()).uri("/who");
        client.send(request.body(Body::empty()).unwrap()).await.text().await;
    }
    assert!(series().await <= 2, "{} series", series().await);
}

#[tokio::test]
async fn quic_connections_are_counted_while_they_last() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let client = weir.client(Protocol::H3).await;
    client.get("/who").await.text().await;
    weir.until_metric("quic_connections_active", &[], |n| n == 1.0).await;
    drop(client);
    weir.until_metric("quic_connections_active", &[], |n| n == 0.0).await;
}

#[tokio::test]
async fn a_record_tells_the_whole_exchange() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let request = Request::post("/echo?a=b")
            .header("user-agent", "a \"test\"")
            .header("host", "a.example");
        let answer = weir.client(protocol).await.send(request.body("12345".into()).unwrap()).await;
        answer.text().await;
        let record = weir.record().await;
        for (key, expected) in [
            ("protocol", protocol.label().into()),
            ("method", "POST".into()),
            ("host", "a.example".into()),
            ("path", "/echo?a=b".into()),
            ("route", "all".into()),
            ("upstream", "app".into()),
            ("endpoint", origin.address().to_string().into()),
            ("status", 200.into()),
            ("attempts", 1.into()),
            ("request_bytes", 5.into()),
            ("response_bytes", 5.into()),
            ("user_agent", "a \"test\"".into()),
            ("aborted", false.into()),
            ("error", Value::Null),
        ] {
            assert_eq!(record[key], expected, "{key} in {record}");
        }
        assert!(record["duration_ms"].as_f64().unwrap() > 0.0, "{record}");
        assert!(record["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{record}");
        assert_eq!(record["request_id"].as_str().unwrap().len(), 16, "{record}");
    }
}

#[tokio::test]
async fn the_record_is_written_when_the_body_ends() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut held = client.get("/hold-body").await;
        held.chunk().await.unwrap().unwrap();
        weir.get(protocol, "/who").await;
        assert_eq!(weir.record().await["path"], "/who", "{protocol:?}");
        origin.release();
        held.text().await;
        let record = weir.record().await;
        assert_eq!((&record["path"], &record["response_bytes"]), (&"/hold-body".into(), &9.into()));
    }
}

#[tokio::test]
async fn text_records_are_one_line_a_request() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).text().start().await;
    for protocol in Protocol::ALL {
        weir.get(protocol, "/who").await;
        let line = weir.record_line().await;
        for part in
            [&format!("protocol={}", protocol.label()), "method=GET", "path=/who", "status=200"]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}

#[tokio::test]
async fn a_client_cannot_forge_a_record() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).text().start().await;
    let forged = "x\" status=500 \u{85}path=/forged";
    let request = Request::get("/who").header("user-agent", forged.as_bytes()).body(Body::empty());
    weir.client(Protocol::H3).await.send(request.unwrap()).await.text().await;
    let line = weir.record_line().await;
    assert!(line.contains("\\\"") && line.ends_with('"'), "{line}");
}

#[tokio::test]
async fn records_can_be_turned_off() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).log("level: info, access: false").start().await;
    weir.get(Protocol::H3, "/who").await;
    weir.signal("TERM");
    weir.exit().await;
    assert!(!weir.printed().contains("/who"), "{}", weir.printed());
}

#[tokio::test]
async fn levels_are_set_by_target() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).log("level: \"info,weir::upstream=debug\"").start().await;
    weir.get(Protocol::H2, "/who").await;
    let (gone, _kept) = refusing_address();
    let quiet = Setup::addresses([gone]).log("level: \"info,weir::proxy=off\"").start().await;
    assert_eq!(quiet.get(Protocol::H2, "/who").await.0, 502);
    assert!(!quiet.printed().contains("request failed"), "{}", quiet.printed());
}

#[tokio::test]
async fn spans_reach_a_collector_by_the_published_protocol() {
    let mut collector = Collector::start();
    let origin = Origin::start().await;
    let tracing = format!(
        "tracing: {{ otlp: \"http://127.0.0.1:{}\", sample: 100%, service: edge }}",
        collector.port
    );
    let mut weir = Setup::to([&origin]).telemetry(&tracing).start().await;
    for protocol in Protocol::ALL {
        weir.get(protocol, "/who").await;
    }
    weir.signal("TERM");
    assert!(weir.exit().await.success());
    let spans = collector.spans(9).await;
    let requests: Vec<_> = spans.iter().filter(|span| span["parent"] == "").collect();
    assert_eq!(requests.len(), 3, "{spans:#?}");
    for request in requests {
        assert_eq!(request["service"], "edge", "{request}");
        let children: Vec<_> =
            spans.iter().filter(|span| span["parent"] == request["id"]).collect();
        assert_eq!(children.len(), 2, "a pick and an attempt: {spans:#?}");
        assert!(children.iter().all(|child| child["trace"] == request["trace"]), "{spans:#?}");
    }
}

#[tokio::test]
async fn each_call_of_a_filter_has_a_span_and_each_body_one() {
    let mut collector = Collector::start();
    let origin = Origin::start().await;
    let tracing =
        format!("tracing: {{ otlp: \"http://127.0.0.1:{}\", sample: 100% }}", collector.port);
    let replace = "{ replace: [{ from: x, to: y }], types: [text/plain], requests: true }";
    let weir = Setup::to([&origin])
        .telemetry(&tracing)
        .top(&format!("plugins: [{{ name: b, source: builtin:body-replace, config: {replace} }}]"))
        .routes("  - { name: all, filters: [b], upstream: app }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        let request = Request::post("/echo").header("content-type", "text/plain");
        let client = weir.client(protocol).await;
        client.send(request.body("xxx".into()).unwrap()).await.text().await;
    }
    // The request, four spans of the filter, a pick and an attempt, for each protocol.
    let spans = collector.spans(21).await;
    for function in ["on-request", "on-response", "on-request-body", "on-response-body"] {
        let own = |span: &&Value| {
            let value = |name: &str| span["attributes"][name].as_str().unwrap_or("").to_owned();
            span["name"] == "filter"
                && value("weir.plugin.function").contains(&format!("\"{function}\""))
                && value("weir.plugin").contains("\"b\"")
                && value("weir.plugin.generation").contains("int_value: 1")
        };
        let own: Vec<_> = spans.iter().filter(own).collect();
        assert_eq!(own.len(), 3, "{function}: {spans:#?}");
        let is_child = |span: &&Value| {
            spans.iter().any(|s| s["id"] == span["parent"] && s["trace"] == span["trace"])
        };
        assert!(own.iter().all(is_child), "{function}: {spans:#?}");
    }
}

#[tokio::test]
async fn a_trace_that_began_elsewhere_goes_on_at_the_origin() {
    let mut collector = Collector::start();
    let origin = Origin::start().await;
    let tracing =
        format!("tracing: {{ otlp: \"http://127.0.0.1:{}\", sample: 0% }}", collector.port);
    let weir = Setup::to([&origin]).telemetry(&tracing).start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for protocol in Protocol::ALL {
        let request = Request::get("/who")
            .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
            .header("tracestate", "vendor=1");
        weir.client(protocol).await.send(request.body(Body::empty()).unwrap()).await.text().await;
        let parent = origin.head().header("traceparent");
        let parts: Vec<_> = parent.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", trace, "01"), "{parent}");
        assert_ne!(parts[2], "00f067aa0ba902b7", "the origin's parent is a span of Weir");
        assert_eq!(origin.head().header("tracestate"), "vendor=1");
    }
    let spans = collector.spans(9).await;
    assert!(spans.iter().all(|span| span["trace"] == trace), "{spans:#?}");
    assert!(spans.iter().any(|span| span["parent"] == "00f067aa0ba902b7"), "{spans:#?}");
}

/// Sampling by the parent, as `telemetry.tracing.sample` documents it: the share is of requests
/// without a parent.
#[tokio::test]
async fn a_request_whose_parent_is_not_sampled_is_not_traced() {
    let mut collector = Collector::start();
    let origin = Origin::start().await;
    let tracing =
        format!("tracing: {{ otlp: \"http://127.0.0.1:{}\", sample: 100% }}", collector.port);
    let weir = Setup::to([&origin]).telemetry(&tracing).start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-00");
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let request = Request::get("/who").header("traceparent", &parent);
        client.send(request.body(Body::empty()).unwrap()).await.text().await;
        assert_eq!(origin.head().header("traceparent"), parent, "{protocol:?}");
        client.get("/who").await.text().await;
    }
    let spans = collector.spans(9).await;
    assert!(spans.iter().all(|span| span["trace"] != trace), "{spans:#?}");
    let requests = spans.iter().filter(|span| span["parent"] == "");
    assert_eq!(requests.count(), 3, "those without a parent: {spans:#?}");
}

#[tokio::test]
async fn a_collector_that_is_absent_or_silent_slows_nothing_down() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin::start().await;
    let plain = Setup::to([&origin]).start().await;
    let baseline = plain.client(Protocol::H3).await;
    let (gone, _kept) = refusing_address();
    for address in [gone, silent.local_addr().unwrap()] {
        let tracing = format!("tracing: {{ otlp: \"http://{address}\", sample: 100% }}");
        let mut weir = Setup::to([&origin]).telemetry(&tracing).start().await;
        let client = weir.client(Protocol::H3).await;
        // In turns, so that other load on the machine slows both down.
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(time(&baseline).await);
            with.push(time(&client).await);
        }
        let dropped = weir.metric("weir_trace_spans_dropped_total", &[]).await;
        assert!(dropped > 0.0, "what nobody takes is dropped");
        let (without, with) = (median(without), median(with));
        assert!(with < without * 2 + Duration::from_millis(10), "{without:?} became {with:?}");
        drop(client);
        weir.signal("TERM");
        let ending = std::time::Instant::now();
        assert!(weir.exit().await.success());
        assert!(ending.elapsed() < FLUSH, "{:?}", ending.elapsed());
    }
}

#[tokio::test]
async fn a_second_signal_ends_in_time_while_spans_are_delivered() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin::start().await;
    let address = silent.local_addr().unwrap();
    let tracing = format!("tracing: {{ otlp: \"http://{address}\", sample: 100% }}");
    let mut weir = Setup::to([&origin]).telemetry(&tracing).grace("60s").start().await;
    let client = weir.client(Protocol::H2).await;
    time(&client).await;
    let mut held = client.get("/hold-body").await;
    held.chunk().await.unwrap().unwrap();
    weir.signal("TERM");
    weir.logged("draining").await;
    let ending = std::time::Instant::now();
    weir.signal("INT");
    assert!(!weir.exit().await.success());
    assert!(ending.elapsed() < FLUSH, "{:?}", ending.elapsed());
}

/// The compared rounds of requests, and the requests of a round: several times more spans than the
/// queue holds.
const ROUNDS: usize = 21;
const ROUND: usize = 200;

/// Time for the last spans, records and lines to arrive on a busy machine.
const FLUSH: Duration = Duration::from_secs(8);

/// Measures a round of requests.
async fn time(client: &crate::support::Client) -> Duration {
    let started = std::time::Instant::now();
    for _ in 0..ROUND {
        assert_eq!(client.get("/who").await.text().await, "origin");
    }
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
async fn metrics_answer_on_their_path_only() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let address = weir.metrics_address();
    assert_eq!(within("metrics", crate::support::weir::scrape(address, "/metrics")).await.0, 200);
    assert_eq!(within("nothing", crate::support::weir::scrape(address, "/other")).await.0, 404);
}

/// A Weir that has served five requests on one connection of each protocol.
async fn used() -> (Origin, Weir) {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for _ in 0..5 {
            client.get("/who").await.text().await;
        }
    }
    (origin, weir)
}
