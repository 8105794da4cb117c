//! [`Keys`]: the secrets that all listeners of a process share, and that an upgrade hands over.

use std::fmt;
use std::sync::Arc;

use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};
use ring::{hkdf, hmac};

use crate::handoff::{Hidden, KeysPackage};
use crate::tls::{Tickets, TicketsError};

/// The secrets that all listeners of a process share. Clones share them.
#[derive(Clone)]
pub struct Keys {
    /// The keys of TLS session tickets.
    pub(super) tickets: Arc<Tickets>,
    /// The secret of Retry tokens (RFC 9000 §8.1.2).
    retry: Arc<[u8]>,
    /// The secret of stateless resets (RFC 9000 §10.3).
    reset: Arc<[u8]>,
}

impl Keys {
    /// Draws new keys.
    ///
    /// # Errors
    ///
    /// The system has no randomness.
    pub fn new() -> Result<Self, TicketsError> {
        let draw = || Arc::from(rand::random::<[u8; SECRET]>().as_slice());
        Ok(Self { tickets: Arc::new(Tickets::new()?), retry: draw(), reset: draw() })
    }

    /// Takes the keys of the process before. Tickets and tokens of its clients stay valid.
    ///
    /// # Errors
    ///
    /// The keys are damaged.
    pub fn import(package: &KeysPackage) -> Result<Self, TicketsError> {
        Ok(Self {
            tickets: Arc::new(Tickets::import(&package.tickets.0)?),
            retry: Arc::from(package.retry.0.as_slice()),
            reset: Arc::from(package.reset.0.as_slice()),
        })
    }

    /// Returns the keys for the process after this one.
    pub fn export(&self) -> KeysPackage {
        KeysPackage {
            tickets: Hidden(self.tickets.export().to_vec()),
            retry: Hidden(self.retry.to_vec()),
            reset: Hidden(self.reset.to_vec()),
        }
    }

    /// Returns the key of Retry tokens. Tokens of one worker are valid at every other.
    pub(super) fn retry(&self) -> Arc<dyn HandshakeTokenKey> {
        Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.retry))
    }

    /// Returns the key of a worker's stateless resets. Workers have different keys: a worker that
    /// gets a packet of another one must not be able to reset its connection.
    pub(super) fn reset(&self, worker: usize) -> Arc<dyn HmacKey> {
        let all = hmac::Key::new(hmac::HMAC_SHA256, &self.reset);
        let own = hmac::sign(&all, &(worker as u64).to_be_bytes());
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, own.as_ref()))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// Bytes of a secret: the block of SHA-256.
const SECRET: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(keys: &Keys, worker: usize) -> [u8; 32] {
        let (mut signature, key) = ([0; 32], keys.reset(worker));
        key.sign(b"a connection id", &mut signature);
        signature
    }

    #[test]
    fn keys_that_moved_are_the_same_and_workers_have_different_ones() {
        let keys = Keys::new().unwrap();
        let moved = Keys::import(&keys.export()).unwrap();
        assert_eq!(reset(&keys, 0), reset(&moved, 0));
        assert_ne!(reset(&keys, 0), reset(&keys, 1));
        assert_ne!(reset(&keys, 0), reset(&Keys::new().unwrap(), 0));
        assert!(Keys::import(&KeysPackage::default()).is_err());
    }
}
