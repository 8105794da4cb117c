//! The roster of a group: the worker that reads each of the kernel's sockets.
//!
//! Usually a worker reads its own socket, and nothing changes until it ends. Then another worker
//! takes its socket over. A process that hands its sockets to a newer one stops reading all of
//! them, and reads them again if the newer one fails.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The division of sockets among workers.
#[derive(Debug)]
pub(super) struct Roster {
    sockets: usize,
    /// The number of the present division. Workers compare it at every poll.
    version: AtomicUsize,
    state: Mutex<State>,
    /// Signals that a worker follows another division, or has ended.
    changed: Notify,
}

/// The facts that a division follows from.
#[derive(Debug)]
struct State {
    is_reading: bool,
    workers: Vec<Worker>,
    /// The sockets of each worker. For a moment there may be two: one begins while the one before
    /// ends.
    users: Vec<usize>,
}

/// The part of one worker.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Worker {
    /// The worker has no socket object yet. It will read its sockets.
    Expected,
    /// The worker follows the division of this version.
    Present(usize),
    /// The worker has ended.
    Gone,
}

impl Roster {
    pub(super) fn new(workers: usize, sockets: usize) -> Self {
        let users = vec![0; workers];
        let state = State { is_reading: true, workers: vec![Worker::Expected; workers], users };
        Self {
            sockets,
            version: AtomicUsize::new(1),
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }

    /// Returns the version of the present division.
    #[inline]
    pub(super) fn version(&self) -> usize {
        self.version.load(Ordering::Acquire)
    }

    /// Returns the present division for a worker: its version and the positions of the sockets.
    pub(super) fn share(&self, worker: usize) -> (usize, Vec<usize>) {
        let state = self.lock();
        let sockets = (0..self.sockets).filter(|socket| state.reader(*socket) == Some(worker));
        (self.version(), sockets.collect())
    }

    /// Notes that a worker reads the sockets of a division, and no others any more.
    pub(super) fn follow(&self, worker: usize, version: usize) {
        if let Some(worker) = self.lock().workers.get_mut(worker) {
            *worker = Worker::Present(version);
        }
        self.changed.notify_waiters();
    }

    /// Notes that a worker begins, perhaps once more. The others have to be woken if it had ended:
    /// they read its sockets.
    pub(super) fn join(&self, worker: usize) {
        let mut state = self.lock();
        if let Some(users) = state.users.get_mut(worker) {
            *users += 1;
        }
        if let Some(worker) = state.workers.get_mut(worker)
            && *worker == Worker::Gone
        {
            *worker = Worker::Expected;
            self.version.fetch_add(1, Ordering::Release);
        }
    }

    /// Notes that a worker has ended. The others have to be woken, to read its sockets.
    pub(super) fn leave(&self, worker: usize) {
        let mut state = self.lock();
        if let Some(users) = state.users.get_mut(worker) {
            *users = users.saturating_sub(1);
            if *users > 0 {
                return;
            }
        }
        if let Some(worker) = state.workers.get_mut(worker) {
            *worker = Worker::Gone;
        }
        self.version.fetch_add(1, Ordering::Release);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Divides the sockets anew: among all workers, or among none. The workers have to be woken.
    pub(super) fn set_reading(&self, is_reading: bool) {
        let mut state = self.lock();
        state.is_reading = is_reading;
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Waits until all workers follow the present division. Cancel safe.
    pub(super) async fn followed(&self) {
        loop {
            // The future exists before the check, so it misses no change after it.
            let changed = self.changed.notified();
            if self.is_followed() {
                return;
            }
            changed.await;
        }
    }

    fn is_followed(&self) -> bool {
        let state = self.lock();
        let version = self.version();
        state.workers.iter().all(|worker| match worker {
            Worker::Present(present) => *present >= version,
            Worker::Expected | Worker::Gone => true,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Returns the worker that reads a socket: the one of its number, or the next that has not
    /// ended.
    fn reader(&self, socket: usize) -> Option<usize> {
        let count = self.workers.len();
        let candidates = (socket..socket + count).map(|place| place % count.max(1));
        let mut present = candidates
            .filter(|worker| self.workers.get(*worker).is_some_and(|state| *state != Worker::Gone));
        if self.is_reading { present.next() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(roster: &Roster, workers: usize) -> Vec<Vec<usize>> {
        (0..workers).map(|worker| roster.share(worker).1).collect()
    }

    #[test]
    fn every_socket_has_one_reader_whatever_the_numbers() {
        let expected: [(usize, usize, &[&[usize]]); 4] = [
            (3, 3, &[&[0], &[1], &[2]]),
            (2, 5, &[&[0, 2, 4], &[1, 3]]),
            (3, 1, &[&[0], &[], &[]]),
            (2, 0, &[&[], &[]]),
        ];
        for (workers, sockets, shared) in expected {
            assert_eq!(shares(&Roster::new(workers, sockets), workers), shared);
        }
    }

    #[test]
    fn the_sockets_of_a_worker_that_ends_go_to_the_next() {
        let roster = Roster::new(3, 3);
        let before = roster.version();
        roster.leave(0);
        assert_ne!(roster.version(), before);
        assert_eq!(shares(&roster, 3), [vec![], vec![0, 1], vec![2]]);
        roster.leave(1);
        roster.leave(2);
        assert_eq!(shares(&roster, 3), [[]; 3] as [[usize; 0]; 3]);
    }

    #[test]
    fn a_worker_that_comes_back_reads_its_sockets_again() {
        let roster = Roster::new(2, 2);
        roster.leave(1);
        assert_eq!(shares(&roster, 2), [vec![0, 1], vec![]]);
        let before = roster.version();
        roster.join(1);
        assert_ne!(roster.version(), before);
        assert_eq!(shares(&roster, 2), [vec![0], vec![1]]);
    }

    #[tokio::test]
    async fn the_end_of_reading_waits_for_the_workers_that_serve() {
        let roster = Roster::new(3, 3);
        let (version, _) = roster.share(0);
        roster.follow(0, version);
        roster.follow(1, version);
        roster.set_reading(false);
        assert_eq!(shares(&roster, 3), [[]; 3] as [[usize; 0]; 3]);
        assert!(!roster.is_followed());

        let ends = async {
            tokio::task::yield_now().await;
            roster.follow(0, roster.share(0).0);
            assert!(!roster.is_followed());
            tokio::task::yield_now().await;
            roster.leave(1);
            roster.follow(0, roster.share(0).0);
        };
        tokio::join!(roster.followed(), ends);
        roster.set_reading(true);
        assert_eq!(shares(&roster, 3), [vec![0], vec![], vec![1, 2]]);
    }
}
