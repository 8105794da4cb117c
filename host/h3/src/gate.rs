//! Polls something only when it was woken itself, however often the task around it runs.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// Stands before one thing that is polled. A connection's task runs for each of its requests, and each look at its streams
/// costs a lock.
#[derive(Debug)]
pub(crate) struct Gate {
    flag: Arc<Flag>,
    /// What the thing that is polled wakes.
    inner: Waker,
    /// The same as the flag's: nearly always that of the next poll, too.
    outer: RefCell<Waker>,
}

#[derive(Debug)]
struct Flag {
    is_woken: AtomicBool,
    outer: Mutex<Waker>,
}

impl Gate {
    /// A gate that lets the first poll through.
    pub(crate) fn new() -> Self {
        let outer = Waker::noop();
        let flag = Flag { is_woken: AtomicBool::new(true), outer: Mutex::new(outer.clone()) };
        let flag = Arc::new(flag);
        Self { inner: Waker::from(Arc::clone(&flag)), flag, outer: RefCell::new(outer.clone()) }
    }

    /// Polls if there is a reason to.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.register(cx.waker());
        // A wake that this does not see yet wakes who polls, for a poll that does.
        if !self.flag.is_woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.flag.is_woken.swap(false, Ordering::AcqRel);
        let polled = poll(&mut Context::from_waker(&self.inner));
        if polled.is_ready() {
            // There may be more.
            self.flag.is_woken.store(true, Ordering::Release);
        }
        polled
    }

    fn register(&self, waker: &Waker) {
        let mut outer = self.outer.borrow_mut();
        if !outer.will_wake(waker) {
            outer.clone_from(waker);
            self.flag.outer().clone_from(waker);
        }
    }
}

impl Flag {
    fn outer(&self) -> MutexGuard<'_, Waker> {
        self.outer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        // Not under the lock, as it may poll.
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
