use std::collections::VecDeque;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use super::*;
use crate::message::body::BodyError;
use crate::telemetry::testing::{Paper, peer, request, with_access};
use crate::telemetry::writer::WriterGuard;

const ID: RequestId = RequestId(0xab);

struct Bench {
    telemetry: Arc<Telemetry>,
    local: Rc<Local>,
    guard: WriterGuard,
    paper: Paper,
}

impl Bench {
    fn new() -> Self {
        let (telemetry, guard, paper) = with_access();
        let local = Rc::new(Local::new(&telemetry.metrics));
        Self { telemetry, local, guard, paper }
    }

    fn record(&self, request: &Request<Body>) -> Record {
        Record::start(&self.telemetry, &self.local, request, &peer(), ID)
    }

    /// Returns the only access record, and the samples of the request metrics.
    fn read(self) -> (serde_json::Value, String) {
        drop(self.guard);
        let lines = self.paper.read();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        let samples = samples(&self.telemetry);
        (serde_json::from_str(&lines).unwrap(), samples)
    }
}

fn samples(telemetry: &Telemetry) -> String {
    let text = telemetry.metrics.encode();
    let samples = text.lines().filter(|line| line.starts_with("http_request"));
    samples.collect::<Vec<_>>().join("\n")
}

/// A body of unknown length with these frames.
struct Frames(VecDeque<Result<&'static str, BodyError>>);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop_front().map(|f| f.map(|data| Frame::data(Bytes::from(data)))))
    }
}

fn response(frames: impl IntoIterator<Item = Result<&'static str, BodyError>>) -> Response<Body> {
    Response::new(Body::stream(Frames(frames.into_iter().collect())))
}

/// Takes one frame, as a server does.
fn take(response: &mut Response<Body>) -> Option<Result<Frame<Bytes>, BodyError>> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match Pin::new(response.body_mut()).poll_frame(&mut cx) {
        Poll::Ready(frame) => frame,
        Poll::Pending => panic!("these bodies are always ready"),
    }
}

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

#[test]
fn a_request_is_recorded_when_its_response_body_ends() {
    let bench = Bench::new();
    let mut record = bench.record(&request(&[("user-agent", "curl/8"), ("host", "ignored")]));
    record.route(&bench.telemetry.metrics.route("items"));
    record.attempt(&name("app"), &name("10.0.0.3:80"));
    record.attempt(&name("app"), &name("10.0.0.4:80"));
    let sent = record.request_bytes();
    sent.set(sent.get() + 17);
    let mut response = record.finish(response([Ok("hello "), Ok("world")]));
    let active = "http_requests_active{protocol=\"h3\"} 1";
    assert!(samples(&bench.telemetry).contains(active));
    while take(&mut response).is_some() {}
    assert_eq!(bench.local.active(Protocol::H3).get(), 0);
    // Dropping the response later does not count it again.
    drop(response);

    let (record, samples) = bench.read();
    let total = r#"http_requests_total{method="GET",protocol="h3",route="items",status="200"} 1"#;
    assert!(samples.contains(total), "{samples}");
    let count = r#"http_request_duration_seconds_count{protocol="h3",route="items"} 1"#;
    assert!(samples.contains(count), "{samples}");
    for (field, value) in [
        ("request_id", "00000000000000ab"),
        ("client", "192.0.2.7:50123"),
        ("protocol", "h3"),
        ("method", "GET"),
        ("scheme", "https"),
        ("host", "example.com:8443"),
        ("path", "/items?page=2"),
        ("route", "items"),
        ("upstream", "app"),
        ("endpoint", "10.0.0.4:80"),
        ("user_agent", "curl/8"),
    ] {
        assert_eq!(record[field], value, "{field}");
    }
    for (field, value) in
        [("attempts", 2), ("status", 200), ("request_bytes", 17), ("response_bytes", 11)]
    {
        assert_eq!(record[field], value, "{field}");
    }
    assert_eq!(record["aborted"], false);
    assert!(record["error"].is_null() && record["trace_id"].is_null());
    assert!(record["duration_ms"].as_f64() >= record["first_byte_ms"].as_f64());
}

#[test]
fn a_client_that_leaves_before_the_response_is_499() {
    let bench = Bench::new();
    let mut record = bench.record(&request(&[]));
    record.error("upstream", "connect");
    drop(record);
    let (record, samples) = bench.read();
    assert_eq!(record["status"], 499);
    assert_eq!(record["aborted"], true);
    assert!(record["first_byte_ms"].is_null());
    assert!(samples.contains(r#"route="none",status="499"} 1"#), "{samples}");
}

#[test]
fn a_client_that_leaves_within_the_body_keeps_the_status_and_is_aborted() {
    let bench = Bench::new();
    let mut response = bench.record(&request(&[])).finish(response([Ok("half"), Ok("half")]));
    assert!(take(&mut response).is_some());
    drop(response);
    let (record, _) = bench.read();
    assert_eq!((&record["status"], &record["response_bytes"]), (&200.into(), &4.into()));
    assert_eq!(record["aborted"], true);
}

#[test]
fn a_body_that_fails_is_the_upstreams_error() {
    let bench = Bench::new();
    let mut response =
        bench.record(&request(&[])).finish(response([Ok("half"), Err(BodyError::Timeout)]));
    assert!(take(&mut response).unwrap().is_ok());
    assert!(take(&mut response).unwrap().is_err());
    drop(response);
    let (record, _) = bench.read();
    assert_eq!(record["error"], "upstream/timeout");
    assert_eq!(record["aborted"], false);
}

#[test]
fn a_body_that_a_filter_ends_is_the_plugins_error() {
    for (error, recorded) in
        [(BodyError::Filter, "plugin/filter"), (BodyError::Stopped, "plugin/stopped")]
    {
        let bench = Bench::new();
        let mut response = bench.record(&request(&[])).finish(response([Err(error)]));
        assert!(take(&mut response).unwrap().is_err());
        drop(response);
        assert_eq!(bench.read().0["error"], recorded);
    }
}

#[test]
fn a_body_dropped_after_its_last_byte_is_whole() {
    let bench = Bench::new();
    let mut response = bench.record(&request(&[])).finish(Response::new(Body::full("all of it")));
    assert_eq!(response.body().size_hint().exact(), Some(9));
    assert!(take(&mut response).is_some());
    drop(response);
    let (record, _) = bench.read();
    assert_eq!((&record["aborted"], &record["response_bytes"]), (&false.into(), &9.into()));
}

#[test]
fn responses_without_a_body_are_recorded_at_once() {
    let mut head = request(&[]);
    *head.method_mut() = Method::HEAD;
    for (request, status) in
        [(&head, 200), (&request(&[]), 204), (&request(&[]), 304), (&request(&[]), 200)]
    {
        let bench = Bench::new();
        let body = if status == 200 && request.method() == Method::GET { "" } else { "unsent" };
        let mut response = Response::new(Body::full(body));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        let kept = bench.record(request).finish(response);
        assert_eq!(bench.local.active(Protocol::H3).get(), 0);
        let (record, _) = bench.read();
        assert_eq!((&record["status"], &record["aborted"]), (&status.into(), &false.into()));
        drop(kept);
    }
}

#[test]
fn without_access_records_and_traces_nothing_is_copied() {
    let telemetry = Telemetry::counting();
    let local = Rc::new(Local::new(&telemetry.metrics));
    let mut record = Record::start(&telemetry, &local, &request(&[]), &peer(), ID);
    assert!(record.detail.is_none() && record.span("pick").is_none());
    record.attempt(&name("app"), &name("10.0.0.3:80"));
    record.error("proxy", "none");
    let mut headers = HeaderMap::new();
    headers.insert("traceparent", HeaderValue::from_static("anything"));
    record.propagate(&mut headers);
    assert_eq!(headers["traceparent"], "anything");
    drop(record.finish(Response::new(Body::empty())));
    assert!(samples(&telemetry).contains(r#"status="200"} 1"#));
}

#[test]
fn a_method_of_a_clients_own_making_makes_no_label() {
    let bench = Bench::new();
    let mut request = request(&[]);
    *request.method_mut() = Method::from_bytes(b"X-ANYTHING").unwrap();
    drop(bench.record(&request).finish(Response::new(Body::empty())));
    let (record, samples) = bench.read();
    assert_eq!(record["method"], "X-ANYTHING");
    assert!(samples.contains(r#"{method="other","#), "{samples}");
}

#[test]
fn http_1_requests_name_the_host_by_its_field() {
    let bench = Bench::new();
    let request = Request::get("/only/path")
        .header("host", HeaderValue::from_bytes(b"ex\xffample").unwrap())
        .body(Body::empty())
        .unwrap();
    drop(bench.record(&request).finish(Response::new(Body::empty())));
    let (record, _) = bench.read();
    assert_eq!(
        (&record["host"], &record["path"]),
        (&"ex\u{fffd}ample".into(), &"/only/path".into())
    );
}

#[test]
fn ids_read_as_sixteen_digits() {
    assert_eq!(RequestId(u64::MAX).to_string(), "ffffffffffffffff");
    assert_eq!(RequestId(1).to_string(), "0000000000000001");
}

#[test]
fn access_records_begin_and_end_while_requests_are_served() {
    let bench = Bench::new();
    let end = |record: Record, path| {
        let mut response = record.finish(response([Ok(path)]));
        while take(&mut response).is_some() {}
    };
    bench.telemetry.set_access(false);
    let early = bench.record(&request(&[]));
    end(bench.record(&request(&[])), "off");
    bench.telemetry.set_access(true);
    end(early, "began without a record");
    let late = bench.record(&request(&[]));
    end(bench.record(&request(&[])), "on");
    bench.telemetry.set_access(false);
    end(late, "ended without a record");
    assert_eq!(bench.read().0["response_bytes"], 2);
}
