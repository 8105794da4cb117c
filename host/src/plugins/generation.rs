//! [`Generation`]: one version of a plugin, shared by all workers, and what is known of how it does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use weir_runtime::{Plugin, PluginError};

use super::bounds::Bounds;
use super::function::Function;
use super::health::Health;
use super::slot::{Configs, Prepared, Role};
use super::tally::Tally;
use crate::config;
use crate::message::peer::RequestId;
use crate::telemetry::metrics;

/// One version of a plugin, compiled and configured once to try it.
pub struct Generation {
    /// Counts the versions of a plugin since the start, from 1.
    pub number: u64,
    /// The compiled component.
    pub plugin: Plugin,
    /// What its instances may take.
    pub bounds: Bounds,
    /// What its instances are configured with, secrets and all.
    configs: Configs,
    /// The component's SHA-256 in hexadecimal.
    pub digest: String,
    /// Where the component came from.
    pub origin: Origin,
    /// When it was loaded.
    pub loaded: SystemTime,
    /// What is counted for it.
    pub metrics: metrics::Generation,
    /// Whether it is to be called.
    pub health: Health,
    /// How it does, for comparison with another.
    pub tally: Tally,
    /// It called itself pure, and decided otherwise when asked the same again.
    is_refuted: AtomicBool,
}

/// Where a generation's component came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The source of the configuration.
    Source(config::Source),
    /// A request to the admin API; only its sender knows the file.
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

/// Why a plugin's function gave no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It failed.
    #[error(transparent)]
    Plugin(#[from] PluginError),
    /// It was not called, since it keeps failing.
    #[error("plugin {0} is in quarantine: it kept failing")]
    Quarantine(Arc<str>),
}

impl Failure {
    /// One word for metrics and logs.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Plugin(error) => error.kind(),
            Self::Quarantine(_) => "quarantine",
        }
    }
}

impl Generation {
    /// A generation that has not been called yet.
    pub(super) fn new(
        number: u64,
        prepared: Prepared,
        origin: Origin,
        metrics: metrics::Generation,
    ) -> Arc<Self> {
        let Prepared { plugin, bounds, configs, digest } = prepared;
        let (health, tally) = (Health::default(), Tally::default());
        let loaded = SystemTime::now();
        let is_refuted = AtomicBool::new(false);
        Arc::new(Self {
            number,
            plugin,
            bounds,
            configs,
            digest,
            origin,
            loaded,
            metrics,
            health,
            tally,
            is_refuted,
        })
    }

    /// What an instance is configured with that is used so.
    pub fn config(&self, role: &Role) -> &str {
        let config = self.configs.iter().find(|(known, _)| known == role);
        config.map_or("{}", |(_, config)| config)
    }

    /// Whether a function may be called now.
    ///
    /// # Errors
    /// [`Failure::Quarantine`].
    pub fn admit(&self, function: Function) -> Result<(), Failure> {
        if self.health.admits(function) { Ok(()) } else { Err(self.spare()) }
    }

    /// Whether an instance may be made for a call of a function.
    ///
    /// # Errors
    /// [`Failure::Quarantine`].
    pub fn admit_instance(&self, function: Function) -> Result<(), Failure> {
        if self.health.would_admit(function) { Ok(()) } else { Err(self.spare()) }
    }

    /// Whether the last call of a function went well.
    pub fn is_well(&self, function: Function) -> bool {
        self.health.is_well(function)
    }

    /// Whether it is known not to be pure, though it says so.
    pub fn is_refuted(&self) -> bool {
        self.is_refuted.load(Ordering::Relaxed)
    }

    /// Notes that it is not pure, as a request has shown.
    pub fn refute(&self, request: RequestId) {
        if !self.is_refuted.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                plugin = &**self.plugin.name(),
                generation = self.number,
                request_id = %request,
                "plugin calls itself pure, but decided otherwise when it was given the same again: nothing is remembered of it any more"
            );
        }
    }

    fn spare(&self) -> Failure {
        self.metrics.failure("quarantine");
        Failure::Quarantine(self.plugin.name().clone())
    }

    /// Notes a call that went well, and whose result can be used.
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

    /// Notes a call that failed for a request, and logs some of them: a plugin that fails with each request is told of now and
    /// then.
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
        if self.health.is_to_be_told() {
            tracing::warn!(
                plugin,
                generation,
                function = function.name(),
                request_id = %request,
                kind = error.kind(),
                error = error as &dyn std::error::Error,
                "plugin failed; {consequence}"
            );
        }
        // Whoever can make one request of a component fail must not be able to shut out the others.
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

/// Without the configuration, which has secrets.
impl std::fmt::Debug for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Generation").field("number", &self.number).finish_non_exhaustive()
    }
}
