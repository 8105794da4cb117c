//! The parts of endpoints that a reload keeps: health, loads, turns, connections.

use super::{Live, ask, replaced};
use crate::support::{Origin, Protocol, Setup, until};

/// Another upstream, to change the order.
const OTHER: &str = "  - { name: other, endpoints: [{ address: \"127.0.0.1:9\" }] }\n";

/// A configuration with both its upstreams and both its routes in the other order.
fn reordered(live: &Live) -> String {
    let text = replaced(&live.text(), OTHER, "");
    let text = replaced(&text, "upstreams:\n", &format!("upstreams:\n{OTHER}"));
    let text = replaced(&text, FIRST, "");
    replaced(&text, ALL, &format!("{FIRST}{ALL}"))
}

const ALL: &str = "  - { name: all, match: { path: /* }, upstream: app }\n";
const FIRST: &str = "  - { name: first, match: { path: /first }, upstream: other }\n";

fn setup<'a>(origins: impl IntoIterator<Item = &'a Origin>) -> Setup {
    Setup::to(origins).upstream_after(OTHER).routes(&format!("{ALL}{FIRST}"))
}

#[tokio::test]
async fn an_endpoint_stays_unhealthy_and_is_not_probed_before_its_time() {
    let [a, b, c] = Origin::several::<3>().await;
    a.set_healthy(false);
    let health = "health: { path: /health, interval: 1h, unhealthy_after: 1, healthy_after: 1 }";
    let live = Live::start(setup([&a, &b]).upstream(health)).await;
    live.weir.until_metric("backend_health_status", &["app"], |sum| sum == 1.0).await;
    until("the other probe", async || (b.probes() == 1).then_some(())).await;
    a.set_healthy(true);
    let first = format!("      - {{ address: \"{}\" }}\n", a.address());
    let third = first.replace(&a.address().to_string(), &c.address().to_string());
    let text = replaced(&reordered(&live), &first, &third);
    let second = format!("      - {{ address: \"{}\" }}\n", b.address());
    live.put(&replaced(&text, &second, &format!("{second}{first}"))).await.ok();
    let client = live.weir.client(Protocol::H2).await;
    for _ in 0..6 {
        let (status, name) = ask(&client, "/who").await;
        assert!(status == 200 && name != "a", "{status} {name}");
    }
    assert_eq!(live.endpoint("app", a.address()).await["healthy"], false);
    // The first probe of an endpoint comes at once.
    until("a probe of the new endpoint", async || (c.probes() == 1).then_some(())).await;
    assert_eq!((a.probes(), b.probes()), (1, 1));
    assert_eq!(live.weir.metric("backend_health_status", &["app"]).await, 2.0);
}

#[tokio::test]
async fn failures_before_a_reload_count_after_it() {
    let origin = Origin::start().await;
    origin.set_healthy(false);
    let health = "health: { path: /health, interval: 1h, unhealthy_after: 2 }";
    let live = Live::start(setup([&origin]).upstream(health)).await;
    until("the first probe", async || (origin.probes() == 1).then_some(())).await;
    // A shorter interval makes the next probe due at once, and one failure more is enough.
    live.change("interval: 1h", "interval: 10ms").await;
    live.weir.until_metric("backend_health_status", &["app"], |up| up == 0.0).await;
    let failures = live.weir.printed().matches("endpoint is unhealthy").count();
    assert_eq!(failures, 1);
}

#[tokio::test]
async fn requests_in_flight_count_as_load_after_a_reload() {
    let [a, b] = Origin::several::<2>().await;
    let live = Live::start(setup([&a, &b]).upstream("balancer: least-connections")).await;
    let (holding, client) =
        (live.weir.client(Protocol::H3).await, live.weir.client(Protocol::H2).await);
    let others = async {
        until("the request", async || (a.requests() + b.requests() == 1).then_some(())).await;
        let (busy, idle) = if a.requests() == 1 { (&a, "b") } else { (&b, "a") };
        live.put(&reordered(&live)).await.ok();
        assert_eq!(live.endpoint("app", busy.address()).await["requests"], 1);
        for _ in 0..6 {
            assert_eq!(ask(&client, "/who").await, (200, idle.to_owned()));
        }
        busy.release();
    };
    let (held, ()) = tokio::join!(ask(&holding, "/hold"), others);
    assert_eq!(held.0, 200);
    let is_idle = async || {
        let [a, b] = [live.endpoint("app", a.address()), live.endpoint("app", b.address())];
        (a.await["requests"] == 0 && b.await["requests"] == 0).then_some(())
    };
    until("no load", is_idle).await;
}

#[tokio::test]
async fn round_robin_goes_on_where_it_was() {
    let origins = Origin::several::<3>().await;
    let live = Live::start(setup(&origins)).await;
    let (h2, h3) = (live.weir.client(Protocol::H2).await, live.weir.client(Protocol::H3).await);
    let mut turns = Vec::new();
    for turn in 0..12 {
        match turn {
            4 => drop(live.put(&reordered(&live)).await.ok()),
            8 => drop(live.put(&live.text()).await.ok()),
            _ => {}
        }
        // They may be at different workers.
        turns.push(ask(if turn % 2 == 0 { &h2 } else { &h3 }, "/who").await.1);
    }
    let first = turns[0].clone();
    let mut expected = ["a", "b", "c"].into_iter().cycle().skip_while(|name| *name != first);
    assert!(turns.iter().all(|turn| Some(turn.as_str()) == expected.next()), "{turns:?}");
}

#[tokio::test]
async fn connections_to_origins_outlive_a_reload() {
    let origin = Origin::start().await;
    let live = Live::start(setup([&origin]).upstream("timeouts: { connect: 2s }")).await;
    let clients = live.clients().await;
    let before = origin.connections();
    live.put(&reordered(&live)).await.ok();
    let changed = reordered(&live).replace("connect: 2s", "connect: 3s, idle: 10s");
    for text in [changed, live.text()] {
        live.put(&text).await.ok();
        for (protocol, client) in &clients {
            assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
        }
    }
    assert_eq!(origin.connections(), before, "no connection was made anew");
}
