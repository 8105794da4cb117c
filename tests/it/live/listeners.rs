//! Listeners that come, go and change while others serve.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Live, ask, replaced, until_closed};
use crate::support::weir::free_address;
use crate::support::{Client, Origin, Protocol, Setup, until};

/// The configuration with a second listener.
fn with_second(live: &Live, address: SocketAddr) -> String {
    let second = format!("  - {{ address: \"{address}\", tls: {{ self_signed: {{}} }} }}\n");
    live.with("upstreams:\n", &format!("{second}upstreams:\n"))
}

/// Waits until nobody serves at an address.
async fn until_refused(address: SocketAddr, protocol: Protocol) {
    let is_refused = async || {
        let connect = Client::try_connect(address, protocol);
        let connected = tokio::time::timeout(Duration::from_millis(300), connect).await;
        (!matches!(connected, Ok(Ok(_)))).then_some(())
    };
    until(format!("{protocol:?}: refusal"), is_refused).await;
}

#[tokio::test]
async fn a_listener_comes_goes_and_comes_back_on_its_port() {
    let origin = Origin::start().await;
    let mut live = Live::start(Setup::to([&origin])).await;
    let (clients, address) = (live.clients().await, free_address());
    let (with, without) = (with_second(&live, address), live.text());
    for round in 0..3 {
        live.put(&with).await.ok();
        live.weir.logged("listening").await;
        let mut second = Vec::new();
        for protocol in Protocol::ALL {
            let serves = async || Client::try_connect(address, protocol).await.ok();
            second.push((protocol, until(format!("{protocol:?} in {round}"), serves).await));
        }
        for (protocol, client) in &second {
            assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?} in {round}");
        }
        let gone = Instant::now();
        live.put(&without).await.ok();
        live.weir.logged("not listening any more").await;
        for (_, client) in &second {
            until_closed(client).await;
        }
        if round == 1 {
            for protocol in Protocol::ALL {
                until_refused(address, protocol).await;
            }
        } else {
            assert!(gone.elapsed() < Duration::from_secs(5), "{:?}", gone.elapsed());
        }
        for (protocol, client) in &clients {
            assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?} in {round}");
            assert!(!client.is_closed(), "{protocol:?} in {round}");
        }
    }
}

#[tokio::test]
async fn a_listener_comes_back_at_once_and_serves_every_newcomer() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let address = free_address();
    let (with, without) = (with_second(&live, address), live.text());
    live.put(&with).await.ok();
    for protocol in [Protocol::H3, Protocol::H2, Protocol::H1] {
        let client = Client::connect(address, protocol).await;
        assert_eq!(ask(&client, "/who").await.0, 200);
        live.put(&without).await.ok();
        live.put(&with).await.ok();
        if protocol == Protocol::H3 {
            // A worker that has not heard of it yet still refuses QUIC connections.
            let serves = async || Client::try_connect(address, protocol).await.ok();
            drop(until("the listener", serves).await);
        }
        for _ in 0..16 {
            let newcomer = Client::connect(address, protocol).await;
            assert_eq!(ask(&newcomer, "/who").await.0, 200, "{protocol:?}");
        }
        until_closed(&client).await;
    }
}

#[tokio::test]
async fn requests_in_flight_end_after_their_listener_has_left() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let address = free_address();
    let (with, without) = (with_second(&live, address), live.text());
    for protocol in Protocol::ALL {
        live.put(&with).await.ok();
        let connected = async || Client::try_connect(address, protocol).await.ok();
        let client = until("the listener", connected).await;
        let mut answer = client.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first", "{protocol:?}");
        live.put(&without).await.ok();
        until_refused(address, Protocol::H1).await;
        origin.release();
        assert_eq!(answer.text().await, "last", "{protocol:?}");
        until_closed(&client).await;
    }
}

#[tokio::test]
async fn a_port_of_another_process_fails_the_reload_and_changes_nothing() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let clients = live.clients().await;
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [tcp.local_addr().unwrap(), udp.local_addr().unwrap()] {
        let text = with_second(&live, address);
        let text = replaced(&text, "upstream: app }", "respond: { status: 204 } }");
        let reply = live.put(&text).await;
        assert_eq!(reply.status, 422, "{reply:?}");
        let (problem, line) =
            (reply.json(), text.lines().position(|l| l.contains(&address.to_string())));
        assert_eq!(problem["errors"][0]["line"], line.unwrap() + 1, "{problem}");
        assert!(problem["errors"][0]["column"].as_u64() > Some(1), "{problem}");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("listeners[1].address"), "{problem}");
        assert!(message.contains(&address.to_string()), "{problem}");
        for (protocol, client) in &clients {
            assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
        }
        let status = live.get("/api/status").await;
        assert_eq!(status["listeners"].as_array().unwrap().len(), 1, "{status}");
        assert_eq!(status["configuration"]["revision"], 1, "{status}");
    }
}

#[tokio::test]
async fn protocols_change_and_close_only_their_own_connections() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin]).listener("protocols: [h3, h2, h1]")).await;
    let all = "protocols: [h3, h2, h1]";
    let address = live.weir.address();
    let [(_, h1), (_, h2), (_, h3)] = &live.clients().await[..] else { panic!("three clients") };
    live.put(&live.with(all, "protocols: [h3, h2]")).await.ok();
    // TCP goes on with HTTP/2, so nothing ends.
    until_refused(address, Protocol::H1).await;
    for client in [h1, h2, h3] {
        assert_eq!(ask(client, "/who").await.0, 200);
        assert!(!client.is_closed());
    }
    live.put(&live.with(all, "protocols: [h2, h1]")).await.ok();
    until_refused(address, Protocol::H3).await;
    until_closed(h3).await;
    live.put(&live.text()).await.ok();
    for protocol in Protocol::ALL {
        let client = live.weir.client(protocol).await;
        assert_eq!(ask(&client, "/who").await.0, 200, "{protocol:?}");
    }
    for client in [h1, h2] {
        assert_eq!(ask(client, "/who").await.0, 200);
        assert!(!client.is_closed());
    }
    live.put(&live.with(all, "protocols: [h3]")).await.ok();
    until_refused(address, Protocol::H2).await;
    until_closed(h1).await;
    until_closed(h2).await;
    let client = live.weir.client(Protocol::H3).await;
    live.put(&live.text()).await.ok();
    let serves = async || Client::try_connect(address, Protocol::H2).await.ok();
    let second = until("HTTP/2", serves).await;
    for client in [&client, &second] {
        assert_eq!(ask(client, "/who").await.0, 200);
    }
}

#[tokio::test]
async fn limits_change_on_open_connections() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin]).listener("limits: { body: 1KiB }")).await;
    let clients = live.clients().await;
    for (limit, wanted) in [("1KiB", 413), ("4KiB", 200), ("2KiB", 413), ("8KiB", 200)] {
        let text = live.with("limits: { body: 1KiB }", &format!("limits: {{ body: {limit} }}"));
        live.put(&text).await.ok();
        // HTTP/1.1 ends a connection with a body that nobody reads.
        for (protocol, client) in clients.iter().filter(|(protocol, _)| *protocol != Protocol::H1) {
            let status = client.post("/count", crate::support::origin::chunk(3000)).await.status;
            assert_eq!(status, wanted, "{limit} {protocol:?}");
        }
    }
    for (protocol, client) in &clients {
        assert!(!client.is_closed(), "{protocol:?}");
        assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn the_limit_of_connections_changes_for_newcomers() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let clients = live.clients().await;
    let limited = live.with("upstreams:\n", "    limits: { connections: 3 }\nupstreams:\n");
    live.put(&limited).await.ok();
    until_refused(live.weir.address(), Protocol::H2).await;
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
    }
    live.put(&live.text()).await.ok();
    let newcomer = live.weir.client(Protocol::H2).await;
    assert_eq!(ask(&newcomer, "/who").await.0, 200);
}

#[tokio::test]
async fn keys_that_need_a_restart_are_named() {
    let origin = Origin::start().await;
    let mut live = Live::start(Setup::to([&origin])).await;
    let applied = live.put(&live.with("workers: 2", "workers: 3")).await.ok();
    assert_eq!(applied["needs_restart"], serde_json::json!(["workers"]), "{applied}");
    let event = live.weir.logged("changed keys take effect after a restart").await;
    assert_eq!(event["keys"], "workers", "{event}");
    assert_eq!(live.get("/api/status").await["workers"], 2);
    let (code, told, errors) = live.command(&["rollback"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(told.lines().any(|line| line == "! workers takes effect after a restart"), "{told}");
    let applied = live.put(&live.with("grace: 10s", "grace: 11s")).await.ok();
    assert_eq!(applied["needs_restart"], serde_json::json!([]), "{applied}");
}
