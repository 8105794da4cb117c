//! Polls a source only when it was woken itself, however often the task around it runs.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Stands before one polled source. A connection's task runs for each of its requests, and each
/// look at its streams costs a lock.
#[derive(Debug)]
pub(crate) struct Gate {
    bell: Arc<Bell>,
    /// The waker that the polled source wakes.
    inner: Waker,
    /// A copy of the bell's waker; the next poll nearly always has the same one.
    outer: RefCell<Waker>,
    /// The count of the bell at the last poll.
    heard: Cell<u64>,
    /// Whether the last poll was ready, so that there may be more.
    is_open: Cell<bool>,
}

#[derive(Debug)]
struct Bell {
    rung: AtomicU64,
    outer: Mutex<Waker>,
}

impl Gate {
    /// Returns a gate that lets the first poll through.
    pub(crate) fn new() -> Self {
        let outer = Waker::noop();
        let bell = Arc::new(Bell { rung: AtomicU64::new(0), outer: Mutex::new(outer.clone()) });
        Self {
            inner: Waker::from(Arc::clone(&bell)),
            bell,
            outer: RefCell::new(outer.clone()),
            heard: Cell::new(0),
            is_open: Cell::new(true),
        }
    }

    /// Polls if there is a reason to.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.register(cx.waker());
        // A ring after this load wakes the poller, and the next poll counts it.
        let rung = self.bell.rung.load(Ordering::Acquire);
        if self.heard.replace(rung) == rung && !self.is_open.get() {
            return Poll::Pending;
        }
        let polled = poll(&mut Context::from_waker(&self.inner));
        self.is_open.set(polled.is_ready());
        polled
    }

    fn register(&self, waker: &Waker) {
        let mut outer = self.outer.borrow_mut();
        if !outer.will_wake(waker) {
            outer.clone_from(waker);
            self.bell.outer().clone_from(waker);
        }
    }
}

impl Bell {
    fn outer(&self) -> MutexGuard<'_, Waker> {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.fetch_add(1, Ordering::Release);
        // Not under the lock, because the wake may poll.
        let outer = self.outer().clone();
        outer.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    #[test]
    fn who_polled_last_is_woken() {
        #[derive(Default)]
        struct Count(AtomicU32);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let gate = Gate::new();
        let counts = [Arc::<Count>::default(), Arc::default()];
        let mut kept = None;
        for count in [&counts[0], &counts[1], &counts[1]] {
            let waker = Waker::from(Arc::clone(count));
            let polled: Poll<()> = gate.poll(&Context::from_waker(&waker), |cx| {
                kept = Some(cx.waker().clone());
                Poll::Pending
            });
            assert!(polled.is_pending());
            let inner = kept.as_ref().unwrap();
            inner.wake_by_ref();
            inner.wake_by_ref();
        }
        assert_eq!(counts.map(|count| count.0.load(Ordering::Relaxed)), [2, 4]);
    }

    #[test]
    fn only_what_was_woken_is_polled() {
        let gate = Gate::new();
        let cx = Context::from_waker(Waker::noop());
        let mut kept = None;
        let poll = |result, kept: &mut Option<Waker>| {
            let mut polls = 0;
            let _ = gate.poll(&cx, |cx| {
                polls += 1;
                *kept = Some(cx.waker().clone());
                result
            });
            polls
        };
        assert_eq!(poll(Poll::Ready(()), &mut kept), 1);
        assert_eq!(poll(Poll::Pending, &mut kept), 1);
        assert_eq!(poll(Poll::Pending, &mut kept), 0);
        kept.take().unwrap().wake();
        assert_eq!(poll(Poll::Pending, &mut kept), 1);
        assert_eq!(poll(Poll::Pending, &mut kept), 0);
    }
}
