//! The snapshot that requests are served by: routes, upstreams and plugins of one configuration, built whole or not at all.

use std::sync::Arc;

use crate::config::{self, Config, ListenerLimits};
use crate::geoip::{GeoIp, GeoIpError};
use crate::plugins::{Plugins, PluginsError};
use crate::route::Router;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// Why there is no state for a configuration.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A plugin cannot be had.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// A database of addresses cannot be had: its index, and why.
    #[error("{1}")]
    GeoIp(usize, #[source] GeoIpError),
}

impl From<(usize, GeoIpError)> for StateError {
    fn from((index, error): (usize, GeoIpError)) -> Self {
        Self::GeoIp(index, error)
    }
}

/// What all workers share of one configuration.
#[derive(Debug)]
pub struct State {
    /// The routes.
    pub router: Router,
    /// The upstreams, in the configuration's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The plugins, in the configuration's order.
    pub plugins: Arc<Plugins>,
    /// Where clients are.
    pub geoip: GeoIp,
    limits: Vec<ListenerLimits>,
    unlimited: ListenerLimits,
}

impl State {
    /// Loads and compiles every plugin and tries each with its configurations. Opens no socket.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn build(config: &Config, metrics: &Metrics) -> Result<Self, StateError> {
        let geoip = GeoIp::open(&config.geoip)?;
        let plugins = Arc::new(Plugins::load(config, metrics)?);
        let upstream = |(index, upstream): (usize, &config::Upstream)| {
            Arc::new(Upstream::new(index, upstream, metrics))
        };
        Ok(Self {
            router: Router::new(&config.routes),
            upstreams: config.upstreams.iter().enumerate().map(upstream).collect(),
            plugins,
            geoip,
            limits: config.listeners.iter().map(|listener| listener.limits.clone()).collect(),
            unlimited: ListenerLimits::default(),
        })
    }

    /// The limits of the listener with this index.
    pub fn limits(&self, listener: usize) -> &ListenerLimits {
        self.limits.get(listener).unwrap_or(&self.unlimited)
    }
}
