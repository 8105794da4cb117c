//! [`Attempt`]: one request at one endpoint, from the pick to the head of the response.

use std::sync::Arc;
use std::time::Instant;

use super::{Endpoint, InFlight, Reach};
use crate::telemetry::record::Record;
use crate::telemetry::trace::{ATTEMPT, Span};

/// One request at one endpoint. Every outcome is told in one place: to the metrics, the span and
/// the balancer. An attempt that is dropped was cancelled, which is no outcome of the endpoint's.
pub(super) struct Attempt<'a> {
    reach: &'a Reach,
    endpoint: &'a Endpoint,
    span: Option<Span>,
    started: Instant,
}

impl<'a> Attempt<'a> {
    /// Begins an attempt at an endpoint; the guard counts it as in flight.
    pub(super) fn start(
        reach: &'a Reach,
        endpoint: &'a Arc<Endpoint>,
        record: &Record,
    ) -> (Self, InFlight) {
        endpoint.metrics.requests.inc();
        let (span, started) = (record.span(ATTEMPT), Instant::now());
        (Self { reach, endpoint, span, started }, endpoint.enter())
    }

    /// The head of a response has come.
    pub(super) fn answered(self, status: u16) {
        let duration = self.started.elapsed();
        self.endpoint.metrics.duration.observe(duration.as_secs_f64());
        self.reach.ended(self.endpoint.id, status, duration);
        if let Some(mut span) = self.span {
            span.attribute("http.response.status_code", i64::from(status));
        }
    }

    /// No response has come; `kind` is the label of the failure.
    pub(super) fn failed(self, kind: &'static str) {
        self.endpoint.metrics.error(kind);
        self.reach.ended(self.endpoint.id, NO_STATUS, self.started.elapsed());
        if let Some(mut span) = self.span {
            span.error(kind, "");
        }
    }
}

/// The status that a balancer is told when no response came.
const NO_STATUS: u16 = 0;
