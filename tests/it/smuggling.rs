//! Messages that two readers could understand differently: they are refused, and never passed on.

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{Outcome, RawH2, get, post};
use crate::support::raw_h3::RawH3;
use crate::support::{Protocol, RawOrigin, Setup, Weir};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Requests of HTTP/1.1 that must not reach an origin. A further request follows each, and it must
/// not be answered.
const AMBIGUOUS: &[(&str, &str)] = &[
    (
        "content-length and chunked",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked and content-length",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    ),
    ("two equal lengths", "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab"),
    ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\nabc"),
    ("a list of lengths", "Content-Length: 2, 3\r\n\r\nabc"),
    ("a signed length", "Content-Length: +2\r\n\r\nab"),
    ("a negative length", "Content-Length: -2\r\n\r\nab"),
    ("a hexadecimal length", "Content-Length: 0x2\r\n\r\nab"),
    ("an empty length", "Content-Length: \r\n\r\n"),
    ("a length beyond 64 bits", "Content-Length: 99999999999999999999\r\n\r\nab"),
    ("a length with a space inside", "Content-Length: 1 2\r\n\r\nab"),
    ("a coding that is not chunked", "Transfer-Encoding: gzip\r\n\r\n"),
    ("chunked and then another coding", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    (
        "chunked that is not the last",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    ),
    ("a coding before chunked", "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("a coding that looks like chunked", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("a coding behind a control byte", "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n"),
    ("a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    ("a folded line", "X-A: b\r\n c\r\n\r\n"),
    ("a folded coding", "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    ("a bare carriage return in a value", "X-A: b\rContent-Length: 3\r\n\r\n"),
    ("a bare line feed after a field", "X-A: b\nX-C: d\r\n\r\n"),
    ("a bare line feed that ends the head", "X-A: b\r\n\n"),
    ("nothing but bare line feeds", "X-A: b\n\n"),
    ("a NUL in a value", "X-A: b\0c\r\n\r\n"),
    ("a field without a colon", "X-A\r\n\r\n"),
    ("an empty field name", ": b\r\n\r\n"),
    ("two hosts", "Host: b\r\n\r\n"),
    ("a chunk size with a sign", "Transfer-Encoding: chunked\r\n\r\n+2\r\nab\r\n0\r\n\r\n"),
    ("a chunk size in other digits", "Transfer-Encoding: chunked\r\n\r\n0x2\r\nab\r\n0\r\n\r\n"),
    (
        "a chunk size beyond 64 bits",
        "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\nab\r\n0\r\n\r\n",
    ),
    ("a chunk longer than its size", "Transfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n"),
    ("a bare line feed after a chunk size", "Transfer-Encoding: chunked\r\n\r\n2\nab\r\n0\r\n\r\n"),
    (
        "a bare line feed in a chunk extension",
        "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\nab\r\n0\r\n\r\n",
    ),
    (
        "a bare line feed in trailers",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\nX-C: d\r\n\r\n",
    ),
    ("a bare line feed after trailers", "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: b\r\n\n"),
    ("a length in trailers", "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n"),
];

#[tokio::test]
async fn an_ambiguous_h1_request_is_refused_and_nothing_after_it_is_served() {
    for (name, rest) in AMBIGUOUS {
        let (origin, weir) = raw().await;
        let next = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let reply =
            RawH1::exchange(&weir, &format!("POST /first HTTP/1.1\r\nHost: a\r\n{rest}{next}"))
                .await;
        assert!(reply.closed, "{name}: {reply:?}");
        assert_eq!(reply.responses(), 1, "{name}: {reply:?}");
        assert!(!origin.text().contains("smuggled"), "{name}: {}", origin.text());
        assert!((400..=501).contains(&reply.status()), "{name}: {reply:?}");
        assert!(!whole_request(&origin), "{name}: {}", origin.text());
    }
}

#[tokio::test]
async fn an_ambiguous_h1_request_is_refused_behind_good_ones_and_in_pieces() {
    let good = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na\nb\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\n\n\n\r\n0\r\nX-T: 1\r\n\r\n";
    let both = "POST /bad HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let bare = "GET /bad HTTP/1.1\r\nHost: a\r\nX-A: b\n\r\n";
    for bad in [both, bare] {
        let (origin, weir) = raw().await;
        let reply = RawH1::exchange(&weir, &format!("{good}{bad}")).await;
        assert!(reply.closed && reply.responses() == 3, "{bad:?}: {reply:?}");
        assert!(reply.text.contains("HTTP/1.1 400 "), "{bad:?}: {reply:?}");
        assert!(!origin.text().contains("bad"), "{bad:?}: {}", origin.text());

        let mut raw = RawH1::connect(&weir).await;
        for piece in bad.as_bytes().chunks(7) {
            // The refusal may come before the rest is sent.
            let _ = raw.try_send(piece).await;
        }
        let reply = raw.rest().await;
        assert!(reply.closed && reply.status() == 400, "{bad:?}: {reply:?}");
    }
}

#[tokio::test]
async fn a_request_line_that_is_malformed_is_a_400() {
    for line in [
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET /\tx HTTP/1.1",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET /a b HTTP/1.1",
        "GE(T / HTTP/1.1",
        "GET x HTTP/1.1",
        "GET /\u{1} HTTP/1.1",
        "GET http://u@a/ HTTP/1.1",
        "GET / HTTP/1.1\nX-A: b",
        "\nGET / HTTP/1.1",
    ] {
        let (origin, weir) = raw().await;
        let reply = RawH1::exchange(&weir, &format!("{line}\r\nHost: a\r\n\r\n")).await;
        assert!(reply.closed && (400..=505).contains(&reply.status()), "{line:?}: {reply:?}");
        assert_eq!(origin.requests(), 0, "{line:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_a_400() {
    let (origin, weir) = raw().await;
    let reply = RawH1::exchange(&weir, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!((reply.status(), origin.requests()), (400, 0), "{reply:?}");
}

#[tokio::test]
async fn transfer_encoding_in_http_1_0_is_refused() {
    let (origin, weir) = raw().await;
    let request = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.0\r\n\r\n";
    let reply = RawH1::exchange(&weir, request).await;
    assert!(reply.closed && reply.status() >= 400, "{reply:?}");
    assert!(!origin.text().contains("smuggled"), "{}", origin.text());
}

#[tokio::test]
async fn what_is_whole_is_served_and_pipelining_works() {
    let (origin, weir) = raw().await;
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nab\r\n0\r\nX-T: 1\r\n\r\n\
        GET / HTTP/1.0\r\nHost: a\r\n\r\n";
    let reply = RawH1::exchange(&weir, request).await;
    assert_eq!(reply.text.matches(" 200 OK").count(), 3, "{reply:?}");
    assert_eq!(origin.requests(), 3);
}

#[tokio::test]
async fn h2_and_h3_bodies_that_are_not_as_long_as_they_say_are_refused() {
    for (length, body) in [
        ("10", &["short"][..]),
        ("10", &[]),
        ("2", &["too long"]),
        ("3", &["ab", "cd"]),
        ("0", &["x"]),
    ] {
        let fields = [("content-length", length)];
        let (origin, weir) = raw().await;
        let outcome = RawH2::post(&weir, &fields, body).await;
        assert!(outcome.is_refusal(), "h2 {length} {body:?}: {outcome:?}");
        assert!(!whole_request(&origin), "h2 {length} {body:?}: {}", origin.text());
        let outcome = RawH3::post(&weir, &fields, body).await;
        assert!(outcome.is_refusal(), "h3 {length} {body:?}: {outcome:?}");
        assert!(!whole_request(&origin), "h3 {length} {body:?}: {}", origin.text());
    }
}

#[tokio::test]
async fn the_upstream_connection_of_a_body_that_broke_off_is_closed_and_never_used_again() {
    let (origin, weir) = raw().await;
    let fields = [&post("/count")[..], &[("content-length", "100")]].concat();

    let mut h2 = RawH2::connect(&weir).await;
    h2.headers(1, &fields, false).await;
    h2.data(1, b"part of it", false).await;
    origin.until_text("part of it").await;
    h2.data(1, b"", true).await;
    h2.outcome(1).await;
    origin.until_closed(0).await;

    let h3 = RawH3::connect(&weir).await;
    let mut stream = h3.open().await;
    stream.headers(&fields).await;
    stream.frame(0, b"other part").await;
    origin.until_text("other part").await;
    stream.finish();
    stream.outcome().await;
    origin.until_closed(1).await;

    assert_eq!(weir.get(Protocol::H2, "/next").await, (200, "ok".to_owned()));
    let connections = origin.received();
    let last = String::from_utf8_lossy(&connections[2].bytes).into_owned();
    assert!(last.starts_with("GET /next HTTP/1.1\r\n"), "{last}");
}

/// Field sections that RFC 9113 §8.2 and RFC 9114 §4.2 call malformed.
const MALFORMED: &[(&str, &[(&str, &str)])] = &[
    ("no method", &[(":scheme", "https"), (":authority", "a"), (":path", "/")]),
    ("no scheme", &[(":method", "GET"), (":authority", "a"), (":path", "/")]),
    ("no path", &[(":method", "GET"), (":scheme", "https"), (":authority", "a")]),
    (
        "an empty path",
        &[(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "")],
    ),
    (
        "a path that is none",
        &[(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "x")],
    ),
    ("no authority", &[(":method", "GET"), (":scheme", "https"), (":path", "/")]),
    (
        "two paths",
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            (":path", "/b"),
        ],
    ),
    (
        "two methods",
        &[
            (":method", "GET"),
            (":method", "PUT"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
        ],
    ),
    (
        "a pseudo-header field after another",
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":path", "/"),
            ("x-a", "b"),
            (":authority", "a"),
        ],
    ),
    (
        "an unknown pseudo-header field",
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            (":evil", "1"),
        ],
    ),
    (
        "a response's pseudo-header field",
        &[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            (":status", "200"),
        ],
    ),
    (
        "a user in the authority",
        &[(":method", "GET"), (":scheme", "https"), (":authority", "u@a"), (":path", "/")],
    ),
    (
        "a method with a space",
        &[(":method", "GET /x"), (":scheme", "https"), (":authority", "a"), (":path", "/")],
    ),
    (
        "a line end in the path",
        &[(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/\r\nx: y")],
    ),
    (
        "a space in the path",
        &[(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/ HTTP/1.1")],
    ),
];

/// Fields that make an otherwise good request malformed.
const MALFORMED_FIELDS: &[(&str, &str)] = &[
    ("X-Upper", "1"),
    ("connection", "close"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "websocket"),
    ("te", "gzip"),
    ("x a", "1"),
    ("x:a", "1"),
    ("", "1"),
    ("x-a", "b\r\nx-evil: 1"),
    ("x-a", "b\nc"),
    ("x-a", "b\0c"),
    ("x-a\r\nx-evil", "1"),
    ("content-length", "+1"),
    ("content-length", "1, 1"),
    ("host", "other.example"),
];

#[tokio::test]
async fn malformed_h2_field_sections_are_refused() {
    let (origin, weir) = raw().await;
    for (name, fields) in MALFORMED {
        let outcome = RawH2::request(&weir, fields).await;
        assert!(outcome.is_refusal(), "{name}: {outcome:?}");
    }
    for field in MALFORMED_FIELDS {
        let outcome = RawH2::request(&weir, &[&get("/")[..], &[*field]].concat()).await;
        assert!(outcome.is_refusal(), "{field:?}: {outcome:?}");
    }
    assert_eq!(origin.text(), "");
    assert_eq!(RawH2::request(&weir, &get("/")).await, Outcome::Status(200));
}

#[tokio::test]
async fn malformed_h3_field_sections_are_refused() {
    let (_origin, weir) = raw().await;
    for (name, fields) in MALFORMED {
        let outcome = RawH3::request(&weir, fields).await;
        assert!(outcome.is_refusal(), "{name}: {outcome:?}");
    }
    for field in MALFORMED_FIELDS {
        let outcome = RawH3::request(&weir, &[&get("/")[..], &[*field]].concat()).await;
        assert!(outcome.is_refusal(), "{field:?}: {outcome:?}");
    }
    assert_eq!(RawH3::request(&weir, &get("/")).await, Outcome::Status(200));
}

#[tokio::test]
async fn two_lengths_are_refused_on_h2_and_h3() {
    let (origin, weir) = raw().await;
    let fields = [("content-length", "2"), ("content-length", "3")];
    assert!(RawH2::post(&weir, &fields, &["abc"]).await.is_refusal());
    assert!(RawH3::post(&weir, &fields, &["abc"]).await.is_refusal());
    assert_eq!(origin.text(), "");
}

#[tokio::test]
async fn a_tunnel_is_not_opened_by_asking() {
    let (origin, weir) = raw().await;
    let connect = [(":method", "CONNECT"), (":authority", "a:443")];
    for outcome in [RawH2::request(&weir, &connect).await, RawH3::request(&weir, &connect).await] {
        assert!(matches!(outcome, Outcome::Status(400..=501) | Outcome::Reset(_)), "{outcome:?}");
    }
    let reply = RawH1::exchange(
        &weir,
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!((400..=501).contains(&reply.status()), "{reply:?}");
    assert_eq!(origin.text(), "");
}

#[tokio::test]
async fn an_upgrade_is_not_passed_on_and_opens_nothing() {
    for protocol in ["h2c", "foo/1", "websocket, h2c", "websocket\r\nUpgrade: h2c"] {
        let (origin, weir) = raw().await;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: {protocol}\r\n\r\n"
        );
        let reply = RawH1::exchange(&weir, &request).await;
        assert_ne!(reply.status(), 101, "{reply:?}");
        assert!(!origin.text().to_ascii_lowercase().contains("upgrade:"), "{}", origin.text());
    }
}

/// Only the origin's 101 opens a tunnel. After any other answer the next bytes are requests again.
#[tokio::test]
async fn a_refused_websocket_opens_nothing() {
    let (origin, weir) = raw().await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\
                   GET /smuggled HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = RawH1::exchange(&weir, request).await;
    assert_ne!(reply.status(), 101, "{reply:?}");
    let text = origin.text();
    let (_, after) = text.split_once("\r\n\r\n").unwrap();
    // The second request came whole, with fields that only Weir adds, or it did not come.
    assert!(after.is_empty() || after.contains("x-forwarded-for: 127.0.0.1"), "{text}");
}

#[tokio::test]
async fn an_origin_cannot_open_a_tunnel_that_nobody_asked_for() {
    let switching =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nanything";
    let origin = RawOrigin::answering(switching).await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        assert_eq!(weir.get(protocol, "/").await.0, 502, "{protocol:?}");
        origin.until_closed(at).await;
    }
}

#[tokio::test]
async fn data_before_fields_ends_an_h3_connection() {
    let (origin, weir) = raw().await;
    let raw = RawH3::connect(&weir).await;
    let mut stream = raw.open().await;
    stream.frame(0, b"data").await;
    // RFC 9114 §4.1: H3_FRAME_UNEXPECTED is a connection error.
    assert!(stream.outcome().await.is_refusal());
    assert_eq!(origin.text(), "");
}

#[tokio::test]
async fn chunks_toward_the_origin_are_as_long_as_what_arrived() {
    let (origin, weir) = raw().await;
    let outcome = RawH3::post(&weir, &[], &["abc", "defgh"]).await;
    assert_eq!(outcome, Outcome::Status(200));
    let text = origin.text().to_ascii_lowercase();
    assert!(
        text.contains("transfer-encoding: chunked\r\n") && !text.contains("content-length"),
        "{text}"
    );
    let body: String = text.split_once("\r\n\r\n").unwrap().1.to_owned();
    assert!(
        ["3\r\nabc\r\n5\r\ndefgh\r\n0\r\n\r\n", "8\r\nabcdefgh\r\n0\r\n\r\n"]
            .contains(&body.as_str()),
        "{body}"
    );
}

async fn raw() -> (RawOrigin, Weir) {
    let origin = RawOrigin::answering(OK).await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    (origin, weir)
}

/// Whether a strict origin saw a request's end: by its length, its last chunk, or its head alone.
fn whole_request(origin: &RawOrigin) -> bool {
    let whole = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
        if head.contains("transfer-encoding") {
            return body.ends_with("0\r\n\r\n");
        }
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        body.len() >= length.map_or(0, |length| length.trim().parse().unwrap_or(0))
    };
    origin.received().iter().any(|received| whole(&received.bytes))
}

#[tokio::test]
async fn a_get_whose_end_comes_late_goes_on_without_a_body() {
    let (origin, weir) = raw().await;
    let connection = RawH3::connect(&weir).await;
    let mut stream = connection.open().await;
    stream.headers(&get("/late")).await;
    // Only the head is sent to Weir before the end: another exchange passes between the two.
    assert_eq!(RawH3::request(&weir, &get("/between")).await, Outcome::Status(200));
    stream.finish();
    assert_eq!(stream.outcome().await, Outcome::Status(200));
    assert!(origin.text().contains("/late"), "{}", origin.text());
    assert!(!origin.text().contains("chunked"), "{}", origin.text());
}
