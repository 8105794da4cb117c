//! All metrics of Weir, by name.
//!
//! [`Metrics`] registers them once. The code that counts holds typed handles ([`QuicCounters`],
//! [`EndpointCounters`], [`PluginCounters`], [`Local`]), so that the request path hashes no label.
//! docs/metrics.md lists the same names, and a test compares them.

use std::sync::Arc;
use std::time::SystemTime;

use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    TextEncoder,
};

use crate::telemetry::events::Events;
use crate::telemetry::process::Process;
use crate::tls::CertificateStatus;

mod backend;
mod cut;
mod lingering;
mod local;
mod plugin;
mod route;
mod set;
#[cfg(test)]
mod tests;
mod tls;
mod users;

use backend::BackendMetrics;
pub use backend::{EndpointCounters, UpstreamCounters};
pub use cut::{Cut, Reason};
pub use local::{Local, MethodLabel};
pub(crate) use local::{OpenTunnel, RouteCounters};
use plugin::PluginMetrics;
pub use plugin::{FunctionCounters, GenerationCounters, PluginCounters, Swap};
use route::RouteMetrics;
pub use route::RouteSeries;
pub use set::Listed;
pub(crate) use set::Set;
pub use tls::Reloads;

/// The `route` label of requests that match no route.
pub const NO_ROUTE: &str = "none";

/// All metrics of a process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    listed: Vec<Listed>,
    process: Process,
    /// The changes inside the process. They are here because each part that has changes has
    /// counters.
    pub events: Events,
    /// The counters of QUIC listeners.
    pub quic: QuicCounters,
    /// The counters of clients that were cut off.
    pub cut: Cut,
    /// The counters of reloads of certificates.
    pub certificate_reloads: Reloads,
    /// The reloads of the configuration.
    pub reloads: Reloads,
    certificates: tls::Certificates,
    /// `http_requests_total{method,status,protocol,route}`. The request path uses [`Local`].
    pub http_requests: IntCounterVec,
    /// `grpc_requests_total{route,grpc_status}`.
    pub grpc_requests: IntCounterVec,
    /// `http_request_duration_seconds{protocol,route}`. The request path uses [`Local`].
    pub http_request_duration: HistogramVec,
    /// `http_requests_active{protocol}`. The request path uses [`Local`].
    pub http_requests_active: IntGaugeVec,
    /// `http_tunnels_active{protocol}`.
    pub http_tunnels_active: IntGaugeVec,
    /// Access records that were dropped: standard output was too slow, or the file failed.
    pub access_dropped: IntCounter,
    /// Log lines that were dropped: standard error was too slow, or the file failed.
    pub log_dropped: IntCounter,
    /// Spans that were not delivered: the queue was full, or the collector was absent, slow or
    /// refused them.
    pub spans_dropped: IntCounter,
    /// Spans that the collector accepted.
    pub spans_exported: IntCounter,
    backend: BackendMetrics,
    routes: RouteMetrics,
    plugin: PluginMetrics,
}

/// The counters of QUIC listeners. Clones share them.
#[derive(Debug, Clone)]
pub struct QuicCounters {
    /// Connections that completed their handshake.
    pub connections_total: IntCounter,
    /// Open connections.
    pub connections_active: IntGauge,
    /// Handshakes that completed.
    pub handshakes_ok: IntCounter,
    /// Handshakes that failed or timed out.
    pub handshakes_failed: IntCounter,
    /// Time from the first packet to the end of the handshake.
    pub handshake_duration: Histogram,
    /// UDP payload sent, in bytes.
    pub bytes_sent: IntCounter,
    /// UDP payload received, in bytes.
    pub bytes_received: IntCounter,
    /// Datagrams sent.
    pub datagrams_sent: IntCounter,
    /// Datagrams received.
    pub datagrams_received: IntCounter,
    /// Packets declared lost.
    pub packets_lost: IntCounter,
    /// Smoothed round-trip time of a connection, observed at its end.
    pub rtt: Histogram,
}

impl Metrics {
    /// Registers every metric, all at zero.
    pub fn new() -> Self {
        let (mut set, events) = (Set::default(), Events::default());
        let quic = QuicCounters::register(&mut set);
        let http_requests = set.counters(
            "http_requests_total",
            "Requests that ended; status 499: the client left before a response began.",
            &["method", "status", "protocol", "route"],
        );
        let grpc_requests = set.counters(
            "grpc_requests_total",
            "Calls of gRPC that ended; a call without a status counts as the status that clients \
             derive.",
            &["route", "grpc_status"],
        );
        let http_request_duration = set.histograms(
            "http_request_duration_seconds",
            "Time from a request's head to the last byte of its response.",
            &["protocol", "route"],
            REQUEST_SECONDS,
        );
        let http_requests_active =
            set.gauges("http_requests_active", "Requests in flight.", &["protocol"]);
        let http_tunnels_active = set.gauges(
            "http_tunnels_active",
            "Tunnels open now, such as WebSocket.",
            &["protocol"],
        );
        let cut = Cut::register(&mut set);
        let certificates = tls::Certificates::register(&mut set);
        let certificate_reloads = Reloads::register(
            &mut set,
            "weir_certificate_reloads_total",
            "Reloads of certificates; result is ok or failed.",
        );
        let reloads = Reloads::register(
            &mut set,
            "weir_config_reloads_total",
            "Reloads of the configuration; result is ok or failed.",
        );
        let backend = BackendMetrics::register(&mut set);
        let plugin = PluginMetrics::register(&mut set, &events);
        let lines = set.counters(
            "weir_log_lines_dropped_total",
            "Lines dropped: the reader of the stream was too slow, or its file failed; stream is access or log.",
            &["stream"],
        );
        let spans_dropped = set.counter(
            "weir_trace_spans_dropped_total",
            "Spans not delivered: the queue was full, or the collector was absent, slow or refused them.",
        );
        let spans_exported =
            set.counter("weir_trace_spans_exported_total", "Spans that the collector accepted.");
        set.gauges("weir_build_info", "Always 1; the label tells the version.", &["version"])
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let process = Process::register(&mut set);
        Self {
            registry: set.registry,
            listed: set.listed,
            process,
            events,
            quic,
            cut,
            routes: RouteMetrics::new(&http_requests, &http_request_duration, &grpc_requests),
            certificate_reloads,
            reloads,
            certificates,
            http_requests,
            grpc_requests,
            http_request_duration,
            http_requests_active,
            http_tunnels_active,
            access_dropped: lines.with_label_values(&["access"]),
            log_dropped: lines.with_label_values(&["log"]),
            spans_dropped,
            spans_exported,
            backend,
            plugin,
        }
    }

    /// Returns the handles of an upstream.
    pub fn upstream(&self, name: &str) -> UpstreamCounters {
        UpstreamCounters::new(&self.backend, name)
    }

    /// Returns the guard of a route's series.
    pub fn route(&self, name: &str) -> Arc<RouteSeries> {
        self.routes.series(name)
    }

    /// Returns the handles of a plugin.
    pub fn plugin(&self, name: &str) -> PluginCounters {
        self.plugin.plugin(name)
    }

    /// Replaces the certificates of a listener: their days, and the series of those that are gone.
    pub fn certificates(&self, listener: &str, certificates: &[CertificateStatus]) {
        self.certificates.set(listener, certificates);
    }

    /// Returns all metrics in Prometheus' text format 0.0.4. Reads the process metrics and the days
    /// of certificates first.
    pub fn encode(&self) -> String {
        self.process.read();
        self.certificates.read(SystemTime::now());
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(error = &error as &dyn std::error::Error, "encode metrics");
        }
        self.plugin.scraped();
        text
    }

    /// Returns the registered metrics in the order of docs/metrics.md.
    pub fn listed(&self) -> &[Listed] {
        &self.listed
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl QuicCounters {
    /// Counts a send of `length` bytes in datagrams of `stride` bytes.
    pub fn sent(&self, length: usize, stride: usize) {
        self.bytes_sent.inc_by(length as u64);
        self.datagrams_sent.inc_by(length.div_ceil(stride.max(1)) as u64);
    }

    /// Counts a receipt of `length` bytes in datagrams of `stride` bytes.
    pub fn received(&self, length: usize, stride: usize) {
        self.bytes_received.inc_by(length as u64);
        self.datagrams_received.inc_by(length.div_ceil(stride.max(1)) as u64);
    }

    fn register(set: &mut Set) -> Self {
        let connections_total = set
            .counter("quic_connections_total", "QUIC connections whose handshake was completed.");
        let connections_active = set.gauge("quic_connections_active", "QUIC connections open now.");
        let handshakes = set.counters(
            "quic_handshakes_total",
            "Handshakes that ended; result is ok or failed.",
            &["result"],
        );
        Self {
            connections_total,
            connections_active,
            handshakes_ok: handshakes.with_label_values(&["ok"]),
            handshakes_failed: handshakes.with_label_values(&["failed"]),
            handshake_duration: set.histogram(
                "quic_handshake_duration_seconds",
                "Time from a connection's first packet to the end of its handshake.",
                REQUEST_SECONDS,
            ),
            bytes_sent: set.counter("quic_bytes_sent_total", "UDP payload sent, bytes."),
            bytes_received: set
                .counter("quic_bytes_received_total", "UDP payload received, bytes."),
            datagrams_sent: set.counter("quic_datagrams_sent_total", "UDP datagrams sent."),
            datagrams_received: set
                .counter("quic_datagrams_received_total", "UDP datagrams received."),
            packets_lost: set.counter(
                "quic_packets_lost_total",
                "QUIC packets declared lost, added when their connection ends.",
            ),
            rtt: set.histogram(
                "quic_rtt_seconds",
                "Smoothed round-trip time of a connection's last path, observed when it ends.",
                REQUEST_SECONDS,
            ),
        }
    }
}

/// Upper bounds for requests and round trips: from a cached answer on one machine to a slow
/// download.
const REQUEST_SECONDS: &[f64] =
    &[0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
