//! Steering: finds the worker and the process of a QUIC packet from its connection id.
//!
//! A connection id of Weir has eight bytes: four random bytes `R`, two bytes for the worker, and
//! two bytes that prove the origin of the id and carry its generation. The worker's number is mixed
//! with a keyed function of `R`, and the proof is a keyed function of the six bytes before it. An
//! outsider has no key. An id therefore reveals neither the worker, nor the generation, nor that
//! two ids belong to one connection (RFC 9000 §5.1).
//!
//! The function runs in two places. In the kernel it is a classic BPF program on the group of
//! sockets that share the port (`kernel`). Here it serves packets that the kernel could not steer.
//! It also maps ids that a client chose for its first packets to a worker.
//!
//! A process that replaces another one gets its key and takes the next generation. The kernel's
//! program does not read the generation: it may lead a packet of the older process anywhere, and
//! the newer process, which alone reads the sockets, passes it back (`relay`). The proof stands for
//! all numbers of workers, so old ids are recognised also if the new process has more or fewer.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

use super::sip::Key;
use crate::handoff::{Hidden, SteeringPackage};

/// Length of the connection ids that this process issues, in bytes.
pub(super) const ID_LENGTH: usize = 8;

/// Length of the longest connection id (RFC 9000 §17.2).
pub(super) const MAX_ID_LENGTH: usize = 20;

/// Maximum number of workers that a connection id can distinguish with little bias: the worker's
/// field has 16 bits.
pub(super) const MAX_WORKERS: usize = 1024;

/// Number of generations that an id distinguishes. The numbers wrap, so this bounds the processes
/// that serve one listener at the same time.
pub(super) const GENERATIONS: u8 = 8;

/// Bits of the proof below the generation. An id that is no id of Weir passes for one of a certain
/// generation once in 65,536 times, and for one of any generation once in 8,192 times.
const PROOF_BITS: u32 = 13;

/// Bytes of an exported secret: three rounds of eight bytes, and the key of the proof.
const SECRET_LENGTH: usize = 40;

/// The mapping from connection ids to workers and generations. One per listener and process.
#[derive(Debug)]
pub(super) struct Steering {
    pub(super) workers: u32,
    pub(super) secret: Secret,
    pub(super) generation: u8,
}

/// The secret of a mapping. Processes that replace each other share it.
#[derive(Clone, Copy)]
pub(super) struct Secret {
    pub(super) rounds: [Round; 3],
    check: Key,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
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

impl Secret {
    fn new() -> Self {
        let round = || Round { add: rand::random(), multiply: rand::random::<u32>() | 1 };
        Self { rounds: [round(), round(), round()], check: Key(rand::random()) }
    }

    fn export(&self) -> Hidden {
        let Key([low, high]) = self.check;
        let rounds =
            self.rounds.iter().flat_map(|round| [round.add, round.multiply]).map(u32::to_be_bytes);
        let mut bytes: Vec<u8> = rounds.flatten().collect();
        bytes.extend([low, high].map(u64::to_be_bytes).as_flattened());
        Hidden(bytes)
    }

    /// Reads an exported secret. Returns `None` if the length or a factor is wrong.
    fn import(Hidden(bytes): &Hidden) -> Option<Self> {
        let bytes: &[u8; SECRET_LENGTH] = bytes.as_slice().try_into().ok()?;
        let (words, keys) = bytes.split_at(24);
        let mut words = words.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word));
        let mut round = || Some(Round { add: words.next()?, multiply: words.next()? });
        let rounds = [round()?, round()?, round()?];
        let mut keys = keys.as_chunks().0.iter().map(|key| u64::from_be_bytes(*key));
        let check = Key([keys.next()?, keys.next()?]);
        // An even factor would map many ids to one worker.
        rounds.iter().all(|round| round.multiply & 1 == 1).then_some(Self { rounds, check })
    }
}

impl Steering {
    /// Draws a new secret for `workers` workers, between 1 and [`MAX_WORKERS`].
    pub(super) fn new(workers: usize) -> Self {
        Self { workers: count(workers), secret: Secret::new(), generation: 0 }
    }

    /// Returns the secret for the process that replaces this one.
    pub(super) fn export(&self) -> SteeringPackage {
        SteeringPackage { secret: self.secret.export() }
    }

    /// Continues the mapping of an older process with an own number of workers. Returns `None` if
    /// the package or the generation is damaged.
    pub(super) fn import(
        package: &SteeringPackage,
        generation: u8,
        workers: usize,
    ) -> Option<Self> {
        let secret = Secret::import(&package.secret)?;
        (generation < GENERATIONS).then_some(Self { workers: count(workers), secret, generation })
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

    /// Returns the generation of the process that issued the destination id of a datagram, or
    /// `None` if no process with this secret issued it.
    #[inline]
    pub(super) fn generation_of(&self, datagram: &[u8]) -> Option<u8> {
        let id = if datagram.first()? & 0x80 == 0 {
            datagram.get(1..=ID_LENGTH)?
        } else {
            // The byte before the id of a long header is the length of the id.
            let (length, rest) = datagram.get(5..)?.split_first()?;
            rest.get(..ID_LENGTH).filter(|_| usize::from(*length) == ID_LENGTH)?
        };
        self.issued(id.try_into().ok()?)
    }

    /// Returns the generation of an id, or `None` if the proof is wrong.
    #[inline]
    pub(super) fn issued(&self, id: [u8; ID_LENGTH]) -> Option<u8> {
        let [rest @ .., c0, c1] = id;
        let difference = self.proof(rest) ^ u16::from_be_bytes([c0, c1]);
        let generation = (difference >> PROOF_BITS) as u8;
        (difference.trailing_zeros() >= PROOF_BITS).then_some(generation)
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
        let proof = self.proof([r0, r1, r2, r3, f0, f1]);
        let [c0, c1] = (proof ^ (u16::from(self.generation) << PROOF_BITS)).to_be_bytes();
        [r0, r1, r2, r3, f0, f1, c0, c1]
    }

    fn unmix(&self, random: u32, field: u16) -> usize {
        (((self.mix(random) ^ u32::from(field)) & 0xffff) % self.workers) as usize
    }

    fn mix(&self, mut value: u32) -> u32 {
        for round in self.secret.rounds {
            value = value.wrapping_add(round.add).wrapping_mul(round.multiply);
            value ^= value >> FOLD;
        }
        value
    }

    #[inline]
    fn proof(&self, id: [u8; 6]) -> u16 {
        self.secret.check.hash(id) as u16
    }
}

fn count(workers: usize) -> u32 {
    u32::try_from(workers.clamp(1, MAX_WORKERS)).unwrap_or(1)
}

/// Returns the destination id of a packet that a client may send before it knows an id of the
/// server: Initial and 0-RTT (RFC 9000 §17.2).
#[inline]
pub(super) fn early_id(datagram: &[u8]) -> Option<ConnectionId> {
    if datagram.first()? & 0xa0 != 0x80 {
        return None;
    }
    let (length, rest) = datagram.get(5..)?.split_first()?;
    let length = usize::from(*length);
    let id = rest.get(..length).filter(|id| id.len() <= MAX_ID_LENGTH)?;
    Some(ConnectionId::new(id))
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

    /// Refuses foreign ids, so that noise costs no stateless reset. Ids of all generations are
    /// accepted: the processes share the key of resets, and a client of a process that has ended
    /// learns from the reset that its connection is gone.
    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let id = (**id).try_into().map_err(|_| InvalidCid)?;
        self.steering.issued(id).map(|_| ()).ok_or(InvalidCid)
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

    fn successor(steering: &Steering, workers: usize) -> Steering {
        let generation = (steering.generation + 1) % GENERATIONS;
        Steering::import(&steering.export(), generation, workers).unwrap()
    }

    #[test]
    fn an_id_tells_its_generation_to_all_processes_with_the_secret() {
        let first = Steering::new(3);
        let mut processes = vec![first];
        for workers in [3, 1, 8, 2, 3, 5, 64] {
            let next = successor(processes.last().unwrap(), workers);
            processes.push(next);
        }
        assert_eq!(processes.len(), usize::from(GENERATIONS));
        for (generation, issuer) in processes.iter().enumerate() {
            for worker in 0..issuer.workers as usize {
                let id = issuer.id(worker);
                for reader in &processes {
                    let generation = Some(generation as u8);
                    assert_eq!(reader.generation_of(&short(&id)), generation);
                    assert_eq!(reader.generation_of(&long(&id)), generation);
                }
                assert_eq!(issuer.worker(&short(&id)), Some(worker));
            }
        }
        let stranger = Steering::new(3);
        let known = |_: &usize| stranger.generation_of(&short(&processes[0].id(0))).is_some();
        assert!((0..2000).filter(known).count() < 10);
    }

    #[test]
    fn ids_do_not_show_the_generation() {
        // Two generations set each bit of the proof equally often.
        let old = Steering::new(1);
        let new = successor(&old, 1);
        const IDS: u32 = 20_000;
        for steering in [old, new] {
            let mut set = [0u32; 16];
            for _ in 0..IDS {
                let [.., c0, c1] = steering.id(0);
                for (bit, count) in set.iter_mut().enumerate() {
                    *count += u32::from(u16::from_be_bytes([c0, c1]) >> bit & 1);
                }
            }
            let even = IDS * 45 / 100..IDS * 55 / 100;
            assert!(set.iter().all(|count| even.contains(count)), "{set:?}");
        }
    }

    #[test]
    fn a_damaged_secret_is_refused() {
        let package = Steering::new(2).export();
        assert!(Steering::import(&package, 1, 2).is_some());
        assert!(Steering::import(&package, GENERATIONS, 2).is_none());
        let Hidden(bytes) = &package.secret;
        for damaged in [&bytes[1..], &[bytes, &[0][..]].concat(), &[0; SECRET_LENGTH]] {
            let package = SteeringPackage { secret: Hidden(damaged.to_vec()) };
            assert!(Steering::import(&package, 1, 2).is_none());
        }
    }

    #[test]
    fn only_early_packets_have_an_early_id() {
        let id = [7; 20];
        let packet = |first: u8, length: u8| [&[first, 0, 0, 0, 1, length], &id[..]].concat();
        for first in [0xc0, 0xc3, 0xd0, 0x80] {
            assert_eq!(early_id(&packet(first, 20)), Some(ConnectionId::new(&id)));
        }
        for first in [0x40, 0xe0, 0xf0] {
            assert_eq!(early_id(&packet(first, 20)), None);
        }
        assert_eq!(early_id(&packet(0xc0, 21)), None);
        assert_eq!(early_id(&packet(0xc0, 255)), None);
        assert_eq!(early_id(&[0xc0, 0, 0, 0, 1]), None);
        assert_eq!(early_id(&[]), None);
    }
}
