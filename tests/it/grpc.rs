//! Calls of gRPC: status, deadlines, errors of Weir itself, and streams both ways.

use http::Request;
use serde_json::Value;

use crate::support::{Answer, Body, Origin, Protocol, Setup, Speaks, Weir, weir::free_address};

const CLIENTS: [Protocol; 2] = [Protocol::H2, Protocol::H3];

fn call(path: &str, fields: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut call = Request::post(path).header("content-type", "application/grpc");
    call = call.header("te", "trailers");
    for (name, value) in fields {
        call = call.header(*name, *value);
    }
    call.body(body.into()).unwrap()
}

/// Checks a failed call: its status is in the head, and there is nothing else.
async fn failed(mut answer: Answer, status: &str) {
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/grpc");
    assert_eq!(answer.header("grpc-status"), status);
    assert!(answer.header("grpc-message").contains("request "));
    assert_eq!(answer.bytes().await.unwrap(), "");
}

async fn status(weir: &mut Weir) -> Value {
    weir.record().await["grpc_status"].clone()
}

#[tokio::test]
async fn the_status_of_a_call_passes_and_is_counted() {
    for speaks in [Speaks::H2, Speaks::H2c] {
        let origin = Origin::speaking(speaks).await;
        let mut weir = Setup::to([&origin]).start().await;
        for client in CLIENTS {
            for code in ["0", "5", "16"] {
                let request = call(&format!("/grpc/{code}"), &[], "m");
                let mut answer = weir.client(client).await.send(request).await;
                assert_eq!(answer.bytes().await.unwrap().len(), 6, "{client:?}");
                assert_eq!(answer.trailers()["grpc-status"], code, "{client:?}");
                assert_eq!(status(&mut weir).await, code.parse::<u64>().unwrap());
            }
            assert_eq!(origin.head().header("te"), "trailers");
        }
        for code in ["0", "5", "16"] {
            let labels = ["route=\"all\"", &format!("grpc_status=\"{code}\"")];
            weir.until_metric("grpc_requests_total", &labels, |calls| calls == 2.0).await;
        }
        // Other requests are no calls.
        assert_eq!(weir.get(Protocol::H2, "/who").await.0, 200);
        assert!(status(&mut weir).await.is_null());
    }
}

#[tokio::test]
async fn weir_s_own_errors_have_a_status_of_grpc() {
    let nobody = free_address();
    let mut weir = Setup::addresses([nobody])
        .upstream("protocol: h2")
        .routes("  - { name: calls, match: { path: /grpc/* }, upstream: app }")
        .start()
        .await;
    for client in CLIENTS {
        failed(weir.client(client).await.send(call("/grpc/0", &[], "m")).await, "14").await;
        assert_eq!(status(&mut weir).await, 14);
        failed(weir.client(client).await.send(call("/other", &[], "m")).await, "12").await;
        assert_eq!(status(&mut weir).await, 12);
        // A request that is no call gets a page.
        assert_eq!(weir.get(client, "/grpc/0").await.0, 502);
        weir.record().await;
    }
}

#[tokio::test]
async fn a_call_ends_at_its_deadline() {
    let origin = Origin::speaking(Speaks::H2c).await;
    let mut weir = Setup::to([&origin]).start().await;
    for client in CLIENTS {
        let given_up = origin.cancelled() + 1;
        let request = call("/hold", &[("grpc-timeout", "150m")], Body::empty());
        failed(weir.client(client).await.send(request).await, "4").await;
        assert_eq!(status(&mut weir).await, 4);
        // The origin is told, and learns the deadline.
        origin.until_cancelled(given_up).await;
        assert_eq!(origin.head().header("grpc-timeout"), "150m");
        // The field means nothing in other requests.
        let request = Request::get("/bytes/10").header("grpc-timeout", "1n");
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(weir.client(client).await.send(request).await.status, 200);
        weir.record().await;
    }
}

#[tokio::test]
async fn messages_pass_both_ways_one_by_one() {
    let origin = Origin::speaking(Speaks::H2c).await;
    let weir = Setup::to([&origin]).start().await;
    for client in CLIENTS {
        let (sender, body) = Body::channel();
        let client = weir.client(client).await;
        // The head of the response comes before the first message.
        let mut answer = client.send(call("/echo", &[], body)).await;
        for message in ["one", "two", "three"] {
            sender.send(message).await;
            assert_eq!(answer.chunk().await.unwrap().unwrap(), message);
        }
        drop(sender);
        assert_eq!(answer.count().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_call_that_the_client_gives_up_is_cancelled_at_the_origin() {
    let origin = Origin::speaking(Speaks::H2c).await;
    let mut weir = Setup::to([&origin]).start().await;
    for client in CLIENTS {
        let given_up = origin.cancelled() + 1;
        let (sender, body) = Body::channel();
        let client = weir.client(client).await;
        sender.send("one").await;
        let mut answer = client.send(call("/echo", &[], body)).await;
        answer.chunk().await.unwrap().unwrap();
        sender.abort().await;
        drop((answer, client));
        origin.until_cancelled(given_up).await;
        let record = weir.record().await;
        assert_ne!(record["grpc_status"], 0);
    }
}
