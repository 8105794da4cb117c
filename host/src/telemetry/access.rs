//! Access records: one line per request, as JSON or text.
//!
//! docs/access-log.md describes the fields, and a test compares them. The client chooses many of
//! the values. [`Line`] escapes them, so a client can end neither a line nor a value.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::config::LogFormat;
use crate::message::grpc::GrpcStatus;
use crate::message::peer::RequestId;
use crate::telemetry::clock::Timestamp;
use crate::telemetry::line::Line;
use crate::telemetry::record::Noted;
use crate::telemetry::switches::Switches;
use crate::telemetry::writer::Writer;

/// The output of access records.
#[derive(Debug)]
pub(crate) struct AccessLog {
    writer: Writer,
    switches: Arc<Switches>,
}

/// The values of one access record.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) time: SystemTime,
    pub(crate) request_id: RequestId,
    pub(crate) client: SocketAddr,
    pub(crate) protocol: &'static str,
    pub(crate) method: &'a str,
    pub(crate) scheme: &'static str,
    pub(crate) host: &'a [u8],
    pub(crate) path: &'a str,
    pub(crate) route: Option<&'a str>,
    pub(crate) upstream: Option<&'a str>,
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) attempts: u32,
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<GrpcStatus>,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) duration: Duration,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) error: Option<(&'static str, &'static str)>,
    pub(crate) is_aborted: bool,
    pub(crate) trace_id: Option<&'a str>,
    pub(crate) user_agent: Option<&'a [u8]>,
    /// The filters that failed and were passed over.
    pub(crate) skipped: &'a [Arc<str>],
    /// Attributes of plugins.
    pub(crate) attributes: &'a [Noted],
}

impl AccessLog {
    pub(crate) fn new(writer: Writer, switches: Arc<Switches>) -> Self {
        Self { writer, switches }
    }

    /// Whether records are wanted now.
    pub(crate) fn is_on(&self) -> bool {
        self.switches.has_access()
    }

    /// Writes one record. Never blocks.
    pub(crate) fn write(&self, entry: &Entry<'_>) {
        self.writer.line(&entry.line(self.switches.format()));
    }
}

impl Entry<'_> {
    fn line(&self, format: LogFormat) -> Vec<u8> {
        let mut line = Line::new(format);
        line.shown("time", Timestamp(self.time));
        line.shown("request_id", self.request_id);
        line.shown("client", self.client);
        line.text("protocol", Some(self.protocol.as_bytes()));
        line.text("method", Some(self.method.as_bytes()));
        line.text("scheme", Some(self.scheme.as_bytes()));
        line.text("host", Some(self.host));
        line.text("path", Some(self.path.as_bytes()));
        line.text("route", self.route.map(str::as_bytes));
        line.text("upstream", self.upstream.map(str::as_bytes));
        line.text("endpoint", self.endpoint.map(str::as_bytes));
        line.number("attempts", u64::from(self.attempts));
        line.number("status", u64::from(self.status));
        match self.grpc_status {
            Some(status) => line.number("grpc_status", u64::from(status.code())),
            None => line.nothing("grpc_status"),
        }
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
        line.millis("duration_ms", Some(self.duration));
        line.millis("first_byte_ms", self.first_byte);
        match self.error {
            Some((side, kind)) => line.shown("error", format_args!("{side}/{kind}")),
            None => line.nothing("error"),
        }
        line.claim("aborted", self.is_aborted);
        line.text("trace_id", self.trace_id.map(str::as_bytes));
        line.text("user_agent", self.user_agent);
        line.list("skipped", self.skipped);
        line.notes("attributes", self.attributes);
        line.finish()
    }
}

#[cfg(test)]
mod tests;
