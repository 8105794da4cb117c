//! A stand-in for the process: it answers from memory and notes the orders that it gets.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::admin::live::{Live, LiveError, Process};
use crate::admin::model::{
    CertificateStatus, ConnectionCount, EndpointPatch, EndpointStatus, EndpointsOrigin,
    ListenerStatus, UpgradeState, UpgradeStatus, UpstreamStatus,
};
use crate::admin::{Reach, Serving, serve_on};
use crate::config::{self, Config, ControlAddress, Endpoint, Overrides};
use crate::control::Bound;
use crate::plugins::Plugins;
use crate::state::current::{Refused, Revision};
use crate::state::orders::{Applied, Change, Errand, Order, OrderError, Orders};
use crate::task::Tasks;
use crate::telemetry::events::Events;
use crate::telemetry::metrics::Metrics;

pub(super) const READ: &str = "sentinel-for-reading";
pub(super) const WRITE: &str = "sentinel-for-writing";

/// The tag of the configuration that serves.
pub(super) const TAG: &str = "6f1d";

/// An API that is served.
pub(super) struct Standin {
    pub(super) address: ControlAddress,
    pub(super) events: Events,
    pub(super) serving: Serving,
    tasks: Tasks,
    world: Rc<World>,
}

/// The state of the stand-in.
struct World {
    config: Arc<Config>,
    plugins: Arc<Plugins>,
    endpoints: RefCell<Vec<EndpointStatus>>,
    seen: RefCell<Vec<String>>,
}

impl Standin {
    /// Returns the changes and orders that it got.
    pub(super) fn seen(&self) -> Vec<String> {
        self.world.seen.borrow().clone()
    }

    pub(super) fn config(&self) -> &Config {
        &self.world.config
    }

    /// Sends a request over a connection. The connection is driven until its end.
    pub(super) async fn exchange<I>(
        &self,
        io: I,
        request: Request<Full<bytes::Bytes>>,
    ) -> Response<Incoming>
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + 'static,
    {
        let (mut sender, connection) = http1::handshake(io).await.unwrap();
        self.tasks.spawn(async move { drop(connection.await) });
        sender.send_request(request).await.unwrap()
    }
}

/// Runs a test on a thread that serves the API at a port.
pub(super) fn with(test: impl AsyncFnOnce(Standin)) {
    run("127.0.0.1:0", test);
}

/// Runs a test on a thread that serves the API at a Unix socket.
pub(super) fn with_unix(test: impl AsyncFnOnce(Standin)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("admin.sock");
    run(&format!("unix:{}", path.display()), test);
    assert!(!path.exists(), "the file goes with the listener");
}

fn run(address: &str, test: impl AsyncFnOnce(Standin)) {
    let text = CONFIG.replace("ADDRESS", address).replace("READ", READ).replace("WRITE", WRITE);
    let config = config::from_text("weir.yaml", &text, Path::new("."), &Overrides::default());
    let config = Arc::new(config.unwrap());
    let plugins = Arc::new(Plugins::load(&config, &Metrics::new(), None).unwrap());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    runtime.unwrap().block_on(async {
        let tasks = Tasks::new(CancellationToken::new(), CancellationToken::new());
        let endpoints = RefCell::new(vec![endpoint("127.0.0.1:8080", 1)]);
        let world = Rc::new(World { config, plugins, endpoints, seen: RefCell::default() });
        let (orders, mut errands) = Orders::new();
        let supervisor = Rc::clone(&world);
        tasks.spawn(async move {
            while let Some(Errand { order, answer }) = errands.recv().await {
                let _ = answer.send(supervisor.carry_out(&order));
            }
        });
        let events = Events::default();
        let live = Rc::clone(&world) as Rc<dyn Live>;
        let reach = Reach { live, orders, events: events.clone() };
        let admin = world.config.admin.clone().unwrap();
        let bound = Bound::new(&admin.address).unwrap();
        let serving = serve_on(bound, &admin, reach, &tasks).unwrap();
        test(Standin { address: serving.address.clone(), events, serving, tasks, world }).await;
    });
}

pub(super) fn endpoint(name: &str, weight: u32) -> EndpointStatus {
    EndpointStatus {
        endpoint: name.to_owned(),
        address: name.to_owned(),
        weight,
        zone: String::new(),
        labels: [("rack".to_owned(), "7".to_owned())].into(),
        healthy: true,
        drain: false,
        requests: 4,
    }
}

impl World {
    fn see(&self, what: impl Into<String>) {
        self.seen.borrow_mut().push(what.into());
    }

    fn revision(&self, number: u64, tag: &str, origin: &'static str) -> Revision {
        let (tag, config) = (tag.to_owned(), Arc::clone(&self.config));
        Revision { number, tag, at: SystemTime::UNIX_EPOCH, origin, config }
    }

    /// Carries an order out as the supervisor does. Some texts and revisions stand for refusals.
    fn carry_out(&self, order: &Order) -> Result<Applied, OrderError> {
        self.see(format!("{order:?}"));
        match order {
            Order::Put { text, .. } if text == "broken" => {
                let nothing = Overrides::default();
                config::from_text("api", "listeners: 1\nroute: 2\n", Path::new("."), &nothing)?;
            }
            Order::Put { if_match: Some(tag), .. } if tag != TAG => {
                return Err(OrderError::Changed(TAG.to_owned()));
            }
            Order::Put { text, .. } if text == "not now" => {
                return Err(OrderError::Refused("it drains".to_owned()));
            }
            Order::Rollback { revision: Some(1) } => return Err(OrderError::NothingBefore),
            Order::Rollback { revision: Some(7) } => return Err(OrderError::NoRevision(7)),
            Order::Rollback { revision: Some(8) } => return Err(OrderError::Busy),
            Order::Rollback { revision: Some(9) } => {
                return Err(OrderError::Failed("it broke".to_owned()));
            }
            _ => {}
        }
        let change =
            Change { path: "workers".to_owned(), before: Some(json!(1)), after: Some(json!(2)) };
        Ok(Applied {
            revision: 3,
            tag: "77aa".to_owned(),
            changes: vec![change],
            needs_restart: vec!["workers".to_owned()],
            warnings: vec!["weir.yaml:1:1: probably a mistake".to_owned()],
        })
    }
}

impl Live for World {
    fn process(&self) -> Process {
        let listener = ListenerStatus {
            address: "127.0.0.1:8443".to_owned(),
            protocols: vec!["h3".to_owned(), "h1".to_owned()],
            tls: true,
            connections: 3,
        };
        let detail = Some("the new process died".to_owned());
        Process {
            started: SystemTime::now() - Duration::from_secs(60),
            workers: 2,
            draining: false,
            upgrade: UpgradeStatus { state: UpgradeState::Failed, detail },
            listeners: vec![listener],
        }
    }

    fn serving(&self) -> (Revision, Value) {
        let values = json!({ "workers": 1, "admin": { "token": "(a secret)" } });
        (self.revision(2, TAG, "file"), values)
    }

    fn revisions(&self) -> Vec<Revision> {
        vec![self.revision(1, "0000", "start"), self.revision(2, TAG, "file")]
    }

    fn refused(&self) -> Option<Refused> {
        let reason = "weir.yaml:1:2: unknown key".to_owned();
        Some(Refused { at: SystemTime::UNIX_EPOCH, reason })
    }

    fn plugins(&self) -> Arc<Plugins> {
        Arc::clone(&self.plugins)
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        vec![UpstreamStatus {
            name: "app".to_owned(),
            balancer: "round-robin".to_owned(),
            origin: EndpointsOrigin::Api,
            endpoints: self.endpoints.borrow().clone(),
        }]
    }

    fn set_endpoints(
        &self,
        upstream: &str,
        endpoints: Option<Vec<Endpoint>>,
    ) -> Result<(), LiveError> {
        self.see(format!("set {upstream}: {}", endpoints.as_ref().map_or(0, Vec::len)));
        if upstream != "app" {
            return Err(LiveError::NoUpstream(upstream.to_owned()));
        }
        let of = |e: &Endpoint| EndpointStatus {
            address: e.address.to_string(),
            zone: e.zone.clone(),
            labels: e.labels.clone(),
            ..endpoint(&e.name, e.weight)
        };
        let set = endpoints.map(|endpoints| endpoints.iter().map(of).collect());
        let configured = || vec![endpoint("127.0.0.1:8080", 1)];
        self.endpoints.replace(set.unwrap_or_else(configured));
        Ok(())
    }

    fn patch_endpoint(
        &self,
        upstream: &str,
        name: &str,
        patch: EndpointPatch,
    ) -> Result<(), LiveError> {
        self.see(format!("patch {upstream} {name}"));
        let mut endpoints = self.endpoints.borrow_mut();
        let found = endpoints.iter_mut().find(|endpoint| endpoint.endpoint == name);
        let found = found.ok_or_else(|| LiveError::NoEndpoint(name.to_owned()))?;
        found.drain = patch.drain.unwrap_or(found.drain);
        found.weight = patch.weight.unwrap_or(found.weight);
        Ok(())
    }

    fn certificates(&self) -> Vec<CertificateStatus> {
        vec![CertificateStatus {
            listener: "127.0.0.1:8443".to_owned(),
            source: "self_signed".to_owned(),
            names: vec!["localhost".to_owned()],
            not_before: 1.0,
            not_after: 2.0,
            sha256: "00".repeat(32),
            error: None,
        }]
    }

    fn connections(&self) -> Vec<ConnectionCount> {
        let count = |protocol: &str, worker| ConnectionCount {
            listener: "127.0.0.1:8443".to_owned(),
            protocol: protocol.to_owned(),
            worker,
            connections: 2,
        };
        vec![count("h3", Some(0)), count("h1", None)]
    }
}

const CONFIG: &str = r#"
listeners: [{ address: "127.0.0.1:0" }]
admin:
  address: "ADDRESS"
  tokens: [{ token: READ, role: read }, { token: WRITE, role: write }]
plugins: [{ name: headers, source: "builtin:security-headers", canary: { for: 1h } }]
upstreams: [{ name: app, endpoints: [{ address: "127.0.0.1:8080" }] }]
routes:
  - { name: page, match: { host: a.example, headers: { x-key: v } }, respond: { status: 204 } }
  - { name: all, filters: [headers], upstream: app }
"#;
