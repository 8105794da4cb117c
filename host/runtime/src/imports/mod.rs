//! Implements `weir:plugin/host` and `weir:plugin/state`, the functions of the host that a guest
//! may call. No function calls back, waits, or costs more than its bound.

pub(crate) mod log;

use crate::bindings::{bodies, filtering, host, state, types};
use crate::environment::Level;
use crate::instance::State;
use crate::limits::MOST_WHOLE;

impl types::Host for State {}

impl filtering::Host for State {}

impl bodies::Host for State {}

impl host::Host for State {
    fn log(&mut self, level: host::Level, message: String) {
        let level = match level {
            host::Level::Debug => Level::Debug,
            host::Level::Info => Level::Info,
            host::Level::Warn => Level::Warn,
            host::Level::Error => Level::Error,
        };
        self.voice.say(level, &message);
    }

    fn now_us(&mut self) -> u64 {
        self.environment().services().now() / 1_000
    }

    fn random(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        if len > MAX_RANDOM {
            return trap(format!("random asks for {len} bytes; the bound is {MAX_RANDOM}"));
        }
        let mut bytes = vec![0; len as usize];
        self.environment().services().random(&mut bytes);
        Ok(bytes)
    }

    fn count(&mut self, metric: String, by: u64) -> wasmtime::Result<()> {
        check_unsigned("by", by)?;
        let is_name = (1..=MAX_METRIC).contains(&metric.len())
            && metric.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if is_name {
            self.environment().services().count(&metric, by);
        }
        Ok(())
    }
}

impl state::Host for State {
    fn add(&mut self, space: String, key: String, by: i64, ttl_ms: u64) -> wasmtime::Result<i64> {
        let key = self.key(&space, &key)?;
        check_unsigned("ttl-ms", ttl_ms)?;
        if by.unsigned_abs() > MOST_WHOLE {
            return trap(format!("by is {by}; the bounds are -{MOST_WHOLE} and {MOST_WHOLE}"));
        }
        Ok(self.environment().state().add(&key, by, ttl_ms, self.environment().services().now()))
    }

    fn get(&mut self, space: String, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        let key = self.key(&space, &key)?;
        Ok(self.environment().state().get(&key, self.environment().services().now()))
    }

    fn set(
        &mut self,
        space: String,
        key: String,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> wasmtime::Result<()> {
        let key = self.key(&space, &key)?;
        check_value(&value)?;
        check_unsigned("ttl-ms", ttl_ms)?;
        self.environment().state().set(&key, &value, ttl_ms, self.environment().services().now());
        Ok(())
    }

    fn replace(
        &mut self,
        space: String,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> wasmtime::Result<bool> {
        let key = self.key(&space, &key)?;
        check_value(&value)?;
        check_unsigned("ttl-ms", ttl_ms)?;
        let now = self.environment().services().now();
        Ok(self.environment().state().replace(&key, expected.as_deref(), &value, ttl_ms, now))
    }

    fn remove(&mut self, space: String, key: String) -> wasmtime::Result<()> {
        let key = self.key(&space, &key)?;
        self.environment().state().remove(&key);
        Ok(())
    }
}

impl State {
    fn key(&self, space: &str, key: &str) -> wasmtime::Result<Vec<u8>> {
        if key.len() > MAX_KEY {
            return trap(format!(
                "a key of the state has {} bytes; the bound is {MAX_KEY}",
                key.len()
            ));
        }
        match self.environment().key(space, key) {
            Some(key) => Ok(key),
            None => trap(format!("the space {space:?} is not among allow.state")),
        }
    }
}

fn check_value(value: &[u8]) -> wasmtime::Result<()> {
    if value.len() > MAX_VALUE {
        return trap(format!(
            "a value of the state has {} bytes; the bound is {MAX_VALUE}",
            value.len()
        ));
    }
    Ok(())
}

fn check_unsigned(name: &str, number: u64) -> wasmtime::Result<()> {
    if number > MOST_WHOLE {
        return trap(format!("{name} is {number}; the bound is {MOST_WHOLE}"));
    }
    Ok(())
}

fn trap<T>(reason: String) -> wasmtime::Result<T> {
    Err(wasmtime::Error::msg(reason))
}

/// Bytes of one `random` call; a seed needs 32.
const MAX_RANDOM: u32 = 4096;

/// Letters of a metric's name.
const MAX_METRIC: usize = 64;

/// Bytes of a key and of a value in `state`.
pub(crate) const MAX_KEY: usize = 1024;
pub(crate) const MAX_VALUE: usize = 64 << 10;
