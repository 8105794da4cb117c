use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::testing::{PATIENCE, Reply, Server, run};
use super::*;
use crate::config::{DnsRecords, Overrides, from_text};

/// The upstream of a configuration, with short times.
fn upstream(source: &str) -> config::Upstream {
    let text = format!(
        "listeners: [{{ address: '127.0.0.1:0' }}]\nroutes: [{{ upstream: app }}]\n\
         upstreams: [{{ name: app, {source} }}]\n"
    );
    let base = std::path::Path::new("");
    let mut config = from_text("weir.yaml", &text, base, &Overrides::default()).unwrap();
    let mut upstream = config.upstreams.remove(0);
    if let Discovery::Dns(dns) = &mut upstream.discovery {
        (dns.min_ttl, dns.max_ttl) = (Duration::from_millis(10), Duration::from_millis(20));
        assert!(matches!(dns.records, DnsRecords::Addresses { .. }));
    }
    upstream
}

fn by_dns(server: &Server) -> config::Upstream {
    upstream(&format!("dns: {{ name: app.test., port: 80, resolvers: ['{}'] }}", server.address))
}

fn addresses(list: &[Endpoint]) -> Vec<String> {
    list.iter().map(|endpoint| endpoint.address.to_string()).collect()
}

async fn next(changes: &mut mpsc::UnboundedReceiver<Vec<Endpoint>>) -> Vec<String> {
    addresses(&timeout(PATIENCE, changes.recv()).await.unwrap().unwrap())
}

#[test]
fn only_a_change_of_the_list_is_told() {
    let server = Server::start();
    let upstream = by_dns(&server);
    let status = DiscoveryStatus::of(&upstream);
    let (tell, mut changes) = mpsc::unbounded_channel();
    server.set_addresses("app.test.", 0, &["127.0.0.2", "127.0.0.1"]);
    let script = async {
        assert_eq!(next(&mut changes).await, ["127.0.0.1:80", "127.0.0.2:80"]);
        server.set_addresses("app.test.", 0, &["127.0.0.1", "127.0.0.2"]);
        server.asked(6).await;
        server.set_both("app.test.", &Reply::Code(ResponseCode::NXDomain));
        server.asked(6).await;
        let error = status.lock().unwrap().last_error.clone();
        assert_eq!(error.as_deref(), Some("\"app.test.\" has no records"));
        server.set_addresses("app.test.", 0, &["127.0.0.3"]);
        assert_eq!(next(&mut changes).await, ["127.0.0.3:80"]);
        server.asked(4).await;
        let status = status.lock().unwrap().clone();
        assert_eq!((status.kind, status.endpoints, status.last_error), ("dns", 1, None));
        assert!(status.next > status.last_success);
    };
    run(async {
        tokio::select! {
            () = follow(&upstream, &status, |list| tell.send(list).unwrap()) => panic!("it ended"),
            () = script => {}
        }
    });
    assert!(changes.try_recv().is_err());
}

#[test]
fn a_list_of_addresses_is_not_followed() {
    let upstream = upstream("endpoints: [{ address: '127.0.0.1:1' }]");
    let status = DiscoveryStatus::of(&upstream);
    run(follow(&upstream, &status, |_| panic!("nothing changes")));
    assert_eq!(status.lock().unwrap().kind, "static");
}

#[test]
fn endpoints_are_known_before_the_first_request() {
    let server = Server::start();
    server.set_addresses("app.test.", 0, &["127.0.0.2"]);
    let silent = Server::start();
    silent.set_both("app.test.", &Reply::Code(ResponseCode::ServFail));
    let listed = upstream("endpoints: [{ address: '127.0.0.1:1' }]");
    let mut upstreams = [by_dns(&server), listed, by_dns(&silent)];
    run(begin(upstreams.iter_mut()));
    let known = upstreams.iter().map(|upstream| addresses(&upstream.endpoints));
    let known: Vec<_> = known.map(|list| list.join(" ")).collect();
    assert_eq!(known, ["127.0.0.2:80", "127.0.0.1:1", ""]);
}
