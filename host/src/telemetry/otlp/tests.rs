use std::net::TcpListener;

use http::Response;

use super::*;
use crate::config::Tracing;
use crate::message::body::Body;
use crate::telemetry::testing::{peer, request, with_traces};
use crate::telemetry::trace::Tracer;

/// Traces `requests` requests with three spans each, and returns the time that took.
fn trace(telemetry: &std::sync::Arc<crate::telemetry::Telemetry>, requests: usize) -> Duration {
    use crate::message::peer::RequestId;
    use crate::telemetry::metrics::Local;
    use crate::telemetry::record::Record;

    let local = std::rc::Rc::new(Local::new(&telemetry.metrics));
    let request = request(&[]);
    let start = Instant::now();
    for _ in 0..requests {
        let record = Record::start(telemetry, &local, &request, &peer(), RequestId(1));
        drop(record.span("pick"));
        drop(record.span("attempt"));
        drop(record.finish(Response::new(Body::empty())));
    }
    start.elapsed()
}

#[test]
fn a_collector_that_never_answers_costs_spans_and_not_time() {
    // The kernel accepts the connection, but no process reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (telemetry, guard) = with_traces(&endpoint, 1.0);
    let requests = 4 * QUEUE;
    let taken = trace(&telemetry, requests);
    // A single wait for the collector would take as long as an export.
    assert!(taken < EXPORT_TIME, "{taken:?}");
    let spans = 3 * requests as u64;
    assert!(telemetry.metrics.spans_dropped.get() > 0);
    let start = Instant::now();
    drop(guard);
    assert!(start.elapsed() < FLUSH_TIME * 2, "{:?}", start.elapsed());
    assert_eq!(telemetry.metrics.spans_exported.get(), 0);
    assert!(telemetry.metrics.spans_dropped.get() <= spans);
    // Spans still cost no time after the end.
    trace(&telemetry, 1);
}

#[test]
fn an_absent_collector_costs_spans_and_not_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (telemetry, guard) = with_traces(&endpoint, 1.0);
    trace(&telemetry, 10);
    let start = Instant::now();
    drop(guard);
    assert!(start.elapsed() < FLUSH_TIME * 2, "{:?}", start.elapsed());
    assert_eq!(telemetry.metrics.spans_exported.get(), 0);
    assert_eq!(telemetry.metrics.spans_dropped.get(), 30);
}

#[test]
fn an_address_that_is_none_is_an_error() {
    for otlp in ["not an address", "https://127.0.0.1:4317"] {
        let config = Tracing { otlp: otlp.to_owned(), sample: 1.0, service: "weir".to_owned() };
        let error = Tracer::start(&config, &Metrics::new()).unwrap_err();
        assert_eq!(error.to_string(), format!("use {otlp} as OTLP collector"));
        assert!(error.source().is_some());
    }
}
