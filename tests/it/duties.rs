//! Duties that hyper fulfils for HTTP/1.1 by itself, checked for all three protocols;
//! docs/duties.md lists the rest.

use http::Request;

use crate::support::raw_h1::RawH1;
use crate::support::tools::{component, curl, output};
use crate::support::weir::refusing_address;
use crate::support::{Body, Origin, Protocol, RawOrigin, Setup, Weir};

/// Whether a response has its date in the form that RFC 9110 §5.6.7 prefers.
fn is_dated(date: &str) -> bool {
    date.len() == 29 && date.ends_with(" GMT") && date.as_bytes()[3] == b','
}

async fn date(weir: &Weir, protocol: Protocol, request: Request<Body>) -> (u16, String) {
    let answer = weir.try_send(protocol, request).await.unwrap();
    (answer.status.as_u16(), answer.header("date").to_owned())
}

#[tokio::test]
async fn every_answer_has_a_date() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (gone, _held) = refusing_address();
    let component = component("mischief").display().to_string();
    let hash = "$2y$10$7SKDxs.xjCBPDut.fa5dyOzW8y9OBnJz8JTUepVJBrh0jTHvn.U6u";
    let plugins = format!(
        "plugins:\n\
         \x20 - {{ name: closed, source: \"builtin:maintenance\", config: {{ enabled: true }} }}\n\
         \x20 - {{ name: login, source: \"builtin:basic-auth\", config: {{ users: {{ ann: \"{hash}\" }} }} }}\n\
         \x20 - {{ name: once, source: \"builtin:rate-limit\", config: {{ by: client, requests: 1, per: 1h }} }}\n\
         \x20 - {{ name: c, source: \"file:{component}\" }}"
    );
    let weir = Setup::addresses([origin.address()])
        .listener("limits: { header_bytes: 4KiB }")
        .upstream_after(&format!("  - {{ name: gone, endpoints: [{{ address: \"{gone}\" }}] }}\n"))
        .top(&plugins)
        .routes(
            "  - { match: { path: /gone }, upstream: gone }\n\
             \x20 - { match: { path: /fixed }, respond: { status: 200, body: fixed } }\n\
             \x20 - { match: { path: /empty }, respond: { status: 204 } }\n\
             \x20 - { match: { path: /closed }, filters: [closed], upstream: app }\n\
             \x20 - { match: { path: /login }, filters: [login], upstream: app }\n\
             \x20 - { match: { path: /once }, filters: [once], upstream: app }\n\
             \x20 - { match: { path: /count }, component: c }\n\
             \x20 - { match: { path: /app }, upstream: app }",
        )
        .start()
        .await;
    assert_eq!(weir.get(Protocol::H1, "/once").await.0, 200);
    for protocol in Protocol::ALL {
        for (method, path, want) in [
            ("GET", "/app", 200),
            ("HEAD", "/app", 200),
            ("GET", "/fixed", 200),
            ("GET", "/empty", 204),
            ("GET", "/gone", 502),
            ("GET", "/closed", 503),
            ("GET", "/login", 401),
            ("GET", "/once", 429),
            ("GET", "/count", 200),
            ("GET", "/nowhere", 404),
        ] {
            let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
            let (status, date) = date(&weir, protocol, request).await;
            assert_eq!(status, want, "{protocol:?} {path}");
            assert!(is_dated(&date), "{protocol:?} {method} {path}: {date:?}");
        }
        let large = Request::get("/app").header("x-large", "x".repeat(5000));
        let (status, date) = date(&weir, protocol, large.body(Body::empty()).unwrap()).await;
        assert_eq!(status, 431, "{protocol:?}");
        assert!(is_dated(&date), "{protocol:?} 431: {date:?}");
    }
}

#[tokio::test]
async fn an_origin_s_date_is_kept_and_dates_304_too() {
    let dated = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (head, want) in [
        (format!("HTTP/1.1 200 OK\r\ndate: {dated}\r\ncontent-length: 0\r\n\r\n"), Some(dated)),
        ("HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n".to_owned(), None),
    ] {
        let origin = RawOrigin::answering(&head).await;
        let weir = Setup::addresses([origin.address()]).start().await;
        for protocol in Protocol::ALL {
            let (_, date) =
                date(&weir, protocol, Request::get("/").body(Body::empty()).unwrap()).await;
            assert!(
                is_dated(&date) && want.is_none_or(|want| date == want),
                "{protocol:?}: {date}"
            );
        }
    }
}

#[tokio::test]
async fn a_204_with_a_length_loses_it() {
    for length in ["content-length: 5\r\n", "transfer-encoding: chunked\r\n"] {
        let origin =
            RawOrigin::answering(&format!("HTTP/1.1 204 No Content\r\n{length}x-kept: 1\r\n\r\n"))
                .await;
        let weir = Setup::addresses([origin.address()]).start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            for _ in 0..3 {
                let answer = client.get("/").await;
                assert_eq!(
                    (answer.status.as_u16(), answer.header("x-kept")),
                    (204, "1"),
                    "{protocol:?}"
                );
                assert_eq!(answer.header("content-length"), "", "{protocol:?}");
                assert_eq!(answer.text().await, "", "{protocol:?}");
            }
        }
        // With two of these options, curl itself reports an error for a 204 with a length.
        for option in ["--http3-only", "--http2", "--http1.1"] {
            let mut get = curl();
            get.args([option, "--write-out", "%{response_code}", &weir.url("/")]);
            assert_eq!(output(get).await, "204", "{option}");
        }
    }
}

#[tokio::test]
async fn an_answer_of_the_proxy_says_how_long_it_is() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin])
        .routes("  - { name: all, respond: { status: 404, body: not here } }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/").await;
        assert_eq!(answer.header("content-length"), "8", "{protocol:?}");
        let head = Request::head("/").body(Body::empty()).unwrap();
        let answer = weir.try_send(protocol, head).await.unwrap();
        assert_eq!(answer.header("content-length"), "8", "{protocol:?}");
        assert_eq!(answer.text().await, "", "{protocol:?}");
    }
}

#[tokio::test]
async fn an_upgrade_that_is_not_taken_up_is_ignored() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for upgrade in ["h2c", "TLS/1.2", "foo/2", "websocket", "h2c, foo/2"] {
        let fields = format!(
            "Host: a\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABk\r\n"
        );
        for (version, framing, body) in [
            ("1.1", "Content-Length: 4\r\n", "body"),
            ("1.1", "Transfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n"),
            ("1.0", "Content-Length: 4\r\n", "body"),
        ] {
            let request = format!("POST /count HTTP/{version}\r\n{fields}{framing}\r\n{body}");
            let reply = RawH1::exchange(&weir, &request).await;
            assert_eq!(reply.status(), 200, "{upgrade} {version}: {}", reply.text);
            assert!(
                reply.text.ends_with("\r\n\r\n4") || reply.text.contains("\r\n1\r\n4\r\n"),
                "{}",
                reply.text
            );
            let head = origin.head();
            for name in ["upgrade", "http2-settings"] {
                assert!(head.headers.get(name).is_none(), "{upgrade} {version}: {name}");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_read_after_a_tunnel_that_was_refused() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let hidden = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";
    for target in ["a:443", "a.example:80"] {
        let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n{hidden}");
        let reply = RawH1::exchange(&weir, &connect).await;
        assert_eq!((reply.status(), reply.responses()), (501, 1), "{}", reply.text);
        assert!(
            reply.closed && reply.text.to_ascii_lowercase().contains("connection: close"),
            "{}",
            reply.text
        );
    }
    assert!(origin.last_head().is_none());
}

#[tokio::test]
async fn a_connection_that_was_asked_for_a_tunnel_ends_with_all_of_its_response() {
    // More than the kernel holds for both sides, so that the end of the answer waits in the proxy.
    let length = 16 << 20;
    let content = "x".repeat(length);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{content}");
    let origin = RawOrigin::closing_after(&answer).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for fields in ["Connection: close", "Connection: close, Upgrade\r\nUpgrade: h2c"] {
        let mut raw = RawH1::connect(&weir).await;
        raw.send(&format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")).await;
        let reply = raw.slowly().await;
        let body = reply.text.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
        assert_eq!((body, reply.ended_well), (length, true), "{fields}");
    }
}

#[tokio::test]
async fn a_refused_tunnel_s_bytes_cost_nobody_the_answer() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    for head in [
        "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
        "POST /gone HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\nContent-Length: 3000000000\r\n\r\n",
    ] {
        let mut raw = RawH1::connect(&weir).await;
        raw.send(head).await;
        weir.record().await;
        // The answer is on its way or there. If nothing read these bytes, the kernel would reset
        // the connection.
        for _ in 0..16 {
            let _ = raw.try_send(&[b'x'; 16 << 10]).await;
        }
        let reply = raw.rest().await;
        assert!([501, 413].contains(&reply.status()), "{head}: {:?}", reply.text);
        assert!(reply.ended_well, "{head}");
    }
}
