//! Ids that clients chose for their first packets, and the process that began their handshakes.
//!
//! A client chooses the id of its first packets, and uses it until it has the server's first reply.
//! That id proves nothing. A handshake may be under way when another process takes over the
//! sockets: the rest of a ClientHello in two packets, data in 0-RTT, and packets that are sent
//! again then come with an id that the newer process does not know. The older one therefore tells
//! the ids that it has seen last, and the newer one passes packets with these ids back.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use quinn_proto::ConnectionId;

use super::steer::MAX_ID_LENGTH;
use crate::handoff::Begun;

/// The time for which a client may use its own id: it sends the first packet again after 1, 3 and
/// 7 seconds (RFC 9002 §6.2), and most give up after 10.
const RECENT: Duration = Duration::from_secs(10);

/// Maximum number of ids that a worker remembers. A core completes about a thousand handshakes per
/// second. In a flood of first packets the oldest are forgotten, and their handshakes may fail.
const CAPACITY: usize = 2048;

/// The ids of first packets that the workers of this process have seen.
#[derive(Debug)]
pub(super) struct Seen {
    workers: Vec<Mutex<VecDeque<(Instant, ConnectionId)>>>,
}

impl Seen {
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: (0..workers).map(|_| Mutex::default()).collect() }
    }

    /// Remembers an id that `worker` has received.
    #[cold]
    pub(super) fn note(&self, worker: usize, id: ConnectionId) {
        let Some(ids) = self.workers.get(worker) else { return };
        let mut ids = lock(ids);
        // The packets of one ClientHello come one after another.
        if ids.back().is_some_and(|(_, last)| *last == id) {
            return;
        }
        if ids.len() >= CAPACITY {
            ids.pop_front();
        }
        ids.push_back((Instant::now(), id));
    }

    /// Returns the ids of the last seconds.
    pub(super) fn export(&self, generation: u8) -> Begun {
        let mut exported = Vec::new();
        for ids in &self.workers {
            let ids = lock(ids);
            let recent = ids.iter().filter(|(seen, _)| seen.elapsed() < RECENT);
            exported.extend(recent.map(|(_, id)| STANDARD_NO_PAD.encode(&**id)));
        }
        Begun { generation, ids: exported }
    }
}

/// The ids of first packets that older processes have seen.
#[derive(Debug, Default)]
pub(super) struct EarlyIds {
    /// Avoids the lock when there are none.
    has_any: AtomicBool,
    ids: Mutex<Option<Expiring>>,
}

/// Ids and the time of their end.
#[derive(Debug)]
struct Expiring {
    until: Instant,
    generations: HashMap<ConnectionId, u8>,
}

impl EarlyIds {
    /// Takes over the ids of older processes, the oldest process first. An id that two of them have
    /// seen belongs to the older one, to which the other one has passed the packet. Ids that are
    /// damaged are left out.
    pub(super) fn import(&self, begun: &[Begun]) {
        let mut generations = HashMap::new();
        for Begun { generation, ids } in begun {
            for id in ids.iter().filter_map(|id| STANDARD_NO_PAD.decode(id).ok()) {
                if id.len() <= MAX_ID_LENGTH {
                    generations.entry(ConnectionId::new(&id)).or_insert(*generation);
                }
            }
        }
        let has_any = !generations.is_empty();
        *lock(&self.ids) = Some(Expiring { until: Instant::now() + RECENT, generations });
        self.has_any.store(has_any, Ordering::Release);
    }

    /// Returns the generation of the process that has seen an id first.
    #[inline]
    pub(super) fn generation_of(&self, id: &ConnectionId) -> Option<u8> {
        if self.has_any.load(Ordering::Acquire) { self.look_up(id) } else { None }
    }

    #[cold]
    fn look_up(&self, id: &ConnectionId) -> Option<u8> {
        let mut ids = lock(&self.ids);
        if ids.as_ref().is_none_or(|ids| ids.until <= Instant::now()) {
            *ids = None;
            self.has_any.store(false, Ordering::Release);
        }
        ids.as_ref()?.generations.get(id).copied()
    }

    /// Returns the ids that have not expired, for the process that replaces this one.
    pub(super) fn export(&self) -> Vec<Begun> {
        let mut begun: Vec<Begun> = Vec::new();
        let ids = lock(&self.ids);
        let ids = ids.as_ref().filter(|ids| ids.until > Instant::now());
        for (id, generation) in ids.iter().flat_map(|ids| &ids.generations) {
            let id = STANDARD_NO_PAD.encode(&**id);
            match begun.iter_mut().find(|begun| begun.generation == *generation) {
                Some(begun) => begun.ids.push(id),
                None => begun.push(Begun { generation: *generation, ids: vec![id] }),
            }
        }
        begun
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The contents are consistent between any two statements.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> ConnectionId {
        ConnectionId::new(&[byte; 8])
    }

    #[test]
    fn the_ids_that_one_process_saw_are_known_to_the_next_ones() {
        let seen = Seen::new(2);
        seen.note(0, id(1));
        seen.note(0, id(1));
        seen.note(1, id(2));
        seen.note(7, id(3));
        let begun = seen.export(4);
        assert_eq!(begun.ids.len(), 2);

        let next = EarlyIds::default();
        assert_eq!(next.generation_of(&id(1)), None);
        next.import(&[begun]);
        assert_eq!([1, 2, 3].map(|byte| next.generation_of(&id(byte))), [Some(4), Some(4), None]);

        // The one after the next knows them too, and the older process keeps what it began.
        let mut all = next.export();
        all.push(Begun { generation: 5, ids: vec![STANDARD_NO_PAD.encode(&*id(1)), "?".into()] });
        let third = EarlyIds::default();
        third.import(&all);
        assert_eq!([1, 2].map(|byte| third.generation_of(&id(byte))), [Some(4), Some(4)]);
    }

    #[test]
    fn a_flood_forgets_the_oldest_ids() {
        let seen = Seen::new(1);
        for number in 0..CAPACITY as u64 + 1 {
            seen.note(0, ConnectionId::new(&number.to_be_bytes()));
        }
        let begun = seen.export(0);
        assert_eq!(begun.ids.len(), CAPACITY);
        assert!(!begun.ids.contains(&STANDARD_NO_PAD.encode([0; 8])));
    }
}
