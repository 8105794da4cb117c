//! Removed parts end: their metrics, and the probes of their endpoints.

use super::{Live, ask, replaced};
use crate::support::tools::builtin;
use crate::support::{Origin, Protocol, Setup, until};

/// Waits until no sample has this label.
async fn until_gone(live: &Live, label: &str) {
    let is_gone = async || (!live.weir.metrics().await.contains(label)).then_some(());
    until(format!("the end of the series with {label}"), is_gone).await;
}

#[tokio::test]
async fn the_series_of_removed_parts_end_and_the_others_go_on() {
    let [a, b] = Origin::several::<2>().await;
    let route =
        "  - { name: leaving, match: { path: /leaving }, filters: [parting], upstream: left }\n";
    let upstream =
        format!("  - {{ name: left, endpoints: [{{ address: \"{}\" }}] }}\n", b.address());
    let plugin = format!(
        "plugins: [{{ name: parting, source: \"file:{}\" }}]",
        builtin("headers").display()
    );
    let routes = format!("{route}  - {{ name: all, upstream: app }}");
    let setup = Setup::to([&a]).upstream_after(&upstream).routes(&routes).top(&plugin);
    let live = Live::start(setup).await;
    let clients = live.clients().await;
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/leaving").await, (200, "b".to_owned()), "{protocol:?}");
    }
    let labels = [
        "route=\"leaving\"".to_owned(),
        "upstream=\"left\"".to_owned(),
        format!("endpoint=\"{}\"", b.address()),
        "plugin=\"parting\"".to_owned(),
    ];
    let metrics = live.weir.metrics().await;
    for label in &labels {
        assert!(metrics.contains(label), "{label} in {metrics}");
    }
    let kept = live.weir.metric("http_requests_total", &["route=\"all\""]).await;
    let text = replaced(&replaced(&live.with(route, ""), &upstream, ""), &plugin, "");
    live.put(&text).await.ok();
    for label in &labels {
        until_gone(&live, label).await;
    }
    // Clients of all workers go on without bringing them back.
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await, (200, "a".to_owned()), "{protocol:?}");
    }
    let more = live.weir.until_metric("http_requests_total", &["route=\"all\""], |now| now > kept);
    more.await;
    let metrics = live.weir.metrics().await;
    assert!(!labels.iter().any(|label| metrics.contains(label)), "{metrics}");
}

#[tokio::test]
async fn the_series_of_one_endpoint_end_with_it() {
    let [a, b] = Origin::several::<2>().await;
    let live = Live::start(Setup::to([&a, &b])).await;
    let client = live.weir.client(Protocol::H3).await;
    for _ in 0..4 {
        assert_eq!(ask(&client, "/who").await.0, 200);
    }
    let (first, second) =
        (format!("endpoint=\"{}\"", a.address()), format!("endpoint=\"{}\"", b.address()));
    assert_eq!(live.weir.metric("backend_requests_total", &[&second]).await, 2.0);
    live.change(&format!("      - {{ address: \"{}\" }}\n", b.address()), "").await;
    until_gone(&live, &second).await;
    assert_eq!(live.weir.metric("backend_requests_total", &[&first]).await, 2.0);
    assert_eq!(ask(&client, "/who").await.1, "a");
    assert_eq!(live.weir.metric("backend_requests_total", &[&first]).await, 3.0);
}

#[tokio::test]
async fn a_removed_endpoint_is_not_probed_any_more() {
    let [a, b] = Origin::several::<2>().await;
    let health = "health: { path: /health, interval: 20ms }";
    let live = Live::start(Setup::to([&a, &b]).upstream(health)).await;
    let probes = async |origin: &Origin, count: usize| {
        until("probes", async || (origin.probes() >= count).then_some(())).await;
    };
    probes(&a, 3).await;
    probes(&b, 3).await;
    live.change(&format!("      - {{ address: \"{}\" }}\n", b.address()), "").await;
    // A probe may be on its way.
    let (last, more) = (b.probes() + 1, a.probes() + 10);
    probes(&a, more).await;
    assert!(b.probes() <= last, "{} probes after {last}", b.probes());
    live.change("health: { path: /health, interval: 20ms }", "").await;
    let last = a.probes() + 1;
    let client = live.weir.client(Protocol::H2).await;
    for _ in 0..50 {
        assert_eq!(ask(&client, "/who").await.0, 200);
    }
    assert!(a.probes() <= last, "{} probes after {last}", a.probes());
}
