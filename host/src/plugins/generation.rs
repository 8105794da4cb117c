//! [`Generation`]: one version of a plugin, shared by all workers, with its health and its timings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use weir_runtime::{Environment, Plugin, PluginError, with_causes};

use super::bounds::Bounds;
use super::function::Function;
use super::health::Health;
use super::slot::{Configs, Prepared, Role};
use super::tally::Tally;
use crate::config;
use crate::message::peer::RequestId;
use crate::telemetry::metrics;

/// One version of a plugin. It has been compiled, and configured once as a test.
pub struct Generation {
    /// The number of the version of the plugin since the start, from 1.
    pub number: u64,
    /// The compiled component.
    pub plugin: Plugin,
    /// Everything that its instances can reach.
    pub(super) environment: Arc<Environment>,
    /// The limits of its instances.
    pub bounds: Bounds,
    /// The configurations of its instances, including secrets.
    configs: Configs,
    /// The component's SHA-256 in hexadecimal.
    pub digest: String,
    /// The origin of the component.
    pub origin: Origin,
    /// The component, if no source has it.
    pub wasm: Option<Arc<[u8]>>,
    /// The time of loading.
    pub loaded: SystemTime,
    /// Its metrics.
    pub metrics: metrics::GenerationCounters,
    /// Decides whether its functions are called.
    pub health: Arc<Health>,
    /// Its failures and call times, for the comparison with another generation.
    pub tally: Arc<Tally>,
    /// Whether it claims to be pure, but decided differently on the same input. All fits of one
    /// version share it.
    is_refuted: Arc<AtomicBool>,
}

/// The origin of a generation's component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The source in the configuration.
    Source(config::Source),
    /// A request to the admin API. Only its sender knows the file.
    Sent,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Source(source) => source.fmt(f),
            Self::Sent => f.write_str("admin API"),
        }
    }
}

/// The reason why a plugin's function gave no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The function failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// The function was not called, because it keeps failing.
    #[error("plugin {0} is in quarantine: it kept failing")]
    Quarantine(Arc<str>),
}

impl CallError {
    /// Returns one word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Plugin(error) => error.kind(),
            Self::Quarantine(_) => "quarantine",
        }
    }
}

impl Generation {
    /// Creates a generation that has not been called yet.
    pub(super) fn new(
        number: u64,
        prepared: Prepared,
        origin: Origin,
        metrics: metrics::GenerationCounters,
    ) -> Arc<Self> {
        let Prepared { plugin, environment, bounds, configs, digest, wasm } = prepared;
        let (health, tally) = (Arc::default(), Arc::default());
        let loaded = SystemTime::now();
        let is_refuted = Arc::default();
        Arc::new(Self {
            number,
            plugin,
            environment,
            bounds,
            configs,
            digest,
            origin,
            wasm,
            loaded,
            metrics,
            health,
            tally,
            is_refuted,
        })
    }

    /// Returns the same version under another configuration. Both share their health and their
    /// tally, unless the configuration or the bounds of an instance have changed. The failures then
    /// say nothing about the new configuration, which may be their remedy.
    pub(super) fn fit(&self, prepared: Prepared) -> Arc<Self> {
        let Prepared { plugin, environment, bounds, configs, digest, .. } = prepared;
        let is_kept = bounds == self.bounds && self.configs.iter().all(|own| configs.contains(own));
        let (health, tally) = if is_kept {
            (Arc::clone(&self.health), Arc::clone(&self.tally))
        } else {
            (Arc::default(), Arc::default())
        };
        Arc::new(Self {
            number: self.number,
            plugin,
            environment,
            bounds,
            configs,
            digest,
            origin: self.origin.clone(),
            wasm: self.wasm.clone(),
            loaded: self.loaded,
            metrics: self.metrics.clone(),
            health,
            tally,
            is_refuted: Arc::clone(&self.is_refuted),
        })
    }

    /// Returns the configuration of an instance with this role.
    pub fn config(&self, role: &Role) -> &str {
        let config = self.configs.iter().find(|(known, _)| known == role);
        config.map_or("{}", |(_, config)| config)
    }

    /// Returns whether an instance of `self` for a role can go on as one of `other`: both are the
    /// same version of the component, with the same configuration, bounds and environment.
    ///
    /// The owner of the instance must use `other` from then on, since their health and their tally
    /// may differ.
    pub fn is_same_for(&self, other: &Generation, role: &Role) -> bool {
        Arc::ptr_eq(&self.is_refuted, &other.is_refuted)
            && Arc::ptr_eq(&self.environment, &other.environment)
            && self.bounds == other.bounds
            && self.config(role) == other.config(role)
    }

    /// Sets the metric of quarantine, for a fit whose health is new.
    pub(super) fn show_quarantine(&self) {
        self.metrics.quarantined.set(i64::from(self.health.is_quarantined()));
    }

    /// Checks whether a function may be called now.
    ///
    /// # Errors
    ///
    /// [`CallError::Quarantine`] if it may not be called.
    pub fn admit(&self, function: Function) -> Result<(), CallError> {
        if self.health.admits(function) { Ok(()) } else { Err(self.spare()) }
    }

    /// Checks whether an instance may be created for a call of a function.
    ///
    /// # Errors
    ///
    /// [`CallError::Quarantine`] if it may not be created.
    pub fn admit_instance(&self, function: Function) -> Result<(), CallError> {
        if self.health.would_admit(function) { Ok(()) } else { Err(self.spare()) }
    }

    /// Returns whether the last call of a function succeeded.
    pub fn is_well(&self, function: Function) -> bool {
        self.health.is_well(function)
    }

    /// Returns whether the generation claims to be pure, but is known not to be.
    pub fn is_refuted(&self) -> bool {
        self.is_refuted.load(Ordering::Relaxed)
    }

    /// Notes that a request has shown that the generation is not pure.
    pub fn refute(&self, request: RequestId) {
        if !self.is_refuted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                plugin = &**self.plugin.name(),
                generation = self.number,
                request_id = %request,
                "plugin claims to be pure, but decided differently on the same input: its decisions are not stored any more"
            );
        }
    }

    fn spare(&self) -> CallError {
        self.metrics.failure("quarantine");
        CallError::Quarantine(self.plugin.name().clone())
    }

    /// Notes a call that succeeded and returned a valid result.
    pub fn succeeded(&self, function: Function) {
        if self.health.recover(function) {
            self.metrics.quarantined.set(0);
            tracing::info!(
                plugin = &**self.plugin.name(),
                generation = self.number,
                "plugin works again"
            );
        }
    }

    /// Notes a failed call for a request. Logs at intervals only, because a plugin may fail with
    /// each request.
    pub fn failed(
        &self,
        function: Function,
        request: RequestId,
        error: &PluginError,
        consequence: &'static str,
    ) {
        self.metrics.failure(error.kind());
        self.tally.failures.fetch_add(1, Ordering::Relaxed);
        let (plugin, generation) = (&**self.plugin.name(), self.number);
        let reason = with_causes(error);
        if let Some(equal) = self.health.is_to_be_told(function, &reason) {
            tracing::warn!(
                plugin,
                generation,
                function = function.name(),
                request_id = %request,
                kind = error.kind(),
                equal_before = (equal > 0).then_some(equal),
                error = error as &dyn std::error::Error,
                "plugin failed; {consequence}"
            );
        }
        // A client that makes one request of a component fail must not be able to block the
        // requests of others.
        if function != Function::Handle
            && let Some(pause) = self.health.suffer(function)
        {
            self.metrics.quarantined.set(1);
            let function = function.name();
            tracing::warn!(
                plugin,
                generation,
                function,
                request_id = %request,
                ?pause,
                "plugin keeps failing: in quarantine"
            );
        }
    }
}

/// Omits the configuration, which contains secrets.
impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}
