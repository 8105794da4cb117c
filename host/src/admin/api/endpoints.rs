//! Upstreams and their endpoints.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use http::StatusCode;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::admin::live::LiveError;
use crate::admin::model::{
    EndpointList, EndpointPatch, EndpointSpec, UpstreamList, UpstreamStatus,
};
use crate::admin::operation::Outcome;
use crate::admin::refusal::Refusal;
use crate::admin::{Admin, Call, reply};
use crate::config::{self, Endpoint};

pub(in crate::admin) async fn list(admin: &Admin, _: Call) -> Outcome {
    let upstreams = admin.reach.live.upstreams();
    Ok(reply::json(StatusCode::OK, &UpstreamList { upstreams }))
}

pub(in crate::admin) async fn show(admin: &Admin, call: Call) -> Outcome {
    Ok(reply::json(StatusCode::OK, &upstream(admin, call.param(0))?))
}

pub(in crate::admin) async fn set(admin: &Admin, call: Call) -> Outcome {
    let name = call.param(0).to_owned();
    // An unknown name is told before the body is read and names are resolved.
    upstream(admin, &name)?;
    let list: EndpointList = call.json().await?;
    let endpoints = timeout(RESOLVE_TIME, resolved(list.endpoints)).await;
    let endpoints =
        endpoints.map_err(|_| Refusal::unprocessable("the names took too long to resolve"))??;
    tracing::info!(upstream = name, count = endpoints.len(), "endpoints set by the admin API");
    admin.reach.live.set_endpoints(&name, Some(endpoints))?;
    Ok(reply::json(StatusCode::OK, &upstream(admin, &name)?))
}

pub(in crate::admin) async fn reset(admin: &Admin, call: Call) -> Outcome {
    let name = call.param(0);
    tracing::info!(upstream = name, "endpoints of the configuration by the admin API");
    admin.reach.live.set_endpoints(name, None)?;
    Ok(reply::json(StatusCode::OK, &upstream(admin, name)?))
}

pub(in crate::admin) async fn patch(admin: &Admin, call: Call) -> Outcome {
    let (name, endpoint) = (call.param(0).to_owned(), call.param(1).to_owned());
    let patch: EndpointPatch = call.json().await?;
    if patch.drain.is_none() && patch.weight.is_none() {
        return Err(Refusal::bad_request("the body: needs drain or weight"));
    }
    patch.weight.map_or(Ok(()), |weight| check_weight(&endpoint, weight))?;
    tracing::info!(upstream = name, endpoint, ?patch, "endpoint changed by the admin API");
    admin.reach.live.patch_endpoint(&name, &endpoint, patch)?;
    Ok(reply::json(StatusCode::OK, &upstream(admin, &name)?))
}

fn upstream(admin: &Admin, name: &str) -> Result<UpstreamStatus, Refusal> {
    let mut upstreams = admin.reach.live.upstreams().into_iter();
    let found = upstreams.find(|upstream| upstream.name == name);
    found.ok_or_else(|| LiveError::NoUpstream(name.to_owned()).into())
}

/// Checks endpoints as the configuration does, and resolves their names.
async fn resolved(specs: Vec<EndpointSpec>) -> Result<Vec<Endpoint>, Refusal> {
    if specs.iter().all(|spec| spec.weight == 0) {
        let reason = "endpoints: there must be one with a weight above 0";
        return Err(Refusal::unprocessable(reason));
    }
    let (mut endpoints, mut seen) = (Vec::with_capacity(specs.len()), HashSet::new());
    for spec in specs {
        if !seen.insert(spec.address.clone()) {
            let reason = format!("endpoints: {:?} is there twice", spec.address);
            return Err(Refusal::unprocessable(reason));
        }
        check_weight(&spec.address, spec.weight)?;
        endpoints.push(Endpoint {
            address: address(&spec.address).await?,
            name: spec.address,
            weight: spec.weight,
            zone: spec.zone,
            labels: spec.labels,
        });
    }
    Ok(endpoints)
}

async fn address(text: &str) -> Result<SocketAddr, Refusal> {
    let (host, port) = config::host_port(text)
        .map_err(|error| Refusal::unprocessable(format!("endpoints: {error}")))?;
    let unknown =
        |why: String| Refusal::unprocessable(format!("endpoints: cannot resolve {host:?}: {why}"));
    let found = lookup_host((host.as_str(), port)).await;
    let found: Vec<_> = found.map_err(|error| unknown(error.to_string()))?.collect();
    // The configuration prefers IPv4 as well.
    let preferred = found.iter().find(|address| address.is_ipv4()).or(found.first());
    preferred.copied().ok_or_else(|| unknown("no address found".to_owned()))
}

fn check_weight(endpoint: &str, weight: u32) -> Result<(), Refusal> {
    if weight <= MAX_WEIGHT {
        return Ok(());
    }
    let reason = format!("{endpoint}: the weight {weight} is not between 0 and {MAX_WEIGHT}");
    Err(Refusal::unprocessable(reason))
}

/// The bound of `weight` in the configuration.
const MAX_WEIGHT: u32 = 65_536;

/// The time for all names of a list. A resolver that gives up takes 5 s for a name by default.
const RESOLVE_TIME: Duration = Duration::from_secs(10);
