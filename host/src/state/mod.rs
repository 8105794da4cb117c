//! The snapshot that serves requests: routes, upstreams and plugins of one configuration. It is
//! built whole or not at all.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::Authority;

use crate::config::{self, Config, ListenerId, ListenerLimits};
use crate::geoip::{GeoIp, GeoIpError};
use crate::message::peer::Peer;
use crate::plugins::{Plugins, PluginsError};
use crate::route::Router;
use crate::telemetry::metrics::Metrics;
use crate::upstream::Upstream;

/// The reason why a configuration has no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// A database of addresses cannot be used: its index, and the reason.
    #[error("{1}")]
    GeoIp(usize, #[source] GeoIpError),
}

impl From<(usize, GeoIpError)> for StateError {
    fn from((index, error): (usize, GeoIpError)) -> Self {
        Self::GeoIp(index, error)
    }
}

/// The state of one configuration, shared by all workers.
#[derive(Debug)]
pub struct State {
    /// The routes.
    pub router: Router,
    /// The upstreams, in the configuration's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The plugins, in the configuration's order.
    pub plugins: Arc<Plugins>,
    /// The databases of the location of clients.
    pub geoip: GeoIp,
    listeners: Vec<Listener>,
}

/// The part of a listener's configuration that requests need.
#[derive(Debug)]
pub struct Listener {
    /// Bounds on its requests.
    pub limits: ListenerLimits,
    default_host: Option<Authority>,
}

impl State {
    /// Loads and compiles every plugin and tries each with its configurations. Opens no socket.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn build(config: &Config, metrics: &Metrics) -> Result<Self, StateError> {
        let geoip = GeoIp::open(&config.geoip)?;
        let plugins = Arc::new(Plugins::load(config, metrics)?);
        let upstream = |upstream| Arc::new(Upstream::new(upstream, metrics));
        Ok(Self {
            router: Router::new(&config.routes),
            upstreams: config.upstreams.iter().map(upstream).collect(),
            plugins,
            geoip,
            listeners: config.listeners.iter().map(Listener::new).collect(),
        })
    }

    /// Returns the listener with this id; `None` only if the id is of another configuration.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        id.of(&self.listeners)
    }
}

impl Listener {
    fn new(config: &config::Listener) -> Self {
        Self { limits: config.limits.clone(), default_host: config.default_host.clone() }
    }

    /// Returns the authority of a request that names none (RFC 9112 §3.3): as the listener is
    /// configured, or the address that the client connected to.
    pub fn default_host(&self, peer: &Peer) -> Option<Authority> {
        self.default_host.clone().or_else(|| authority(peer.local, peer.tls))
    }
}

/// Returns an address as an authority, without the default port of its scheme.
fn authority(address: SocketAddr, is_encrypted: bool) -> Option<Authority> {
    let host = match address.ip().to_canonical() {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        // The zone is left out: it has a meaning on this machine only.
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let default = if is_encrypted { 443 } else { 80 };
    let text = if address.port() == default { host } else { format!("{host}:{}", address.port()) };
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_authority_without_the_default_port() {
        for (address, is_encrypted, expected) in [
            ("192.0.2.7:8443", true, "192.0.2.7:8443"),
            ("192.0.2.7:443", true, "192.0.2.7"),
            ("192.0.2.7:443", false, "192.0.2.7:443"),
            ("192.0.2.7:80", false, "192.0.2.7"),
            ("[2001:db8::1]:8080", false, "[2001:db8::1]:8080"),
            ("[fe80::1%3]:80", false, "[fe80::1]"),
            ("[::ffff:192.0.2.7]:80", false, "192.0.2.7"),
        ] {
            let authority = authority(address.parse().unwrap(), is_encrypted).unwrap();
            assert_eq!(authority.as_str(), expected, "{address}");
        }
    }
}
