//! Helpers of the integration tests: the real binary with a configuration, clients of all three
//! protocols, origins that behave and misbehave, bytes that no library would send, and programs of
//! other projects.
//!
//! Every wait is bounded by [`within`]. A test waits for events; it waits for time to pass only if
//! there is no event.

pub(crate) mod api;
pub(crate) mod body;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod fields;
mod h3_origin;
pub(crate) mod mmdb;
pub(crate) mod origin;
pub(crate) mod processes;
pub(crate) mod raw_h1;
pub(crate) mod raw_h2;
pub(crate) mod raw_h2_origin;
pub(crate) mod raw_h3;
pub(crate) mod raw_h3_origin;
pub(crate) mod raw_origin;
pub(crate) mod raw_quic;
pub(crate) mod registry;
pub(crate) mod tls;
pub(crate) mod tools;
pub(crate) mod weir;

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

pub(crate) use api::Api;
pub(crate) use body::Body;
pub(crate) use client::{Answer, Client, Protocol};
pub(crate) use origin::{Origin, Speaks};
pub(crate) use raw_origin::RawOrigin;
pub(crate) use weir::{Setup, Weir};

/// The longest time of anything on loopback on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Awaits `future`, and fails the test if it takes longer than [`PATIENCE`].
pub(crate) async fn within<F: Future>(what: impl Display, future: F) -> F::Output {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: nothing within {PATIENCE:?}"),
    }
}

/// Calls `look` again and again until it returns a value.
pub(crate) async fn until<T>(what: impl Display, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Runs a future beside the test, on its runtime.
#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
pub(crate) fn spawn<F>(future: F) -> tokio::task::JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future)
}
