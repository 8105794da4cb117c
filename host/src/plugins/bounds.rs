//! [`Bounds`]: what a plugin's instances may take, by the configuration and by what the plugin is.

use std::time::Duration;

use weir_runtime::{Limits, service};

use crate::config::{PluginLimits, Reuse, defaults};

/// What each instance of a generation may take, and how long it lives.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Memory, and CPU time.
    pub limits: Limits,
    /// How long a standard component may leave a request without any progress.
    pub wait: Duration,
    /// Requests that a standard component serves at once on one worker.
    pub concurrency: usize,
    /// How long an instance lives.
    pub reuse: Reuse,
}

impl Bounds {
    /// The bounds of `wasm` under what the configuration gives.
    ///
    /// # Errors
    /// What does not go with what it is.
    pub(super) fn of(
        wasm: &[u8],
        given: &PluginLimits,
        reuse: Option<Reuse>,
    ) -> Result<Self, String> {
        let is_standard = service::standard(wasm).is_some();
        let PluginLimits { memory, time, cpu, concurrency } = *given;
        if is_standard {
            let limits = Limits {
                memory: memory.unwrap_or(defaults::COMPONENT_MEMORY),
                time: cpu.unwrap_or(defaults::COMPONENT_CPU),
            };
            return Ok(Self {
                limits,
                wait: time.unwrap_or(defaults::COMPONENT_TIME),
                concurrency: concurrency.unwrap_or(defaults::COMPONENT_CONCURRENCY),
                reuse: reuse.unwrap_or(defaults::COMPONENT_REUSE),
            });
        }
        let time = time.unwrap_or(defaults::PLUGIN_TIME);
        if time > defaults::LONGEST_CALL {
            let most = defaults::LONGEST_CALL;
            return Err(format!("limits.time is at most {most:?} for a balancer or filter"));
        }
        if cpu.is_some() || concurrency.is_some() {
            return Err("limits.cpu and limits.concurrency are for standard components".to_owned());
        }
        Ok(Self {
            limits: Limits { memory: memory.unwrap_or(defaults::PLUGIN_MEMORY), time },
            wait: time,
            concurrency: usize::MAX,
            reuse: reuse.unwrap_or(defaults::PLUGIN_REUSE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_standard_components_is_refused_for_others() {
        let none = PluginLimits::default();
        let bounds = |given: PluginLimits| Bounds::of(b"", &given, None);
        assert_eq!(bounds(none).unwrap().limits, Limits::default());
        assert_eq!(bounds(none).unwrap().reuse, Reuse::Worker);
        let second = Duration::from_secs(1);
        assert!(bounds(PluginLimits { time: Some(second), ..none }).is_ok());
        assert!(bounds(PluginLimits { time: Some(second * 2), ..none }).is_err());
        assert!(bounds(PluginLimits { cpu: Some(second), ..none }).is_err());
        assert!(bounds(PluginLimits { concurrency: Some(1), ..none }).is_err());
    }
}
