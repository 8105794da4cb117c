//! The configuration as requests see it: routes, upstreams and plugins. A [`State`] is built whole
//! or not at all, beside the one that serves, and [`current::Current`] publishes it.

pub mod current;
pub mod orders;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::uri::Authority;
use ipnet::IpNet;

use crate::config::source::Stamp;
use crate::config::{self, Config, ListenerId, ListenerLimits};
use crate::geoip::{GeoIp, GeoIpError};
use crate::message::peer::Peer;
use crate::plugins::{Plugins, PluginsError};
use crate::route::Router;
use crate::telemetry::metrics::Metrics;
use crate::tls::TlsError;
use crate::upstream::Upstream;

/// The reason why a configuration has no state.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A plugin cannot be loaded.
    #[error(transparent)]
    Plugins(#[from] PluginsError),
    /// The TLS toward the endpoints of an upstream cannot be set up: its name, and the reason.
    #[error("set up TLS toward upstream {0}")]
    Tls(String, #[source] Box<TlsError>),
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
    /// The configuration.
    pub config: Arc<Config>,
    /// The routes.
    pub router: Router,
    /// The upstreams, in the configuration's order.
    pub upstreams: Vec<Arc<Upstream>>,
    /// The plugins, in the configuration's order.
    pub plugins: Arc<Plugins>,
    /// The databases of the location of clients.
    pub geoip: Arc<GeoIp>,
    /// The listeners of the configuration, and those that only finish their connections.
    listeners: Vec<Arc<Listener>>,
}

/// The part of a listener's configuration that requests need.
#[derive(Debug)]
pub struct Listener {
    /// Names the listener for as long as the process lives.
    pub id: ListenerId,
    /// Bounds on its requests.
    pub limits: ListenerLimits,
    /// The port of HTTPS that all requests are redirected to.
    pub redirect: Option<u16>,
    /// Networks of proxies whose fields about the client count.
    pub trusted_proxies: Vec<IpNet>,
    default_host: Option<Authority>,
}

impl State {
    /// Loads and compiles every plugin and tries each with its configurations. Opens no socket.
    ///
    /// The state keeps the parts of `before` that have the same identity: upstreams and plugins by
    /// their names, endpoints by their addresses. `listeners` are the ids of the configuration's
    /// listeners, in its order.
    ///
    /// # Errors
    /// [`StateError`].
    pub fn build(
        config: Arc<Config>,
        listeners: &[ListenerId],
        metrics: &Metrics,
        before: Option<&State>,
    ) -> Result<Self, StateError> {
        let geoip = match before.filter(|before| before.geoip.is_of(&config.geoip)) {
            Some(before) => Arc::clone(&before.geoip),
            None => Arc::new(GeoIp::open(&config.geoip)?),
        };
        let plugins = Plugins::load(&config, metrics, before.map(|before| &*before.plugins))?;
        let upstream = |upstream: &config::Upstream| {
            let known = before.and_then(|before| before.upstream(&upstream.name));
            Upstream::new(upstream, metrics, known.map(|known| &**known))
                .map(Arc::new)
                .map_err(|error| StateError::Tls(upstream.name.clone(), Box::new(error)))
        };
        let own = listeners.iter().zip(&config.listeners);
        let mut all: Vec<_> =
            own.map(|(id, listener)| Arc::new(Listener::new(*id, listener))).collect();
        // Connections of a listener that left go on until their clients have noticed.
        let known = before.map_or(&[][..], |before| &before.listeners);
        let left = known.iter().filter(|known| !listeners.contains(&known.id)).map(Arc::clone);
        let (own, open) = (all.len(), before.map_or(0, |before| before.config.listeners.len()));
        all.extend(left);
        all.truncate(own + open + LEFT);
        Ok(Self {
            router: Router::new(&config.routes, &config.errors, metrics, before.map(|b| &b.router)),
            upstreams: config.upstreams.iter().map(upstream).collect::<Result<_, _>>()?,
            plugins: Arc::new(plugins),
            geoip,
            listeners: all,
            config,
        })
    }

    /// Returns the listener with this id; `None` only if it left long ago.
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.id == id).map(|listener| &**listener)
    }

    /// Reads the TLS files of upstreams again, where they have changed.
    pub fn renew(&self) {
        for (upstream, config) in self.upstreams.iter().zip(&self.config.upstreams) {
            upstream.renew(config);
        }
    }

    /// Returns the TLS files of upstreams, with stamps from before they were read.
    pub fn files(&self) -> impl Iterator<Item = (PathBuf, Stamp)> {
        self.upstreams.iter().flat_map(|upstream| upstream.connector().files().to_vec())
    }

    /// Returns the upstream of a name.
    pub fn upstream(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstreams.iter().find(|upstream| &*upstream.name == name)
    }
}

impl Listener {
    fn new(id: ListenerId, config: &config::Listener) -> Self {
        Self {
            id,
            limits: config.limits.clone(),
            redirect: config.redirect,
            trusted_proxies: config.trusted_proxies.clone(),
            default_host: config.default_host.clone(),
        }
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

/// Listeners that have left and whose connections may still have requests. A connection ends within
/// the grace period, and few reloads within it move listeners.
const LEFT: usize = 64;

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
