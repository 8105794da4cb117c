//! Hand-over of packets that reached the wrong worker to the right one.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use quinn_udp::RecvMeta;

use super::steer::Steering;

/// Maximum number of packets that wait for one worker. A worker drains the queue at every poll, so
/// it is long only when the worker is behind. Further packets are then dropped, as with a full
/// socket buffer, and QUIC sends them again.
const CAPACITY: usize = 4096;

/// The workers that share a UDP port.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) steering: Arc<Steering>,
    inboxes: Vec<Inbox>,
}

impl Group {
    pub(super) fn new(workers: usize) -> Self {
        let inboxes = (0..workers).map(|_| Inbox::default()).collect();
        Self { steering: Arc::new(Steering::new(workers)), inboxes }
    }

    /// Returns whether there is more than one worker, so that a packet may belong to another one.
    pub(super) fn is_shared(&self) -> bool {
        self.inboxes.len() > 1
    }

    /// Returns the inbox of a worker.
    pub(super) fn inbox(&self, worker: usize) -> Option<&Inbox> {
        self.inboxes.get(worker)
    }

    /// Hands over the datagrams of a received buffer that do not belong to `own`, and closes the
    /// gaps. Writes the remaining length to `meta`.
    ///
    /// With GRO a buffer holds datagrams of one sender that may belong to different connections, so
    /// each one is checked.
    #[inline]
    pub(super) fn sort(&self, own: usize, buffer: &mut [u8], meta: &mut RecvMeta) {
        let datagrams = buffer.get(..meta.len).unwrap_or_default();
        if !datagrams.chunks(meta.stride.max(1)).all(|datagram| self.other(own, datagram).is_none())
        {
            self.sort_mixed(own, buffer, meta);
        }
    }

    /// Returns the inbox of the worker that a datagram belongs to. Returns `None` if that is `own`,
    /// or a worker that has ended: no other worker can answer then.
    #[inline]
    fn other(&self, own: usize, datagram: &[u8]) -> Option<&Inbox> {
        let worker = self.steering.worker(datagram).filter(|worker| *worker != own)?;
        self.inbox(worker).filter(|inbox| !inbox.is_closed.load(Ordering::Relaxed))
    }

    #[cold]
    fn sort_mixed(&self, own: usize, buffer: &mut [u8], meta: &mut RecvMeta) {
        let mut kept = 0;
        let mut start = 0;
        while start < meta.len {
            let end = meta.len.min(start + meta.stride.max(1));
            let datagram = buffer.get(start..end).unwrap_or_default();
            match self.other(own, datagram) {
                Some(inbox) => inbox.put(Parcel { meta: *meta, datagram: datagram.into() }),
                // Only the last datagram may be shorter than the stride, so the kept ones still lie
                // at multiples of it.
                None => {
                    buffer.copy_within(start..end, kept);
                    kept += end - start;
                }
            }
            start = end;
        }
        meta.len = kept;
    }
}

/// The packets that other workers handed to one worker.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Avoids the lock if there is no mail. Set and cleared under the lock.
    has_mail: AtomicBool,
    /// Whether the worker has ended.
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
struct Parcel {
    meta: RecvMeta,
    datagram: Box<[u8]>,
}

impl Inbox {
    /// Stops the acceptance of mail.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    fn put(&self, parcel: Parcel) {
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
    use quinn_proto::ConnectionIdGenerator;

    use super::*;
    use crate::listen::steer::Ids;

    /// Returns a datagram of `worker` with the given length that ends in `mark`.
    fn datagram(group: &Group, worker: usize, length: usize, mark: u8) -> Vec<u8> {
        let id = Ids::new(Arc::clone(&group.steering), worker).generate_cid();
        let mut datagram = [&[0x40], &*id].concat();
        datagram.resize(length, mark);
        datagram
    }

    #[test]
    fn a_mixed_buffer_is_sorted_datagram_by_datagram() {
        let group = Group::new(3);
        let parts = [(0, 50, b'a'), (1, 50, b'b'), (0, 50, b'c'), (2, 50, b'd'), (0, 30, b'e')];
        let mut buffer: Vec<u8> = parts
            .iter()
            .flat_map(|&(worker, length, mark)| datagram(&group, worker, length, mark))
            .collect();
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (buffer.len(), 50);

        group.sort(0, &mut buffer, &mut meta);
        let marks: Vec<u8> = buffer[..meta.len].chunks(50).map(|d| *d.last().unwrap()).collect();
        assert_eq!(marks, b"ace");
        assert_eq!(meta.len, 130);

        for (worker, mark) in [(1, b'b'), (2, b'd')] {
            let mut space = vec![0; 100];
            let mut metas = [RecvMeta::default(); 1];
            let mut buffers = [IoSliceMut::new(&mut space)];
            assert_eq!(group.inbox(worker).unwrap().take(&mut buffers, &mut metas), 1);
            assert_eq!((metas[0].len, metas[0].stride), (50, 50));
            assert_eq!(space[49], mark);
        }
    }

    #[test]
    fn a_full_inbox_drops_and_does_not_grow() {
        let group = Group::new(2);
        for _ in 0..CAPACITY + 10 {
            let mut buffer = datagram(&group, 1, 40, b'x');
            let mut meta = RecvMeta::default();
            (meta.len, meta.stride) = (40, 40);
            group.sort(0, &mut buffer, &mut meta);
            assert_eq!(meta.len, 0);
        }
        assert_eq!(group.inbox(1).unwrap().lock().parcels.len(), CAPACITY);
    }
}
