//! The older processes of a listener that still drain, as the process sees them that has taken
//! their sockets over.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use quinn_udp::RecvMeta;

use super::early::EarlyIds;
use super::relay::{Outlet, Sent};
use super::steer::{GENERATIONS, Steering, early_id};

/// The older processes of a listener. Usually there is none. There are several if a second upgrade
/// comes before the first process has drained: each process passes packets to all older ones
/// itself, so no packet takes two hops.
#[derive(Debug, Default)]
pub(super) struct Older {
    processes: Vec<OlderProcess>,
    /// Whether a process is alive. Avoids the check of each packet.
    is_active: AtomicBool,
    pub(super) early: EarlyIds,
}

/// An older process that may still have connections.
#[derive(Debug)]
pub(super) struct OlderProcess {
    generation: u8,
    outlet: Outlet,
    is_alive: AtomicBool,
}

impl OlderProcess {
    pub(super) fn new(generation: u8, outlet: Outlet) -> Self {
        Self { generation, outlet, is_alive: AtomicBool::new(true) }
    }

    /// Passes datagrams of one size back. They are lost if the process is behind or has ended.
    pub(super) fn send(&self, meta: &RecvMeta, datagrams: &[u8]) {
        self.settle(&self.outlet.send(meta, datagrams));
    }

    fn settle(&self, sent: &Sent) {
        if matches!(sent, Sent::Ended) {
            self.is_alive.store(false, Ordering::Relaxed);
        }
    }

    fn is_alive(&self) -> bool {
        self.is_alive.load(Ordering::Relaxed)
    }
}

impl Older {
    pub(super) fn new(processes: Vec<OlderProcess>) -> Self {
        let is_active = AtomicBool::new(!processes.is_empty());
        Self { processes, is_active, early: EarlyIds::default() }
    }

    /// Whether a packet may belong to an older process.
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        self.is_active.load(Ordering::Relaxed)
    }

    /// Returns the older process that a datagram belongs to, by the generation in its id. A first
    /// packet belongs to the process that has seen the client's id before.
    #[inline]
    pub(super) fn process_of(&self, steering: &Steering, datagram: &[u8]) -> Option<&OlderProcess> {
        let generation = match steering.generation_of(datagram) {
            Some(generation) if generation == steering.generation => return None,
            Some(generation) => generation,
            None => self.early.generation_of(&early_id(datagram)?)?,
        };
        let mut processes = self.processes.iter();
        processes.find(|process| process.generation == generation && process.is_alive())
    }

    /// Finds the processes that have ended, and returns the number of the others.
    pub(super) fn sweep(&self) -> usize {
        for process in self.processes.iter().filter(|process| process.is_alive()) {
            process.settle(&process.outlet.probe());
        }
        let alive = self.processes.iter().filter(|process| process.is_alive()).count();
        self.is_active.store(alive > 0, Ordering::Relaxed);
        alive
    }

    /// Returns the generations of the living processes, oldest first, with descriptors of their
    /// relays.
    pub(super) fn export(&self) -> std::io::Result<Vec<(u8, OwnedFd)>> {
        self.sweep();
        let alive = self.processes.iter().filter(|process| process.is_alive());
        alive.map(|process| Ok((process.generation, process.outlet.duplicate()?))).collect()
    }

    /// Returns the generation for the successor of `own`, or `None` if all numbers are in use.
    pub(super) fn next(&self, own: u8) -> Option<u8> {
        let next = (own + 1) % GENERATIONS;
        let mut alive = self.processes.iter().filter(|process| process.is_alive());
        alive.all(|process| process.generation != next).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::relay;
    use super::*;

    #[test]
    fn a_process_that_has_ended_is_found_and_frees_its_generation() {
        let (first, inlet) = relay::pair().unwrap();
        let (second, other) = relay::pair().unwrap();
        let processes = vec![OlderProcess::new(0, first), OlderProcess::new(7, second)];
        let older = Older::new(processes);
        assert_eq!(older.sweep(), 2);
        assert_eq!((older.next(6), older.next(7), older.next(1)), (None, None, Some(2)));
        assert_eq!(older.export().unwrap().iter().map(|(g, _)| *g).collect::<Vec<_>>(), [0, 7]);
        drop(inlet);
        assert_eq!(older.sweep(), 1);
        assert_eq!(older.next(7), Some(0));
        drop(other);
        assert!(older.is_active());
        assert_eq!(older.sweep(), 0);
        assert!(!older.is_active());
    }
}
