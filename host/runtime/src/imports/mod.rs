//! `weir:plugin/host`: what a guest may ask of the host. No function calls back, waits, or costs more than its
//! bound.

pub(crate) mod log;

use std::time::{SystemTime, UNIX_EPOCH};

use rand::Rng;

use crate::bindings::weir::plugin::{host, types};
use crate::instance::State;

impl types::Host for State {}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) {
        self.log.write(&self.plugin, level, &message);
    }

    fn now(&mut self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }

    fn random(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        if len > MAX_RANDOM {
            return Err(wasmtime::Error::msg(format!(
                "random asked for {len} bytes, at most {MAX_RANDOM} are given at once"
            )));
        }
        let mut bytes = vec![0; len as usize];
        rand::rng().fill_bytes(&mut bytes);
        Ok(bytes)
    }
}

/// Bytes of one `random` call; a seed needs 32.
const MAX_RANDOM: u32 = 4096;
