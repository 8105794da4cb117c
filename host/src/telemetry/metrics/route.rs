//! The guard of a route's series: they end with the route.

use std::sync::Arc;

use prometheus::{HistogramVec, IntCounterVec};

use super::local::{MethodLabel, PROTOCOLS};
use super::users::Users;
use crate::message::grpc;
use crate::message::peer::Protocol;

/// The metrics that have the label `route`. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct RouteMetrics(Arc<Families>);

#[derive(Debug)]
struct Families {
    requests: IntCounterVec,
    durations: HistogramVec,
    grpc: IntCounterVec,
    users: Users<Arc<str>, Labels>,
}

/// The labels of a counter of requests, beside its route.
pub(super) type Labels = (MethodLabel, u16, Protocol);

/// Keeps the series of a route. They end with the last guard of their name.
#[derive(Debug)]
pub struct RouteSeries {
    metrics: RouteMetrics,
    name: Arc<str>,
}

impl RouteMetrics {
    pub(super) fn new(
        requests: &IntCounterVec,
        durations: &HistogramVec,
        grpc: &IntCounterVec,
    ) -> Self {
        let (requests, durations, grpc) = (requests.clone(), durations.clone(), grpc.clone());
        Self(Arc::new(Families { requests, durations, grpc, users: Users::default() }))
    }

    pub(super) fn series(&self, name: &str) -> Arc<RouteSeries> {
        let name: Arc<str> = name.into();
        self.0.users.enter(Arc::clone(&name), |_| ());
        Arc::new(RouteSeries { metrics: self.clone(), name })
    }
}

impl RouteSeries {
    /// Returns the value of the `route` label.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Notes that a counter of requests with these labels exists.
    pub(super) fn note(&self, labels: Labels) {
        self.metrics.0.users.note(&self.name, labels);
    }
}

impl Drop for RouteSeries {
    fn drop(&mut self) {
        let Families { requests, durations, grpc: grpc_calls, users } = &*self.metrics.0;
        users.leave(&self.name, |labels| {
            // A removal fails only if the series does not exist.
            for (method, status, protocol) in labels {
                let labels = &[method.as_str(), &status.to_string(), protocol.label(), &self.name];
                let _ = requests.remove_label_values(labels);
            }
            for protocol in PROTOCOLS {
                let labels: &[&str] = &[protocol.label(), &self.name];
                let _ = durations.remove_label_values(labels);
            }
            for code in (0..=grpc::MOST).map(|code| code.to_string()) {
                let _ = grpc_calls.remove_label_values(&[&self.name, code.as_str()]);
            }
        });
    }
}
