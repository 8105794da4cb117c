//! Spans of sampled requests, by OpenTelemetry's conventions for HTTP.
//!
//! Weir creates spans directly, and only for sampled requests. Other requests cost one look at
//! `traceparent`.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, Method, Request, Version, header};
use opentelemetry::trace::{
    Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider,
};
use opentelemetry::{Array, Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

use crate::config;
use crate::message::body::Body;
use crate::message::peer::{Peer, Protocol};
use crate::telemetry::metrics::{MethodLabel, Metrics};
use crate::telemetry::otlp::{self, ExportGuard};
use crate::telemetry::record::Noted;
use crate::telemetry::{TelemetryError, traceparent};

/// The span of a balancer's choice.
pub const PICK: &str = "pick";

/// The span of one call of a filter.
pub const FILTER: &str = "filter";

/// The span of one attempt at an endpoint. The endpoint receives the context of this span.
pub const ATTEMPT: &str = "attempt";

/// Decides which requests are traced, and begins their spans.
#[derive(Debug)]
pub(crate) struct Tracer {
    tracer: SdkTracer,
    sample: f64,
}

/// The trace of one request: its own span, and the data that child spans need.
#[derive(Debug)]
pub(crate) struct Trace {
    tracer: SdkTracer,
    span: opentelemetry_sdk::trace::Span,
    context: Context,
    method: MethodLabel,
    attempt: Cell<Option<SpanId>>,
    attempts: Cell<i64>,
}

/// The reason why a request is not traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Untraced {
    /// The request is outside the sampled share, or its caller decided against a trace. Its
    /// context, if any, is passed on.
    Unsampled,
    /// As `Unsampled`, but the context of the request is malformed.
    Malformed,
}

/// A child span. It ends when dropped.
#[derive(Debug)]
pub struct Span {
    span: opentelemetry_sdk::trace::Span,
}

/// The outcome of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TraceEnd<'a> {
    pub(crate) route: Option<&'a str>,
    pub(crate) status: Option<u16>,
    pub(crate) error: Option<&'static str>,
    pub(crate) is_aborted: bool,
    /// The filters that failed and were passed over.
    pub(crate) skipped: &'a [Arc<str>],
    /// Names and values that plugins noted.
    pub(crate) attributes: &'a [Noted],
}

impl Tracer {
    /// Starts the delivery to the collector of `config`.
    pub(crate) fn start(
        config: &config::Tracing,
        metrics: &Metrics,
    ) -> Result<(Self, ExportGuard), TelemetryError> {
        let resource = Resource::builder()
            .with_service_name(config.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let (queue, guard) = otlp::start(&config.otlp, &resource, metrics)?;
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            // The decision whether a request is traced comes before its span is created.
            .with_sampler(Sampler::AlwaysOn)
            .with_span_processor(queue)
            .build();
        Ok((Self { tracer: provider.tracer("weir"), sample: config.sample }, guard))
    }

    /// Begins the span of a request that is to be traced. The decision of the caller counts.
    /// Without one, the configured share of requests is traced.
    ///
    /// # Errors
    ///
    /// [`Untraced`] if the request is not traced.
    pub(crate) fn begin(&self, request: &Request<Body>, peer: &Peer) -> Result<Trace, Untraced> {
        let parent = traceparent::extract(request.headers());
        let is_sampled = match &parent {
            Ok(Some(parent)) => parent.is_sampled(),
            Ok(None) | Err(_) => rand::random_bool(self.sample.clamp(0.0, 1.0)),
        };
        if !is_sampled {
            return Err(parent.map_or(Untraced::Malformed, |_| Untraced::Unsampled));
        }
        let parent = match parent.ok().flatten() {
            Some(parent) => Context::new().with_remote_span_context(parent),
            None => Context::new(),
        };
        let method = MethodLabel::of(request.method());
        let builder = self
            .tracer
            .span_builder(span_name(method))
            .with_kind(SpanKind::Server)
            .with_attributes(request_attributes(request, peer));
        let span = self.tracer.build_with_context(builder, &parent);
        Ok(Trace {
            tracer: self.tracer.clone(),
            context: Context::new().with_remote_span_context(span.span_context().clone()),
            span,
            method,
            attempt: Cell::new(None),
            attempts: Cell::new(0),
        })
    }
}

impl Trace {
    /// Begins a child span: [`ATTEMPT`] to `endpoint` (its name, `HOST:PORT`), or an internal one.
    pub(crate) fn child(&self, name: &'static str, endpoint: Option<&str>) -> Span {
        if name != ATTEMPT {
            let builder = self.tracer.span_builder(name).with_kind(SpanKind::Internal);
            return Span { span: self.tracer.build_with_context(builder, &self.context) };
        }
        let mut attributes = vec![KeyValue::new("http.request.method", method_value(self.method))];
        let resends = self.attempts.replace(self.attempts.get() + 1);
        if resends > 0 {
            attributes.push(KeyValue::new("http.request.resend_count", resends));
        }
        if let Some((host, port)) = endpoint.and_then(|endpoint| endpoint.rsplit_once(':')) {
            attributes.push(KeyValue::new("server.address", cut(unbracketed(host))));
            if let Ok(port) = port.parse::<u16>() {
                attributes.push(KeyValue::new("server.port", i64::from(port)));
            }
        }
        let builder = self
            .tracer
            .span_builder(span_name(self.method))
            .with_kind(SpanKind::Client)
            .with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, &self.context);
        self.attempt.set(Some(span.span_context().span_id()));
        Span { span }
    }

    /// Writes the context for an upstream: that of the last attempt, or that of the request before
    /// the first attempt.
    pub(crate) fn propagate(&self, headers: &mut HeaderMap) {
        let context = self.context();
        traceparent::inject(context, self.attempt.get().unwrap_or(context.span_id()), headers);
    }

    /// Returns the context of the request's span.
    pub(crate) fn context(&self) -> &SpanContext {
        self.span.span_context()
    }

    /// Ends the request's span.
    pub(crate) fn end(mut self, outcome: TraceEnd<'_>) {
        let span = &mut self.span;
        if let Some(route) = outcome.route {
            span.update_name(format!("{} {route}", span_name(self.method)));
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if let Some(status) = outcome.status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if !outcome.skipped.is_empty() {
            let names = outcome.skipped.iter().map(|name| name.to_string().into()).collect();
            span.set_attribute(KeyValue::new("weir.skipped", Value::Array(Array::String(names))));
        }
        for Noted { plugin, name, value } in outcome.attributes {
            let name = format!("weir.attribute.{plugin}.{name}");
            span.set_attribute(KeyValue::new(name, value.clone()));
        }
        let is_failed = outcome.status.is_none_or(|status| status >= 500);
        let kind: Option<Value> = match (outcome.error, outcome.status) {
            (Some(kind), _) => Some(kind.into()),
            (None, _) if outcome.is_aborted => Some("aborted".into()),
            (None, Some(status)) if status >= 500 => Some(status.to_string().into()),
            _ => None,
        };
        if let Some(kind) = kind {
            span.set_attribute(KeyValue::new("error.type", kind));
        }
        // A 4xx is an error of the client, not of the server.
        if is_failed || (outcome.is_aborted && outcome.status.is_none_or(|status| status < 400)) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

impl Span {
    /// Sets an attribute. Names follow the semantic conventions, or begin with `weir.`.
    pub fn attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        self.span.set_attribute(KeyValue::new(name, value));
    }

    /// Marks the span as failed; `kind` becomes `error.type`, and `reason` the description of its
    /// status.
    pub fn error(&mut self, kind: &'static str, reason: &str) {
        self.attribute("error.type", kind);
        self.span.set_status(Status::error(cut(reason)));
    }
}

fn request_attributes(request: &Request<Body>, peer: &Peer) -> Vec<KeyValue> {
    let method = MethodLabel::of(request.method());
    let mut attributes = Vec::with_capacity(12);
    attributes.push(KeyValue::new("http.request.method", method_value(method)));
    if method_value(method) == OTHER {
        attributes.push(original_method(request.method()));
    }
    attributes.push(KeyValue::new("url.path", cut(request.uri().path())));
    attributes.push(KeyValue::new("url.scheme", if peer.tls { "https" } else { "http" }));
    attributes.push(KeyValue::new("network.protocol.name", "http"));
    attributes.push(KeyValue::new("network.protocol.version", version(request, peer.protocol)));
    attributes.push(KeyValue::new("client.address", plain(peer.client.ip()).to_string()));
    if let Some((host, port)) = authority(request) {
        attributes.push(KeyValue::new("server.address", host));
        if let Some(port) = port {
            attributes.push(KeyValue::new("server.port", i64::from(port)));
        }
    }
    if let Some(agent) = request.headers().get(header::USER_AGENT) {
        let agent = String::from_utf8_lossy(agent.as_bytes());
        attributes.push(KeyValue::new("user_agent.original", cut(&agent)));
    }
    attributes
}

fn authority(request: &Request<Body>) -> Option<(String, Option<u16>)> {
    let parsed;
    let authority = match request.uri().authority() {
        Some(authority) => authority,
        None => {
            let host = request.headers().get(header::HOST)?;
            parsed = http::uri::Authority::try_from(host.as_bytes()).ok()?;
            &parsed
        }
    };
    Some((cut(unbracketed(authority.host())), authority.port_u16()))
}

/// Returns an IPv6 address without its brackets, as the conventions require.
fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// Returns the IPv4 address of an IPv4 client of a dual-stack listener.
fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

fn version(request: &Request<Body>, protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::H1 if request.version() == Version::HTTP_10 => "1.0",
        Protocol::H1 => "1.1",
        Protocol::H2 => "2",
        Protocol::H3 => "3",
    }
}

fn original_method(method: &Method) -> KeyValue {
    KeyValue::new("http.request.method_original", cut(method.as_str()))
}

fn method_value(method: MethodLabel) -> &'static str {
    match method.as_str() {
        "other" => OTHER,
        known => known,
    }
}

/// Returns the method for the name of a span. The conventions require `HTTP` for a method that is
/// not well known.
fn span_name(method: MethodLabel) -> &'static str {
    match method.as_str() {
        "other" => "HTTP",
        known => known,
    }
}

/// Cuts a value that a client chooses, to bound the memory of a queued span.
fn cut(value: &str) -> String {
    value.get(..value.floor_char_boundary(ATTRIBUTE_BYTES)).unwrap_or(value).to_owned()
}

/// The conventions' value for a method that is not well known.
const OTHER: &str = "_OTHER";

/// Maximum length of an attribute's value, in bytes.
const ATTRIBUTE_BYTES: usize = 1_024;

#[cfg(test)]
mod tests;
