//! Steering: finds the worker of a QUIC packet from its connection id.
//!
//! A connection id of this process has eight bytes: four random bytes `R`, two bytes for the
//! worker, and two bytes that prove the origin of the id. The worker's number is mixed with a keyed
//! function of `R`. Only this process knows the key. An id therefore reveals neither the worker nor
//! that two ids belong to one connection (RFC 9000 §5.1).
//!
//! The function runs in two places. In the kernel it is a classic BPF program on the group of
//! sockets that share the port (`kernel`). Here it serves packets that the kernel could not steer.
//! It also maps ids that a client chose for its first packets to a worker.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// Length of the connection ids that this process issues, in bytes.
pub(super) const ID_LENGTH: usize = 8;

/// Maximum number of workers that a connection id can distinguish with little bias: the worker's
/// field has 16 bits.
pub(super) const MAX_WORKERS: usize = 1024;

/// The secret mapping from connection ids to workers. One per listener and process.
#[derive(Debug)]
pub(super) struct Steering {
    pub(super) workers: u32,
    pub(super) rounds: [Round; 3],
    check: RandomState,
}

/// One round of the mixing function: adds and multiplies by secrets, then folds the high half into
/// the low one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    pub(super) add: u32,
    /// The factor is odd, so that the multiplication is reversible.
    pub(super) multiply: u32,
}

/// Bits that each round folds down. `kernel` uses the same number.
pub(super) const FOLD: u32 = 15;

impl Steering {
    /// Draws a new secret for `workers` workers, between 1 and [`MAX_WORKERS`].
    pub(super) fn new(workers: usize) -> Self {
        let workers = u32::try_from(workers.clamp(1, MAX_WORKERS)).unwrap_or(1);
        let round = || Round { add: rand::random(), multiply: rand::random::<u32>() | 1 };
        Self { workers, rounds: [round(), round(), round()], check: RandomState::new() }
    }

    /// Returns the worker of a datagram, or `None` if the datagram is too short to carry an id of
    /// this process.
    #[inline]
    pub(super) fn worker(&self, datagram: &[u8]) -> Option<usize> {
        // RFC 9000 §17.2: the long header has version and length before the id. The short header
        // (§17.3) has only one byte.
        let offset = if datagram.first()? & 0x80 == 0 { 1 } else { 6 };
        let id = datagram.get(offset..offset + 6)?;
        let (random, field) = (id.first_chunk()?, id.last_chunk()?);
        Some(self.unmix(u32::from_be_bytes(*random), u16::from_be_bytes(*field)))
    }

    /// Returns a new connection id of `worker`.
    fn id(&self, worker: usize) -> [u8; ID_LENGTH] {
        let random: u32 = rand::random();
        // Multiples of the number of workers are added, so that all values of the field occur.
        let multiples = u32::from(rand::random::<u16>()) % (0x1_0000 / self.workers);
        let worker = u32::try_from(worker).unwrap_or(0) % self.workers;
        let field = (self.mix(random) ^ (worker + multiples * self.workers)) as u16;
        let [r0, r1, r2, r3] = random.to_be_bytes();
        let [f0, f1] = field.to_be_bytes();
        let [c0, c1] = self.proof(random, field).to_be_bytes();
        [r0, r1, r2, r3, f0, f1, c0, c1]
    }

    fn unmix(&self, random: u32, field: u16) -> usize {
        (((self.mix(random) ^ u32::from(field)) & 0xffff) % self.workers) as usize
    }

    fn mix(&self, mut value: u32) -> u32 {
        for round in self.rounds {
            value = value.wrapping_add(round.add).wrapping_mul(round.multiply);
            value ^= value >> FOLD;
        }
        value
    }

    fn proof(&self, random: u32, field: u16) -> u16 {
        self.check.hash_one((random, field)) as u16
    }
}

/// Generates the connection ids of one worker.
pub(super) struct Ids {
    steering: Arc<Steering>,
    worker: usize,
}

impl Ids {
    /// Creates a generator of ids that `steering` maps to `worker`.
    pub(super) fn new(steering: Arc<Steering>, worker: usize) -> Self {
        Self { steering, worker }
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&self.steering.id(self.worker))
    }

    /// Refuses ids of other processes, so that noise costs no stateless reset.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let &[r0, r1, r2, r3, f0, f1, c0, c1] = &**id else { return Err(InvalidCid) };
        let (random, field) = (u32::from_be_bytes([r0, r1, r2, r3]), u16::from_be_bytes([f0, f1]));
        let is_ours = self.steering.proof(random, field) == u16::from_be_bytes([c0, c1]);
        if is_ours { Ok(()) } else { Err(InvalidCid) }
    }

    fn cid_len(&self) -> usize {
        ID_LENGTH
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn short(id: &[u8]) -> Vec<u8> {
        [&[0x40], id, &[0; 20]].concat()
    }

    fn long(id: &[u8]) -> Vec<u8> {
        [&[0xc0, 0, 0, 0, 1, 8], id, &[0; 20]].concat()
    }

    #[test]
    fn an_id_leads_to_its_worker_in_both_headers() {
        for workers in [1, 2, 3, 7, 64, MAX_WORKERS] {
            let steering = Arc::new(Steering::new(workers));
            for worker in 0..workers {
                let mut ids = Ids::new(Arc::clone(&steering), worker);
                let id = ids.generate_cid();
                assert_eq!(steering.worker(&short(&id)), Some(worker));
                assert_eq!(steering.worker(&long(&id)), Some(worker));
                assert!(ids.validate(&id).is_ok());
            }
        }
    }

    #[test]
    fn ids_do_not_show_the_worker() {
        // Each bit in the ids of one worker is set about half of the time, so no visible bit is
        // constant.
        let steering = Steering::new(4);
        let mut set = [0u32; ID_LENGTH * 8];
        const IDS: u32 = 20_000;
        for _ in 0..IDS {
            let id = u64::from_be_bytes(steering.id(2));
            for (bit, count) in set.iter_mut().enumerate() {
                *count += u32::from(id >> bit & 1 == 1);
            }
        }
        for count in set {
            assert!((IDS * 45 / 100..IDS * 55 / 100).contains(&count), "{set:?}");
        }
    }

    #[test]
    fn ids_of_clients_spread_over_all_workers() {
        let steering = Steering::new(4);
        let mut hits = [0; 4];
        for _ in 0..4000 {
            hits[steering.worker(&long(&rand::random::<[u8; 8]>())).unwrap()] += 1;
        }
        assert!(hits.iter().all(|hits| (800..1200).contains(hits)), "{hits:?}");
    }

    #[test]
    fn foreign_ids_and_short_datagrams_are_told_apart() {
        let steering = Arc::new(Steering::new(2));
        let ids = Ids::new(Arc::clone(&steering), 0);
        let foreign = (0..1000).filter(|_| {
            ids.validate(&ConnectionId::new(&rand::random::<[u8; ID_LENGTH]>())).is_ok()
        });
        assert!(foreign.count() < 5);
        assert!(ids.validate(&ConnectionId::new(&[1, 2, 3])).is_err());
        assert_eq!(steering.worker(&[]), None);
        assert_eq!(steering.worker(&[0x40, 1, 2, 3]), None);
    }
}
