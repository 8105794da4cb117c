//! The telemetry of one request: its metrics, its access record, its span.
//!
//! A [`Record`] starts with the request and is finished with the response. It ends exactly once:
//! with the response's body, or when it is dropped. It copies nothing when neither access records
//! nor a trace of this request are wanted.

mod body;
mod fault;
mod notes;

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::Body as _;

use crate::message::body::Body;
use crate::message::grpc::{self, GrpcStatus};
use crate::message::peer::{Peer, Protocol, RequestId};
use crate::message::tunnel::Tunnel;
use crate::status;
use crate::telemetry::Telemetry;
use crate::telemetry::access::Entry;
use crate::telemetry::metrics::{Local, MethodLabel, Reason, RouteCounters, RouteSeries};
use crate::telemetry::trace::{Span, Trace, TraceEnd, Untraced};
use crate::telemetry::traceparent;
use body::RecordedBody;
use notes::Notes;

pub use notes::{Noted, Skips};

/// One request, from its head to the last byte of its response.
#[derive(Debug)]
pub struct Record {
    local: Rc<Local>,
    /// `None` if no route matched.
    route: Option<Rc<RouteCounters>>,
    started: Instant,
    method: MethodLabel,
    protocol: Protocol,
    status: Option<u16>,
    request_bytes: OnceCell<Rc<Cell<u64>>>,
    response_bytes: u64,
    fate: Fate,
    has_ended: bool,
    /// The status of a call of gRPC, as far as it is known.
    call: Option<Call>,
    /// Whether the trace context of the client is malformed and no other context replaces it.
    drops_context: bool,
    detail: Option<Box<Detail>>,
}

/// The fate of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The client is gone, or the body has not ended yet.
    Left,
    /// The server took the last byte.
    Whole,
    /// The body failed.
    Failed,
}

/// A call of gRPC.
#[derive(Debug, Clone, Copy, Default)]
struct Call {
    /// The status in the response's head or trailers.
    status: Option<GrpcStatus>,
}

/// The data that only access records and traces need. Header values are shared with the request,
/// not copied.
#[derive(Debug)]
struct Detail {
    telemetry: Arc<Telemetry>,
    trace: Option<Trace>,
    id: RequestId,
    peer: Peer,
    time: SystemTime,
    method: Method,
    authority: Option<Authority>,
    host: Option<HeaderValue>,
    path: Option<PathAndQuery>,
    user_agent: Option<HeaderValue>,
    upstream: Option<Arc<str>>,
    endpoint: Option<Arc<str>>,
    attempts: u32,
    first_byte: Option<Duration>,
    error: Option<(&'static str, &'static str)>,
    notes: Notes,
}

impl Record {
    /// Starts the record of `request`, and its trace when it is sampled.
    pub fn start(
        telemetry: &Arc<Telemetry>,
        local: &Rc<Local>,
        request: &Request<Body>,
        peer: &Peer,
        id: RequestId,
    ) -> Self {
        let begun = telemetry.tracer.as_ref().map(|tracer| tracer.begin(request, peer));
        let drops_context = matches!(begun, Some(Err(Untraced::Malformed)));
        let trace = begun.and_then(Result::ok);
        let is_detailed = trace.is_some() || telemetry.access().is_some();
        local.active(peer.protocol).inc();
        Self {
            local: Rc::clone(local),
            route: None,
            started: Instant::now(),
            method: MethodLabel::of(request.method()),
            protocol: peer.protocol,
            status: None,
            request_bytes: OnceCell::new(),
            response_bytes: 0,
            fate: Fate::Left,
            has_ended: false,
            // gRPC needs HTTP/2 or HTTP/3.
            call: (peer.protocol != Protocol::H1
                && grpc::is_call(request.method(), request.headers()))
            .then(Call::default),
            drops_context,
            detail: is_detailed
                .then(|| Box::new(Detail::new(Arc::clone(telemetry), trace, request, peer, id))),
        }
    }

    /// Creates the record of a message that is sent while another request is served. It counts
    /// nothing itself. [`Record::adopt`] takes over its endpoint, its attempts and its error.
    pub fn aside(
        telemetry: &Arc<Telemetry>,
        local: &Rc<Local>,
        peer: &Peer,
        id: RequestId,
    ) -> Self {
        let request = Request::new(Body::empty());
        let detail = || Box::new(Detail::new(Arc::clone(telemetry), None, &request, peer, id));
        Self {
            local: Rc::clone(local),
            route: None,
            started: Instant::now(),
            method: MethodLabel::of(&Method::GET),
            protocol: peer.protocol,
            status: None,
            request_bytes: OnceCell::new(),
            response_bytes: 0,
            fate: Fate::Left,
            has_ended: true,
            call: None,
            drops_context: false,
            detail: telemetry.access().is_some().then(detail),
        }
    }

    /// Notes the endpoint, the attempts and the error of a part of the request.
    pub fn adopt(&mut self, mut part: Record) {
        if let (Some(own), Some(part)) = (&mut self.detail, part.detail.take()) {
            own.upstream = part.upstream;
            own.endpoint = part.endpoint;
            own.attempts = part.attempts;
            own.error = own.error.or(part.error);
            own.notes.adopt(part.notes);
        }
    }

    /// Whether the request is a call of gRPC.
    pub fn is_call(&self) -> bool {
        self.call.is_some()
    }

    /// Returns the status of a call of gRPC. Without one in the response, it is the one that
    /// clients derive.
    fn grpc_status(&self) -> Option<GrpcStatus> {
        let call = self.call?;
        let derived = || match self.status.map(StatusCode::from_u16) {
            Some(Ok(status)) => GrpcStatus::from_http(status),
            // The client has left: it has cancelled the call.
            _ => GrpcStatus::CANCELLED,
        };
        Some(call.status.unwrap_or_else(derived))
    }

    /// Notes the route that matched.
    pub fn route(&mut self, series: &Arc<RouteSeries>) {
        self.route = Some(self.local.route(series));
    }

    /// Notes an attempt at an endpoint. Must be called before the span of the attempt begins,
    /// because the span names the endpoint.
    pub fn attempt(&mut self, upstream: &Arc<str>, endpoint: &Arc<str>) {
        if let Some(detail) = &mut self.detail {
            detail.upstream = Some(Arc::clone(upstream));
            detail.endpoint = Some(Arc::clone(endpoint));
            detail.attempts = detail.attempts.saturating_add(1);
        }
    }

    /// Notes the failure of the request: the side at fault (`client`, `plugin`, `upstream`,
    /// `proxy`) and the kind. The last call counts.
    pub fn error(&mut self, side: &'static str, kind: &'static str) {
        if let Some(detail) = &mut self.detail {
            detail.error = Some((side, kind));
        }
    }

    /// Counts that the client was cut off.
    pub fn cut(&self, reason: Reason) {
        self.local.metrics().cut.count(self.protocol, reason);
    }

    /// Notes the component that answers instead of an upstream.
    pub fn component(&mut self, name: &Arc<str>) {
        if let Some(detail) = &mut self.detail {
            detail.upstream = Some(Arc::clone(name));
        }
    }

    /// Returns the counter of request body bytes. The reader of that body increases it.
    pub fn request_bytes(&self) -> Rc<Cell<u64>> {
        Rc::clone(self.request_bytes.get_or_init(Rc::default))
    }

    /// Sets `traceparent` and `tracestate` for an upstream if this request is traced.
    ///
    /// The parent is the last [`ATTEMPT`](super::trace::ATTEMPT) span. If tracing is on but this
    /// request is not traced, a malformed context is removed. Other contexts stay untouched.
    pub fn propagate(&self, headers: &mut HeaderMap) {
        if let Some(trace) = self.trace() {
            trace.propagate(headers);
        } else if self.drops_context {
            traceparent::remove(headers);
        }
    }

    /// Begins a child span, which ends when dropped. Returns `None` if this request is not traced.
    pub fn span(&self, name: &'static str) -> Option<Span> {
        let endpoint = self.detail.as_ref().and_then(|detail| detail.endpoint.as_deref());
        self.trace().map(|trace| trace.child(name, endpoint))
    }

    /// Notes the head of the response and wraps its body. The record ends with the body.
    ///
    /// The record ends at once for a response without a body. The status, the request's method or
    /// an empty body decide that.
    pub fn finish(mut self, response: Response<Body>) -> Response<Body> {
        let status = response.status();
        let is_tunnel = response.extensions().get::<Tunnel>().is_some();
        // Only over HTTP/1.1 has a tunnel a status of its own.
        let is_switch = self.protocol == Protocol::H1 && is_tunnel;
        let sent = if is_switch { StatusCode::SWITCHING_PROTOCOLS } else { status };
        self.status = Some(sent.as_u16());
        if let Some(detail) = &mut self.detail {
            detail.first_byte = Some(self.started.elapsed());
        }
        if let Some(call) = &mut self.call {
            call.status = GrpcStatus::of(response.headers());
        }
        if self.method.as_str() == "HEAD"
            || status::ends_with_head(status)
            || response.body().is_end_stream()
        {
            self.fate = Fate::Whole;
            return response;
        }
        let tunnel = is_tunnel.then(|| self.local.tunnel(self.protocol));
        response.map(|body| {
            let declared = body.size_hint().exact();
            Body::stream(RecordedBody { body, declared, record: self, tunnel })
        })
    }

    fn trace(&self) -> Option<&Trace> {
        self.detail.as_ref()?.trace.as_ref()
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.has_ended, true) {
            return;
        }
        let duration = self.started.elapsed();
        let status = self.status.unwrap_or(CLIENT_LEFT);
        self.local.active(self.protocol).dec();
        let unmatched = self.local.unmatched();
        let route = self.route.as_deref().unwrap_or(unmatched);
        self.local.ended(route, (self.method, status, self.protocol), duration);
        if let Some(status) = self.grpc_status() {
            self.local.called(route, status);
        }
        if let Some(detail) = self.detail.take() {
            detail.end(self, status, duration);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end();
    }
}

impl Detail {
    fn new(
        telemetry: Arc<Telemetry>,
        trace: Option<Trace>,
        request: &Request<Body>,
        peer: &Peer,
        id: RequestId,
    ) -> Self {
        Self {
            telemetry,
            trace,
            id,
            peer: *peer,
            time: SystemTime::now(),
            method: request.method().clone(),
            authority: request.uri().authority().cloned(),
            host: request.headers().get(header::HOST).cloned(),
            path: request.uri().path_and_query().cloned(),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
            upstream: None,
            endpoint: None,
            attempts: 0,
            first_byte: None,
            error: None,
            notes: Notes::default(),
        }
    }

    fn end(self, record: &Record, status: u16, duration: Duration) {
        let route = record.route.as_deref().map(|route| &**route.name());
        let is_aborted = record.fate == Fate::Left;
        let skipped = self.notes.skipped();
        if let Some(access) = self.telemetry.access() {
            let trace_id = self.trace.as_ref().map(|t| t.context().trace_id().to_string());
            access.write(&Entry {
                time: self.time,
                request_id: self.id,
                client: self.peer.client,
                protocol: record.protocol.label(),
                method: self.method.as_str(),
                scheme: if self.peer.tls { "https" } else { "http" },
                host: self.host(),
                path: self.path.as_ref().map_or("", PathAndQuery::as_str),
                route,
                upstream: self.upstream.as_deref(),
                endpoint: self.endpoint.as_deref(),
                attempts: self.attempts,
                status,
                grpc_status: record.grpc_status(),
                request_bytes: record.request_bytes.get().map_or(0, |bytes| bytes.get()),
                response_bytes: record.response_bytes,
                duration,
                first_byte: self.first_byte,
                error: self.error,
                is_aborted,
                trace_id: trace_id.as_deref(),
                user_agent: self.user_agent.as_ref().map(HeaderValue::as_bytes),
                skipped: &skipped,
                attributes: self.notes.attributes(),
            });
        }
        if let Some(trace) = self.trace {
            let error = self.error.map(|(_, kind)| kind);
            let (status, attributes) = (record.status, self.notes.attributes());
            trace.end(TraceEnd { route, status, error, is_aborted, skipped: &skipped, attributes });
        }
    }

    fn host(&self) -> &[u8] {
        match (&self.authority, &self.host) {
            (Some(authority), _) => authority.as_str().as_bytes(),
            (None, Some(host)) => host.as_bytes(),
            (None, None) => b"",
        }
    }
}

/// The status in metrics and records if the client left before a response began. The number is
/// nginx's, and is never sent.
const CLIENT_LEFT: u16 = 499;

#[cfg(test)]
mod tests;
