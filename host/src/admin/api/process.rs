//! The process, its listeners and its routes.

use std::time::SystemTime;

use http::StatusCode;

use crate::admin::model::{
    Accepted, CertificateList, ConnectionList, Counts, EndpointStatus, RevisionStatus, RouteAction,
    RouteList, RouteStatus, Status, seconds,
};
use crate::admin::operation::Outcome;
use crate::admin::{Admin, Call, openapi, reply};
use crate::config::{Action, Config, PluginId, Route};
use crate::state::orders::Order;

pub(in crate::admin) async fn status(admin: &Admin, _: Call) -> Outcome {
    let live = &admin.reach.live;
    let process = live.process();
    let revision = live.revision();
    let config = &revision.config;
    let upstreams = live.upstreams();
    let endpoints = || upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    let uptime = SystemTime::now().duration_since(process.started).unwrap_or_default();
    let status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started: seconds(process.started),
        uptime_seconds: uptime.as_secs_f64(),
        workers: process.workers,
        draining: process.draining,
        upgrade: process.upgrade,
        configuration: RevisionStatus::from(&revision),
        refused: live.refused().map(Into::into),
        listeners: process.listeners,
        counts: Counts {
            routes: config.routes.len(),
            upstreams: upstreams.len(),
            endpoints: endpoints().count(),
            available_endpoints: endpoints().filter(|e| EndpointStatus::is_available(e)).count(),
            plugins: config.plugins.len(),
        },
    };
    Ok(reply::json(StatusCode::OK, &status))
}

pub(in crate::admin) async fn connections(admin: &Admin, _: Call) -> Outcome {
    let connections = admin.reach.live.connections();
    let total = connections.iter().map(|count| count.connections).sum();
    Ok(reply::json(StatusCode::OK, &ConnectionList { total, connections }))
}

pub(in crate::admin) async fn certificates(admin: &Admin, _: Call) -> Outcome {
    let certificates = admin.reach.live.certificates();
    Ok(reply::json(StatusCode::OK, &CertificateList { certificates }))
}

pub(in crate::admin) async fn routes(admin: &Admin, _: Call) -> Outcome {
    let revision = admin.reach.live.revision();
    let config = &revision.config;
    let routes = config.routes.iter().map(|route| route_status(config, route)).collect();
    Ok(reply::json(StatusCode::OK, &RouteList { routes }))
}

/// Describes a route. The values of header fields are left out: they may be credentials.
fn route_status(config: &Config, route: &Route) -> RouteStatus {
    let plugin =
        |id: PluginId| id.of(&config.plugins).map(|plugin| plugin.name.clone()).unwrap_or_default();
    let (action, target) = match &route.action {
        Action::Upstream(id) => {
            let upstream = id.of(&config.upstreams).map(|upstream| upstream.name.clone());
            (RouteAction::Upstream, upstream.unwrap_or_default())
        }
        Action::Split(split) => {
            let shares = split.shares.iter().map(|(_, name, weight)| format!("{name}={weight}"));
            (RouteAction::Split, shares.collect::<Vec<_>>().join(","))
        }
        Action::Component(id) => (RouteAction::Component, plugin(*id)),
        Action::ConnectUdp(udp) => {
            let targets = udp.targets.iter().map(ToString::to_string);
            (RouteAction::ConnectUdp, targets.collect::<Vec<_>>().join(","))
        }
        Action::Respond(respond) => (RouteAction::Respond, respond.status.as_u16().to_string()),
    };
    let matcher = &route.matcher;
    RouteStatus {
        name: route.name.clone(),
        host: matcher.host.clone(),
        path: matcher.path.clone(),
        methods: matcher.methods.iter().map(ToString::to_string).collect(),
        headers: matcher.headers.iter().map(|(name, _)| name.to_string()).collect(),
        filters: route.filters.iter().map(|id| plugin(*id)).collect(),
        action,
        target,
    }
}

pub(in crate::admin) async fn drain(admin: &Admin, _: Call) -> Outcome {
    accept(admin, Order::Drain, "drain").await
}

pub(in crate::admin) async fn upgrade(admin: &Admin, _: Call) -> Outcome {
    accept(admin, Order::Upgrade, "upgrade").await
}

async fn accept(admin: &Admin, order: Order, name: &str) -> Outcome {
    admin.order(order).await?;
    Ok(reply::json(StatusCode::ACCEPTED, &Accepted { accepted: name.to_owned() }))
}

pub(in crate::admin) async fn openapi(_: &Admin, _: Call) -> Outcome {
    Ok(reply::json(StatusCode::OK, &*openapi::DOCUMENT))
}
