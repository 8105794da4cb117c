//! Endpoints that an operator sets, drains and weighs.

use serde_json::{Value, json};

use super::{Live, ask};
use crate::support::{Client, Origin, Protocol, Setup};

async fn patch(live: &Live, origin: &Origin, change: Value) -> Value {
    let path = format!("/api/upstreams/app/endpoints/{}", origin.address());
    live.send("PATCH", &path, change.to_string()).await.ok()
}

/// Counts the answers of the origin `a` among this many requests.
async fn of_a(client: &Client, requests: usize) -> usize {
    let mut count = 0;
    for _ in 0..requests {
        let (status, name) = ask(client, "/who").await;
        assert_eq!(status, 200);
        count += usize::from(name == "a");
    }
    count
}

#[tokio::test]
async fn a_drained_endpoint_ends_its_requests_and_gets_no_others() {
    let [a, b] = Origin::several::<2>().await;
    let live = Live::start(Setup::to([&a])).await;
    let (holding, client) =
        (live.weir.client(Protocol::H3).await, live.weir.client(Protocol::H2).await);
    let both = format!(
        "      - {{ address: \"{}\" }}\n      - {{ address: \"{}\" }}\n",
        a.address(),
        b.address()
    );
    let drain = async {
        a.until_requests(1).await;
        live.change(&format!("      - {{ address: \"{}\" }}\n", a.address()), &both).await;
        let (code, _, errors) = live
            .command(&["drain", "--upstream", "app", "--endpoint", &a.address().to_string()])
            .await;
        assert_eq!(code, 0, "{errors}");
        let shown = live.endpoint("app", a.address()).await;
        assert_eq!((&shown["drain"], &shown["requests"]), (&true.into(), &1.into()), "{shown}");
        assert_eq!(of_a(&client, 8).await, 0);
        // A drain is no part of the configuration, and outlives a reload.
        live.reload().await.ok();
        assert_eq!(of_a(&client, 8).await, 0);
        a.release();
    };
    let (held, ()) = tokio::join!(ask(&holding, "/hold"), drain);
    assert_eq!(held, (200, "a".to_owned()));
    patch(&live, &a, json!({ "drain": false })).await;
    assert_eq!(of_a(&client, 8).await, 4);
}

#[tokio::test]
async fn with_every_endpoint_drained_the_answer_is_503() {
    let origin = Origin::start().await;
    let live = Live::start(Setup::to([&origin])).await;
    let clients = live.clients().await;
    let seen = origin.requests();
    patch(&live, &origin, json!({ "drain": true })).await;
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.0, 503, "{protocol:?}");
    }
    assert_eq!(live.get("/api/status").await["counts"]["available_endpoints"], 0);
    assert_eq!(origin.requests(), seen);
    patch(&live, &origin, json!({ "drain": false })).await;
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.0, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_weight_takes_the_next_requests() {
    let [a, b] = Origin::several::<2>().await;
    let live = Live::start(Setup::to([&a, &b]).upstream("balancer: weighted")).await;
    let client = live.weir.client(Protocol::H3).await;
    assert_eq!(of_a(&client, 8).await, 4);
    let upstream = patch(&live, &a, json!({ "weight": 3 })).await;
    assert_eq!(upstream["endpoints"][0]["weight"], 3, "{upstream}");
    assert_eq!(of_a(&client, 16).await, 12);
    patch(&live, &a, json!({ "weight": 0 })).await;
    assert_eq!(of_a(&client, 8).await, 0);
    let path = format!("/api/upstreams/app/endpoints/{}", a.address());
    for (body, wanted) in [("{ \"weight\": 65537 }", 422), ("{}", 400), ("{ \"wight\": 1 }", 400)] {
        assert_eq!(live.send("PATCH", &path, body).await.status, wanted, "{body}");
    }
    assert_eq!(live.endpoint("app", a.address()).await["weight"], 0);
}

#[tokio::test]
async fn endpoints_that_were_set_serve_until_they_are_reset() {
    let [a, b] = Origin::several::<2>().await;
    let live = Live::start(Setup::to([&a])).await;
    let clients = live.clients().await;
    let path = "/api/upstreams/app/endpoints";
    let list = json!({ "endpoints": [{ "address": b.address().to_string() }] }).to_string();
    let upstream = live.send("PUT", path, list).await.ok();
    assert_eq!(upstream["origin"], "api", "{upstream}");
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.1, "b", "{protocol:?}");
    }
    // They outlive a reload that leaves the endpoints of the configuration alone.
    live.change("grace: 10s", "grace: 11s").await;
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.1, "b", "{protocol:?}");
    }
    let refused = [
        (path, json!({ "endpoints": [] }), 422),
        (path, json!({ "endpoints": [{ "address": "nowhere" }] }), 422),
        ("/api/upstreams/nobody/endpoints", json!({ "endpoints": [] }), 404),
    ];
    for (path, body, wanted) in refused {
        assert_eq!(live.send("PUT", path, body.to_string()).await.status, wanted, "{body}");
    }
    let upstream = live.send("DELETE", path, "").await.ok();
    assert_eq!(upstream["origin"], "configuration", "{upstream}");
    for (protocol, client) in &clients {
        assert_eq!(ask(client, "/who").await.1, "a", "{protocol:?}");
        assert!(!client.is_closed(), "{protocol:?}");
    }
}
