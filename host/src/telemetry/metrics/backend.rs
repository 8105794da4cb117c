//! The metrics of upstreams and their endpoints.

use std::sync::Arc;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::REQUEST_SECONDS;
use super::set::Set;
use super::users::Users;

/// The metrics of all endpoints. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct BackendMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    health: IntGaugeVec,
    requests: IntCounterVec,
    duration: HistogramVec,
    errors: IntCounterVec,
    users: Users<Labels, &'static str>,
}

/// Upstream and endpoint.
type Labels = (Arc<str>, Arc<str>);

/// The metrics of one upstream. Clones share them.
#[derive(Debug, Clone)]
pub struct UpstreamCounters {
    metrics: BackendMetrics,
    name: Arc<str>,
}

/// The counters of one endpoint. The series end with the last counters of their labels.
#[derive(Debug)]
pub struct EndpointCounters {
    /// `backend_health_status`: 1 for a healthy endpoint, else 0.
    pub health: IntGauge,
    /// Attempts, successful or not.
    pub requests: IntCounter,
    /// Time from the start of an attempt to the head of its response.
    pub duration: Histogram,
    metrics: BackendMetrics,
    labels: Labels,
}

impl BackendMetrics {
    pub(super) fn register(set: &mut Set) -> Self {
        Self(Arc::new(Families {
            health: set.gauges(
                "backend_health_status",
                "1: the endpoint gets requests; 0: it is unhealthy.",
                &["upstream", "endpoint"],
            ),
            requests: set.counters(
                "backend_requests_total",
                "Attempts sent to an endpoint, successful or not.",
                &["upstream", "endpoint"],
            ),
            duration: set.histograms(
                "backend_request_duration_seconds",
                "Time from the start of an attempt to the head of its response.",
                &["upstream", "endpoint"],
                REQUEST_SECONDS,
            ),
            errors: set.counters(
                "backend_errors_total",
                "Attempts that failed, by kind.",
                &["upstream", "endpoint", "kind"],
            ),
            users: Users::default(),
        }))
    }
}

impl UpstreamCounters {
    pub(super) fn new(metrics: &BackendMetrics, name: &str) -> Self {
        Self { metrics: metrics.clone(), name: name.into() }
    }

    /// Returns the handles of an endpoint. Its health starts at 1, because an endpoint starts
    /// healthy.
    pub fn endpoint(&self, endpoint: &str) -> EndpointCounters {
        let labels: Labels = (Arc::clone(&self.name), endpoint.into());
        let families = &*self.metrics.0;
        let (health, requests, duration) = families.users.enter(labels.clone(), |is_first| {
            let labels: &[&str] = &[&labels.0, &labels.1];
            let health = families.health.with_label_values(labels);
            // Another endpoint of the name may be unhealthy.
            if is_first {
                health.set(1);
            }
            let requests = families.requests.with_label_values(labels);
            (health, requests, families.duration.with_label_values(labels))
        });
        EndpointCounters { health, requests, duration, metrics: self.metrics.clone(), labels }
    }
}

impl EndpointCounters {
    /// Counts a failed attempt. `kind` becomes a label, so its set is closed.
    pub fn error(&self, kind: &'static str) {
        let families = &*self.metrics.0;
        families.users.note(&self.labels, kind);
        let (upstream, endpoint) = &self.labels;
        families.errors.with_label_values(&[&**upstream, endpoint, kind]).inc();
    }
}

impl Drop for EndpointCounters {
    fn drop(&mut self) {
        let families = &*self.metrics.0;
        families.users.leave(&self.labels, |kinds| {
            let labels: &[&str] = &[&self.labels.0, &self.labels.1];
            // A removal fails only if the series does not exist.
            let _ = families.health.remove_label_values(labels);
            let _ = families.requests.remove_label_values(labels);
            let _ = families.duration.remove_label_values(labels);
            for kind in kinds {
                let labels: &[&str] = &[&self.labels.0, &self.labels.1, kind];
                let _ = families.errors.remove_label_values(labels);
            }
        });
    }
}
