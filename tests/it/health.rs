//! Endpoints that fail their probes get no new request; once they have recovered, they get requests
//! again.

use std::time::Instant;

use crate::support::{Client, Origin, Protocol, Setup, Speaks, until};

const HEALTH: &str =
    "health: { path: /health, interval: 100ms, timeout: 1s, healthy_after: 2, unhealthy_after: 2 }";

#[tokio::test]
async fn an_endpoint_that_fails_its_probes_gets_no_new_request() {
    let origins = Origin::several::<2>().await;
    let mut weir = Setup::to(&origins).upstream(HEALTH).start().await;
    let name = format!("endpoint=\"{}\"", origins[0].address());
    weir.until_metric("backend_health_status", &[&name], |up| up == 1.0).await;
    origins[0].set_healthy(false);
    weir.until_metric("backend_health_status", &[&name], |up| up == 0.0).await;
    let event = weir.logged("endpoint is unhealthy: it gets no new requests").await;
    assert_eq!(event["endpoint"], origins[0].address().to_string(), "{event}");
    let before = origins[0].requests();
    for protocol in Protocol::ALL {
        ask(&weir.client(protocol).await, 10).await;
    }
    assert_eq!((origins[0].requests(), origins[1].requests()), (before, 30));
}

#[tokio::test]
async fn a_recovered_endpoint_gets_requests_again() {
    let origins = Origin::several::<2>().await;
    origins[0].set_healthy(false);
    let mut weir = Setup::to(&origins).upstream(HEALTH).start().await;
    weir.until_metric("backend_health_status", &[], |sum| sum == 1.0).await;
    origins[0].set_healthy(true);
    weir.until_metric("backend_health_status", &[], |sum| sum == 2.0).await;
    weir.logged("endpoint is healthy again").await;
    let before = origins[0].requests();
    ask(&weir.client(Protocol::H3).await, 10).await;
    assert_eq!(origins[0].requests(), before + 5);
}

#[tokio::test]
async fn one_failed_probe_is_forgiven() {
    let origin = Origin::start().await;
    let health = "health: { path: /health, interval: 50ms, unhealthy_after: 1000 }";
    let weir = Setup::to([&origin]).upstream(health).start().await;
    origin.set_healthy(false);
    let probes = origin.probes() + 5;
    until("probes", async || (origin.probes() >= probes).then_some(())).await;
    assert_eq!(weir.metric("backend_health_status", &[]).await, 1.0);
    assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200);
}

#[tokio::test]
async fn an_origin_that_is_gone_is_down_and_comes_back() {
    let origins = Origin::several::<2>().await;
    let weir = Setup::to(&origins).upstream(HEALTH).start().await;
    weir.until_metric("backend_health_status", &[], |sum| sum == 2.0).await;
    let [first, second] = origins;
    let address = first.address();
    drop(first);
    weir.until_metric("backend_health_status", &[], |sum| sum == 1.0).await;
    ask(&weir.client(Protocol::H2).await, 5).await;
    let first = Origin::at(address, "a").await;
    weir.until_metric("backend_health_status", &[], |sum| sum == 2.0).await;
    ask(&weir.client(Protocol::H2).await, 10).await;
    assert_eq!((first.requests(), second.requests()), (5, 10));
}

#[tokio::test]
async fn a_probe_that_is_not_answered_in_time_fails() {
    let origin = Origin::start().await;
    let health = "health: { path: /hold, interval: 100ms, timeout: 100ms, unhealthy_after: 2 }";
    let weir = Setup::to([&origin]).upstream(health).start().await;
    weir.until_metric("backend_health_status", &[], |up| up == 0.0).await;
}

#[tokio::test]
async fn statuses_that_are_expected_are_good() {
    let origin = Origin::start().await;
    let health =
        "health: { path: /status/418, interval: 50ms, unhealthy_after: 1, expect: [200, 400-418] }";
    let weir = Setup::to([&origin]).upstream(health).start().await;
    origin.until_requests(4).await;
    assert_eq!(weir.metric("backend_health_status", &[]).await, 1.0);
}

#[tokio::test]
async fn with_every_endpoint_down_the_answer_is_503_at_once() {
    let origins = Origin::several::<2>().await;
    origins.iter().for_each(|origin| origin.set_healthy(false));
    let weir = Setup::to(&origins).upstream(HEALTH).start().await;
    weir.until_metric("backend_health_status", &[], |sum| sum == 0.0).await;
    let before: usize = origins.iter().map(Origin::requests).sum();
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let started = Instant::now();
        let answer = client.get("/who").await;
        assert_eq!(answer.status, 503, "{protocol:?}");
        assert_eq!(answer.header("x-request-id").len(), 16, "{protocol:?}");
        assert!(started.elapsed().as_secs() < 1, "{protocol:?}: {:?}", started.elapsed());
    }
    assert_eq!(origins.iter().map(Origin::requests).sum::<usize>(), before);
}

async fn ask(client: &Client, times: usize) {
    for _ in 0..times {
        let answer = client.get("/who").await;
        assert_eq!(answer.status, 200);
        answer.text().await;
    }
}

#[tokio::test]
async fn the_health_of_a_grpc_service_decides() {
    for speaks in [Speaks::H2, Speaks::H2c] {
        let origin = Origin::speaking(speaks).await;
        let health = "health: { grpc: app, interval: 50ms, healthy_after: 1, unhealthy_after: 1 }";
        let weir = Setup::to([&origin]).upstream(health).start().await;
        until("probes", async || (origin.probes() > 2).then_some(())).await;
        assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200, "{speaks:?}");
        origin.set_healthy(false);
        until("503", async || (weir.get(Protocol::H3, "/who").await.0 == 503).then_some(())).await;
        origin.set_healthy(true);
        until("200", async || (weir.get(Protocol::H3, "/who").await.0 == 200).then_some(())).await;
    }
}

#[tokio::test]
async fn a_grpc_service_that_the_origin_does_not_know_is_unhealthy() {
    let origin = Origin::speaking(Speaks::H2c).await;
    let health = "health: { grpc: other, interval: 50ms, unhealthy_after: 1 }";
    let weir = Setup::to([&origin]).upstream(health).start().await;
    until("503", async || (weir.get(Protocol::H3, "/who").await.0 == 503).then_some(())).await;
}
