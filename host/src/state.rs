//! The snapshot that requests are served by: routes, upstreams and balancers of one configuration, built whole or not at all.

use std::sync::Arc;

use weir_runtime::{Balancer, Engine, PluginError};

use crate::config::{self, Config, ListenerLimits};
use crate::plugins::{self, SourceError};
use crate::route::Router;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Upstream, balance};

/// What all workers share of one configuration.
#[derive(Debug)]
pub struct State {
    /// The routes.
    pub router: Router,
    /// The upstreams, in the configuration's order.
    pub upstreams: Vec<Arc<Upstream>>,
    limits: Vec<ListenerLimits>,
    unlimited: ListenerLimits,
}

/// Why a configuration that reads well cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The plugin runtime could not be set up.
    #[error("start the plugin runtime")]
    Engine(#[source] PluginError),
    /// A component could not be read.
    #[error("plugin {name}")]
    Source {
        /// The plugin's name.
        name: String,
        /// What happened.
        source: SourceError,
    },
    /// A component is no balancer, or broken.
    #[error("load plugin {name}")]
    Plugin {
        /// The plugin's name.
        name: String,
        /// What happened.
        source: PluginError,
    },
    /// A balancer does not take its configuration.
    #[error("configure balancer {balancer} for upstream {upstream}")]
    Balancer {
        /// The plugin's name.
        balancer: String,
        /// The upstream's name.
        upstream: String,
        /// What happened.
        source: PluginError,
    },
}

impl State {
    /// Loads and compiles every plugin and tries each upstream's balancer with its configuration. Opens no socket.
    ///
    /// # Errors
    /// [`StateError`], naming the plugin or the upstream.
    pub fn build(config: &Config, metrics: &Metrics) -> Result<Self, StateError> {
        let engine = Engine::new().map_err(StateError::Engine)?;
        let plugins = config.plugins.iter().map(|plugin| load(&engine, plugin));
        let plugins = plugins.collect::<Result<Vec<_>, _>>()?;
        let upstream = |upstream: &config::Upstream| {
            let found = plugins.get(upstream.balancer).zip(config.plugins.get(upstream.balancer));
            let (balancer, plugin) = found.ok_or_else(|| StateError::Source {
                name: upstream.name.clone(),
                source: SourceError::Unknown,
            })?;
            let overridden = !upstream.balancer_config.is_null();
            let settings = if overridden { &upstream.balancer_config } else { &plugin.config };
            let settings = if settings.is_null() { "{}".to_owned() } else { settings.to_string() };
            try_out(&plugin.name, balancer, &settings).map_err(|source| StateError::Balancer {
                balancer: plugin.name.clone(),
                upstream: upstream.name.clone(),
                source,
            })?;
            let balancer = Arc::clone(balancer);
            Ok(Arc::new(Upstream::new(upstream, balancer, &plugin.name, settings, metrics)))
        };
        Ok(Self {
            router: Router::new(&config.routes),
            upstreams: config.upstreams.iter().map(upstream).collect::<Result<_, _>>()?,
            limits: config.listeners.iter().map(|listener| listener.limits.clone()).collect(),
            unlimited: ListenerLimits::default(),
        })
    }

    /// The limits of the listener with this index.
    pub fn limits(&self, listener: usize) -> &ListenerLimits {
        self.limits.get(listener).unwrap_or(&self.unlimited)
    }
}

fn load(engine: &Engine, plugin: &config::Plugin) -> Result<Arc<Balancer>, StateError> {
    let name = plugin.name.clone();
    let wasm = plugins::read(plugin).map_err(|source| StateError::Source { name, source })?;
    let limits = weir_runtime::Limits { memory: plugin.limits.memory, time: plugin.limits.time };
    let balancer = Balancer::load(engine, &plugin.name, &wasm, limits)
        .map_err(|source| StateError::Plugin { name: plugin.name.clone(), source })?;
    Ok(Arc::new(balancer))
}

/// Configures an instance and throws it away: what a balancer refuses, it refuses before any request.
fn try_out(name: &str, balancer: &Balancer, settings: &str) -> Result<(), PluginError> {
    let instance = balancer.instantiate(settings)?;
    balance::inputs(&instance).map_err(|what| PluginError::invalid(&Arc::from(name), what))?;
    Ok(())
}
