//! The shutdown: Weir stops accepting, finishes accepted requests, and closes, all in bounded time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Client, Origin, Protocol, Setup, spawn, until};

#[tokio::test]
async fn no_accepted_request_is_lost_on_sigterm() {
    loses_nothing("TERM").await;
}

#[tokio::test]
async fn no_accepted_request_is_lost_on_sigint() {
    loses_nothing("INT").await;
}

#[tokio::test]
async fn a_request_in_flight_is_answered_during_the_drain() {
    for protocol in Protocol::ALL {
        let origin = Origin::start().await;
        let mut weir = Setup::to([&origin]).start().await;
        let client = weir.client(protocol).await;
        let held = client.get("/hold");
        let signal = async {
            origin.until_requests(1).await;
            weir.signal("TERM");
            weir.logged("draining").await;
            origin.release();
        };
        let (held, ()) = tokio::join!(held, signal);
        assert_eq!(held.text().await, "origin", "{protocol:?}");
        assert!(weir.exit().await.success(), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_body_in_flight_ends_well_during_the_drain() {
    for protocol in Protocol::ALL {
        let origin = Origin::start().await;
        let mut weir = Setup::to([&origin]).start().await;
        let client = weir.client(protocol).await;
        let mut answer = client.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
        weir.signal("TERM");
        weir.logged("draining").await;
        origin.release();
        assert_eq!(answer.text().await, "last", "{protocol:?}");
        assert!(weir.exit().await.success(), "{protocol:?}");
    }
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_end_up() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).grace("60s").start().await;
    let mut clients = Vec::new();
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        client.get("/who").await.text().await;
        clients.push(client);
    }
    weir.signal("TERM");
    assert!(weir.exit().await.success());
    for client in &clients {
        until("the end of the connection", async || client.is_closed().then_some(())).await;
    }
}

#[tokio::test]
async fn new_connections_are_refused_during_the_drain() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let client = weir.client(Protocol::H2).await;
    let mut held = client.get("/hold-body").await;
    held.chunk().await.unwrap().unwrap();
    weir.signal("TERM");
    weir.logged("draining").await;
    let refused = async || {
        let connect = Client::try_connect(weir.address(), Protocol::H1);
        let connected = tokio::time::timeout(Duration::from_secs(1), connect).await;
        (!matches!(connected, Ok(Ok(_)))).then_some(())
    };
    until("refusal", refused).await;
    origin.release();
    assert_eq!(held.text().await, "last");
    assert!(weir.exit().await.success());
}

#[tokio::test]
async fn the_grace_period_bounds_the_drain() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).grace("300ms").start().await;
    let mut held = Vec::new();
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut answer = client.get("/hold-body").await;
        answer.chunk().await.unwrap().unwrap();
        held.push((client, answer));
    }
    let started = Instant::now();
    weir.signal("TERM");
    weir.exit().await;
    assert!(started.elapsed() >= Duration::from_millis(300), "{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    for (_, mut answer) in held {
        assert!(answer.bytes().await.is_err(), "what was cut off does not look whole");
    }
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).grace("60s").start().await;
    let client = weir.client(Protocol::H3).await;
    let mut answer = client.get("/hold-body").await;
    answer.chunk().await.unwrap().unwrap();
    weir.signal("TERM");
    weir.logged("draining").await;
    let started = Instant::now();
    weir.signal("INT");
    assert!(!weir.exit().await.success());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// Clients of all protocols send requests without pause while the signal comes. A request may be
/// refused: its connection closed, or was told to send no more, before the request was accepted. A
/// request that reached an origin must be answered, to its last byte.
async fn loses_nothing(signal: &str) {
    let origin = Arc::new(Origin::start().await);
    let mut weir = Setup::to([&*origin]).workers(4).start().await;
    let answered = Arc::new(AtomicUsize::new(0));
    let broken = Arc::new(AtomicUsize::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for protocol in Protocol::ALL.into_iter().cycle().take(24) {
        let client = weir.client(protocol).await;
        let (answered, broken, stop) = (answered.clone(), broken.clone(), stop.clone());
        clients.push(spawn(async move {
            while !stop.load(Ordering::SeqCst) {
                let request =
                    http::Request::get("/bytes/20000").body(crate::support::Body::empty());
                let Ok(mut answer) = client.try_send(request.unwrap()).await else { break };
                let whole = answer.status == 200 && matches!(answer.count().await, Ok(20_000));
                (if whole { &answered } else { &broken }).fetch_add(1, Ordering::SeqCst);
            }
        }));
    }
    origin.until_requests(500).await;
    weir.signal(signal);
    assert!(weir.exit().await.success());
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(broken.load(Ordering::SeqCst), 0, "answers that broke off");
    assert_eq!(
        answered.load(Ordering::SeqCst),
        origin.requests(),
        "requests at the origin were answered"
    );
}
