//! Active health checks: one probe loop per endpoint, on the control thread.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rand::RngExt as _;
use tokio::net::TcpStream;

use super::{Endpoint, Upstream};
use crate::config::Health;
use crate::task::Tasks;

/// Starts the probes of an upstream, if it has `health`. The probes end with the drain.
pub fn start(upstream: &Arc<Upstream>, tasks: &Tasks) {
    let Some(health) = &upstream.health else { return };
    let health = Rc::new(health.clone());
    for endpoint in &upstream.endpoints {
        let (upstream, endpoint) = (Arc::clone(upstream), Arc::clone(endpoint));
        let (health, owner) = (Rc::clone(&health), tasks.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = owner.draining() => {}
                () = watch(&upstream, &endpoint, &health, &owner) => {}
            }
        });
    }
}

async fn watch(upstream: &Upstream, endpoint: &Endpoint, health: &Health, tasks: &Tasks) {
    let mut streak = ProbeStreak::new(endpoint.is_healthy());
    // The first probe comes at once, except for a small random delay: many endpoints are then not
    // probed in one instant.
    tokio::time::sleep(jitter(health.interval.min(Duration::from_secs(1)) / 10)).await;
    loop {
        let outcome = tokio::time::timeout(health.timeout, probe(endpoint, health, tasks))
            .await
            .unwrap_or(Err(ProbeError::Timeout));
        if let Some(healthy) = streak.add(outcome.is_ok(), health) {
            upstream.set_healthy(endpoint, healthy);
            let (name, upstream) = (&*endpoint.name, &*upstream.name);
            match outcome {
                Ok(()) => tracing::info!(upstream, endpoint = name, "endpoint is healthy again"),
                Err(error) => tracing::warn!(
                    upstream,
                    endpoint = name,
                    error = &error as &dyn std::error::Error,
                    "endpoint is unhealthy: it gets no new requests"
                ),
            }
        }
        tokio::time::sleep(jitter(health.interval)).await;
    }
}

/// Counts consecutive results that contradict the present state.
struct ProbeStreak {
    healthy: bool,
    against: u32,
}

impl ProbeStreak {
    fn new(healthy: bool) -> Self {
        Self { healthy, against: 0 }
    }

    /// Adds a result. Returns the new state if this result changes it.
    fn add(&mut self, success: bool, health: &Health) -> Option<bool> {
        if success == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if success { health.healthy_after } else { health.unhealthy_after };
        (self.against >= needed).then(|| {
            self.healthy = success;
            self.against = 0;
            success
        })
    }
}

/// The reason why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("connect")]
    Connect(#[from] std::io::Error),
    #[error("exchange")]
    Exchange(#[from] hyper::Error),
    #[error("build request")]
    Request(#[from] http::Error),
    #[error("status {0} is not expected")]
    Status(u16),
    #[error("no answer in time")]
    Timeout,
}

async fn probe(endpoint: &Endpoint, health: &Health, tasks: &Tasks) -> Result<(), ProbeError> {
    let stream = TcpStream::connect(endpoint.address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tasks.spawn(async move {
        // An error of the connection is also an error of the probe, which reports it.
        let _ = connection.await;
    });
    let request = Request::get(health.path.parse::<Uri>().map_err(http::Error::from)?)
        .header(http::header::HOST, health.host.as_deref().unwrap_or(&endpoint.name))
        .header(http::header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION"), " health"))
        .header(http::header::CONNECTION, "close")
        .body(Empty::<bytes::Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    // The timeout of the probe bounds this loop, and nothing is kept.
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let expected = health.expect.iter().any(|(low, high)| (*low..=*high).contains(&status));
    if expected { Ok(()) } else { Err(ProbeError::Status(status)) }
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
            path: "/".into(),
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
        let (mut streak, health) = (ProbeStreak::new(true), health());
        let results = [false, false, true, false, false, false, true, false, true, true];
        let changes: Vec<_> = results.iter().map(|r| streak.add(*r, &health)).collect();
        let none = None;
        assert_eq!(
            changes,
            [none, none, none, none, none, Some(false), none, none, none, Some(true)]
        );
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..1000 {
            let waited = jitter(Duration::from_secs(10)).as_secs_f64();
            assert!((9.0..=11.0).contains(&waited), "{waited}");
        }
    }
}
