//! The facts of an upstream that move to a new process: the health, drain and weight of endpoints,
//! and the endpoints that the admin API has set.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Member, Upstream};
use crate::config;

/// An endpoint, as it moves.
#[derive(Serialize, Deserialize)]
struct MovedEndpoint {
    name: String,
    address: SocketAddr,
    healthy: bool,
    draining: bool,
    weight: Option<u32>,
    /// The configured weight.
    configured: u32,
    zone: String,
    labels: BTreeMap<String, String>,
}

/// The facts of an upstream, as they move.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct MovedUpstream {
    /// Whether the admin API has set the endpoints.
    is_set: bool,
    endpoints: Vec<MovedEndpoint>,
}

impl Upstream {
    /// Returns the facts for a new process.
    pub fn export(&self) -> Value {
        let moved = |member: &Member| MovedEndpoint {
            name: member.endpoint.name.to_string(),
            address: member.endpoint.address,
            healthy: member.endpoint.is_healthy(),
            draining: member.endpoint.is_draining(),
            weight: member.endpoint.weight(),
            configured: member.configured_weight(),
            zone: member.zone.clone(),
            labels: member.labels.iter().cloned().collect(),
        };
        let endpoints = self.members().iter().map(moved).collect();
        json!(MovedUpstream { is_set: self.is_set(), endpoints })
    }

    /// Takes the facts of the process before. Facts of endpoints that are not here are left out.
    pub fn import(&self, facts: &Value) {
        let moved = MovedUpstream::deserialize(facts).unwrap_or_default();
        if moved.is_set {
            let endpoint = |moved: &MovedEndpoint| config::Endpoint {
                name: moved.name.clone(),
                address: moved.address,
                weight: moved.configured,
                zone: moved.zone.clone(),
                labels: moved.labels.clone(),
            };
            let endpoints: Vec<_> = moved.endpoints.iter().map(endpoint).collect();
            self.set(Some(&endpoints));
        }
        for member in self.members().iter() {
            let endpoint = &member.endpoint;
            let is_it = |moved: &&MovedEndpoint| {
                *moved.name == *endpoint.name && moved.address == endpoint.address
            };
            let Some(moved) = moved.endpoints.iter().find(is_it) else { continue };
            endpoint.set_healthy(moved.healthy);
            endpoint.set_draining(moved.draining);
            endpoint.set_weight(moved.weight);
        }
        self.announce();
    }
}
