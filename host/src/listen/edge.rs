//! [`Edge`]: the settings of a listener, as one of its connections sees them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use ipnet::IpNet;
use quinn_proto::crypto::HmacKey;
use serde_json::json;

use super::h3;
use super::keys::Keys;
use super::stall::Pace;
use crate::config::source::Stamp;
use crate::config::{self, ListenerId, ListenerLimits, Protocols, Quic};
use crate::message::forwarded;
use crate::message::peer::Protocol;
use crate::net::Throttle;
use crate::telemetry::events::Event;
use crate::telemetry::metrics::{self, Metrics};
use crate::tls::{self, CertificateStatus, Dates, ServerConfigs, Tickets, TlsError};

/// The settings of a listener under one configuration. A connection keeps those of its beginning.
#[derive(Debug)]
pub struct Edge {
    pub(super) id: ListenerId,
    pub(super) address: SocketAddr,
    pub(super) protocols: Protocols,
    pub(super) limits: ListenerLimits,
    pub(super) quic: Quic,
    /// Whether a route takes datagrams over HTTP/3 (RFC 9297).
    pub(super) datagrams: bool,
    pub(super) tls: Option<Arc<rustls::ServerConfig>>,
    pub(super) quic_server: Option<Arc<quinn::ServerConfig>>,
    /// The field for responses over TCP if HTTP/3 is served too (RFC 7838).
    pub(super) alt_svc: Option<HeaderValue>,
    /// The rate at which a client must take waiting bytes.
    pub(super) pace: Pace,
    /// Networks whose connections begin with a preamble.
    preamble: Vec<IpNet>,
    pub(super) counters: metrics::QuicCounters,
    pub(super) cut: metrics::Cut,
    /// The certificates, and their source.
    material: Option<Material>,
    port: Arc<Port>,
}

/// The certificates of a listener, and their source.
#[derive(Debug, Clone)]
struct Material {
    source: config::Tls,
    configs: ServerConfigs,
    /// The files, with stamps from before they were read.
    stamps: Vec<(PathBuf, Stamp)>,
    /// The reason why changed files were refused.
    fault: Option<Arc<str>>,
    /// Whether the files were read again for these settings.
    is_renewed: bool,
}

impl Material {
    fn load(
        source: &config::Tls,
        protocols: Protocols,
        tickets: &Arc<Tickets>,
        dates: Dates,
    ) -> Result<Self, TlsError> {
        let stamp = |file: PathBuf| (file.clone(), Stamp::of(&file));
        let stamps = tls::files(source).into_iter().map(stamp).collect();
        let configs = ServerConfigs::new(source, protocols, tickets, dates)?;
        Ok(Self { source: source.clone(), configs, stamps, fault: None, is_renewed: false })
    }

    /// Returns the stamps of the files now.
    fn stamps(&self) -> Vec<(PathBuf, Stamp)> {
        self.stamps.iter().map(|(file, _)| (file.clone(), Stamp::of(file))).collect()
    }

    /// Returns whether the files are those that were read.
    fn is_fresh(&self) -> bool {
        self.stamps.iter().all(|(file, stamp)| Stamp::of(file) == *stamp)
    }
}

/// The parts of a process that its listeners share.
#[derive(Debug, Clone, Copy)]
pub struct Common<'a> {
    /// All metrics.
    pub metrics: &'a Metrics,
    /// The secrets that all listeners share.
    pub keys: &'a Keys,
}

/// The part of a listener that outlives its settings.
#[derive(Debug)]
struct Port {
    connections: AtomicUsize,
    /// Open connections of HTTP/1.1, HTTP/2 and HTTP/3.
    by_protocol: [AtomicUsize; 3],
    refusals: Throttle,
    keys: Keys,
}

impl Edge {
    /// Loads certificates and builds the settings that connections of `config` share. `address` is
    /// that of [`Sockets::address`](super::Sockets::address).
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn new(
        id: ListenerId,
        config: &config::Listener,
        address: SocketAddr,
        common: Common<'_>,
    ) -> Result<Self, TlsError> {
        let port = Port {
            connections: AtomicUsize::new(0),
            by_protocol: Default::default(),
            refusals: Throttle::default(),
            keys: common.keys.clone(),
        };
        let load = |tls| Material::load(tls, config.protocols, &common.keys.tickets, Dates::Warn);
        let material = config.tls.as_ref().map(load).transpose()?;
        Ok(Self::with(Arc::new(port), (id, address), config, material, common.metrics))
    }

    /// Builds the settings of the same listener under another configuration. Certificates that
    /// cannot be used any more stay in use if their source is configured as before.
    ///
    /// # Errors
    ///
    /// The certificates cannot be used.
    pub fn follow(&self, config: &config::Listener, common: Common<'_>) -> Result<Self, TlsError> {
        let material = match (&config.tls, &self.material) {
            (None, _) => None,
            (Some(tls), Some(known))
                if *tls == known.source && config.protocols == self.protocols =>
            {
                Some(self.renew(known, common))
            }
            (Some(tls), _) => {
                Some(Material::load(tls, config.protocols, &common.keys.tickets, Dates::Refuse)?)
            }
        };
        let (port, place) = (Arc::clone(&self.port), (self.id, self.address));
        Ok(Self::with(port, place, config, material, common.metrics))
    }

    /// Loads the certificates again if their files have changed.
    fn renew(&self, known: &Material, common: Common<'_>) -> Material {
        if known.is_fresh() {
            return Material { is_renewed: false, ..known.clone() };
        }
        let (tickets, stamps) = (&common.keys.tickets, known.stamps());
        match Material::load(&known.source, self.protocols, tickets, Dates::Refuse) {
            Ok(material) => Material { is_renewed: true, ..material },
            Err(error) => {
                let fault = Some(Arc::from(weir_runtime::with_causes(&error).as_str()));
                // The stamps are those of the refused files, which are tried again when they
                // change.
                Material { fault, stamps, is_renewed: true, ..known.clone() }
            }
        }
    }

    /// Tells whether certificates were read again for these settings, which serve now.
    pub fn tell(&self, metrics: &Metrics) {
        let Some(material) = self.material.as_ref().filter(|material| material.is_renewed) else {
            return;
        };
        let address = self.address.to_string();
        let data = match &material.fault {
            None => {
                metrics.certificate_reloads.ok.inc();
                tracing::info!(address, "certificates were reloaded");
                json!({ "listener": address, "result": "ok" })
            }
            Some(reason) => {
                metrics.certificate_reloads.failed.inc();
                tracing::error!(
                    address,
                    reason = &**reason,
                    "changed certificates were refused; the ones before stay in use"
                );
                json!({ "listener": address, "result": "failed", "reason": &**reason })
            }
        };
        metrics.events.emit(Event { kind: "certificate", data });
    }

    fn with(
        port: Arc<Port>,
        (id, address): (ListenerId, SocketAddr),
        config: &config::Listener,
        material: Option<Material>,
        metrics: &Metrics,
    ) -> Self {
        let protocols = config.protocols;
        let tls = material.as_ref().map(|material| &material.configs);
        let quic = tls.filter(|_| protocols.h3);
        let alt_svc = quic.and_then(|_| {
            HeaderValue::try_from(format!("h3=\":{}\"; ma=86400", address.port())).ok()
        });
        let quic_server = quic.map(|tls| {
            Arc::new(h3::server_config(
                &config.quic,
                config.datagrams,
                Arc::clone(&tls.quic),
                port.keys.retry(),
            ))
        });
        Self {
            id,
            address,
            protocols,
            limits: config.limits.clone(),
            quic: config.quic.clone(),
            datagrams: config.datagrams,
            quic_server,
            tls: tls.map(|tls| Arc::clone(&tls.tcp)),
            alt_svc,
            pace: Pace::new(&config.limits),
            preamble: config.proxy_protocol.clone(),
            counters: metrics.quic.clone(),
            cut: metrics.cut.clone(),
            material,
            port,
        }
    }

    /// Returns whether the certificates are those of the files now.
    pub fn is_fresh(&self) -> bool {
        self.material.as_ref().is_none_or(Material::is_fresh)
    }

    /// Returns the files of the certificates, with stamps from before they were read.
    pub fn files(&self) -> &[(PathBuf, Stamp)] {
        self.material.as_ref().map_or(&[], |material| &material.stamps)
    }

    /// Returns the reason why changed files were refused, if the last ones were.
    pub fn fault(&self) -> Option<&str> {
        self.material.as_ref().and_then(|material| material.fault.as_deref())
    }

    /// Returns the certificates.
    pub fn certificates(&self) -> &[CertificateStatus] {
        self.material.as_ref().map_or(&[], |material| material.configs.certificates())
    }

    /// Returns whether connections from this address must begin with a preamble.
    pub(super) fn wants_preamble(&self, from: IpAddr) -> bool {
        forwarded::is_in(&self.preamble, from)
    }

    /// Returns the key of a worker's stateless resets.
    pub(super) fn reset_key(&self, worker: usize) -> Arc<dyn HmacKey> {
        self.port.keys.reset(worker)
    }

    /// Returns the number of open connections of the listener, over all its settings.
    pub fn connections(&self) -> usize {
        self.port.connections.load(Ordering::Relaxed)
    }

    /// Returns the number of open connections of a protocol.
    pub fn connections_of(&self, protocol: Protocol) -> usize {
        self.port.of(protocol).load(Ordering::Relaxed)
    }

    /// Returns the protocols that it serves.
    pub fn protocols(&self) -> Protocols {
        self.protocols
    }

    /// Returns whether it has certificates.
    pub fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// Takes one of the listener's connection slots, for a connection that begins with this
    /// protocol. Returns `None` if all are taken.
    pub(super) fn slot(&self, protocol: Protocol) -> Option<ConnectionPermit> {
        self.port.of(protocol).fetch_add(1, Ordering::Relaxed);
        let slot = ConnectionPermit { port: Arc::clone(&self.port), protocol };
        // Counting first prevents two workers from taking the last slot.
        if self.port.connections.fetch_add(1, Ordering::Relaxed) < self.limits.connections {
            return Some(slot);
        }
        if self.port.refusals.is_due() {
            tracing::warn!(
                address = %self.address,
                limit = self.limits.connections,
                "refusing connections: limits.connections is reached"
            );
        }
        None
    }
}

impl Port {
    fn of(&self, protocol: Protocol) -> &AtomicUsize {
        let [h1, h2, h3] = &self.by_protocol;
        match protocol {
            Protocol::H1 => h1,
            Protocol::H2 => h2,
            Protocol::H3 => h3,
        }
    }
}

/// The slot of one open connection. It becomes free when dropped.
#[derive(Debug)]
pub(super) struct ConnectionPermit {
    port: Arc<Port>,
    protocol: Protocol,
}

impl ConnectionPermit {
    /// Notes that the client has chosen another protocol.
    pub(super) fn choose(&mut self, protocol: Protocol) {
        self.port.of(self.protocol).fetch_sub(1, Ordering::Relaxed);
        self.port.of(protocol).fetch_add(1, Ordering::Relaxed);
        self.protocol = protocol;
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.port.of(self.protocol).fetch_sub(1, Ordering::Relaxed);
        self.port.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
