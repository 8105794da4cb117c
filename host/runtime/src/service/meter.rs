//! [`Meter`] counts the CPU time of a request's guest code, and its memory. Both the store and the
//! poller of the guest read it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use wasmtime::UpdateDeadline;

use crate::limits::thread_time;

/// Shared by a store and the poller of its guest; both are on one thread.
#[derive(Debug)]
pub(super) struct Meter {
    limit: Duration,
    /// Nanoseconds since the last progress, up to this poll.
    used: AtomicU64,
    /// The thread's time in nanoseconds when this poll began.
    began: AtomicU64,
    memory: AtomicUsize,
}

impl Meter {
    pub(super) fn new(limit: Duration) -> Self {
        let (used, began) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { limit, used, began, memory: AtomicUsize::new(0) }
    }

    /// Guest code may run from here on.
    pub(super) fn begin(&self) {
        self.began.store(now(), Ordering::Relaxed);
    }

    /// Guest code runs no more.
    pub(super) fn end(&self) {
        self.used.fetch_add(self.running(), Ordering::Relaxed);
    }

    /// Notes progress of the request: CPU time used until here counts no more.
    pub(super) fn progress(&self) {
        self.used.store(0, Ordering::Relaxed);
    }

    /// Decides on guest code that runs at a tick. It must yield to other tasks, or stop if its time
    /// is over.
    pub(super) fn tick(&self) -> UpdateDeadline {
        let used = self.used.load(Ordering::Relaxed).saturating_add(self.running());
        if Duration::from_nanos(used) >= self.limit {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::Yield(1)
        }
    }

    /// Bytes of linear memory.
    pub(super) fn memory(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    pub(super) fn set_memory(&self, bytes: usize) {
        self.memory.store(bytes, Ordering::Relaxed);
    }

    fn running(&self) -> u64 {
        now().saturating_sub(self.began.load(Ordering::Relaxed))
    }
}

fn now() -> u64 {
    u64::try_from(thread_time().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(time: Duration) {
        let start = thread_time();
        while thread_time() - start < time {}
    }

    #[test]
    fn time_adds_up_over_polls_until_there_is_progress() {
        let meter = Meter::new(Duration::from_millis(20));
        for _ in 0..2 {
            meter.begin();
            spin(Duration::from_millis(8));
            assert!(matches!(meter.tick(), UpdateDeadline::Yield(1)));
            meter.end();
        }
        // CPU time outside a poll is not the guest's.
        spin(Duration::from_millis(10));
        meter.begin();
        assert!(matches!(meter.tick(), UpdateDeadline::Yield(1)));
        spin(Duration::from_millis(5));
        assert!(matches!(meter.tick(), UpdateDeadline::Interrupt));
        meter.end();
        meter.progress();
        meter.begin();
        assert!(matches!(meter.tick(), UpdateDeadline::Yield(1)));
    }
}
