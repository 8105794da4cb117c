//! Tests the crate from the client's side: a server on loopback, and a client that writes any bytes
//! to QUIC streams.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails fails its test, at the place where it does"
)]
#![allow(unreachable_pub, missing_docs, reason = "a test has no users")]

mod client;
mod server;
mod wire;

mod connections;
mod datagrams;
mod drain;
mod exchanges;
mod floods;
mod messages;
mod priorities;
mod qpack;
mod requests;

use std::future::Future;
use std::time::Duration;

use tokio::task::LocalSet;

/// Runs a test, its server and its client on one thread. A test that waits too long fails.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bounded = async { tokio::time::timeout(PATIENCE, test).await };
    if runtime.block_on(LocalSet::new().run_until(bounded)).is_err() {
        panic!("nothing came within {PATIENCE:?}");
    }
}

/// The longest time of a test on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
