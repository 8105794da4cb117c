//! [`View`]: the running process as the admin API sees it.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::Value;

use crate::admin::live::{Live, LiveError, Process};
use crate::admin::model::{
    CertificateStatus, ConnectionCount, EndpointPatch, EndpointStatus, EndpointsOrigin,
    ListenerStatus, UpgradeState, UpgradeStatus, UpstreamStatus,
};
use crate::config::{self, Discovery, Endpoint};
use crate::listen::Listening;
use crate::message::peer::Protocol;
use crate::plugins::Plugins;
use crate::state::State;
use crate::state::current::{Current, Refused, Revision};
use crate::upstream::{Member, Upstream};

/// The running process as the admin API sees it. The supervisor keeps it up to date.
pub(super) struct View {
    started: SystemTime,
    workers: usize,
    current: Arc<Current>,
    listeners: RefCell<Vec<Arc<Listening>>>,
    is_draining: Cell<bool>,
    upgrade: RefCell<UpgradeStatus>,
}

impl View {
    pub(super) fn new(current: Arc<Current>, workers: usize) -> Self {
        Self {
            started: SystemTime::now(),
            workers,
            current,
            listeners: RefCell::default(),
            is_draining: Cell::new(false),
            upgrade: RefCell::new(UpgradeStatus { state: UpgradeState::None, detail: None }),
        }
    }

    pub(super) fn set_listeners<'a>(&self, listeners: impl Iterator<Item = &'a Arc<Listening>>) {
        self.listeners.replace(listeners.map(Arc::clone).collect());
    }

    pub(super) fn set_draining(&self) {
        self.is_draining.set(true);
    }

    pub(super) fn set_upgrade(&self, state: UpgradeState, detail: Option<String>) {
        self.upgrade.replace(UpgradeStatus { state, detail });
    }

    fn upstream(&self, name: &str) -> Result<Arc<Upstream>, LiveError> {
        let state = self.current.state();
        let upstream = state.upstream(name).map(Arc::clone);
        upstream.ok_or_else(|| LiveError::NoUpstream(name.to_owned()))
    }
}

impl Live for View {
    fn process(&self) -> Process {
        let status = |listening: &Arc<Listening>| {
            let edge = listening.edge();
            let protocols = edge.protocols().to_string();
            ListenerStatus {
                address: listening.address.to_string(),
                protocols: protocols.split(',').map(str::to_owned).collect(),
                tls: edge.is_encrypted(),
                connections: edge.connections() as u64,
            }
        };
        Process {
            started: self.started,
            workers: self.workers,
            draining: self.is_draining.get(),
            upgrade: self.upgrade.borrow().clone(),
            listeners: self.listeners.borrow().iter().map(status).collect(),
        }
    }

    fn serving(&self) -> (Revision, Value) {
        let (revision, state) = self.current.serving();
        let secrets = |name: &str, config: &Value| state.plugins.secrets(name, config);
        (revision, config::masked(&state.config.value, &secrets))
    }

    fn revision(&self) -> Revision {
        self.current.serving().0
    }

    fn revisions(&self) -> Vec<Revision> {
        self.current.revisions()
    }

    fn refused(&self) -> Option<Refused> {
        self.current.refused()
    }

    fn plugins(&self) -> Arc<Plugins> {
        Arc::clone(&self.current.state().plugins)
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let state = self.current.state();
        let upstreams = state.upstreams.iter().zip(&state.config.upstreams);
        upstreams.map(|(upstream, config)| status(upstream, config, &state)).collect()
    }

    fn set_endpoints(
        &self,
        upstream: &str,
        endpoints: Option<Vec<Endpoint>>,
    ) -> Result<(), LiveError> {
        let upstream = self.upstream(upstream)?;
        upstream.set(endpoints.as_deref());
        let (name, endpoints) = (&*upstream.name, upstream.members().iter().count());
        tracing::info!(upstream = name, endpoints, "endpoints were set by the admin API");
        Ok(())
    }

    fn patch_endpoint(
        &self,
        upstream: &str,
        endpoint: &str,
        patch: EndpointPatch,
    ) -> Result<(), LiveError> {
        let upstream = self.upstream(upstream)?;
        let members = upstream.members();
        let mut named = members.iter().map(|member| &member.endpoint);
        let Some(found) = named.find(|member| *member.name == *endpoint) else {
            return Err(LiveError::NoEndpoint(endpoint.to_owned()));
        };
        if let Some(drain) = patch.drain {
            found.set_draining(drain);
        }
        if patch.weight.is_some() {
            found.set_weight(patch.weight);
        }
        upstream.announce();
        tracing::info!(
            upstream = &*upstream.name,
            endpoint,
            drain = patch.drain,
            weight = patch.weight,
            "an endpoint was changed by the admin API"
        );
        Ok(())
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        let listeners = self.listeners.borrow();
        let all = listeners.iter().flat_map(|listening| {
            let edge = listening.edge();
            let fault = edge.fault().map(ToString::to_string);
            let status = |certificate: &crate::tls::CertificateStatus| CertificateStatus {
                listener: listening.address.to_string(),
                source: certificate.label().to_owned(),
                names: certificate.names.clone(),
                not_before: certificate.not_before as f64,
                not_after: certificate.not_after as f64,
                sha256: certificate.sha256.clone(),
                error: fault.clone(),
            };
            edge.certificates().iter().map(status).collect::<Vec<_>>()
        });
        all.collect()
    }

    fn connections(&self) -> Vec<ConnectionCount> {
        let listeners = self.listeners.borrow();
        let counts = listeners.iter().flat_map(|listening| {
            let edge = listening.edge();
            [Protocol::H3, Protocol::H2, Protocol::H1].map(|protocol| ConnectionCount {
                listener: listening.address.to_string(),
                protocol: protocol.label().to_owned(),
                worker: None,
                connections: edge.connections_of(protocol) as u64,
            })
        });
        counts.filter(|count| count.connections > 0).collect()
    }
}

fn status(upstream: &Upstream, config: &config::Upstream, state: &State) -> UpstreamStatus {
    let endpoint = |member: &Member| EndpointStatus {
        endpoint: member.endpoint.name.to_string(),
        address: member.endpoint.address.to_string(),
        weight: member.weight(),
        zone: member.zone.clone(),
        labels: member.labels.iter().cloned().collect(),
        healthy: member.endpoint.is_healthy(),
        drain: member.endpoint.is_draining(),
        requests: member.endpoint.load(),
    };
    let balancer = config.balancer.of(&state.config.plugins);
    UpstreamStatus {
        name: upstream.name.to_string(),
        balancer: balancer.map(|plugin| plugin.name.clone()).unwrap_or_default(),
        origin: match &config.discovery {
            _ if upstream.is_set() => EndpointsOrigin::Api,
            Discovery::Static => EndpointsOrigin::Configuration,
            _ => EndpointsOrigin::Discovery,
        },
        endpoints: upstream.members().iter().map(endpoint).collect(),
    }
}
