//! Polls something only when it was woken itself, however often the task around it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Stands before one thing that is polled. A connection's task runs for each of its requests, and each look at its streams
/// costs a lock.
#[derive(Debug)]
pub(crate) struct Gate {
    flag: Arc<Flag>,
    inner: Waker,
}

#[derive(Debug)]
struct Flag {
    is_woken: AtomicBool,
    outer: AtomicWaker,
}

impl Gate {
    /// A gate that lets the first poll through.
    pub(crate) fn new() -> Self {
        let flag = Arc::new(Flag { is_woken: AtomicBool::new(true), outer: AtomicWaker::new() });
        Self { inner: Waker::from(Arc::clone(&flag)), flag }
    }

    /// Polls if there is a reason to.
    pub(crate) fn poll<T>(
        &self,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.flag.outer.register(cx.waker());
        if !self.flag.is_woken.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let polled = poll(&mut Context::from_waker(&self.inner));
        if polled.is_ready() {
            // There may be more.
            self.flag.is_woken.store(true, Ordering::Release);
        }
        polled
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.outer.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
