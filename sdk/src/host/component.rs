//! The host's functions, in a component.

use crate::bindings::host;
pub(super) use crate::bindings::host::{count, log, now_us};

pub(super) fn random() -> u64 {
    // The host returns exactly the requested number of bytes.
    host::random(8).try_into().map(u64::from_le_bytes).unwrap_or_default()
}
