//! Every wait has a bound.

use std::time::{Duration, Instant};

use http::Request;

use crate::support::raw_h1::RawH1;
use crate::support::raw_origin::full_listener;
use crate::support::{Body, Origin, Protocol, RawOrigin, Setup, spawn, within};

#[tokio::test]
async fn no_head_in_time_is_a_504_and_the_upstream_request_is_cancelled() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("timeouts: { first_byte: 200ms }").start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let started = Instant::now();
        let answer = weir.client(protocol).await.get("/hold").await;
        assert_eq!(answer.status, 504, "{protocol:?}");
        assert!(started.elapsed() >= Duration::from_millis(200), "{:?}", started.elapsed());
        assert_eq!(answer.header("x-request-id").len(), 16);
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn the_first_byte_is_waited_for_from_the_end_of_the_request() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("timeouts: { first_byte: 300ms }").start().await;
    for protocol in Protocol::ALL {
        let (sender, body) = Body::channel();
        spawn(async move {
            for _ in 0..8 {
                sender.send("a piece").await;
                tokio::time::sleep(Duration::from_millis(80)).await;
            }
        });
        let answer = weir.client(protocol).await.post("/count", body).await;
        assert_eq!(answer.text().await, "56", "{protocol:?}");
    }
}

#[tokio::test]
async fn the_first_byte_is_not_waited_for_while_another_endpoint_is_connected_to() {
    let (full, _held) = full_listener().await;
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let weir = Setup::addresses([full, origin.address()])
        .upstream("timeouts: { connect: 400ms, first_byte: 300ms }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        // Round robin: one of the two begins with the unreachable endpoint.
        for _ in 0..2 {
            let answer = weir.get(protocol, "/").await;
            assert_eq!(answer, (200, "ok".to_owned()), "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_body_that_stops_moving_is_cut_off() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("timeouts: { idle: 200ms }").start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let mut answer = weir.client(protocol).await.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
        assert!(
            within("the cut", answer.chunk()).await.is_some_and(|chunk| chunk.is_err()),
            "{protocol:?}"
        );
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn an_upload_that_stops_moving_is_a_408() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("timeouts: { idle: 200ms }").start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let (sender, body) = Body::channel();
        let client = weir.client(protocol).await;
        let send = sender.send("the beginning");
        let (answer, _) = tokio::join!(client.post("/count", body), send);
        assert_eq!(answer.status, 408, "{protocol:?}");
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn the_whole_exchange_is_bounded_even_while_it_moves() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("timeouts: { total: 300ms }").start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let mut answer = weir.client(protocol).await.get("/endless").await;
        assert!(answer.count().await.is_err(), "{protocol:?}");
        origin.until_cancelled(at + 1).await;
        assert_eq!(weir.client(protocol).await.get("/hold").await.status, 504, "{protocol:?}");
        origin.until_cancelled(at + 2).await;
        origin.release();
    }
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { header_timeout: 300ms }").start().await;
    let mut raw = RawH1::connect(&weir).await;
    raw.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    let reply = raw.rest().await;
    assert!(reply.closed && [0, 408].contains(&reply.status()), "{reply:?}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let origin = Origin::start().await;
    let limits = "limits: { header_timeout: 300ms }";
    let weir = Setup::to([&origin])
        .listener(limits)
        .listener("quic: { idle_timeout: 1s, keep_alive: 0s }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        client.get("/who").await.text().await;
        let closed = async || client.is_closed().then_some(());
        crate::support::until(format!("end of an idle {protocol:?} connection"), closed).await;
    }
}

#[tokio::test]
async fn an_unfinished_handshake_is_cut_off() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { handshake_timeout: 300ms }").start().await;
    let mut stream = tokio::net::TcpStream::connect(weir.address()).await.unwrap();
    let mut buffer = [0; 16];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut buffer);
    assert!(matches!(within("the end", read).await, Ok(0) | Err(_)));
    assert_eq!(weir.get(Protocol::H1, "/who").await.0, 200);
}

#[tokio::test]
async fn an_idle_upstream_connection_is_closed() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let weir = Setup::addresses([origin.address()])
        .upstream("limits: { idle_timeout: 300ms }")
        .start()
        .await;
    let request = Request::get("/").body(Body::empty()).unwrap();
    weir.client(Protocol::H2).await.send(request).await.text().await;
    origin.until_closed(0).await;
}
