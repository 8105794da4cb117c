use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, Response};
use opentelemetry_proto::tonic::trace::v1::{
    Span as Received, Status as Reported, span::SpanKind, status::StatusCode,
};

use super::*;
use crate::message::peer::RequestId;
use crate::telemetry::Telemetry;
use crate::telemetry::metrics::Local;
use crate::telemetry::otlp::ExportGuard;
use crate::telemetry::record::Record;
use crate::telemetry::testing::{Collector, attribute, peer, request, with_traces};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

struct Bench {
    collector: Collector,
    telemetry: Arc<Telemetry>,
    guard: ExportGuard,
}

impl Bench {
    fn new(sample: f64) -> Self {
        let collector = Collector::start();
        let (telemetry, guard) = with_traces(&collector.endpoint, sample);
        Self { collector, telemetry, guard }
    }

    fn record(&self, request: &Request<Body>) -> Record {
        let local = Rc::new(Local::new(&self.telemetry.metrics));
        Record::start(&self.telemetry, &local, request, &peer(), RequestId(1))
    }

    /// Returns all that has arrived, in the order of the start times.
    fn read(self) -> (String, Vec<Received>) {
        drop(self.guard);
        let (service, mut spans) = self.collector.received();
        spans.sort_by_key(|span| (span.start_time_unix_nano, span.kind));
        assert_eq!(self.telemetry.metrics.spans_exported.get(), spans.len() as u64);
        assert_eq!(self.telemetry.metrics.spans_dropped.get(), 0);
        (service, spans)
    }
}

fn assert_attributes(span: &Received, expected: &[(&str, Option<&str>)]) {
    for (name, value) in expected {
        assert_eq!(attribute(&span.attributes, name).as_deref(), *value, "{name} of {}", span.name);
    }
}

fn code(span: &Received) -> StatusCode {
    span.status.as_ref().map_or(StatusCode::Unset, Reported::code)
}

#[test]
fn a_request_its_pick_and_its_attempts_arrive_as_one_tree() {
    let bench = Bench::new(0.0);
    let request =
        request(&[("traceparent", PARENT), ("tracestate", "a=1"), ("user-agent", "curl/8")]);
    let mut record = bench.record(&request);
    record.route(&bench.telemetry.metrics.route("/items/*"));
    let mut pick = record.span(PICK).unwrap();
    pick.attribute("weir.balancer", "round-robin");
    drop(pick);
    let mut sent = Vec::new();
    for endpoint in ["10.0.0.3:8080", "[2001:db8::1]:81"] {
        record.attempt(&Arc::from("app"), &Arc::from(endpoint));
        let mut attempt = record.span(ATTEMPT).unwrap();
        let mut headers = request.headers().clone();
        record.propagate(&mut headers);
        sent.push(headers);
        if endpoint.starts_with('1') {
            attempt.error("connect", "refused");
        } else {
            attempt.attribute("http.response.status_code", 200);
        }
    }
    drop(record.finish(Response::new(Body::empty())));

    let (service, spans) = bench.read();
    assert_eq!(service, "edge");
    let [server, pick, first, second] = &spans[..] else { panic!("{spans:#?}") };
    let trace = hex("0af7651916cd43dd8448eb211c80319c");
    assert!(spans.iter().all(|span| span.trace_id == trace));
    assert_eq!(server.parent_span_id, hex("b7ad6b7169203331"));
    assert!([pick, first, second].iter().all(|span| span.parent_span_id == server.span_id));
    assert_eq!(server.trace_state, "a=1");

    assert_eq!((&*server.name, server.kind()), ("GET /items/*", SpanKind::Server));
    assert_attributes(
        server,
        &[
            ("http.request.method", Some("GET")),
            ("url.path", Some("/items")),
            ("url.scheme", Some("https")),
            ("server.address", Some("example.com")),
            ("server.port", Some("8443")),
            ("network.protocol.name", Some("http")),
            ("network.protocol.version", Some("3")),
            ("client.address", Some("192.0.2.7")),
            ("user_agent.original", Some("curl/8")),
            ("http.route", Some("/items/*")),
            ("http.response.status_code", Some("200")),
            ("error.type", None),
        ],
    );
    assert_eq!(code(server), StatusCode::Unset);
    assert_eq!((&*pick.name, pick.kind()), ("pick", SpanKind::Internal));
    assert_attributes(pick, &[("weir.balancer", Some("round-robin"))]);
    assert_eq!((&*first.name, first.kind()), ("GET", SpanKind::Client));
    assert_attributes(
        first,
        &[
            ("server.address", Some("10.0.0.3")),
            ("server.port", Some("8080")),
            ("http.request.resend_count", None),
            ("error.type", Some("connect")),
        ],
    );
    assert_eq!(code(first), StatusCode::Error);
    assert_attributes(
        second,
        &[
            ("http.request.method", Some("GET")),
            ("server.address", Some("2001:db8::1")),
            ("server.port", Some("81")),
            ("http.request.resend_count", Some("1")),
            ("http.response.status_code", Some("200")),
        ],
    );
    for (headers, span) in sent.iter().zip([first, second]) {
        let id: String = span.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = format!("00-0af7651916cd43dd8448eb211c80319c-{id}-01");
        assert_eq!(headers["traceparent"], expected.as_str());
        assert_eq!(headers["tracestate"], "a=1");
    }
}

#[test]
fn a_parent_that_is_not_sampled_is_respected_and_passed_on() {
    let bench = Bench::new(1.0);
    let parent = PARENT.replace("-01", "-00");
    let request = request(&[("traceparent", &parent), ("tracestate", "a=1")]);
    let record = bench.record(&request);
    assert!(record.span(PICK).is_none());
    let mut headers = request.headers().clone();
    record.propagate(&mut headers);
    assert_eq!(&headers, request.headers());
    drop(record);
    assert!(bench.read().1.is_empty());
}

#[test]
fn without_a_parent_a_share_begins_a_trace_of_its_own() {
    let bench = Bench::new(1.0);
    // A malformed parent counts as none, and its `tracestate` is removed.
    let request = request(&[("traceparent", "00-1-1-01"), ("tracestate", "a=1")]);
    let record = bench.record(&request);
    let mut headers = request.headers().clone();
    record.propagate(&mut headers);
    assert!(headers.get("tracestate").is_none());
    drop(record.finish(Response::new(Body::empty())));
    let (_, spans) = bench.read();
    let [server] = &spans[..] else { panic!("{spans:#?}") };
    assert!(server.parent_span_id.is_empty());
    let trace: String = server.trace_id.iter().map(|byte| format!("{byte:02x}")).collect();
    let id: String = server.span_id.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(headers["traceparent"], format!("00-{trace}-{id}-01").as_str());
    assert_eq!(server.name, "GET");
}

#[test]
fn a_malformed_context_ends_here_also_where_nothing_is_sampled() {
    let bench = Bench::new(0.0);
    let twice = [("traceparent", PARENT), ("traceparent", PARENT), ("tracestate", "a=1")];
    for fields in [&[("traceparent", "00-1-1-01"), ("tracestate", "a=1")][..], &twice] {
        let request = request(fields);
        let mut headers = request.headers().clone();
        bench.record(&request).propagate(&mut headers);
        assert!(headers.is_empty(), "{headers:?}");
    }
}

#[test]
fn a_share_of_nothing_traces_nothing() {
    let bench = Bench::new(0.0);
    let record = bench.record(&request(&[]));
    let mut headers = HeaderMap::new();
    record.propagate(&mut headers);
    assert!(headers.is_empty());
    drop(record);
    assert!(bench.read().1.is_empty());
}

#[test]
fn failures_are_marked_by_the_conventions() {
    let bench = Bench::new(1.0);
    for status in [502, 404] {
        let mut record = bench.record(&request(&[]));
        record.error(if status == 502 { "upstream" } else { "client" }, "why");
        let response = Response::builder().status(status).body(Body::empty()).unwrap();
        drop(record.finish(response));
    }
    let plain = Response::builder().status(500).body(Body::empty()).unwrap();
    drop(bench.record(&request(&[])).finish(plain));
    drop(bench.record(&request(&[])));
    let (_, spans) = bench.read();
    let [bad_gateway, not_found, failed, left] = &spans[..] else { panic!("{spans:#?}") };
    assert_attributes(bad_gateway, &[("error.type", Some("why"))]);
    assert_eq!(code(bad_gateway), StatusCode::Error);
    assert_eq!(code(not_found), StatusCode::Unset);
    assert_attributes(failed, &[("error.type", Some("500"))]);
    assert_attributes(
        left,
        &[("error.type", Some("aborted")), ("http.response.status_code", None)],
    );
    assert_eq!(code(left), StatusCode::Error);
}

#[test]
fn what_a_client_chooses_is_bounded() {
    let bench = Bench::new(1.0);
    let path = format!("/{}", "a".repeat(60_000));
    let request = Request::builder()
        .method("MADEUP")
        .uri(&path)
        .header("host", "[2001:db8::1]")
        .header("user-agent", "x".repeat(60_000))
        .body(Body::empty())
        .unwrap();
    drop(bench.record(&request));
    let (_, spans) = bench.read();
    let [server] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(server.name, "HTTP");
    assert_attributes(
        server,
        &[
            ("http.request.method", Some("_OTHER")),
            ("http.request.method_original", Some("MADEUP")),
            ("url.path", Some(&path[..ATTRIBUTE_BYTES])),
            ("server.address", Some("2001:db8::1")),
            ("server.port", None),
        ],
    );
}

fn hex(text: &str) -> Vec<u8> {
    let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}
