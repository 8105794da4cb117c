//! The client's view of a failing origin: a status and a request's id, and nothing internal.

use bytes::Bytes;
use http::Request;

use crate::support::raw_origin::{Step, full_listener};
use crate::support::tools::guest;
use crate::support::weir::{free_address, refusing_address};
use crate::support::{Answer, Body, Origin, Protocol, RawOrigin, Setup, until};

#[tokio::test]
async fn an_origin_that_is_not_there_is_a_502() {
    let (gone, _kept) = refusing_address();
    let weir = Setup::addresses([gone]).start().await;
    for protocol in Protocol::ALL {
        expect_error(weir.client(protocol).await.get("/").await, 502).await;
    }
}

#[tokio::test]
async fn an_origin_that_speaks_no_http_is_a_502() {
    for garbage in
        ["SSH-2.0-OpenSSH_9.2\r\n", "\0\0\0\0", "HTTP/1.1 two hundred\r\n\r\n", "<html>\r\n\r\n"]
    {
        let origin = RawOrigin::closing_after(garbage).await;
        let weir = Setup::addresses([origin.address()]).start().await;
        for protocol in Protocol::ALL {
            expect_error(weir.client(protocol).await.get("/").await, 502).await;
        }
    }
}

#[tokio::test]
async fn an_origin_that_closes_without_an_answer_is_a_502() {
    let origin = RawOrigin::closing_after("").await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        expect_error(weir.client(protocol).await.post("/", "not to be repeated").await, 502).await;
    }
    assert_eq!(origin.requests(), 3, "a request that may have been acted upon is not repeated");
}

#[tokio::test]
async fn an_ambiguous_answer_is_a_502_and_its_connection_is_not_reused() {
    for head in [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: +2\r\n",
        "Transfer-Encoding: gzip\r\n",
        "X-Folded: a\r\n b\r\nContent-Length: 2\r\n",
        "X Space: a\r\nContent-Length: 2\r\n",
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\nok");
        let origin = RawOrigin::answering(&answer).await;
        let weir = Setup::addresses([origin.address()]).workers(1).start().await;
        for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
            let answer = weir.client(protocol).await.get("/").await;
            assert_eq!(answer.status, 502, "{protocol:?} {head:?}");
            origin.until_closed(at).await;
        }
    }
}

#[tokio::test]
async fn a_body_that_ends_early_is_an_error_for_the_client_too() {
    for head in
        ["Content-Length: 10\r\n\r\nonly", "Transfer-Encoding: chunked\r\n\r\n4\r\nonly\r\n"]
    {
        let origin = RawOrigin::closing_after(&format!("HTTP/1.1 200 OK\r\n{head}")).await;
        let weir = Setup::addresses([origin.address()]).start().await;
        for protocol in Protocol::ALL {
            let request = Request::get("/").body(Body::empty()).unwrap();
            // The head may not arrive before the failure does. The test only requires that nothing
            // looks complete.
            if let Ok(mut answer) = weir.try_send(protocol, request).await {
                assert!(answer.bytes().await.is_err(), "{protocol:?} {head:?}");
            }
        }
    }
}

#[tokio::test]
async fn of_equal_content_lengths_one_goes_on() {
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok";
    let origin = RawOrigin::answering(twice).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/").await;
        let lengths: Vec<_> = answer.headers.get_all("content-length").iter().collect();
        assert_eq!(lengths, ["2"], "{protocol:?}");
        assert_eq!(answer.text().await, "ok", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_filter_that_fails_on_a_body_is_named_as_the_side_at_fault() {
    let origin = Origin::start().await;
    for (side, error) in [("request", "plugin/body_filter"), ("response", "plugin/filter")] {
        let plugin = format!(
            "plugins: [{{ name: bad, source: \"file:{}\", config: {{ do: body-trap, in: {side} }} }}]",
            guest("naughty").display()
        );
        let routes = "  - { filters: [bad], upstream: app }";
        let mut weir = Setup::to([&origin]).top(&plugin).routes(routes).start().await;
        for protocol in Protocol::ALL {
            let request = Request::post("/echo").body(Body::repeat(1 << 10)).unwrap();
            if let Ok(mut answer) = weir.try_send(protocol, request).await {
                let _ = answer.bytes().await;
            }
            let record = weir.record().await;
            assert_eq!(record["error"], error, "{protocol:?}: {record}");
        }
    }
}

#[tokio::test]
async fn a_request_body_that_breaks_behind_the_response_s_head_is_at_fault_still() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let origin =
        RawOrigin::start(vec![vec![Step::Head, Step::Send(half.to_owned()), Step::Eof]]).await;
    let plugin = format!(
        "plugins: [{{ name: bad, source: \"file:{}\", config: {{ do: body-trap, in: request }} }}]",
        guest("naughty").display()
    );
    let routes =
        "  - { match: { path: /filtered }, filters: [bad], upstream: app }\n  - { upstream: app }";
    let mut weir = Setup::addresses([origin.address()])
        .top(&plugin)
        .routes(routes)
        .listener("limits: { body: 1KiB }")
        .start()
        .await;
    for protocol in Protocol::ALL {
        for (path, length, error) in
            [("/filtered", 512, "plugin/body_filter"), ("/", 2048, "client/body_too_large")]
        {
            let (sender, body) = Body::channel();
            let mut answer = weir.client(protocol).await.post(path, body).await;
            assert_eq!(answer.status, 200, "{protocol:?} {path}");
            sender.send(Bytes::from(vec![b'x'; length])).await;
            drop(sender);
            assert!(answer.bytes().await.is_err(), "{protocol:?} {path}: looks whole");
            let record = weir.record().await;
            assert_eq!(record["error"], error, "{protocol:?}: {record}");
        }
    }
}

#[tokio::test]
async fn bytes_after_an_answer_end_its_connection() {
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let origin = RawOrigin::answering(smuggled).await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text().await, "ok", "{protocol:?}");
        }
    }
    assert_eq!(origin.received().len(), 9, "each connection served once");
}

#[tokio::test]
async fn an_answer_that_comes_unasked_is_for_nobody() {
    let unasked = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let answer = Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood".to_owned());
    let first = vec![Step::Head, answer.clone(), Step::Send(unasked.to_owned()), Step::Eof];
    let origin = RawOrigin::start(vec![first, vec![Step::Head, answer, Step::Eof]]).await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    assert_eq!(weir.get(Protocol::H2, "/").await.1, "good");
    origin.until_closed(0).await;
    assert_eq!(weir.get(Protocol::H2, "/").await.1, "good");
}

#[tokio::test]
async fn a_stale_pooled_connection_is_retried_unseen() {
    let answer = Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned());
    // Answers once and resets the next request on that connection, like an origin when its
    // keep-alive has just ended.
    let script = vec![Step::Head, answer, Step::Reset];
    let origin = RawOrigin::start(vec![script]).await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for _ in 0..20 {
            assert_eq!(client.get("/").await.text().await, "ok", "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn informational_answers_are_not_taken_for_the_final_one() {
    let answer = "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let origin = RawOrigin::answering(answer).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/").await, (200, "ok".to_owned()), "{protocol:?}");
    }
}

/// An origin that has begun to answer has seen the request. The request is therefore not repeated,
/// unlike one over a connection that closed while idle.
#[tokio::test]
async fn a_connection_that_ends_behind_an_informational_answer_is_broken() {
    let answer = Step::Send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned());
    let early = Step::Send("HTTP/1.1 103 Early Hints\r\n\r\n".to_owned());
    let breaks = vec![Step::Head, answer.clone(), Step::Head, early];
    let origin = RawOrigin::start(vec![breaks, vec![Step::Head, answer, Step::Eof]]).await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    let client = weir.client(Protocol::H2).await;
    assert_eq!(client.get("/").await.status, 200);
    assert_eq!(client.get("/").await.status, 502);
    assert_eq!(origin.requests(), 2);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_arrives() {
    let early =
        "HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\nConnection: close\r\n\r\nlarge";
    let origin = RawOrigin::closing_after(early).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        let (_sender, body) = Body::channel();
        let answer = weir.client(protocol).await.post("/", body).await;
        assert_eq!(answer.status, 413, "{protocol:?}");
        assert_eq!(answer.text().await, "large", "{protocol:?}");
    }
}

#[tokio::test]
async fn errors_are_counted_and_logged_with_the_request_id() {
    let address = free_address();
    let mut weir = Setup::addresses([address]).start().await;
    let answer = weir.client(Protocol::H3).await.get("/").await;
    let id = answer.header("x-request-id").to_owned();
    answer.text().await;
    let record = weir.record().await;
    assert_eq!(record["request_id"], id, "{record}");
    assert_eq!(record["endpoint"], address.to_string(), "{record}");
    assert_eq!(record["status"], 502, "{record}");
    let logged = weir.logged("request failed").await;
    assert_eq!(logged["request_id"], id);
    assert!(logged["error"].to_string().contains(&format!("connect to {address}")), "{logged}");
    weir.until_metric("http_requests_total", &["status=\"502\"", "protocol=\"h3\""], |n| n == 1.0)
        .await;
}

#[tokio::test]
async fn a_full_origin_is_a_503() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).upstream("limits: { connections: 1 }").workers(1).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut held = client.get("/hold-body").await;
        held.chunk().await.unwrap().unwrap();
        expect_error(weir.client(protocol).await.get("/").await, 503).await;
        origin.release();
        assert_eq!(held.text().await, "last");
    }
}

#[tokio::test]
async fn an_origin_whose_backlog_is_full_is_a_504() {
    let (address, _full) = full_listener().await;
    let weir = Setup::addresses([address]).upstream("timeouts: { connect: 200ms }").start().await;
    for protocol in Protocol::ALL {
        expect_error(weir.client(protocol).await.get("/").await, 504).await;
    }
}

async fn expect_error(answer: Answer, status: u16) {
    assert_eq!(answer.status, status);
    let id = answer.header("x-request-id").to_owned();
    assert!(id.len() == 16 && id.chars().all(|c| c.is_ascii_hexdigit()), "{:?}", answer.headers);
    assert!(answer.header("content-type").starts_with("text/plain"), "{:?}", answer.headers);
    let reason = answer.status.canonical_reason().unwrap();
    let text = answer.text().await;
    assert!(text.contains(reason) && text.contains(&id) && text.len() < 100, "{text}");
}

/// Pages of the whole configuration and of a route. Origins answer for themselves.
#[tokio::test]
async fn errors_have_the_pages_of_their_route_or_of_the_configuration() {
    let origin = Origin::start().await;
    let (refusing, _port) = refusing_address();
    let upstream = format!("  - {{ name: gone, endpoints: [{{ address: \"{refusing}\" }}] }}\n");
    let routes = r#"
  - match: { path: /gone }
    upstream: gone
    errors: [{ status: ["502"], file: gone.html }]
  - { match: { path: /also-gone }, upstream: gone }
  - { match: { path: /status/* }, upstream: app }"#;
    let errors = r#"errors: [{ status: ["404", 500-599], file: all.json }]"#;
    let setup = Setup::to([&origin]).upstream_after(&upstream).routes(routes).top(errors);
    let write = |name: &str, text: &str| std::fs::write(setup.directory().join(name), text);
    write("gone.html", "<p>${status} gone, ${request_id}</p>").unwrap();
    write("all.json", "{\"status\": ${status}, \"id\": \"${request_id}\"}").unwrap();
    let page = setup.directory().join("gone.html");
    let weir = setup.start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let answer = client.get("/gone").await;
        assert_eq!(answer.status, 502, "{protocol:?}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        let id = answer.header("x-request-id").to_owned();
        assert_eq!(answer.text().await, format!("<p>502 gone, {id}</p>"), "{protocol:?}");
        for (path, status) in [("/also-gone", 502), ("/nothing", 404)] {
            let answer = client.get(path).await;
            assert_eq!(answer.status, status, "{protocol:?}");
            assert_eq!(answer.header("content-type"), "application/json");
            let id = answer.header("x-request-id").to_owned();
            let expected = format!("{{\"status\": {status}, \"id\": \"{id}\"}}");
            assert_eq!(answer.text().await, expected, "{protocol:?}");
        }
        let answer = client.get("/status/503").await;
        assert_eq!((answer.status.as_u16(), &*answer.text().await), (503, ""), "{protocol:?}");
        let head = Request::head("/gone").body(Body::empty()).unwrap();
        let answer = client.send(head).await;
        assert_eq!((answer.status.as_u16(), &*answer.text().await), (502, ""), "{protocol:?}");
    }
    std::fs::write(page, "new").unwrap();
    weir.signal("HUP");
    until("the new page", async || {
        (weir.get(Protocol::H2, "/gone").await.1 == "new").then_some(())
    })
    .await;
}
