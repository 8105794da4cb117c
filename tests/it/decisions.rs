//! The decisions of docs/http.md in which other proxies differ.

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{Outcome, RawH2};
use crate::support::raw_h3::RawH3;
use crate::support::weir::refusing_address;
use crate::support::{Body, Client, Origin, Protocol, RawOrigin, Setup, until, within};

#[tokio::test]
async fn a_client_that_closes_its_side_before_the_answer_has_left() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).tls("protocols: [h1]").start().await;
    let mut stream = TcpStream::connect(weir.address()).await.unwrap();
    stream.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    origin.until_requests(1).await;
    stream.shutdown().await.unwrap();
    origin.until_cancelled(1).await;
    let mut rest = Vec::new();
    let _ = within("the end", stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_space_before_an_origin_s_colon_is_a_502() {
    let origin =
        RawOrigin::answering("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n").await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/").await.0, 502, "{protocol:?}");
    }
}

#[tokio::test]
async fn spaces_behind_a_chunk_s_size_pass_and_go_no_further() {
    let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n1\t;a=b\r\n!\r\n0   \r\n\r\n";
    let origin = RawOrigin::answering(answer).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/").await, (200, "hello!".to_owned()), "{protocol:?}");
    }
    let request = "POST /up HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
        5  \r\nhello\r\n1\t;a=b\r\n!\r\n0   \r\n\r\n";
    // The origin answers at once, and an answer before the end of the upload cuts it short.
    let text = until("a whole upload", async || {
        let reply = RawH1::exchange(&weir, request).await;
        assert_eq!(reply.status(), 200, "{reply:?}");
        Some(origin.text()).filter(|text| text.ends_with("0\r\n\r\n"))
    });
    let text = text.await;
    let sent =
        text.split("POST /up").last().unwrap().replace("6\r\nhello!", "5\r\nhello\r\n1\r\n!");
    assert!(sent.ends_with("\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"), "{text}");
}

#[tokio::test]
async fn options_for_a_host_without_a_path_asks_for_its_root() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (target, reaches) in [("https://a.example", "/"), ("https://a.example/", "/"), ("*", "*")] {
        let request =
            format!("OPTIONS {target} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        assert_eq!(RawH1::exchange(&weir, &request).await.status(), 200, "{target}");
        let head = origin.head();
        assert_eq!((head.target.as_str(), head.header("host").as_str()), (reaches, "a.example"));
    }
    let fields =
        [(":method", "OPTIONS"), (":scheme", "https"), (":authority", "a.example"), (":path", "*")];
    for outcome in [RawH2::request(&weir, &fields).await, RawH3::request(&weir, &fields).await] {
        assert_eq!(outcome, Outcome::Status(200));
    }
    assert!(origin.heads().iter().rev().take(2).all(|head| head.target == "*"));
}

async fn traced(client: &Client, fields: &[(&str, &str)]) {
    let request =
        fields.iter().fold(Request::get("/who"), |r, (name, value)| r.header(*name, *value));
    assert_eq!(client.send(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_malformed_trace_context_ends_here_where_requests_are_traced() {
    let (collector, _kept) = refusing_address();
    let tracing = format!("tracing: {{ otlp: \"http://{collector}\", sample: 0% }}");
    let origin = Origin::start().await;
    for (telemetry, passes) in [(tracing.as_str(), false), ("", true)] {
        let weir = Setup::to([&origin]).telemetry(telemetry).start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            traced(&client, &[("traceparent", "00-1-1-01"), ("tracestate", "a=1")]).await;
            let head = origin.head();
            let left = (head.header("traceparent"), head.header("tracestate"));
            let expected = if passes { ("00-1-1-01", "a=1") } else { ("", "") };
            assert_eq!((left.0.as_str(), left.1.as_str()), expected, "{protocol:?}");
            // A trace that is not sampled is the client's; it passes unchanged.
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
            traced(&client, &[("traceparent", parent), ("tracestate", "a=1")]).await;
            let head = origin.head();
            assert_eq!(head.header("traceparent"), parent, "{protocol:?}");
            assert_eq!(head.header("tracestate"), "a=1", "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn what_an_endpoint_refuses_goes_to_the_others_by_their_weights() {
    let origins = Origin::several::<3>().await;
    let (gone, _kept) = refusing_address();
    let addresses = origins.iter().map(Origin::address).chain([gone]);
    let mut setup = Setup::addresses(addresses).upstream("balancer: weighted").workers(1);
    for (at, weight) in [5, 3, 2, 10].into_iter().enumerate() {
        setup = setup.endpoint(at, &format!("weight: {weight}"));
    }
    let weir = setup.start().await;
    let client = weir.client(Protocol::H2).await;
    for _ in 0..200 {
        assert_eq!(client.get("/who").await.status, 200);
    }
    let shares = origins.each_ref().map(Origin::requests);
    for (share, due) in shares.into_iter().zip([100_usize, 60, 40]) {
        assert!(share.abs_diff(due) <= 20, "{shares:?}");
    }
}

#[tokio::test]
async fn an_answer_to_http_1_0_that_ends_with_the_connection_says_so() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let request = |path: &str, host: &str| {
        format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: keep-alive\r\n\r\n")
    };
    for (path, host, status) in [("/chunked/10", "a", 200), ("/who", "a b", 400)] {
        let reply = RawH1::exchange(&weir, &request(path, host)).await;
        assert_eq!((reply.status(), reply.closed), (status, true), "{reply:?}");
        assert!(reply.text.starts_with("HTTP/1.0 "), "{reply:?}");
        assert!(!reply.text.contains("keep-alive"), "{reply:?}");
        assert!(reply.text.contains("connection: close\r\n"), "{reply:?}");
    }
    // A response with a known length keeps the connection open.
    let two = request("/bytes/3", "a") + "GET /bytes/3 HTTP/1.0\r\nHost: a\r\n\r\n";
    let reply = RawH1::exchange(&weir, &two).await;
    assert_eq!(reply.text.matches("\r\n\r\nxxx").count(), 2, "{reply:?}");
    assert!(reply.text.contains("connection: keep-alive\r\n"), "{reply:?}");
}

#[tokio::test]
async fn max_forwards_is_counted_down_to_an_answer_of_the_proxy_s_own() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for (method, sent, reaches, status) in [
            ("OPTIONS", "0", None, 200),
            ("TRACE", "0", None, 501),
            ("OPTIONS", "1", Some("0"), 200),
            ("TRACE", "7", Some("6"), 200),
            ("GET", "0", Some("0"), 200),
            ("OPTIONS", "many", Some("many"), 200),
        ] {
            let before = origin.requests();
            let request =
                Request::builder().method(method).uri("/who").header("max-forwards", sent);
            let answer = client.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, status, "{protocol:?} {method} {sent}");
            let reached =
                (origin.requests() > before).then(|| origin.head().header("max-forwards"));
            assert_eq!(reached.as_deref(), reaches, "{protocol:?} {method} {sent}");
        }
    }
}
