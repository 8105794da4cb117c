//! [`Bounds`]: the limits of a plugin's instances, from the configuration and the kind of the
//! plugin.

use std::time::Duration;

use weir_runtime::Limits;

use crate::config::{PluginLimits, Reuse, defaults};

/// The limits and the lifetime of each instance of a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Limits of memory and CPU time.
    pub limits: Limits,
    /// Time for which a standard component may leave a request without any progress.
    pub wait: Duration,
    /// Requests that a standard component serves at the same time on one worker.
    pub concurrency: usize,
    /// The lifetime of an instance.
    pub reuse: Reuse,
}

impl Bounds {
    /// Returns the bounds of a component, standard or not, under the limits of the configuration.
    ///
    /// # Errors
    ///
    /// A limit does not apply to the kind of the plugin.
    pub(super) fn of(
        is_standard: bool,
        given: &PluginLimits,
        reuse: Option<Reuse>,
    ) -> Result<Self, String> {
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
        let bounds = |given: PluginLimits| Bounds::of(false, &given, None);
        assert_eq!(bounds(none).unwrap().limits, Limits::default());
        assert_eq!(bounds(none).unwrap().reuse, Reuse::Worker);
        let second = Duration::from_secs(1);
        assert!(bounds(PluginLimits { time: Some(second), ..none }).is_ok());
        assert!(bounds(PluginLimits { time: Some(second * 2), ..none }).is_err());
        assert!(bounds(PluginLimits { cpu: Some(second), ..none }).is_err());
        assert!(bounds(PluginLimits { concurrency: Some(1), ..none }).is_err());
    }
}
