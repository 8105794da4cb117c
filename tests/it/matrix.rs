//! The core of HTTP, the same on all protocols of clients and of origins.

use std::rc::Rc;

use http::{HeaderMap, Method, Request};

use crate::support::origin::chunk;
use crate::support::{Body, Origin, Protocol, Setup, Speaks, Weir};

/// A protocol of a client, and one of an origin.
#[derive(Debug, Clone, Copy)]
struct Pair {
    client: Protocol,
    origin: Speaks,
}

/// Each of these clients with each origin.
async fn every(clients: &[Protocol]) -> Vec<(Rc<Origin>, Rc<Weir>, Pair)> {
    let mut every = Vec::new();
    for origin in Speaks::ALL {
        let server = Rc::new(Origin::speaking(origin).await);
        let weir = Rc::new(Setup::to([&*server]).start().await);
        for client in clients {
            let pair = Pair { client: *client, origin };
            every.push((Rc::clone(&server), Rc::clone(&weir), pair));
        }
    }
    every
}

#[tokio::test]
async fn a_get_is_answered_by_the_origin() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        assert_eq!(weir.get(pair.client, "/who").await, (200, "origin".to_owned()), "{pair:?}");
        assert_eq!((origin.head().method, origin.head().target), ("GET".into(), "/who".into()));
    }
}

#[tokio::test]
async fn path_and_query_arrive_as_they_were_sent() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        for target in ["/", "/?", "/a//b/./c/../d", "/%2e%2E/%00?q=%20&r=a/b?c", "/~;,=:@!$&'()*+"]
        {
            weir.get(pair.client, target).await;
            assert_eq!(origin.head().target, target, "{pair:?}");
        }
    }
}

#[tokio::test]
async fn every_method_passes() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        let client = weir.client(pair.client).await;
        for method in ["DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request =
                Request::builder().method(&method).uri("/who").body(Body::empty()).unwrap();
            assert_eq!(client.send(request).await.text().await, "origin", "{pair:?} {method}");
            assert_eq!(origin.head().method, method.as_str());
        }
    }
}

#[tokio::test]
async fn a_body_comes_back_from_an_echo() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        let answer = weir.client(pair.client).await.post("/echo", "some bytes").await;
        assert_eq!(answer.header("content-length"), "10", "{pair:?}");
        assert_eq!(answer.text().await, "some bytes", "{pair:?}");
        assert_eq!(origin.head().header("content-length"), "10", "{pair:?}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_passes_both_ways() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        let (sender, body) = Body::channel();
        let client = weir.client(pair.client).await;
        let send = async {
            for _ in 0..10 {
                sender.send(chunk(1000)).await;
            }
            drop(sender);
        };
        let (mut answer, ()) = tokio::join!(client.post("/echo", body), send);
        assert_eq!(answer.count().await.unwrap(), 10_000, "{pair:?}");
        let coding = if pair.origin.is_shared() { "" } else { "chunked" };
        assert_eq!(origin.head().header("transfer-encoding"), coding, "{pair:?}");
    }
}

#[tokio::test]
async fn a_large_body_passes_both_ways() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let client = weir.client(pair.client).await;
        let mut answer = client.post("/echo", Body::repeat(5_000_000)).await;
        assert_eq!(answer.count().await.unwrap(), 5_000_000, "{pair:?}");
        let mut answer = client.get("/chunked/3000000").await;
        assert_eq!(answer.count().await.unwrap(), 3_000_000, "{pair:?}");
    }
}

#[tokio::test]
async fn an_empty_body_is_announced_as_such() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        let client = weir.client(pair.client).await;
        let request = Request::post("/count").header("content-length", "0").body(Body::empty());
        assert_eq!(client.send(request.unwrap()).await.text().await, "0", "{pair:?}");
        assert_eq!(origin.head().header("content-length"), "0", "{pair:?}");
        assert_eq!(origin.head().header("transfer-encoding"), "", "{pair:?}");
        client.get("/who").await.text().await;
        assert_eq!(origin.head().header("transfer-encoding"), "", "{pair:?}: GET");
    }
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let client = weir.client(pair.client).await;
        let request = Request::head("/bytes/1234").body(Body::empty()).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.header("content-length"), "1234", "{pair:?}");
        assert_eq!(answer.text().await, "", "{pair:?}");
        assert_eq!(client.get("/who").await.text().await, "origin", "{pair:?}: the next request");
    }
}

#[tokio::test]
async fn statuses_without_a_body_have_none() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let client = weir.client(pair.client).await;
        for status in [204, 304] {
            let answer = client.get(&format!("/status/{status}")).await;
            assert_eq!(answer.status, status, "{pair:?}");
            assert_eq!(answer.text().await, "", "{pair:?}");
        }
        assert_eq!(client.get("/who").await.text().await, "origin", "{pair:?}: the next request");
    }
}

#[tokio::test]
async fn trailers_of_a_response_arrive() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let request = Request::get("/trailers").header("te", "trailers").body(Body::empty());
        let mut answer = weir.client(pair.client).await.send(request.unwrap()).await;
        assert_eq!(answer.bytes().await.unwrap(), "a body", "{pair:?}");
        assert_eq!(answer.trailers()["x-sum"], "7", "{pair:?}");
    }
}

#[tokio::test]
async fn trailers_of_a_request_arrive() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), 9.into())]);
        let request = Request::post("/echo").header("te", "trailers").header("trailer", "x-sum");
        let body = Body::from("with trailers").with_trailers(trailers);
        let mut answer = weir.client(pair.client).await.send(request.body(body).unwrap()).await;
        assert_eq!(answer.bytes().await.unwrap(), "with trailers", "{pair:?}");
        let sum = answer.trailers().get("x-sum").map(http::HeaderValue::as_bytes);
        assert_eq!(sum, Some(&b"9"[..]), "{pair:?}");
    }
}

#[tokio::test]
async fn statuses_of_the_origin_pass_unchanged() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let client = weir.client(pair.client).await;
        for status in [200, 201, 301, 404, 418, 500, 503, 599] {
            assert_eq!(client.get(&format!("/status/{status}")).await.status, status, "{pair:?}");
        }
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_upstream_connections_are_reused() {
    for origin in Speaks::ALL {
        let origin = Origin::speaking(origin).await;
        let weir = Setup::to([&origin]).workers(1).start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            for _ in 0..20 {
                assert_eq!(client.get("/who").await.text().await, "origin");
            }
        }
        assert_eq!((origin.requests(), origin.connections()), (60, 1), "{:?}", origin.speaks());
    }
}

#[tokio::test]
async fn requests_of_one_connection_do_not_wait_for_each_other() {
    for (origin, weir, pair) in every(&[Protocol::H2, Protocol::H3]).await {
        let client = weir.client(pair.client).await;
        let held = client.get("/hold");
        let others = async {
            for _ in 0..10 {
                assert_eq!(client.get("/who").await.text().await, "origin", "{pair:?}");
            }
            origin.release();
        };
        let (held, ()) = tokio::join!(held, others);
        assert_eq!(held.text().await, "origin", "{pair:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_given_up_ends_at_the_origin() {
    for (origin, weir, pair) in every(&Protocol::ALL).await {
        let given_up = origin.cancelled() + 1;
        let client = weir.client(pair.client).await;
        let mut answer = client.get("/endless").await;
        answer.chunk().await.unwrap().unwrap();
        drop((answer, client));
        origin.until_cancelled(given_up).await;
        assert_eq!(weir.get(pair.client, "/who").await.0, 200, "{pair:?}");
    }
}

#[tokio::test]
async fn an_answer_may_begin_before_the_request_has_ended() {
    for (_origin, weir, pair) in every(&Protocol::ALL).await {
        let (sender, body) = Body::channel();
        let client = weir.client(pair.client).await;
        sender.send("one").await;
        let mut answer = client.post("/echo", body).await;
        for piece in ["one", "two", "three"] {
            assert_eq!(answer.chunk().await.unwrap().unwrap(), piece, "{pair:?}");
            let next = match piece {
                "one" => "two",
                "two" => "three",
                _ => break,
            };
            sender.send(next).await;
        }
        drop(sender);
        assert_eq!(answer.count().await.unwrap(), 0, "{pair:?}");
    }
}

#[tokio::test]
async fn an_origin_that_is_silent_is_answered_for() {
    for speaks in Speaks::ALL {
        let origin = Origin::speaking(speaks).await;
        let timeouts = "timeouts: { first_byte: 200ms, idle: 200ms }";
        let weir = Setup::to([&origin]).upstream(timeouts).start().await;
        for protocol in Protocol::ALL {
            let client = weir.client(protocol).await;
            assert_eq!(client.get("/hold").await.status, 504, "{speaks:?} {protocol:?}");
            let mut held = client.get("/hold-body").await;
            assert_eq!(held.chunk().await.unwrap().unwrap(), "first", "{speaks:?} {protocol:?}");
            assert!(held.chunk().await.unwrap().is_err(), "{speaks:?} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_slow_client_does_not_hold_up_the_others() {
    for (origin, weir, pair) in every(&[Protocol::H2, Protocol::H3]).await {
        let mut slow = Vec::new();
        for _ in 0..8 {
            let client = weir.client(pair.client).await;
            let mut answer = client.get("/endless").await;
            answer.chunk().await.unwrap().unwrap();
            slow.push((client, answer));
        }
        let client = weir.client(pair.client).await;
        let mut answer = client.get("/bytes/3000000").await;
        assert_eq!(answer.count().await.unwrap(), 3_000_000, "{pair:?}");
        assert!(origin.requests() >= 9);
    }
}
