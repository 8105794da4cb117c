//! The core of HTTP, the same on all three protocols.

use http::{HeaderMap, Method, Request};

use crate::support::origin::chunk;
use crate::support::{Body, Origin, Protocol, Setup};

#[tokio::test]
async fn a_get_is_answered_by_the_origin() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await, (200, "origin".to_owned()), "{protocol:?}");
        assert_eq!((origin.head().method, origin.head().target), ("GET".into(), "/who".into()));
    }
}

#[tokio::test]
async fn path_and_query_arrive_as_they_were_sent() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        for target in ["/", "/?", "/a//b/./c/../d", "/%2e%2E/%00?q=%20&r=a/b?c", "/~;,=:@!$&'()*+"]
        {
            weir.get(protocol, target).await;
            assert_eq!(origin.head().target, target, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn every_method_passes() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for method in ["DELETE", "OPTIONS", "PATCH", "PUT", "PROPFIND"] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let request =
                Request::builder().method(&method).uri("/who").body(Body::empty()).unwrap();
            assert_eq!(client.send(request).await.text().await, "origin", "{protocol:?} {method}");
            assert_eq!(origin.head().method, method.as_str());
        }
    }
}

#[tokio::test]
async fn a_body_comes_back_from_an_echo() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.post("/echo", "some bytes").await;
        assert_eq!(answer.header("content-length"), "10", "{protocol:?}");
        assert_eq!(answer.text().await, "some bytes", "{protocol:?}");
        assert_eq!(origin.head().header("content-length"), "10", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_passes_both_ways() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let (sender, body) = Body::channel();
        let client = weir.client(protocol).await;
        let send = async {
            for _ in 0..10 {
                sender.send(chunk(1000)).await;
            }
            drop(sender);
        };
        let (mut answer, ()) = tokio::join!(client.post("/echo", body), send);
        assert_eq!(answer.count().await.unwrap(), 10_000, "{protocol:?}");
        assert_eq!(origin.head().header("transfer-encoding"), "chunked", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_large_body_passes_both_ways() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut answer = client.post("/echo", Body::repeat(5_000_000)).await;
        assert_eq!(answer.count().await.unwrap(), 5_000_000, "{protocol:?}");
        let mut answer = client.get("/chunked/3000000").await;
        assert_eq!(answer.count().await.unwrap(), 3_000_000, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_empty_body_is_announced_as_such() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let request = Request::post("/count").header("content-length", "0").body(Body::empty());
        assert_eq!(client.send(request.unwrap()).await.text().await, "0", "{protocol:?}");
        assert_eq!(origin.head().header("content-length"), "0", "{protocol:?}");
        assert_eq!(origin.head().header("transfer-encoding"), "", "{protocol:?}");
        client.get("/who").await.text().await;
        assert_eq!(origin.head().header("transfer-encoding"), "", "{protocol:?}: GET");
    }
}

#[tokio::test]
async fn a_head_has_the_length_and_no_body() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let request = Request::head("/bytes/1234").body(Body::empty()).unwrap();
        let answer = client.send(request).await;
        assert_eq!(answer.header("content-length"), "1234", "{protocol:?}");
        assert_eq!(answer.text().await, "", "{protocol:?}");
        assert_eq!(
            client.get("/who").await.text().await,
            "origin",
            "{protocol:?}: the next request"
        );
    }
}

#[tokio::test]
async fn statuses_without_a_body_have_none() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for status in [204, 304] {
            let answer = client.get(&format!("/status/{status}")).await;
            assert_eq!(answer.status, status, "{protocol:?}");
            assert_eq!(answer.text().await, "", "{protocol:?}");
        }
        assert_eq!(
            client.get("/who").await.text().await,
            "origin",
            "{protocol:?}: the next request"
        );
    }
}

#[tokio::test]
async fn trailers_of_a_response_arrive() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let request = Request::get("/trailers").header("te", "trailers").body(Body::empty());
        let mut answer = weir.client(protocol).await.send(request.unwrap()).await;
        assert_eq!(answer.bytes().await.unwrap(), "a body", "{protocol:?}");
        assert_eq!(answer.trailers()["x-sum"], "7", "{protocol:?}");
    }
}

#[tokio::test]
async fn trailers_of_a_request_arrive() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), 9.into())]);
        let request = Request::post("/echo").header("te", "trailers").header("trailer", "x-sum");
        let body = Body::from("with trailers").with_trailers(trailers);
        let mut answer = weir.client(protocol).await.send(request.body(body).unwrap()).await;
        assert_eq!(answer.bytes().await.unwrap(), "with trailers", "{protocol:?}");
        let sum = answer.trailers().get("x-sum").map(http::HeaderValue::as_bytes);
        assert_eq!(sum, Some(&b"9"[..]), "{protocol:?}");
    }
}

#[tokio::test]
async fn statuses_of_the_origin_pass_unchanged() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for status in [200, 201, 301, 404, 418, 500, 503, 599] {
            assert_eq!(
                client.get(&format!("/status/{status}")).await.status,
                status,
                "{protocol:?}"
            );
        }
    }
}

#[tokio::test]
async fn one_connection_serves_many_requests_and_upstream_connections_are_reused() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for _ in 0..20 {
            assert_eq!(client.get("/who").await.text().await, "origin");
        }
    }
    assert_eq!((origin.requests(), origin.connections()), (60, 1));
}

#[tokio::test]
async fn requests_of_one_connection_do_not_wait_for_each_other() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in [Protocol::H2, Protocol::H3] {
        let client = weir.client(protocol).await;
        let held = client.get("/hold");
        let others = async {
            for _ in 0..10 {
                assert_eq!(client.get("/who").await.text().await, "origin", "{protocol:?}");
            }
            origin.release();
        };
        let (held, ()) = tokio::join!(held, others);
        assert_eq!(held.text().await, "origin", "{protocol:?}");
    }
}
