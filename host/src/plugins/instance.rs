//! [`Instance`]: an instance of a plugin, counted in the metrics for as long as it lives.

use weir_runtime::FilterInstance;

use crate::message::peer::RequestId;
use crate::telemetry::metrics;

/// An instance of a plugin that a worker keeps between calls: a filter's, or a balancer's with its
/// inputs.
pub(crate) trait Guest {
    /// Returns the bytes of its memory.
    fn memory(&self) -> usize;

    /// Notes the request that the next call is made for.
    fn serve(&mut self, request: RequestId);
}

impl Guest for FilterInstance {
    fn memory(&self) -> usize {
        Self::memory(self)
    }

    fn serve(&mut self, request: RequestId) {
        Self::serve(self, request.0);
    }
}

/// A guest, and its part in the metrics.
pub(crate) struct Instance<G> {
    pub(crate) guest: G,
    counted: InstanceCount,
}

impl<G: Guest> Instance<G> {
    /// Counts a new guest.
    pub(super) fn new(guest: G, metrics: &metrics::GenerationCounters) -> Self {
        let counted = InstanceCount::new(metrics, guest.memory());
        Self { guest, counted }
    }

    /// Follows the growth of its memory.
    pub(super) fn recount(&mut self) {
        self.counted.set(self.guest.memory());
    }
}

/// Counts an instance, and its memory, for as long as it lives.
pub struct InstanceCount {
    metrics: metrics::GenerationCounters,
    memory: usize,
}

impl InstanceCount {
    /// Counts one that has `memory` bytes.
    pub fn new(metrics: &metrics::GenerationCounters, memory: usize) -> Self {
        metrics.instances.inc();
        metrics.memory.add(signed(memory));
        Self { metrics: metrics.clone(), memory }
    }

    /// Follows its growth.
    pub fn set(&mut self, memory: usize) {
        if memory != self.memory {
            self.metrics.memory.add(signed(memory) - signed(self.memory));
            self.memory = memory;
        }
    }
}

impl Drop for InstanceCount {
    fn drop(&mut self) {
        self.metrics.instances.dec();
        self.metrics.memory.sub(signed(self.memory));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
