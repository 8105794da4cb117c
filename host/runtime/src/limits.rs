//! The limits of one instance and their accounting: memory as it grows, CPU time as the clock
//! ticks.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{ResourceLimiter, UpdateDeadline};

use crate::clock::TICK;

/// The limits of one instance of a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory and tables, for the whole instance. An allocation past it ends the
    /// call with [`PluginError::Memory`](crate::PluginError::Memory). Bounded by 4 GiB per memory.
    pub memory: usize,
    /// CPU time of one call. Past it the call ends with
    /// [`PluginError::Timeout`](crate::PluginError::Timeout). A call may run up to 3 ms longer. The
    /// limit counts the thread's CPU time, so that a plugin does not look slow when a busy machine
    /// makes the thread wait. Setup (`describe`, `configure`) gets [`Limits::SETUP`] if that is
    /// more.
    pub time: Duration,
}

impl Limits {
    /// CPU time for setting up an instance: interpreters of dynamic languages start in it.
    pub const SETUP: Duration = Duration::from_secs(5);

    /// The least CPU time for `update`: its cost grows with the endpoints, and it runs only on
    /// changes, not per request.
    pub const UPDATE: Duration = Duration::from_millis(100);
}

impl Default for Limits {
    /// 16 MiB and 5 ms: the small components of compiled languages use a tenth of either.
    fn default() -> Self {
        Limits { memory: 16 << 20, time: Duration::from_millis(5) }
    }
}

/// Counts the memory of an instance, and refuses an allocation past its limit.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    linear: usize,
    tables: usize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Memory {
        Memory { limit, linear: 0, tables: 0 }
    }

    /// Bytes of linear memory.
    pub(crate) fn linear(&self) -> usize {
        self.linear
    }

    fn admits(&self, more: usize) -> Result<(), MemoryRefused> {
        let total = self.linear.saturating_add(self.tables).saturating_add(more);
        if total > self.limit { Err(MemoryRefused) } else { Ok(()) }
    }
}

/// A refusal is an error, not a `-1` for the guest to handle. An instance that ran out of memory
/// once would lack memory for the rest of its life, so the host replaces it.
impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        self.admits(more)?;
        self.linear += more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(MemoryRefused.into())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current).saturating_mul(size_of::<usize>());
        self.admits(more)?;
        self.tables += more;
        Ok(true)
    }

    fn table_grow_failed(&mut self, _error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(MemoryRefused.into())
    }
}

/// The reason of a call that ended because an allocation was refused.
#[derive(Debug, thiserror::Error)]
#[error("an allocation past the limit of memory")]
pub(crate) struct MemoryRefused;

/// The CPU time of the running call.
///
/// Reading a thread's CPU clock is a system call and takes longer than a whole `pick`. A call
/// therefore begins without one; the host reads the clock only at the ticks that fall into a call.
#[derive(Debug, Default)]
pub(crate) struct Deadline {
    limit: Duration,
    first_tick: Option<Duration>,
    /// Whether the limit was passed at the last look.
    is_past: bool,
}

impl Deadline {
    /// Begins a call. The store's epoch deadline must be one tick ahead.
    pub(crate) fn begin(&mut self, limit: Duration) {
        self.limit = limit;
        self.first_tick = None;
        self.is_past = false;
    }

    /// Decides on a call when its deadline has passed. A call past its limit gets one more tick. A
    /// virtual machine may stop a processor for long, and that time counts as the thread's. A call
    /// that was merely stopped then has time to end.
    pub(crate) fn tick(&mut self) -> UpdateDeadline {
        let now = thread_time();
        let used = now.saturating_sub(*self.first_tick.get_or_insert(now));
        match self.limit.checked_sub(used) {
            None | Some(Duration::ZERO) if self.is_past => UpdateDeadline::Interrupt,
            None | Some(Duration::ZERO) => {
                self.is_past = true;
                UpdateDeadline::Continue(1)
            }
            Some(left) => UpdateDeadline::Continue(ticks(left)),
        }
    }
}

/// Ticks until `time` has passed, at least one.
fn ticks(time: Duration) -> u64 {
    let ticks = time.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX / 2).max(1)
}

pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The largest number of 64 bits that crosses the boundary of a plugin, in either direction, and
/// negated the least. A binary64 number holds all whole numbers up to this one (RFC 7493 §2.2).
pub(crate) const MOST_WHOLE: u64 = (1 << 53) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_past_the_limit_is_refused_over_all_memories_and_tables() {
        let mut memory = Memory::new(3 << 16);
        assert!(memory.memory_growing(0, 1 << 16, None).unwrap());
        assert!(memory.memory_growing(0, 1 << 16, None).unwrap());
        assert!(memory.table_growing(0, 4096, None).unwrap());
        let error = memory.memory_growing(1 << 16, 2 << 16, None).unwrap_err();
        assert!(error.is::<MemoryRefused>());
        assert_eq!(memory.linear(), 2 << 16);
    }

    #[test]
    fn growth_past_a_memory_s_own_maximum_is_for_the_guest_to_handle() {
        let mut memory = Memory::new(1 << 20);
        assert!(!memory.memory_growing(0, 2 << 16, Some(1 << 16)).unwrap());
        assert_eq!(memory.linear(), 0);
    }

    #[test]
    fn a_deadline_counts_cpu_time_and_not_waiting() {
        let mut deadline = Deadline::default();
        deadline.begin(Duration::from_millis(20));
        assert!(matches!(deadline.tick(), UpdateDeadline::Continue(20)));
        let start = thread_time();
        while thread_time() - start < Duration::from_millis(5) {}
        assert!(matches!(deadline.tick(), UpdateDeadline::Continue(1..=15)));
        while thread_time() - start < Duration::from_millis(20) {}
        assert!(matches!(deadline.tick(), UpdateDeadline::Continue(1)));
        assert!(matches!(deadline.tick(), UpdateDeadline::Interrupt));
        deadline.begin(Duration::ZERO);
        assert!(matches!(deadline.tick(), UpdateDeadline::Continue(1)));
    }
}
