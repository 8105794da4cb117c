//! The limits of one client: fields, bodies, connections, streams, file descriptors.

use http::Request;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{CONTINUATION, HEADERS, RawH2, get};
use crate::support::raw_h3::RawH3;
use crate::support::raw_origin::Step;
use crate::support::{Body, Client, Origin, Protocol, RawOrigin, Setup, fields, spawn, until};

#[tokio::test]
async fn fields_beyond_their_bytes_are_a_431() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { header_bytes: 8KiB }").start().await;
    for protocol in Protocol::ALL {
        let fits = Request::get("/who").header("x-long", "x".repeat(6000)).body(Body::empty());
        let answer = weir.try_send(protocol, fits.unwrap()).await.unwrap();
        assert_eq!(answer.status, 200, "{protocol:?}");
        let long = Request::get("/who").header("x-long", "x".repeat(9000)).body(Body::empty());
        // Beyond the limit of a protocol's parser the stream may be reset instead (RFC 9114 §4.2.2,
        // RFC 9113 §10.5.1).
        if let Ok(answer) = weir.try_send(protocol, long.unwrap()).await {
            assert_eq!(answer.status, 431, "{protocol:?}");
        }
    }
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn fields_beyond_their_count_are_a_431() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).listener("limits: { header_count: 20 }").start().await;
    for protocol in Protocol::ALL {
        for (count, status) in [(10, 200), (30, 431), (200, 431)] {
            let many =
                (0..count).fold(Request::get("/who"), |r, n| r.header(format!("x-{n}"), "1"));
            match weir.try_send(protocol, many.body(Body::empty()).unwrap()).await {
                Ok(answer) => assert_eq!(answer.status, status, "{protocol:?} {count}"),
                // hyper itself refuses this many fields, before there is a request.
                Err(failure) => assert!(count == 200, "{protocol:?} {count}: {failure:?}"),
            }
        }
    }
    assert_eq!(origin.requests(), 3);
    // On HTTP/2 and HTTP/3, which come last, each refusal leaves a record.
    let mut refused = 0;
    while refused < 4 {
        let record = weir.record().await;
        if record["status"] == 431 {
            assert_eq!(record["error"], "client/headers_too_large", "{record}");
            refused += u32::from(record["protocol"] != "h1");
        }
    }
}

#[tokio::test]
async fn tens_of_thousands_of_fields_hurt_nobody() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let names: Vec<_> = (0..30_000).map(|n| format!("x-{n}")).collect();
    let mut fields = get("/who").to_vec();
    fields.extend(names.iter().map(|name| (name.as_str(), "")));
    assert!(RawH3::request(&weir, &fields).await.is_refusal());
    assert!(RawH2::request(&weir, &fields).await.is_refusal());
    // The same field, repeated, is one byte each (RFC 7541 §6.1): no limit on bytes as sent would
    // catch it.
    let mut block = fields::hpack(&get("/who"));
    block.extend(b"\x40\x01a\x01b");
    block.resize(block.len() + 30_000, 0x80 | 62);
    let mut raw = RawH2::connect(&weir).await;
    raw.block(1, &block, true).await;
    assert!(raw.outcome(1).await.is_refusal());
    let many = names.iter().fold(String::new(), |text, name| text + name + ":\r\n");
    let reply = RawH1::exchange(&weir, &format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).await;
    assert!([0, 400, 431].contains(&reply.status()) && reply.closed, "{}", reply.status());
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_long_request_line_is_refused() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let long = "x".repeat(100_000);
    let reply = RawH1::exchange(&weir, &format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
    assert!([400, 414, 431].contains(&reply.status()) && reply.closed, "{}", reply.status());
    let path = format!("/{long}");
    assert!(RawH3::request(&weir, &get(&path)).await.is_refusal());
    assert_eq!(origin.requests(), 0);
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_a_413_before_it_is_sent() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { body: 1KiB }").start().await;
    for protocol in Protocol::ALL {
        let (_sender, body) = Body::channel();
        let request = Request::post("/count").header("content-length", "1025");
        let answer = weir
            .client(protocol)
            .await
            .send(request.body(body.announcing(Some(1025))).unwrap())
            .await;
        assert_eq!(answer.status, 413, "{protocol:?}");
        let answer = weir.client(protocol).await.post("/count", Body::repeat(1024)).await;
        assert_eq!(answer.text().await, "1024", "{protocol:?}");
    }
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn a_body_that_grows_too_large_is_a_413() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { body: 100KiB }").start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let request = Request::post("/count").body(Body::repeat(200 << 10).announcing(None));
        match weir.try_send(protocol, request.unwrap()).await {
            Ok(answer) => assert_eq!(answer.status, 413, "{protocol:?}"),
            // HTTP/1.1 closes a connection when it does not read the request; the close may
            // overtake the answer.
            Err(failure) => assert_eq!(protocol, Protocol::H1, "{failure:?}"),
        }
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn trailers_have_the_same_limits() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { header_count: 20 }").start().await;
    for protocol in Protocol::ALL {
        let names: Vec<_> = (0..60).map(|n| format!("x-{n}")).collect();
        let names = names.join(", ");
        let trailers = (0..60).map(|n| (format!("x-{n}").parse().unwrap(), 1.into())).collect();
        let request = Request::post("/count").header("trailer", &names);
        let request = request.body(Body::from("body").with_trailers(trailers));
        if let Ok(answer) = weir.try_send(protocol, request.unwrap()).await {
            assert!(
                [400, 431].contains(&answer.status.as_u16()),
                "{protocol:?}: {}",
                answer.status
            );
        }
        assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_flood_of_continuation_frames_is_cut_off() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let mut raw = RawH2::connect(&weir).await;
    raw.frame(HEADERS, 0, 1, &fields::hpack(&get("/who"))).await.unwrap();
    let block = fields::hpack(&[("x-more", &"x".repeat(8000))]);
    let flood = async {
        for _ in 0..10_000 {
            if raw.frame(CONTINUATION, 0, 1, &block).await.is_err() {
                return true;
            }
        }
        false
    };
    assert!(crate::support::within("the cut", flood).await, "80 MB of fields were taken");
    assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200);
}

#[tokio::test]
async fn rapid_resets_end_their_connection() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let mut raw = RawH2::connect(&weir).await;
    let flood = async {
        for stream in (1..40_000).step_by(2) {
            let block = fields::hpack(&get("/hold"));
            if raw.frame(HEADERS, 5, stream, &block).await.is_err() {
                return true;
            }
            raw.reset(stream).await;
        }
        false
    };
    assert!(
        crate::support::within("the end of the connection", flood).await,
        "20,000 resets were taken"
    );
    assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200);
}

#[tokio::test]
async fn connections_beyond_their_limit_are_refused_and_others_go_on() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { connections: 6 }").start().await;
    let mut open = Vec::new();
    for protocol in Protocol::ALL.into_iter().cycle().take(6) {
        let client = weir.client(protocol).await;
        assert_eq!(client.get("/who").await.text().await, "origin");
        open.push(client);
    }
    for protocol in Protocol::ALL {
        let request = Request::get("/who").body(Body::empty()).unwrap();
        assert!(weir.try_send(protocol, request).await.is_err(), "{protocol:?}: one too many");
    }
    for client in &open {
        assert_eq!(client.get("/who").await.text().await, "origin");
    }
    open.clear();
    let again = async || Client::try_connect(weir.address(), Protocol::H2).await.ok();
    let client = until("a free place", again).await;
    assert_eq!(client.get("/who").await.text().await, "origin");
}

#[tokio::test]
async fn running_out_of_file_descriptors_is_survived() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).files(60).start().await;
    let first = weir.client(Protocol::H3).await;
    assert_eq!(first.get("/who").await.text().await, "origin");
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(tokio::net::TcpStream::connect(weir.address()).await.unwrap());
    }
    weir.logged("accept failed; trying again").await;
    let before = weir.ticks();
    // Weir logs this once per second. At least a second has passed, and a loop without a pause
    // would have used all of it.
    weir.logged("accept failed; trying again").await;
    weir.logged("accept failed; trying again").await;
    let used = weir.ticks() - before;
    assert!(used < 50, "accepting does not spin: {used} ticks of 10 ms in a second and more");
    assert_eq!(first.get("/who").await.text().await, "origin", "an open connection goes on");
    drop(open);
    let again = async || {
        let client = Client::try_connect(weir.address(), Protocol::H1).await.ok()?;
        let request = Request::get("/who").body(Body::empty()).unwrap();
        client.try_send(request).await.ok().filter(|answer| answer.status == 200)
    };
    until("service again", again).await;
    assert!(weir.is_running());
}

#[tokio::test]
async fn streams_beyond_their_limit_wait() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("quic: { max_concurrent_streams: 4 }").start().await;
    let client = std::sync::Arc::new(weir.client(Protocol::H3).await);
    let mut pending = Vec::new();
    for _ in 0..8 {
        let client = client.clone();
        pending.push(spawn(async move { client.get("/hold").await.text().await }));
    }
    origin.until_requests(4).await;
    until("all answers", async || {
        origin.release();
        pending.iter().all(tokio::task::JoinHandle::is_finished).then_some(())
    })
    .await;
    assert_eq!(origin.requests(), 8);
}

#[tokio::test]
async fn one_connections_fault_never_touches_another() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    let mut held = Vec::new();
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut answer = client.get("/hold-body").await;
        assert_eq!(answer.chunk().await.unwrap().unwrap(), "first");
        held.push((client, answer));
    }
    RawH1::exchange(&weir, "\0\u{1}garbage\r\n\r\n").await;
    let mut raw = RawH2::connect(&weir).await;
    let _ = raw.frame(1, 0xff, 0, &[0xff; 100]).await;
    raw.outcome(1).await;
    let raw = RawH3::connect(&weir).await;
    let mut stream = raw.open().await;
    stream.frame(0, b"data before headers").await;
    stream.outcome().await;
    assert!(RawH2::post(&weir, &[("X-Upper", "1")], &[]).await.is_refusal());
    origin.release();
    for (client, answer) in held {
        assert_eq!(answer.text().await, "last");
        assert_eq!(client.get("/who").await.text().await, "origin");
    }
}

#[tokio::test]
async fn an_origin_s_head_has_one_outcome_however_it_is_cut() {
    let head = |bytes: usize| {
        let frame = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: \r\n\r\n";
        let long = "x".repeat(bytes - frame.len());
        frame.replace("X-Long: ", &format!("X-Long: {long}")) + "ok"
    };
    let in_pieces = |text: String, size: usize| {
        let pieces = text.as_bytes().chunks(size);
        let pieces = pieces.map(|piece| Step::Send(String::from_utf8(piece.to_vec()).unwrap()));
        vec![[Step::Head].into_iter().chain(pieces).chain([Step::Eof]).collect()]
    };
    for (limits, bytes, status) in [
        ("{}", 128 << 10, 200),
        ("{}", (128 << 10) + 1, 502),
        ("{}", 150_000, 502),
        ("{ header_bytes: 256KiB }", 150_000, 200),
        ("{ header_bytes: 1KiB }", 1024, 200),
        ("{ header_bytes: 1KiB }", 1025, 502),
    ] {
        for size in [usize::MAX, 20_000, 700] {
            let origin = RawOrigin::start(in_pieces(head(bytes), size)).await;
            let mut weir = Setup::addresses([origin.address()])
                .upstream(&format!("limits: {limits}"))
                .workers(1)
                .start()
                .await;
            assert_eq!(weir.get(Protocol::H1, "/").await.0, status, "{limits} {bytes} by {size}");
            if status == 502 {
                let line = weir.logged("request failed").await.to_string();
                assert!(line.contains("limits.header_bytes of the upstream"), "{line}");
            }
        }
    }
}

#[tokio::test]
async fn an_origin_s_fields_are_counted_and_the_limit_is_named() {
    for (limits, count, status) in [
        ("{}", 128, 200),
        ("{}", 129, 502),
        ("{ header_count: 10 }", 10, 200),
        ("{ header_count: 10 }", 11, 502),
        ("{ header_count: 1000 }", 1000, 200),
    ] {
        let fields = "X-A: b\r\n".repeat(count - 1);
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 2\r\n\r\nok");
        let origin = RawOrigin::answering(&answer).await;
        let mut weir = Setup::addresses([origin.address()])
            .upstream(&format!("limits: {limits}"))
            // The field that the filter adds does not count against the limit.
            .top("plugins: [{ name: h, source: builtin:headers, config: { response: { set: { x-b: c } } } }]")
            .routes("  - { name: all, filters: [h], upstream: app }")
            .start()
            .await;
        // Clients of the other protocols have bounds of their own.
        assert_eq!(weir.get(Protocol::H3, "/").await.0, status, "{limits} {count}");
        if status == 502 {
            let line = weir.logged("request failed").await.to_string();
            assert!(line.contains("limits.header_count of the upstream"), "{line}");
        }
    }
}

#[tokio::test]
async fn a_request_s_head_has_one_outcome_however_it_is_cut() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("limits: { header_bytes: 16KiB }").start().await;
    // Most of the head is the target, which no count of fields includes.
    let head = |bytes: usize| {
        let frame = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        frame.replace("GET /", &format!("GET /{}", "a".repeat(bytes - frame.len())))
    };
    for (bytes, status) in [(16 << 10, 200), ((16 << 10) + 1, 431), (20_000, 431)] {
        for size in [usize::MAX, 8192, 1000, 1] {
            let mut raw = RawH1::connect(&weir).await;
            for piece in head(bytes).as_bytes().chunks(size) {
                // The refusal may come before the rest is sent.
                let _ = raw.try_send(piece).await;
            }
            let reply = raw.rest().await;
            assert_eq!((reply.status(), reply.closed), (status, true), "{bytes} by {size}");
        }
    }
}
