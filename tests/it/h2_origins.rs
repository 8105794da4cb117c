//! Origins of HTTP/2 that end connections, refuse requests, allow few streams, or break the rules.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Request;

use crate::support::raw_h2::{
    CONTINUATION, END_HEADERS, HEADERS, Outcome, PING, PRIORITY, RawH2, SETTINGS, WINDOW_UPDATE,
    get,
};
use crate::support::raw_h2_origin::{
    Arrival, Out, RawH2Origin, close, data, go_away, head, reset, status, whole,
};
use crate::support::{Body, Protocol, RawOrigin, Setup, Weir, fields, spawn, until};

const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const MAX_CONCURRENT_STREAMS: u16 = 3;

async fn before(origin: &RawH2Origin) -> Weir {
    let setup = Setup::addresses([origin.address()]).workers(1);
    setup.upstream("protocol: h2").upstream("timeouts: { first_byte: 2s }").start().await
}

/// The answer to a POST without a body, which is not idempotent.
async fn post(weir: &Weir) -> (u16, String) {
    let answer = weir.client(Protocol::H2).await.post("/", Body::empty()).await;
    (answer.status.as_u16(), answer.text().await)
}

#[tokio::test]
async fn a_refused_request_is_sent_again_whatever_its_method() {
    let origin = RawH2Origin::start(&[], |request| match request.before {
        0 => vec![reset(request.stream, REFUSED_STREAM)],
        _ => whole(request.stream, "second"),
    })
    .await;
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await, (200, "second".to_owned()));
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn a_request_that_is_always_refused_is_answered_with_502() {
    let refuse = |request: Arrival| vec![reset(request.stream, REFUSED_STREAM)];
    let origin = RawH2Origin::start(&[], refuse).await;
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await.0, 502);
    assert_eq!(origin.requests(), 3, "three times in all");
}

#[tokio::test]
async fn requests_above_the_last_one_of_a_goaway_go_over_another_connection() {
    let origin = RawH2Origin::start(&[], |request| match (request.connection, request.stream) {
        (0, 1) => whole(1, "first"),
        // The origin has processed the first request only.
        (0, _) => vec![go_away(1, 0)],
        _ => whole(request.stream, "second"),
    })
    .await;
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await, (200, "first".to_owned()));
    assert_eq!(post(&weir).await, (200, "second".to_owned()));
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn after_a_goaway_an_answer_still_arrives_and_new_requests_go_elsewhere() {
    let origin = RawH2Origin::start(&[], |request| match request.connection {
        0 => [vec![go_away(request.stream, 0)], whole(request.stream, "last")].concat(),
        _ => whole(request.stream, "new"),
    })
    .await;
    let weir = before(&origin).await;
    assert_eq!(post(&weir).await, (200, "last".to_owned()));
    assert_eq!(post(&weir).await, (200, "new".to_owned()));
    assert_eq!((origin.connections(), origin.requests()), (2, 2));
}

#[tokio::test]
async fn a_request_that_may_have_been_processed_is_not_sent_again() {
    for code in [0, CANCEL, 2] {
        let answer = move |request: Arrival| match request.before {
            0 => vec![reset(request.stream, code)],
            _ => whole(request.stream, "again"),
        };
        let origin = RawH2Origin::start(&[], answer).await;
        let weir = before(&origin).await;
        assert_eq!(post(&weir).await.0, 502, "{code}");
        assert_eq!(origin.requests(), 1, "{code}");
    }
}

#[tokio::test]
async fn another_connection_opens_at_the_limit_of_the_origin() {
    let is_released = Arc::new(AtomicBool::new(false));
    let released = Arc::clone(&is_released);
    let origin = RawH2Origin::start(&[(MAX_CONCURRENT_STREAMS, 2)], move |request| {
        if request.before == 0 || released.load(Ordering::SeqCst) {
            whole(request.stream, "x")
        } else {
            vec![head(request.stream, &[], false)]
        }
    })
    .await;
    let weir = before(&origin).await;
    // The limit is known with the first answer.
    assert_eq!(post(&weir).await.0, 200);
    let client = weir.client(Protocol::H2).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(client.get("/").await);
    }
    assert_eq!(origin.connections(), 3);
    drop(held);
    until("the resets", async || (origin.resets() == 6).then_some(())).await;
    is_released.store(true, Ordering::SeqCst);
    assert_eq!(post(&weir).await.0, 200);
    assert_eq!(origin.connections(), 3);
}

#[tokio::test]
async fn requests_at_once_share_the_first_connection() {
    let origin = RawH2Origin::start(&[], |request| whole(request.stream, "x")).await;
    let weir = Arc::new(before(&origin).await);
    let client = Arc::new(weir.client(Protocol::H2).await);
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let client = Arc::clone(&client);
            spawn(async move { client.get("/").await.status })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
    assert_eq!((origin.connections(), origin.requests()), (1, 20));
}

#[tokio::test]
async fn interim_responses_pass_and_a_flood_of_them_does_not() {
    let origin = RawH2Origin::start(&[], |request| {
        let hint = |_| status(request.stream, "103", &[("link", "</a>; rel=preload")], false);
        let count = if request.before == 0 { 1 } else { 17 };
        (0..count).map(hint).chain(whole(request.stream, "x")).collect()
    })
    .await;
    let weir = before(&origin).await;
    let mut raw = RawH2::connect(&weir).await;
    raw.headers(1, &get("/"), true).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(103));
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(weir.get(Protocol::H1, "/").await.0, 502);
}

/// Heads that break a rule: none of them reaches a client.
#[tokio::test]
async fn malformed_answers_are_answered_with_502() {
    type Case = (&'static str, fn(u32) -> Vec<Out>);
    let cases: [Case; 10] = [
        ("101", |id| vec![status(id, "101", &[], true)]),
        ("no status", |id| {
            let fields = fields::hpack(&[("server", "x")]);
            vec![(HEADERS, END_HEADERS | 1, id, fields)]
        }),
        ("status of two digits", |id| vec![status(id, "20", &[], true)]),
        ("a connection field", |id| vec![head(id, &[("connection", "close")], true)]),
        ("transfer-encoding", |id| vec![head(id, &[("transfer-encoding", "chunked")], true)]),
        ("a name in capitals", |id| vec![head(id, &[("Server", "x")], true)]),
        ("a line end in a value", |id| vec![head(id, &[("server", "x\r\na: b")], true)]),
        ("different lengths", |id| {
            vec![head(id, &[("content-length", "1"), ("content-length", "2")], false)]
        }),
        ("a length with a sign", |id| vec![head(id, &[("content-length", "+1")], false)]),
        ("a pushed response", |id| {
            let block = [
                &2u32.to_be_bytes()[..],
                &fields::hpack(&[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "localhost"),
                    (":path", "/pushed"),
                ]),
            ]
            .concat();
            vec![(5, END_HEADERS, id, block), head(id, &[], true)]
        }),
    ];
    for (name, frames) in cases {
        let origin = RawH2Origin::start(&[], move |request| frames(request.stream)).await;
        let weir = before(&origin).await;
        for protocol in Protocol::ALL {
            assert_eq!(weir.get(protocol, "/").await.0, 502, "{name} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn heads_beyond_the_limits_are_answered_with_502() {
    let large = "x".repeat(30_000);
    let many: Vec<String> = (0..200).map(|number| format!("x-{number}")).collect();
    let origin = RawH2Origin::start(&[], move |request| match request.before % 2 {
        0 => {
            let fields: Vec<_> =
                ["a", "b", "c", "d"].iter().map(|name| (*name, large.as_str())).collect();
            let (_, _, id, block) = head(request.stream, &fields, true);
            let mut frames = Vec::new();
            let count = block.chunks(16_384).count();
            for (at, part) in block.chunks(16_384).enumerate() {
                let kind = if at == 0 { HEADERS } else { CONTINUATION };
                let flags = if at + 1 == count { END_HEADERS } else { 0 };
                let end = u8::from(at == 0);
                frames.push((kind, flags | end, id, part.to_vec()));
            }
            frames
        }
        _ => {
            let fields: Vec<_> = many.iter().map(|name| (name.as_str(), "1")).collect();
            vec![head(request.stream, &fields, true)]
        }
    })
    .await;
    let setup = Setup::addresses([origin.address()]).workers(1).upstream("protocol: h2");
    let weir = setup.upstream("limits: { header_bytes: 64KiB }").start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/").await.0, 502, "{protocol:?}");
        assert_eq!(weir.get(protocol, "/").await.0, 502, "{protocol:?}");
    }
}

/// A header block without an end, in small pieces (CVE-2024-27316 and its like).
#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    let origin = RawH2Origin::start(&[], |request| {
        let piece = fields::hpack(&[("x", "y")]);
        let mut frames = vec![(HEADERS, 0, request.stream, piece.clone())];
        frames.extend((0..20_000).map(|_| (CONTINUATION, 0, request.stream, piece.clone())));
        frames
    })
    .await;
    let weir = before(&origin).await;
    assert_eq!(weir.get(Protocol::H3, "/").await.0, 502);
    assert!(weir.memory() < 400 << 20);
}

/// Frames that cost the receiver work and carry nothing (CVE-2019-9512, 9515, 9518 and their like).
/// They cost no memory, and the answer after them arrives or the connection ends.
#[tokio::test]
async fn floods_of_frames_without_content_cost_no_memory() {
    const FLOOD: usize = 50_000;
    type Case = (&'static str, fn(u32) -> Out);
    let cases: [Case; 4] = [
        ("PING", |_| (PING, 0, 0, vec![0; 8])),
        ("SETTINGS", |_| (SETTINGS, 0, 0, vec![])),
        ("PRIORITY", |id| (PRIORITY, 0, id, vec![0, 0, 0, 0, 1])),
        ("empty DATA", |id| data(id, b"", false)),
    ];
    for (name, frame) in cases {
        let origin = RawH2Origin::start(&[], move |request| {
            let id = request.stream;
            let mut frames = vec![head(id, &[], false)];
            let count = if request.before == 0 { FLOOD } else { 0 };
            frames.extend((0..count).map(|_| frame(id)));
            frames.push(data(id, b"end", true));
            frames
        })
        .await;
        let weir = before(&origin).await;
        let client = weir.client(Protocol::H3).await;
        let request = Request::get("/").body(Body::empty()).unwrap();
        // Where Weir ends the connection, the failure may come before the head has left.
        if let Ok(mut answer) = client.try_send(request).await
            && answer.status == 200
            && let Ok(body) = answer.bytes().await
        {
            assert_eq!(body, "end", "{name}");
        }
        assert!(weir.memory() < 400 << 20, "{name}: {}", weir.memory());
        // The worker serves on.
        assert_eq!(weir.get(Protocol::H1, "/").await.0, 200, "{name}");
    }
}

/// Windows that grow past their bound (RFC 9113 §6.9.1), and frames on streams that are none.
#[tokio::test]
async fn frames_that_break_the_rules_end_the_stream_or_the_connection() {
    let update = |id: u32| (WINDOW_UPDATE, 0, id, 0x7fff_ffff_u32.to_be_bytes().to_vec());
    type Case = (&'static str, Box<dyn Fn(u32) -> Vec<Out> + Send + Sync>);
    let cases: [Case; 5] = [
        ("a window past its bound", Box::new(move |id| vec![update(id), update(id)])),
        ("the window of the connection", Box::new(move |_| vec![update(0), update(0)])),
        ("DATA on a stream that was not opened", Box::new(|id| vec![data(id + 2, b"x", true)])),
        ("a head on an even stream", Box::new(|_| vec![head(2, &[], true)])),
        ("a PING of seven bytes", Box::new(|_| vec![(PING, 0, 0, vec![0; 7])])),
    ];
    for (name, frames) in cases {
        let origin = RawH2Origin::start(&[], move |request| frames(request.stream)).await;
        let weir = before(&origin).await;
        for protocol in Protocol::ALL {
            assert!([502, 504].contains(&weir.get(protocol, "/").await.0), "{name} {protocol:?}");
        }
    }
}

/// Checks that no client takes a body for complete.
pub(crate) async fn never_complete(weir: &Weir, name: &str) {
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let request = Request::get("/").body(Body::empty()).unwrap();
        // The failure may come before the head has left.
        let Ok(mut answer) = client.try_send(request).await else { continue };
        if answer.status == 502 {
            continue;
        }
        assert!(answer.bytes().await.is_err(), "{name} {protocol:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_never_complete() {
    for (name, end) in [("reset", 0), ("close", 1), ("short", 2)] {
        let origin = RawH2Origin::start(&[], move |request| {
            let fields = [("content-length", "10")];
            let mut frames =
                vec![head(request.stream, &fields, false), data(request.stream, b"half", end == 2)];
            match end {
                0 => frames.push(reset(request.stream, CANCEL)),
                1 => frames.push(close()),
                _ => {}
            }
            frames
        })
        .await;
        let weir = before(&origin).await;
        never_complete(&weir, name).await;
    }
}

#[tokio::test]
async fn an_origin_that_speaks_http_1_is_answered_for() {
    let origin = RawOrigin::answering("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let weir = Setup::addresses([origin.address()]).upstream("protocol: h2").start().await;
    assert_eq!(weir.get(Protocol::H2, "/").await.0, 502);
}
