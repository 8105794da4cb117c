//! The state that moves to the new process: keys of TLS, the state of plugins, components that were
//! swapped in, facts of endpoints, and a configuration that no file has.

use std::sync::Arc;

use rustls::HandshakeKind;
use rustls_pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::tools::builtin;
use crate::support::weir::{free_address, scrape};
use crate::support::{Api, Origin, Protocol, Setup, Weir, processes, tls, until, within};

use super::program::Gate;
use super::upgrade;

/// Upgrades, and waits until the old process has ended.
async fn upgrade_whole(weir: &mut Weir) -> u32 {
    let (old, new) = upgrade(weir).await;
    processes::ended(old).await;
    new
}

/// Sends one request over a new connection. Returns the kind of the handshake.
async fn handshake(weir: &Weir, config: &Arc<rustls::ClientConfig>) -> HandshakeKind {
    let stream = TcpStream::connect(weir.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::clone(config));
    let mut stream = within("a handshake", connector.connect(name, stream)).await.unwrap();
    let request = b"GET /who HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // The tickets come with the answer.
    within("an answer", stream.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
    stream.get_ref().1.handshake_kind().unwrap()
}

#[tokio::test]
async fn a_client_resumes_its_session_at_the_new_process() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let config = Arc::new(tls::config(&[b"http/1.1"]));
    assert_eq!(handshake(&weir, &config).await, HandshakeKind::Full);
    upgrade_whole(&mut weir).await;
    assert_eq!(handshake(&weir, &config).await, HandshakeKind::Resumed);
}

#[tokio::test]
async fn a_limit_goes_on_counting() {
    let origin = Origin::start().await;
    let plugin = format!(
        "plugins: [{{ name: v, source: \"file:{}\", config: {{ requests: 3, per: 1h }} }}]\n",
        builtin("rate-limit").display()
    );
    let setup = Setup::to([&origin]).top(&plugin);
    let mut weir = setup.routes("  - { name: all, filters: [v], upstream: app }").start().await;
    for protocol in [Protocol::H3, Protocol::H1] {
        assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
    }
    upgrade_whole(&mut weir).await;
    for (protocol, wanted) in [(Protocol::H2, 200), (Protocol::H3, 429)] {
        assert_eq!(weir.get(protocol, "/who").await.0, wanted, "{protocol:?}");
    }
}

/// The generation of the plugin `v`.
async fn generation(api: &Api) -> Value {
    api.get("/api/plugins/v").await["generation"]["number"].clone()
}

#[tokio::test]
async fn a_component_that_was_swapped_in_still_serves() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    std::fs::copy(builtin("security-headers"), setup.directory().join("v.wasm")).unwrap();
    let top = format!(
        "plugins: [{{ name: v, source: \"file:v.wasm\" }}]\n{}",
        Api::config("127.0.0.1:0")
    );
    let setup = setup.top(&top).routes("  - { name: all, filters: [v], upstream: app }");
    let mut weir = setup.start().await;
    let api = Api::of(&weir);
    let has = async |weir: &Weir| {
        let answer = weir.client(Protocol::H3).await.get("/who").await;
        ["x-content-type-options", "x-request-id"].map(|name| !answer.header(name).is_empty())
    };
    assert_eq!(has(&weir).await, [true, false]);
    let component = std::fs::read(builtin("request-id")).unwrap();
    let (status, body) = api.call("PUT", "/api/plugins/v?for=1s", &component).await;
    assert_eq!(status, 200, "{body}");
    until("generation 2", async || (generation(&api).await == 2).then_some(())).await;
    assert_eq!(has(&weir).await, [false, true]);
    upgrade(&mut weir).await;
    assert_eq!(generation(&api).await, 2);
    upgrade_whole(&mut weir).await;
    assert_eq!(generation(&api).await, 2);
    assert_eq!(has(&weir).await, [false, true]);
}

/// Returns an endpoint as the admin API shows it.
async fn endpoint(api: &Api, origin: &Origin) -> Value {
    let upstream = api.get("/api/upstreams/app").await;
    let endpoints = upstream["endpoints"].as_array().unwrap();
    let address = origin.address().to_string();
    let found = endpoints.iter().find(|endpoint| endpoint["address"] == *address);
    found.unwrap_or_else(|| panic!("no {address} in {upstream}")).clone()
}

#[tokio::test]
async fn endpoints_keep_their_health_drains_and_weights() {
    let origins = Origin::several::<4>().await;
    let [drained, weighted, ill, later] = &origins;
    ill.set_healthy(false);
    // An endpoint that was ill stays ill for the time of the test, although its probes succeed.
    let health = "health: { path: /health, interval: 50ms, timeout: 1s, healthy_after: 1000, \
                  unhealthy_after: 1 }";
    let setup = Setup::to(&origins[..3]).upstream(health).top(&Api::config("127.0.0.1:0"));
    let mut weir = setup.start().await;
    let api = Api::of(&weir);
    let is_ill = async || (endpoint(&api, ill).await["healthy"] == false).then_some(());
    until("the illness", is_ill).await;
    ill.set_healthy(true);
    for (origin, patch) in [(drained, "{\"drain\": true}"), (weighted, "{\"weight\": 7}")] {
        let path = format!("/api/upstreams/app/endpoints/{}", origin.address());
        let (status, body) = api.call("PATCH", &path, patch.as_bytes()).await;
        assert_eq!(status, 200, "{body}");
    }
    upgrade(&mut weir).await;
    let probes = ill.probes() + 3;
    until("probes", async || (ill.probes() >= probes).then_some(())).await;
    for (origin, drain, weight, healthy) in
        [(drained, true, 1, true), (weighted, false, 7, true), (ill, false, 1, false)]
    {
        let found = endpoint(&api, origin).await;
        assert_eq!(found["drain"], drain, "{found}");
        assert_eq!(found["weight"], weight, "{found}");
        assert_eq!(found["healthy"], healthy, "{found}");
    }
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await, (200, "b".to_owned()), "{protocol:?}");
    }
    // Endpoints that the API has set are in no file.
    let set = format!("{{\"endpoints\": [{{\"address\": \"{}\"}}]}}", later.address());
    let path = "/api/upstreams/app/endpoints";
    let (status, body) = api.call("PUT", path, set.as_bytes()).await;
    assert_eq!(status, 200, "{body}");
    upgrade_whole(&mut weir).await;
    let upstream = api.get("/api/upstreams/app").await;
    assert_eq!(upstream["origin"], "api", "{upstream}");
    assert_eq!(upstream["endpoints"].as_array().unwrap().len(), 1, "{upstream}");
    assert_eq!(weir.get(Protocol::H3, "/who").await, (200, "d".to_owned()));
}

/// Adds a route to a configuration: `/put` has the status 203.
fn with_route(text: &str) -> String {
    let route = "routes:\n  - { name: put, match: { path: /put }, respond: { status: 203 } }\n";
    text.replace("routes:\n", route)
}

#[tokio::test]
async fn a_configuration_that_no_file_has_still_serves() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).top(&Api::config("127.0.0.1:0"));
    let file = setup.directory().join("weir.yaml");
    let mut weir = setup.start().await;
    let api = Api::of(&weir);
    let put = with_route(&std::fs::read_to_string(&file).unwrap());
    let (status, body) = api.call("PUT", "/api/config", put.as_bytes()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(weir.get(Protocol::H3, "/put").await.0, 203);
    upgrade_whole(&mut weir).await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/put").await.0, 203, "{protocol:?}");
    }
    let configuration = api.get("/api/status").await["configuration"].clone();
    assert_eq!(configuration["origin"], "upgrade", "{configuration}");
    // The files still have the last word once they are read.
    let (status, body) = api.call("POST", "/api/reload", b"").await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(weir.get(Protocol::H3, "/put").await.0, 200);
}

#[tokio::test]
async fn a_file_that_changes_during_an_upgrade_is_read_by_the_new_process() {
    let origin = Origin::start().await;
    let (setup, gate) = Gate::of(Setup::to([&origin])).await;
    let file = setup.directory().join("weir.yaml");
    let mut weir = setup.start().await;
    gate.close();
    let old = weir.pid();
    weir.signal("USR2");
    weir.logged("upgrading: starting the binary on disk").await;
    std::fs::write(&file, with_route(&std::fs::read_to_string(&file).unwrap())).unwrap();
    weir.signal("HUP");
    weir.logged("files that have changed are read after the upgrade").await;
    gate.open().await;
    weir.succeeded().await;
    weir.logged("the configuration was reloaded").await;
    processes::ended(old).await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/put").await.0, 203, "{protocol:?}");
    }
}

#[tokio::test]
async fn new_addresses_of_the_admin_api_and_the_metrics_take_effect() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).top(&Api::config("127.0.0.1:0"));
    let [file, socket] = ["weir.yaml", "admin.sock"].map(|name| setup.directory().join(name));
    let mut weir = setup.start().await;
    let (admin, metrics) = (format!("unix:{}", socket.display()), free_address());
    let text = std::fs::read_to_string(&file).unwrap();
    let put = text.replace(&Api::config("127.0.0.1:0"), &Api::config(&admin));
    let put = put.replace("metrics: { address: \"127.0.0.1:0\"", "metrics: { address: \"METRICS\"");
    let put = put.replace("METRICS", &metrics.to_string());
    let (status, body) = Api::of(&weir).call("PUT", "/api/config", put.as_bytes()).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["needs_restart"].as_array().map(Vec::len), Some(2), "{body}");
    assert_eq!(Api::of(&weir).pid().await, weir.pid());
    let new = upgrade_whole(&mut weir).await;
    assert_eq!(Api::at(&admin).pid().await, new);
    assert_eq!(within("metrics", scrape(metrics, "/metrics")).await.0, 200);
}

#[tokio::test]
async fn the_number_of_workers_may_change() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]).top(&Api::config("127.0.0.1:0"));
    let file = setup.directory().join("weir.yaml");
    let mut weir = setup.start().await;
    let api = Api::of(&weir);
    let text = std::fs::read_to_string(&file).unwrap();
    let mut streams = Vec::new();
    for workers in [5, 1, 3] {
        // Connections of all processes are open, on any of their workers.
        for _ in 0..4 {
            let mut events = weir.client(Protocol::H3).await.get("/events").await;
            assert_eq!(events.chunk().await.unwrap().unwrap(), "event 0\n");
            streams.push((events, 0));
        }
        let put = text.replace("workers: 2", &format!("workers: {workers}"));
        let (status, body) = api.call("PUT", "/api/config", put.as_bytes()).await;
        assert_eq!(status, 200, "{body}");
        upgrade(&mut weir).await;
        assert_eq!(api.get("/api/status").await["workers"], workers);
        origin.release();
        for (events, count) in &mut streams {
            *count += 1;
            let event = within("an event", events.chunk()).await.unwrap().unwrap();
            assert_eq!(event, format!("event {count}\n"));
        }
        for protocol in Protocol::ALL.into_iter().cycle().take(12) {
            assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
        }
    }
}
