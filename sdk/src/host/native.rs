//! Stand-ins for the host's functions, in unit tests.

use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Level;

pub(super) fn log(_level: Level, _message: &str) {}

pub(super) fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

pub(super) fn random() -> u64 {
    RandomState::new().hash_one(())
}

pub(super) fn count(_metric: &str, _by: u64) {}
