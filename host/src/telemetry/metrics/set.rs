//! Registration of metrics: one step creates, registers and lists a metric.

use std::time::SystemTime;

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

/// One row of docs/metrics.md.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The name.
    pub name: &'static str,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// Label names.
    pub labels: &'static [&'static str],
    /// The meaning.
    pub help: &'static str,
}

/// Registers metrics and lists them. The list is separate, because a scrape omits vectors without a
/// child.
#[derive(Default)]
pub(crate) struct Set {
    pub(crate) registry: Registry,
    pub(crate) listed: Vec<Listed>,
}

impl Set {
    pub(crate) fn counter(&mut self, name: &'static str, help: &'static str) -> IntCounter {
        self.add("counter", name, help, &[], IntCounter::with_opts(Opts::new(name, help)))
    }

    pub(crate) fn float_counter(
        &mut self,
        name: &'static str,
        help: &'static str,
    ) -> prometheus::Counter {
        self.add("counter", name, help, &[], prometheus::Counter::with_opts(Opts::new(name, help)))
    }

    pub(crate) fn gauge(&mut self, name: &'static str, help: &'static str) -> IntGauge {
        self.add("gauge", name, help, &[], IntGauge::with_opts(Opts::new(name, help)))
    }

    pub(crate) fn time(&mut self, name: &'static str, help: &'static str, time: SystemTime) {
        let gauge = self.add("gauge", name, help, &[], Gauge::with_opts(Opts::new(name, help)));
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        gauge.set(since_epoch.as_secs_f64());
    }

    pub(crate) fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        buckets: &[f64],
    ) -> Histogram {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add("histogram", name, help, &[], Histogram::with_opts(opts))
    }

    pub(crate) fn counters(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
    ) -> IntCounterVec {
        let metric = IntCounterVec::new(Opts::new(name, help), labels);
        self.add("counter", name, help, labels, metric)
    }

    pub(crate) fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
    ) -> IntGaugeVec {
        let metric = IntGaugeVec::new(Opts::new(name, help), labels);
        self.add("gauge", name, help, labels, metric)
    }

    pub(crate) fn float_gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
    ) -> GaugeVec {
        let metric = GaugeVec::new(Opts::new(name, help), labels);
        self.add("gauge", name, help, labels, metric)
    }

    pub(crate) fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        buckets: &[f64],
    ) -> HistogramVec {
        let opts = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add("histogram", name, help, labels, HistogramVec::new(opts, labels))
    }

    #[allow(
        clippy::expect_used,
        reason = "names, labels and buckets are constants of this module, and every test that makes Metrics registers them all"
    )]
    fn add<M: Collector + Clone + 'static>(
        &mut self,
        kind: &'static str,
        name: &'static str,
        help: &'static str,
        labels: Labels,
        metric: prometheus::Result<M>,
    ) -> M {
        let metric = metric.expect("names, labels and buckets are valid");
        self.registry.register(Box::new(metric.clone())).expect("names are unique");
        self.listed.push(Listed { name, kind, labels, help });
        metric
    }
}

type Labels = &'static [&'static str];
