//! Hand-over of packets that reached the wrong worker, or the wrong process, to the right one.

use std::net::UdpSocket;
use std::ptr;
use std::sync::Arc;

use quinn_udp::RecvMeta;

use super::early::Seen;
use super::inbox::{Inbox, Parcel};
use super::older::{Older, OlderProcess};
use super::roster::Roster;
use super::steer::{Steering, early_id};

/// The workers that share a UDP port, and the sockets of the port.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) steering: Arc<Steering>,
    inboxes: Vec<Inbox>,
    pub(super) roster: Roster,
    /// The kernel's sockets in the order of binding. They stay open as long as the group, so that
    /// another worker can read the socket of one that has ended, and another process all of them.
    sockets: Vec<Arc<UdpSocket>>,
    pub(super) older: Older,
    pub(super) seen: Seen,
}

impl Group {
    /// Makes a group of as many workers as `steering` has. Worker `i` reads the sockets `i`,
    /// `i + workers` and so on. A worker without a socket reads only its inbox.
    pub(super) fn new(steering: Steering, sockets: Vec<UdpSocket>, older: Older) -> Self {
        let workers = steering.workers as usize;
        Self {
            steering: Arc::new(steering),
            inboxes: (0..workers).map(|_| Inbox::default()).collect(),
            roster: Roster::new(workers, sockets.len()),
            sockets: sockets.into_iter().map(Arc::new).collect(),
            older,
            seen: Seen::new(workers),
        }
    }

    /// Makes the group of a listener without UDP.
    pub(super) fn none(workers: usize) -> Self {
        Self::new(Steering::new(workers), Vec::new(), Older::default())
    }

    /// Returns the number of workers.
    pub(super) fn workers(&self) -> usize {
        self.inboxes.len()
    }

    /// Returns the sockets of the kernel, in the order of binding.
    pub(super) fn sockets(&self) -> &[Arc<UdpSocket>] {
        &self.sockets
    }

    /// Returns the inbox of a worker.
    pub(super) fn inbox(&self, worker: usize) -> Option<&Inbox> {
        self.inboxes.get(worker)
    }

    /// Wakes all workers, so that they look at the roster.
    pub(super) fn wake(&self) {
        self.inboxes.iter().for_each(Inbox::wake);
    }

    /// Treats a buffer that `own` received from the kernel: hands over the datagrams that belong to
    /// others and closes the gaps. Writes the remaining length to `meta`.
    #[inline]
    pub(super) fn receive(&self, own: usize, buffer: &mut [u8], meta: &mut RecvMeta) {
        self.note(own, buffer, meta);
        if self.inboxes.len() > 1 || self.older.is_active() {
            self.sort(own, buffer, meta);
        }
    }

    /// Notes the ids that clients chose, for a process that replaces this one.
    #[inline]
    fn note(&self, own: usize, buffer: &[u8], meta: &RecvMeta) {
        for datagram in buffer.get(..meta.len).unwrap_or_default().chunks(meta.stride.max(1)) {
            if let Some(id) = early_id(datagram)
                && self.steering.generation_of(datagram).is_none()
            {
                self.seen.note(own, id);
            }
        }
    }

    /// Hands over the datagrams of a buffer.
    ///
    /// With GRO a buffer holds datagrams of one sender that may belong to different connections, so
    /// each one is checked.
    #[inline]
    fn sort(&self, own: usize, buffer: &mut [u8], meta: &mut RecvMeta) {
        let datagrams = buffer.get(..meta.len).unwrap_or_default();
        let is_own = |datagram| matches!(self.place(own, datagram), Place::Own);
        if !datagrams.chunks(meta.stride.max(1)).all(is_own) {
            self.sort_mixed(own, buffer, meta);
        }
    }

    /// Returns the place of a datagram. A datagram of a worker that has ended stays here: no other
    /// worker can answer then.
    #[inline]
    fn place(&self, own: usize, datagram: &[u8]) -> Place<'_> {
        if self.older.is_active()
            && let Some(process) = self.older.process_of(&self.steering, datagram)
        {
            return Place::Older(process);
        }
        let worker = self.steering.worker(datagram).filter(|worker| *worker != own);
        let inbox = worker.and_then(|worker| self.inbox(worker));
        inbox.filter(|inbox| !inbox.is_closed()).map_or(Place::Own, Place::Worker)
    }

    #[cold]
    fn sort_mixed(&self, own: usize, buffer: &mut [u8], meta: &mut RecvMeta) {
        let mut kept = 0;
        let mut start = 0;
        while start < meta.len {
            let mut end = meta.len.min(start + meta.stride.max(1));
            let datagram = buffer.get(start..end).unwrap_or_default();
            match self.place(own, datagram) {
                Place::Older(process) => {
                    let rest = buffer.get(start..meta.len).unwrap_or_default();
                    let run = self.run(own, process, rest, meta.stride.max(1));
                    process.send(meta, run);
                    end = start + run.len();
                }
                Place::Worker(inbox) => put(inbox, meta, datagram),
                // Only the last datagram may be shorter than the stride, so the kept ones still lie
                // at multiples of it.
                Place::Own => {
                    buffer.copy_within(start..end, kept);
                    kept += end - start;
                }
            }
            start = end;
        }
        meta.len = kept;
    }

    /// Returns the datagrams at the start of a buffer that belong to one older process, at least
    /// one. They are one message: an upload arrives in long runs.
    fn run<'a>(
        &self,
        own: usize,
        process: &OlderProcess,
        buffer: &'a [u8],
        stride: usize,
    ) -> &'a [u8] {
        let is_same = |datagram: &&[u8]| matches!(self.place(own, datagram), Place::Older(other) if ptr::eq(other, process));
        let others: usize =
            buffer.chunks(stride).skip(1).take_while(is_same).map(<[u8]>::len).sum();
        let length = stride.min(buffer.len()) + others;
        buffer.get(..length).unwrap_or(buffer)
    }

    /// Puts the datagrams that a newer process passed back into the inboxes of their workers. Those
    /// of a worker that has ended are dropped, as its connections are.
    pub(super) fn deliver(&self, meta: &RecvMeta, datagrams: &[u8]) {
        for datagram in datagrams.chunks(meta.stride.max(1)) {
            let inbox = self.steering.worker(datagram).and_then(|worker| self.inbox(worker));
            if let Some(inbox) = inbox.filter(|inbox| !inbox.is_closed()) {
                put(inbox, meta, datagram);
            }
        }
    }
}

/// The place where a datagram belongs.
enum Place<'a> {
    Own,
    Worker(&'a Inbox),
    Older(&'a OlderProcess),
}

fn put(inbox: &Inbox, meta: &RecvMeta, datagram: &[u8]) {
    inbox.put(Parcel { meta: *meta, datagram: datagram.into() });
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::IoSliceMut;

    use quinn_proto::ConnectionIdGenerator;

    use super::*;
    use crate::listen::steer::Ids;

    /// Makes a group without sockets.
    pub(in crate::listen) fn group(workers: usize) -> Group {
        Group::new(Steering::new(workers), Vec::new(), Older::default())
    }

    /// Returns a datagram of `worker` with the given length that ends in `mark`.
    pub(in crate::listen) fn datagram(
        group: &Group,
        worker: usize,
        length: usize,
        mark: u8,
    ) -> Vec<u8> {
        let id = Ids::new(Arc::clone(&group.steering), worker).generate_cid();
        let mut datagram = [&[0x40], &*id].concat();
        datagram.resize(length, mark);
        datagram
    }

    /// Takes one datagram out of an inbox and returns its meta data and its bytes.
    pub(in crate::listen) fn taken(group: &Group, worker: usize) -> Option<(RecvMeta, Vec<u8>)> {
        let mut space = vec![0; 2000];
        let mut metas = [RecvMeta::default(); 1];
        let mut buffers = [IoSliceMut::new(&mut space)];
        let count = group.inbox(worker).unwrap().take(&mut buffers, &mut metas);
        space.truncate(metas[0].len);
        (count == 1).then_some((metas[0], space))
    }

    #[test]
    fn a_mixed_buffer_is_sorted_datagram_by_datagram() {
        let group = group(3);
        let parts = [(0, 50, b'a'), (1, 50, b'b'), (0, 50, b'c'), (2, 50, b'd'), (0, 30, b'e')];
        let mut buffer: Vec<u8> = parts
            .iter()
            .flat_map(|&(worker, length, mark)| datagram(&group, worker, length, mark))
            .collect();
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (buffer.len(), 50);

        group.receive(0, &mut buffer, &mut meta);
        let marks: Vec<u8> = buffer[..meta.len].chunks(50).map(|d| *d.last().unwrap()).collect();
        assert_eq!(marks, b"ace");
        assert_eq!(meta.len, 130);

        for (worker, mark) in [(1, b'b'), (2, b'd')] {
            let (meta, bytes) = taken(&group, worker).unwrap();
            assert_eq!((meta.len, meta.stride), (50, 50));
            assert_eq!(bytes[49], mark);
        }
    }

    #[test]
    fn a_packet_of_a_worker_that_has_ended_stays() {
        let group = group(2);
        group.inbox(1).unwrap().open();
        group.inbox(1).unwrap().close();
        let mut buffer = datagram(&group, 1, 40, b'x');
        let mut meta = RecvMeta::default();
        (meta.len, meta.stride) = (40, 40);
        group.receive(0, &mut buffer, &mut meta);
        assert_eq!(meta.len, 40);
    }
}
