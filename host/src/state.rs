//! The snapshot that requests are served by: routes, upstreams and plugins of one configuration, built whole or not at all.

use std::sync::Arc;

use crate::config::{self, Config, ListenerLimits};
use crate::plugins::{Plugins, PluginsError, slot};
use crate::route::Router;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// What all workers share of one configuration.
#[derive(Debug)]
pub struct State {
    /// The routes.
    pub router: Router,
    /// The upstreams, in the configuration's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The plugins, in the configuration's order.
    pub plugins: Arc<Plugins>,
    limits: Vec<ListenerLimits>,
    unlimited: ListenerLimits,
}

impl State {
    /// Loads and compiles every plugin and tries each with its configurations. Opens no socket.
    ///
    /// # Errors
    /// [`PluginsError`], naming the plugin.
    pub fn build(config: &Config, metrics: &Metrics) -> Result<Self, PluginsError> {
        let plugins = Arc::new(Plugins::load(config, metrics)?);
        let upstream = |upstream: &config::Upstream| {
            let overridden = !upstream.balancer_config.is_null();
            let own = config.plugins.get(upstream.balancer).map(|plugin| &plugin.config);
            let settings = if overridden { Some(&upstream.balancer_config) } else { own };
            let settings = settings.map_or_else(|| "{}".to_owned(), slot::text);
            Arc::new(Upstream::new(upstream, settings, metrics))
        };
        Ok(Self {
            router: Router::new(&config.routes),
            upstreams: config.upstreams.iter().map(upstream).collect(),
            plugins,
            limits: config.listeners.iter().map(|listener| listener.limits.clone()).collect(),
            unlimited: ListenerLimits::default(),
        })
    }

    /// The limits of the listener with this index.
    pub fn limits(&self, listener: usize) -> &ListenerLimits {
        self.limits.get(listener).unwrap_or(&self.unlimited)
    }
}
