//! The request metrics as one worker uses them. It looks handles up by pointers and small numbers,
//! not by strings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use prometheus::{Histogram, IntCounter, IntGauge};

use super::{Metrics, NO_ROUTE, RouteSeries};
use crate::message::grpc::GrpcStatus;
use crate::message::peer::Protocol;

/// The request metrics of one worker. They stay on its thread.
#[derive(Debug)]
pub struct Local {
    metrics: Arc<Metrics>,
    active: [IntGauge; 3],
    unmatched: RouteCounters,
    /// Routes by the address of the series. A [`RouteCounters`] owns its series, so no others can
    /// get that address.
    routes: RefCell<HashMap<usize, Rc<RouteCounters>>>,
}

/// The handles of one route.
#[derive(Debug)]
pub(crate) struct RouteCounters {
    series: Arc<RouteSeries>,
    durations: [Histogram; 3],
    requests: RefCell<HashMap<(MethodLabel, u16, Protocol), IntCounter>>,
}

/// An open tunnel.
#[derive(Debug)]
pub(crate) struct OpenTunnel(IntGauge);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The `method` label. Its set is closed, because a client may send any token as a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MethodLabel(&'static str);

impl Local {
    /// Creates the request metrics of one worker.
    pub fn new(metrics: &Arc<Metrics>) -> Self {
        Self {
            active: PROTOCOLS.map(|p| metrics.http_requests_active.with_label_values(&[p.label()])),
            unmatched: RouteCounters::new(metrics, &metrics.route(NO_ROUTE)),
            routes: RefCell::default(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Returns all metrics.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    pub(crate) fn active(&self, protocol: Protocol) -> &IntGauge {
        by_protocol(&self.active, protocol)
    }

    /// Counts a tunnel of this protocol until the guard is dropped.
    pub(crate) fn tunnel(&self, protocol: Protocol) -> OpenTunnel {
        let gauge = self.metrics.http_tunnels_active.with_label_values(&[protocol.label()]);
        gauge.inc();
        OpenTunnel(gauge)
    }

    pub(crate) fn unmatched(&self) -> &RouteCounters {
        &self.unmatched
    }

    pub(crate) fn route(&self, series: &Arc<RouteSeries>) -> Rc<RouteCounters> {
        let key = Arc::as_ptr(series).addr();
        let mut routes = self.routes.borrow_mut();
        let counters = || Rc::new(RouteCounters::new(&self.metrics, series));
        Rc::clone(routes.entry(key).or_insert_with(counters))
    }

    /// Lets go of the routes of a former configuration.
    pub(crate) fn forget_routes(&self) {
        self.routes.borrow_mut().clear();
    }

    /// Counts a call of gRPC that ended.
    pub(crate) fn called(&self, route: &RouteCounters, status: GrpcStatus) {
        let labels: &[&str] = &[route.name(), &status.code().to_string()];
        self.metrics.grpc_requests.with_label_values(labels).inc();
    }

    /// Counts a request that ended.
    pub(crate) fn ended(
        &self,
        route: &RouteCounters,
        (method, status, protocol): (MethodLabel, u16, Protocol),
        duration: Duration,
    ) {
        by_protocol(&route.durations, protocol).observe(duration.as_secs_f64());
        let mut requests = route.requests.borrow_mut();
        let counter = requests.entry((method, status, protocol)).or_insert_with(|| {
            route.series.note((method, status, protocol));
            let labels = &[method.0, &status.to_string(), protocol.label(), route.name()];
            self.metrics.http_requests.with_label_values(labels)
        });
        counter.inc();
    }
}

impl RouteCounters {
    /// Returns the value of the `route` label.
    pub(crate) fn name(&self) -> &Arc<str> {
        self.series.name()
    }

    fn new(metrics: &Metrics, series: &Arc<RouteSeries>) -> Self {
        Self {
            series: Arc::clone(series),
            durations: PROTOCOLS.map(|protocol| {
                let labels: &[&str] = &[protocol.label(), series.name()];
                metrics.http_request_duration.with_label_values(labels)
            }),
            requests: RefCell::default(),
        }
    }
}

impl MethodLabel {
    /// Returns the label of a method. A method outside RFC 9110 and RFC 5789 is `other`.
    pub fn of(method: &Method) -> Self {
        Self(match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            Method::CONNECT => "CONNECT",
            Method::OPTIONS => "OPTIONS",
            Method::TRACE => "TRACE",
            Method::PATCH => "PATCH",
            _ => "other",
        })
    }

    /// Returns the value of the label.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

fn by_protocol<T>([h1, h2, h3]: &[T; 3], protocol: Protocol) -> &T {
    match protocol {
        Protocol::H1 => h1,
        Protocol::H2 => h2,
        Protocol::H3 => h3,
    }
}

/// The protocols in the order of [`by_protocol`].
pub(super) const PROTOCOLS: [Protocol; 3] = [Protocol::H1, Protocol::H2, Protocol::H3];
