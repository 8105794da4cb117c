//! Session tickets, and the keys that encrypt them (RFC 5077 §4, RFC 8446 §4.6.1).
//!
//! The keys outlive the certificates, and move to the process that takes over the sockets. A client
//! therefore resumes its session across reloads and upgrades. The format of a ticket and the life
//! of a key are those of rustls' own tickets, whose keys cannot be exported.

use std::fmt;
use std::mem;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::server::ProducesTickets;
use zeroize::Zeroizing;

/// The keys of session tickets. Listeners that share them resume each other's sessions, so a
/// listener that authenticates its clients by certificates needs its own.
pub struct Tickets(RwLock<Keys>);

/// The reason why there are no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketsError {
    /// The exported keys have a format of another version of Weir.
    #[error("the exported ticket keys have the unknown version {0}")]
    Version(u8),
    /// The exported keys are cut short or too long.
    #[error("the exported ticket keys have a wrong length")]
    Length,
    /// The system has no randomness.
    #[error("the system has no randomness for ticket keys")]
    Randomness,
}

struct Keys {
    current: Key,
    /// It makes no tickets, but still opens them.
    previous: Option<Key>,
}

struct Key {
    /// The first bytes of each ticket. They tell the key, and nothing else.
    name: [u8; NAME],
    secret: Zeroizing<[u8; SECRET]>,
    sealing: LessSafeKey,
    /// The age of the key at `since`.
    aged: Duration,
    since: Instant,
}

impl Tickets {
    /// Makes a new key.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn new() -> Result<Self, TicketsError> {
        Ok(Self::from(Key::generate(Instant::now())?, None))
    }

    /// Returns the keys in a form for [`Tickets::import`]. Everyone who reads them can decrypt
    /// sessions, so they must go to the next process only, and to no disk.
    pub fn export(&self) -> Zeroizing<Vec<u8>> {
        self.export_at(Instant::now())
    }

    /// Takes over the keys of another process.
    ///
    /// # Errors
    /// The bytes are of another version of Weir, or of a wrong length.
    pub fn import(exported: &[u8]) -> Result<Self, TicketsError> {
        let (version, rest) = exported.split_first().ok_or(TicketsError::Length)?;
        if *version != VERSION {
            return Err(TicketsError::Version(*version));
        }
        let now = Instant::now();
        let (current, rest) = Key::read(rest, now).ok_or(TicketsError::Length)?;
        if rest.is_empty() {
            return Ok(Self::from(current, None));
        }
        match Key::read(rest, now) {
            Some((previous, [])) => Ok(Self::from(current, Some(previous))),
            _ => Err(TicketsError::Length),
        }
    }

    fn from(current: Key, previous: Option<Key>) -> Self {
        Self(RwLock::new(Keys { current, previous }))
    }

    fn export_at(&self, now: Instant) -> Zeroizing<Vec<u8>> {
        let keys = self.keys();
        // The room for both keys, at once: a vector that grows leaves copies of secrets behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 2 * RECORD));
        bytes.push(VERSION);
        for key in [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten() {
            bytes.extend(key.name);
            bytes.extend(*key.secret);
            bytes.extend(key.age(now).as_secs().to_be_bytes());
        }
        bytes
    }

    fn seal(&self, session: &[u8], now: Instant) -> Option<Vec<u8>> {
        if session.len() > MAX_SESSION {
            return None;
        }
        self.rotate(now);
        let keys = self.keys();
        // Without randomness, an old key stays the current one. It makes no ticket any more.
        if keys.current.age(now) < ROTATION { keys.current.seal(session) } else { None }
    }

    fn open(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        if ticket.len() > MAX_SESSION + NAME + NONCE_LEN + CHACHA20_POLY1305.tag_len() {
            return None;
        }
        self.rotate(now);
        let (name, rest) = ticket.split_first_chunk::<NAME>()?;
        let keys = self.keys();
        let mut all = [Some(&keys.current), keys.previous.as_ref()].into_iter().flatten();
        let key = all.find(|key| key.name == *name)?;
        if key.age(now) < LIFETIME { key.open(rest) } else { None }
    }

    /// Replaces a key that is due. Most calls only look.
    fn rotate(&self, now: Instant) {
        if self.keys().current.age(now) < ROTATION {
            return;
        }
        let Ok(next) = Key::generate(now) else { return };
        let mut keys = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // Several threads may come at once. The key of the first one stays.
        if keys.current.age(now) < ROTATION {
            return;
        }
        let old = mem::replace(&mut keys.current, next);
        keys.previous = (old.age(now) < LIFETIME).then_some(old);
    }

    fn keys(&self) -> RwLockReadGuard<'_, Keys> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME.as_secs().try_into().unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal(plain, Instant::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open(cipher, Instant::now())
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Key {
    fn generate(now: Instant) -> Result<Self, TicketsError> {
        let (mut name, mut secret) = ([0; NAME], Zeroizing::new([0; SECRET]));
        let random = SystemRandom::new();
        random.fill(&mut name).map_err(|_| TicketsError::Randomness)?;
        random.fill(&mut *secret).map_err(|_| TicketsError::Randomness)?;
        Self::new(name, secret, Duration::ZERO, now).ok_or(TicketsError::Randomness)
    }

    /// Returns `None` only for a secret of a wrong length, which the type excludes.
    fn new(
        name: [u8; NAME],
        secret: Zeroizing<[u8; SECRET]>,
        aged: Duration,
        since: Instant,
    ) -> Option<Self> {
        let sealing = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &*secret).ok()?);
        Some(Self { name, secret, sealing, aged, since })
    }

    /// Reads an exported key, and returns the bytes after it.
    fn read(bytes: &[u8], now: Instant) -> Option<(Self, &[u8])> {
        let (name, rest) = bytes.split_first_chunk()?;
        let (secret, rest) = rest.split_first_chunk()?;
        let (age, rest) = rest.split_first_chunk()?;
        let age = Duration::from_secs(u64::from_be_bytes(*age));
        Some((Self::new(*name, Zeroizing::new(*secret), age, now)?, rest))
    }

    /// Returns the age. It counts from ages and monotonic time: the system's clock may jump, and
    /// two processes have no other common time.
    fn age(&self, now: Instant) -> Duration {
        self.aged.saturating_add(now.saturating_duration_since(self.since))
    }

    /// Returns name, nonce, encrypted session and tag. The nonce is random, because a counter would
    /// tell how many tickets were made.
    fn seal(&self, session: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let mut sealed = session.to_vec();
        let nonced = Nonce::assume_unique_for_key(nonce);
        self.sealing.seal_in_place_append_tag(nonced, Aad::from(self.name), &mut sealed).ok()?;
        Some([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.split_first_chunk::<NONCE_LEN>()?;
        let (nonce, mut bytes) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
        let length =
            self.sealing.open_in_place(nonce, Aad::from(self.name), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }
}

/// The time for which a key makes tickets.
const ROTATION: Duration = Duration::from_secs(6 * 60 * 60);

/// The time for which a key opens tickets. A session of a stolen key is readable for no longer.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// The most bytes of a session. One without a client's certificates has a few hundred, and a chain
/// of certificates a few thousand. A bound limits the work for a ticket that someone made up.
const MAX_SESSION: usize = 16 * 1024;

/// The version of the exported form. It changes with the form or the cipher.
const VERSION: u8 = 1;

const NAME: usize = 16;
const SECRET: usize = 32;

/// The bytes of an exported key: name, secret, and age in seconds.
const RECORD: usize = NAME + SECRET + size_of::<u64>();

#[cfg(test)]
mod tests;
