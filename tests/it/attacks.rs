//! Clients that occupy resources of others: slow bodies, floods of frames, more than their share of
//! an origin's connections.

use std::net::Ipv4Addr;
use std::time::Duration;

use http::Request;
use tokio::time::sleep;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{DATA, END_HEADERS, HEADERS, RawH2, SETTINGS, get};
use crate::support::{Answer, Body, Client, Origin, Protocol, Setup, Weir, fields, spawn, within};

/// A body with one byte every 50 ms, `times` bytes in all.
fn dripping(times: usize) -> Body {
    let (sender, body) = Body::channel();
    spawn(async move {
        for _ in 0..times {
            if !sender.send("x").await {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    body
}

/// The number of clients that were cut off.
async fn cut(weir: &Weir, protocol: Protocol, reason: &str) -> f64 {
    let labels = [format!("protocol=\"{}\"", protocol.label()), format!("reason=\"{reason}\"")];
    weir.metric("http_clients_cut_total", &[&labels[0], &labels[1]]).await
}

#[tokio::test]
async fn an_upload_below_the_rate_is_a_408() {
    let origin = Origin::start().await;
    let limits = "limits: { upload_rate: 1KiB, rate_grace: 200ms }";
    let mut weir = Setup::to([&origin]).listener(limits).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let answer = weir.client(protocol).await.post("/count", dripping(usize::MAX)).await;
        assert_eq!(answer.status, 408, "{protocol:?}");
        origin.until_cancelled(at + 1).await;
        assert_eq!(weir.record().await["error"], "client/body_rate", "{protocol:?}");
        assert_eq!(cut(&weir, protocol, "slow_request").await, 1.0, "{protocol:?}");
        let answer = weir.client(protocol).await.post("/count", Body::repeat(1 << 20)).await;
        assert_eq!(answer.text().await, "1048576", "{protocol:?}");
        assert_eq!(weir.record().await["status"], 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn time_that_the_origin_takes_does_not_count_as_the_client_s() {
    let origin = Origin::start().await;
    let limits = "limits: { upload_rate: 16MiB, rate_grace: 500ms }";
    let weir = Setup::to([&origin]).listener(limits).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let client = weir.client(protocol).await;
        let later = async {
            origin.until_requests(at + 1).await;
            // Longer than the grace and the time that 8 MiB earn.
            sleep(Duration::from_secs(2)).await;
            origin.release();
        };
        let body = Body::repeat(8 << 20);
        let (answer, ()) = tokio::join!(client.post("/hold-read", body), later);
        assert_eq!(answer.status, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_that_may_send_nothing_more_is_not_slow() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin])
        .listener("limits: { upload_rate: 1MiB, rate_grace: 300ms }")
        .listener("quic: { stream_window: 64KiB, connection_window: 128KiB }")
        .start()
        .await;
    for (at, protocol) in [Protocol::H2, Protocol::H3].into_iter().enumerate() {
        let client = std::sync::Arc::new(weir.client(protocol).await);
        for _ in 0..2 {
            // More than all buffers on the way hold: the bytes that the client may send ahead stay
            // unread.
            let client = client.clone();
            spawn(async move { client.post("/hold-read", Body::repeat(200 << 20)).await });
        }
        origin.until_requests(at * 3 + 2).await;
        sleep(Duration::from_millis(700)).await;
        let later = async {
            sleep(Duration::from_millis(1300)).await;
            origin.release();
        };
        let (answer, ()) = tokio::join!(client.post("/count", Body::repeat(4096)), later);
        assert_eq!(answer.text().await, "4096", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_request_that_goes_on_after_the_response_has_begun_may_be_slow() {
    let origin = Origin::start().await;
    let limits = "limits: { upload_rate: 1KiB, rate_grace: 300ms }";
    let weir = Setup::to([&origin]).listener(limits).start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.post("/echo", dripping(20)).await;
        assert_eq!(answer.text().await, "x".repeat(20), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_call_of_grpc_may_be_silent_between_its_messages() {
    let origin = Origin::start().await;
    let limits = "limits: { upload_rate: 1KiB, rate_grace: 300ms }";
    let weir = Setup::to([&origin]).listener(limits).start().await;
    for (protocol, status) in [(Protocol::H1, 408), (Protocol::H2, 200), (Protocol::H3, 200)] {
        let call = Request::post("/count").header("content-type", "application/grpc+proto");
        let answer = weir.try_send(protocol, call.body(dripping(20)).unwrap()).await.unwrap();
        assert_eq!(answer.status, status, "{protocol:?}");
    }
}

#[tokio::test]
async fn what_moves_in_either_direction_keeps_an_exchange() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("timeouts: { idle: 400ms }").start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        // The origin is silent after its first byte, while the client continues.
        let mut answer = client.post("/hold-body", dripping(30)).await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
        sleep(Duration::from_millis(1200)).await;
        origin.release();
        assert_eq!(answer.text().await, "last", "{protocol:?}");
        // The client is silent, while the origin continues.
        let (_silent, body) = Body::channel();
        let mut answer = weir.client(protocol).await.post("/endless", body).await;
        let until = tokio::time::Instant::now() + Duration::from_millis(1200);
        while tokio::time::Instant::now() < until {
            within("a chunk", answer.chunk()).await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_client_that_takes_a_response_below_the_rate_is_cut_off() {
    let origin = Origin::start().await;
    // No client takes this much, so only the grace matters.
    let limits = "limits: { download_rate: 1GiB, rate_grace: 300ms }";
    let weir = Setup::to([&origin]).listener(limits).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let client = weir.client(protocol).await;
        let answer = client.get("/endless").await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        origin.until_cancelled(at + 1).await;
        assert!(read(answer).await.is_err(), "{protocol:?}: cut short, it does not look whole");
        assert_eq!(cut(&weir, protocol, "slow_response").await, 1.0, "{protocol:?}");
    }
}

async fn read(mut answer: Answer) -> Result<u64, crate::support::client::Failure> {
    answer.count().await
}

#[tokio::test]
async fn a_client_that_keeps_to_the_rate_gets_all_and_a_quiet_origin_is_no_slow_client() {
    let origin = Origin::start().await;
    let limits = "limits: { download_rate: 1MiB, rate_grace: 300ms }";
    let weir = Setup::to([&origin]).listener(limits).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut answer = client.get("/bytes/30000000").await;
        let mut count = 0;
        while let Some(chunk) = within("a chunk", answer.chunk()).await {
            let chunk = chunk.unwrap();
            count += chunk.len();
            if count % (1 << 20) < chunk.len() {
                sleep(Duration::from_millis(50)).await;
            }
        }
        assert_eq!(count, 30_000_000, "{protocol:?}");
        let mut answer = client.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
        sleep(Duration::from_millis(900)).await;
        origin.release();
        assert_eq!(answer.text().await, "last", "{protocol:?}");
    }
}

#[tokio::test]
async fn streams_without_a_window_are_reset_after_the_grace() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { rate_grace: 300ms }").start().await;
    let mut raw = RawH2::connect(&weir).await;
    // SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 §6.5.2).
    raw.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).await.unwrap();
    for stream in [1, 3, 5] {
        raw.headers(stream, &get("/endless"), true).await;
    }
    origin.until_cancelled(3).await;
    assert_eq!(cut(&weir, Protocol::H2, "slow_response").await, 3.0);
    raw.headers(7, &get("/status/204"), true).await;
    let status = raw.outcome(7).await;
    assert_eq!(status, crate::support::raw_h2::Outcome::Status(204), "the others go on");
}

#[tokio::test]
async fn one_network_leaves_connections_to_the_others() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin])
        .workers(1)
        .upstream("limits: { connections: 8, per_client: 50% }")
        .start()
        .await;
    let (one, other) = (Ipv4Addr::new(127, 0, 1, 1), Ipv4Addr::new(127, 0, 2, 1));
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let mut held = Vec::new();
        for _ in 0..4 {
            let client = from(&weir, protocol, one).await;
            held.push(spawn(async move { client.get("/hold").await.status.as_u16() }));
        }
        origin.until_requests(at * 8 + 4).await;
        let refused = from(&weir, protocol, one).await.get("/who").await;
        assert_eq!(refused.status, 503, "{protocol:?}");
        assert_eq!(cut(&weir, protocol, "share").await, 1.0, "{protocol:?}");
        assert_eq!(weir.record().await["error"], "client/client_share", "{protocol:?}");
        for _ in 0..4 {
            let answer = from(&weir, protocol, other).await.get("/who").await;
            assert_eq!(answer.text().await, "origin", "{protocol:?}");
            assert_eq!(weir.record().await["status"], 200);
        }
        origin.release();
        for held in held {
            assert_eq!(within("an answer", held).await.unwrap(), 200, "{protocol:?}");
            assert_eq!(weir.record().await["status"], 200);
        }
    }
}

async fn from(weir: &Weir, protocol: Protocol, source: Ipv4Addr) -> Client {
    let connecting = Client::try_connect_from(weir.address(), protocol, Some(source));
    within("connecting", connecting).await.unwrap()
}

#[tokio::test]
async fn a_client_alone_has_all_connections_but_the_last_few() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(1).upstream("limits: { connections: 4 }").start().await;
    let client = std::sync::Arc::new(weir.client(Protocol::H2).await);
    let mut held = Vec::new();
    for _ in 0..3 {
        let client = client.clone();
        held.push(spawn(async move { client.get("/hold").await.status.as_u16() }));
    }
    origin.until_requests(3).await;
    assert_eq!(client.get("/who").await.status, 503);
    origin.release();
    for held in held {
        assert_eq!(within("an answer", held).await.unwrap(), 200);
    }
    assert_eq!(client.get("/who").await.text().await, "origin");
}

#[tokio::test]
async fn h2_frames_of_no_use_end_their_connection_and_are_counted_not_logged() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    let floods: [(u8, u8, u32, &[u8]); 6] = [
        (SETTINGS, 0, 0, &[]),
        (6, 0, 0, &[0; 8]),            // PING
        (2, 0, 1, &[0, 0, 0, 0, 0]),   // PRIORITY
        (8, 0, 0, &[0, 0, 0, 1]),      // WINDOW_UPDATE
        (0xfe, 0, 0, b"an extension"), // unknown
        (DATA, 0, 1, &[]),
    ];
    for (at, (kind, flags, stream, payload)) in floods.into_iter().enumerate() {
        let mut raw = RawH2::connect(&weir).await;
        raw.frame(HEADERS, END_HEADERS, 1, &fields::hpack(&get("/count"))).await.unwrap();
        let flood = async {
            for _ in 0..100_000 {
                if raw.frame(kind, flags, stream, payload).await.is_err() {
                    return true;
                }
            }
            false
        };
        assert!(within("the end of the connection", flood).await, "100,000 frames of type {kind}");
        assert_eq!(cut(&weir, Protocol::H2, "flood").await, (at + 1) as f64, "type {kind}");
    }
    // The h2 crate ends this one.
    let mut raw = RawH2::connect(&weir).await;
    let resets = async {
        for stream in (1..40_000).step_by(2) {
            let head = fields::hpack(&get("/hold"));
            if raw.frame(HEADERS, 5, stream, &head).await.is_err() {
                return;
            }
            raw.reset(stream).await;
        }
    };
    within("the end of the connection", resets).await;
    let label = [r#"protocol="h2""#, r#"reason="flood""#];
    weir.until_metric("http_clients_cut_total", &label, |count| count == 7.0).await;
    assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200);
    weir.signal("TERM");
    within("the end", weir.exit()).await;
    assert!(!weir.printed().contains("h2::proto"), "{}", weir.printed());
}

#[tokio::test]
async fn an_endless_line_ends_its_connection() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let chunked = "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (start, endless) in [
        (chunked.to_owned(), "0".repeat(16 << 10)),
        (format!("{chunked}1;"), "x".repeat(16 << 10)),
        (format!("{chunked}0\r\n"), "x".repeat(16 << 10)),
        (format!("{chunked}0\r\n"), "X: y\r\n".repeat(1 << 10)),
        (String::new(), "\r\n".repeat(8 << 10)),
        ("GET / HTTP/1.1\r\nHost: a\r\nX:".to_owned(), "x".repeat(16 << 10)),
    ] {
        let mut raw = RawH1::connect(&weir).await;
        raw.send(&start).await;
        let flood = async {
            for sent in 0.. {
                if raw.try_send(endless.as_bytes()).await.is_err() {
                    return sent * endless.len();
                }
            }
            0
        };
        let taken = within("the end of the connection", flood).await;
        // Bytes that Weir reads after the answer, so that the answer arrives, and bytes in buffers.
        assert!(taken < 32 << 20, "{taken} bytes after {start:?}");
        assert_eq!(weir.get(Protocol::H1, "/who").await.0, 200);
    }
}

#[tokio::test]
async fn small_pieces_of_an_upload_reach_the_origin_together_and_unchanged() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let mut raw = RawH1::connect(&weir).await;
    let chunks: String = (0..2000).map(|at| format!("1\r\n{}\r\n", at % 10)).collect();
    let head = "POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked";
    raw.send(&format!("{head}\r\n\r\n{chunks}0\r\n\r\n")).await;
    let reply = raw.rest().await;
    assert_eq!(reply.status(), 200);
    let (_, body) = reply.text.split_once("\r\n\r\n").unwrap();
    let mut text = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        text.push_str(&after[..size]);
        rest = &after[size + 2..];
    }
    assert_eq!(text, "0123456789".repeat(200));
}
