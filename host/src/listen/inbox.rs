//! The mail of one worker: packets of its connections that other workers or processes received.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use quinn_udp::RecvMeta;

/// Maximum number of packets that wait for one worker. A worker drains the queue at every poll, so
/// it is long only when the worker is behind. Further packets are then dropped, as with a full
/// socket buffer, and QUIC sends them again.
const CAPACITY: usize = 4096;

/// The packets that other workers handed to one worker.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Avoids the lock if there is no mail. Set and cleared under the lock.
    has_mail: AtomicBool,
    /// The sockets of the worker that take mail out. For a moment there may be two: one begins
    /// while the one before ends.
    users: AtomicUsize,
    /// Whether the last socket has ended. Before the first one the mail waits.
    is_closed: AtomicBool,
    mail: Mutex<Mail>,
}

/// The datagrams that wait for one worker.
#[derive(Debug, Default)]
struct Mail {
    parcels: VecDeque<Parcel>,
    waker: Option<Waker>,
}

/// One datagram for another worker, with its addresses.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) meta: RecvMeta,
    pub(super) datagram: Box<[u8]>,
}

impl Inbox {
    /// Stops the acceptance of mail.
    pub(super) fn close(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) <= 1 {
            self.is_closed.store(true, Ordering::Release);
        }
    }

    /// Accepts mail again: the worker serves the port once more.
    pub(super) fn open(&self) {
        self.users.fetch_add(1, Ordering::AcqRel);
        self.is_closed.store(false, Ordering::Release);
    }

    /// Whether the worker has ended, so that nothing takes mail out.
    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Wakes the worker without mail.
    pub(super) fn wake(&self) {
        let waker = self.lock().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn put(&self, parcel: Parcel) {
        let mut mail = self.lock();
        if mail.parcels.len() >= CAPACITY {
            return;
        }
        mail.parcels.push_back(parcel);
        self.has_mail.store(true, Ordering::Release);
        let waker = mail.waker.take();
        drop(mail);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Fills the buffers with the available datagrams and returns their number.
    #[inline]
    pub(super) fn take(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        if self.has_mail.load(Ordering::Acquire) { self.take_some(buffers, metas) } else { 0 }
    }

    #[cold]
    fn take_some(&self, buffers: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> usize {
        let mut mail = self.lock();
        let mut taken = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let Some(parcel) = mail.parcels.pop_front() else { break };
            let length = parcel.datagram.len();
            // The buffers of all workers have one size, so this always fits.
            let Some(target) = buffer.get_mut(..length) else { break };
            target.copy_from_slice(&parcel.datagram);
            *meta = parcel.meta;
            (meta.len, meta.stride) = (length, length);
            taken += 1;
        }
        self.has_mail.store(!mail.parcels.is_empty(), Ordering::Release);
        taken
    }

    /// Registers this task to be woken by the next parcel. Returns false if one is already here.
    pub(super) fn register(&self, cx: &Context<'_>) -> bool {
        let mut mail = self.lock();
        if !mail.parcels.is_empty() {
            return false;
        }
        if !mail.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            mail.waker = Some(cx.waker().clone());
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Mail> {
        // The queue is consistent between any two statements, so a panic elsewhere does no harm.
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_inbox_drops_and_does_not_grow() {
        let inbox = Inbox::default();
        for _ in 0..CAPACITY + 10 {
            inbox.put(Parcel { meta: RecvMeta::default(), datagram: Box::new([0; 40]) });
        }
        assert_eq!(inbox.lock().parcels.len(), CAPACITY);
    }
}
