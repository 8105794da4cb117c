//! Tasks. This is the only place that spawns. A [`Tasks`] tracks tasks, signals the drain and waits
//! for the end. An [`Owned`] task ends with its owner.
//!
//! Each worker has one, for tasks that stay on its thread. The control thread has another.

use std::future::Future;

use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A task that ends when this is dropped, such as the driver of a connection.
#[derive(Debug)]
pub struct Owned(AbortHandle);

impl Owned {
    /// Runs `future` on this thread.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F: Future<Output = ()> + 'static>(future: F) -> Self {
        Self(tokio::task::spawn_local(future).abort_handle())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Owner of the tasks of one thread.
#[derive(Debug, Clone, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    drain: CancellationToken,
    close: CancellationToken,
}

impl Tasks {
    /// Makes an owner that drains on `drain` and ends on `close`.
    pub fn new(drain: CancellationToken, close: CancellationToken) -> Self {
        Self { tracker: TaskTracker::new(), drain, close }
    }

    /// Returns an owner of a part of the work. It drains on `drain`, which is a child of this
    /// owner's token, and its tasks are tasks of this owner too.
    #[must_use]
    pub fn part(&self, drain: CancellationToken) -> Self {
        Self { tracker: self.tracker.clone(), drain, close: self.close.clone() }
    }

    /// Returns a token that is cancelled with the drain, and may be cancelled before.
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.child_token()
    }

    /// Runs `future` on this thread until it ends or the grace period is over. It is then dropped
    /// at its next `.await`.
    #[allow(clippy::disallowed_methods, reason = "this is the one place that spawns")]
    pub fn spawn<F: Future<Output = ()> + 'static>(&self, future: F) {
        let close = self.close.clone();
        tokio::task::spawn_local(self.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = close.cancelled() => {}
                () = future => {}
            }
        }));
    }

    /// Whether new work is to be refused and old work to be finished.
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Completes when the drain begins. Cancel safe.
    pub async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Completes when the grace period is over. Cancel safe.
    pub async fn closing(&self) {
        self.close.cancelled().await;
    }

    /// Completes when every task has ended.
    pub async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    /// Returns the number of tasks that have not ended.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// Whether all tasks have ended.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }
}
