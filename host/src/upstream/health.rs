//! Active health checks: one probe loop for each endpoint, on the control thread.

mod probe;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rand::RngExt as _;
use tokio::time::Instant;

use super::{Endpoint, Upstream};
use crate::config::Health;
use crate::task::Tasks;
use probe::{ProbeError, probe};

/// Starts the probes of an upstream, if it has `health`. The probes of an endpoint begin and end
/// with its place in the upstream, and all end with the drain.
pub fn start(upstream: &Arc<Upstream>, tasks: &Tasks) {
    if upstream.health.is_none() {
        // Without probes, nothing else would end an earlier verdict.
        for member in upstream.members().iter() {
            *member.endpoint.probes() = ProbeState::default();
            upstream.set_healthy(&member.endpoint, true);
        }
        return;
    }
    let (upstream, owner) = (Arc::clone(upstream), tasks.clone());
    tasks.spawn(async move {
        tokio::select! {
            // A probe that ends after the drain belongs to the next configuration.
            biased;
            () = owner.draining() => {}
            () = follow(&upstream, &owner) => {}
        }
    });
}

/// Probes the endpoints that the upstream has, now and later.
async fn follow(upstream: &Upstream, tasks: &Tasks) {
    let Some(health) = &upstream.health else { return };
    let (mut probed, mut running) = (Vec::<Arc<Endpoint>>::new(), FuturesUnordered::new());
    loop {
        let mut changed = pin!(upstream.changed());
        for member in upstream.members().iter() {
            let endpoint = &member.endpoint;
            // An endpoint that left and came back may still have its loop.
            if !probed.iter().any(|known| Arc::ptr_eq(known, endpoint)) {
                probed.push(Arc::clone(endpoint));
                running.push(watch(upstream, Arc::clone(endpoint), health, tasks));
            }
        }
        loop {
            tokio::select! {
                () = &mut changed => break,
                Some(left) = running.next(), if !running.is_empty() => {
                    probed.retain(|known| !Arc::ptr_eq(known, &left));
                }
            }
        }
    }
}

/// Probes an endpoint until it leaves the upstream, and returns it.
async fn watch(
    upstream: &Upstream,
    endpoint: Arc<Endpoint>,
    health: &Health,
    tasks: &Tasks,
) -> Arc<Endpoint> {
    let is_member = |endpoint: &Arc<Endpoint>| {
        upstream.members().iter().any(|member| Arc::ptr_eq(&member.endpoint, endpoint))
    };
    let due = endpoint.probes().due(health.interval);
    tokio::time::sleep_until(due).await;
    while is_member(&endpoint) {
        let outcome =
            tokio::time::timeout(health.timeout, probe(upstream, &endpoint, health, tasks))
                .await
                .unwrap_or(Err(ProbeError::Timeout));
        if !is_member(&endpoint) {
            break;
        }
        let next = Instant::now() + jitter(health.interval);
        let changed = endpoint.probes().add(outcome.is_ok(), endpoint.is_healthy(), health, next);
        if let Some(healthy) = changed {
            upstream.set_healthy(&endpoint, healthy);
            tell(upstream, &endpoint, outcome);
        }
        tokio::time::sleep_until(next).await;
    }
    endpoint
}

/// Logs that an endpoint's health has changed.
fn tell(upstream: &Upstream, endpoint: &Endpoint, outcome: Result<(), ProbeError>) {
    let (endpoint, upstream) = (&*endpoint.name, &*upstream.name);
    match outcome {
        Ok(()) => tracing::info!(upstream, endpoint, "endpoint is healthy again"),
        Err(error) => tracing::warn!(
            upstream,
            endpoint,
            error = &error as &dyn std::error::Error,
            "endpoint is unhealthy: it gets no new requests"
        ),
    }
}

/// The history of an endpoint's probes. A reload of the configuration keeps it.
#[derive(Debug, Default)]
pub(super) struct ProbeState {
    /// Consecutive results that contradict the present health.
    against: u32,
    /// The time of the next probe.
    due: Option<Instant>,
}

impl ProbeState {
    /// Returns the time of the next probe. The first one comes at once, except for a small random
    /// delay: many endpoints are then not probed in one instant.
    fn due(&self, interval: Duration) -> Instant {
        let latest = Instant::now() + interval;
        let first = || Instant::now() + jitter(interval.min(Duration::from_secs(1)) / 10);
        self.due.map_or_else(first, |due| due.min(latest))
    }

    /// Adds a result, and the time of the next probe. Returns the new health if this result changes
    /// it.
    fn add(
        &mut self,
        success: bool,
        healthy: bool,
        health: &Health,
        next: Instant,
    ) -> Option<bool> {
        self.due = Some(next);
        if success == healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if success { health.healthy_after } else { health.unhealthy_after };
        (self.against >= needed).then(|| {
            self.against = 0;
            success
        })
    }
}

/// Returns `interval` ± 10 %, so that the probes of many endpoints and nodes do not fall into step.
fn jitter(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(0.9..=1.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        Health {
            path: Some("/".into()),
            grpc: None,
            host: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(1),
            expect: vec![(200, 299)],
            healthy_after: 2,
            unhealthy_after: 3,
        }
    }

    #[test]
    fn only_results_in_a_row_change_the_state() {
        let (mut probes, mut healthy) = (ProbeState::default(), true);
        let results = [false, false, true, false, false, false, true, false, true, true];
        let mut add = |success: &bool| {
            let change = probes.add(*success, healthy, &health(), Instant::now());
            healthy = change.unwrap_or(healthy);
            change
        };
        let changes: Vec<_> = results.iter().map(&mut add).collect();
        let none = None;
        assert_eq!(
            changes,
            [none, none, none, none, none, Some(false), none, none, none, Some(true)]
        );
    }

    #[test]
    fn a_probe_is_due_when_the_one_before_said_and_never_later_than_the_interval() {
        let (mut probes, interval) = (ProbeState::default(), Duration::from_secs(5));
        assert!(probes.due(interval) < Instant::now() + interval / 10);
        let next = Instant::now() + Duration::from_secs(3);
        probes.add(true, true, &health(), next);
        assert_eq!(probes.due(interval), next);
        assert!(probes.due(Duration::from_secs(1)) < next);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..1000 {
            let waited = jitter(Duration::from_secs(10)).as_secs_f64();
            assert!((9.0..=11.0).contains(&waited), "{waited}");
        }
    }
}
