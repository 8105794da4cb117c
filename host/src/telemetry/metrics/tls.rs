//! Metrics of certificates.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use prometheus::{GaugeVec, IntCounter};

use super::Set;
use crate::tls::CertificateStatus;

/// The counters of reloads, of certificates or of configurations. Clones share them.
#[derive(Debug, Clone)]
pub struct Reloads {
    /// Reloads after which the new ones are in use.
    pub ok: IntCounter,
    /// Reloads that failed. The old ones stay in use.
    pub failed: IntCounter,
}

/// The certificates in use, with the days that they have left.
#[derive(Debug)]
pub(super) struct Certificates {
    days_left: GaugeVec,
    /// The ends of certificates in Unix time, by listener and certificate.
    ends: Mutex<BTreeMap<String, Ends>>,
}

type Ends = BTreeMap<String, i64>;

impl Reloads {
    pub(super) fn register(set: &mut Set, name: &'static str, help: &'static str) -> Self {
        let counters = set.counters(name, help, &["result"]);
        Self {
            ok: counters.with_label_values(&["ok"]),
            failed: counters.with_label_values(&["failed"]),
        }
    }
}

impl Certificates {
    pub(super) fn register(set: &mut Set) -> Self {
        let days_left = set.float_gauges(
            "weir_certificate_days_left",
            "Days until a certificate expires; negative after that.",
            &["listener", "certificate"],
        );
        Self { days_left, ends: Mutex::default() }
    }

    /// Replaces the certificates of a listener.
    pub(super) fn set(&self, listener: &str, certificates: &[CertificateStatus]) {
        let new: Ends =
            certificates.iter().map(|one| (one.label().to_owned(), one.not_after)).collect();
        let mut ends = self.ends();
        let old = ends.insert(listener.to_owned(), new);
        for gone in old.unwrap_or_default().into_keys() {
            // A series that nobody has read yet does not exist.
            let _ = self.days_left.remove_label_values(&[listener, &gone]);
        }
        ends.retain(|_, certificates| !certificates.is_empty());
    }

    /// Computes the days as of `now`.
    pub(super) fn read(&self, now: SystemTime) {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        for (listener, certificates) in &*self.ends() {
            for (certificate, end) in certificates {
                let days = (*end as f64 - now) / SECONDS_PER_DAY;
                self.days_left.with_label_values(&[listener, certificate]).set(days);
            }
        }
    }

    fn ends(&self) -> MutexGuard<'_, BTreeMap<String, Ends>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SECONDS_PER_DAY: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::certificate;
    use super::*;

    fn samples(certificates: &Certificates) -> Vec<(String, f64)> {
        use prometheus::core::Collector as _;
        let families = certificates.days_left.collect();
        let metrics = families.iter().flat_map(prometheus::proto::MetricFamily::get_metric);
        metrics
            .map(|metric| {
                let labels: Vec<_> =
                    metric.get_label().iter().map(prometheus::proto::LabelPair::value).collect();
                (labels.join(" "), metric.get_gauge().get_value())
            })
            .collect()
    }

    #[test]
    fn days_are_those_of_the_scrape() {
        let certificates = Certificates::register(&mut Set::default());
        certificates.set("web", &[certificate(Some("a.crt"), 10 * 86_400)]);
        let at = |seconds| {
            certificates.read(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            samples(&certificates)[0].1
        };
        assert_eq!([at(0), at(9 * 86_400 + 43_200), at(12 * 86_400)], [10.0, 0.5, -2.0]);
    }

    #[test]
    fn a_listener_replaces_its_own_certificates_only() {
        let certificates = Certificates::register(&mut Set::default());
        let names = || {
            certificates.read(SystemTime::UNIX_EPOCH);
            let mut names: Vec<_> = samples(&certificates).into_iter().map(|one| one.0).collect();
            names.sort();
            names
        };
        certificates.set("web", &[certificate(Some("a"), 1), certificate(Some("b"), 1)]);
        certificates.set("api", &[certificate(Some("a"), 1)]);
        assert_eq!(names(), ["a api", "a web", "b web"]);
        certificates.set("web", &[certificate(Some("b"), 1), certificate(None, 1)]);
        assert_eq!(names(), ["a api", "b web", "self_signed web"]);
        certificates.set("web", &[]);
        assert_eq!(names(), ["a api"]);
        assert_eq!(certificates.ends().len(), 1);
    }
}
