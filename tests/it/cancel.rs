//! A client that goes away ends the upstream's work too, and nothing of its exchange is reused.

use http::Request;

use crate::support::raw_h2::{RawH2, post};
use crate::support::raw_h3::RawH3;
use crate::support::{Body, Origin, Protocol, RawOrigin, Setup};

#[tokio::test]
async fn giving_up_before_the_answer_cancels_the_upstream_request() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let client = weir.client(protocol).await;
        tokio::select! {
            _ = client.get("/hold") => panic!("held requests have no answer"),
            () = origin.until_requests(at + 1) => {}
        }
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn giving_up_within_the_answer_cancels_the_upstream_request() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let client = weir.client(protocol).await;
        let mut answer = client.get("/endless").await;
        assert!(answer.chunk().await.unwrap().is_ok(), "{protocol:?}");
        drop((answer, client));
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn giving_up_one_stream_leaves_the_others_of_its_connection_alone() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (at, protocol) in [Protocol::H2, Protocol::H3].into_iter().enumerate() {
        let client = weir.client(protocol).await;
        let mut held = client.get("/hold-body").await;
        assert_eq!(held.chunk().await.unwrap().unwrap(), "first");
        drop(client.get("/endless").await);
        origin.until_cancelled(at + 1).await;
        origin.release();
        assert_eq!(held.text().await, "last", "{protocol:?}");
        assert_eq!(client.get("/who").await.text().await, "origin", "{protocol:?}");
    }
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_not_taken_for_a_whole_one() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        let client = weir.client(protocol).await;
        let (sender, body) = Body::channel();
        let request = Request::post("/count").body(body).unwrap();
        tokio::select! {
            _ = client.try_send(request) => panic!("the upload has not ended"),
            () = async {
                sender.send("some bytes").await;
                origin.until_requests(at + 1).await;
            } => {}
        }
        drop((client, sender));
        origin.until_cancelled(at + 1).await;
    }
}

#[tokio::test]
async fn a_reset_upload_ends_the_upstream_connection_without_a_last_chunk() {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let weir = Setup::addresses([origin.address()]).start().await;

    let mut raw = RawH2::connect(&weir).await;
    raw.headers(1, &post("/count"), false).await;
    raw.data(1, b"some bytes", false).await;
    origin.until_text("some bytes").await;
    raw.reset(1).await;
    origin.until_closed(0).await;

    let raw = RawH3::connect(&weir).await;
    let mut stream = raw.open().await;
    stream.headers(&post("/count")).await;
    stream.frame(0, b"other bytes").await;
    origin.until_text("other bytes").await;
    stream.cancel();
    origin.until_closed(1).await;

    assert!(!origin.text().contains("0\r\n\r\n"), "{}", origin.text());
}

#[tokio::test]
async fn a_request_that_was_given_up_is_recorded_as_aborted() {
    let origin = Origin::start().await;
    let mut weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut answer = client.get("/hold-body").await;
        assert!(answer.chunk().await.unwrap().is_ok(), "{protocol:?}");
        drop((answer, client));
        let record = weir.record().await;
        assert_eq!(record["aborted"], true, "{record}");
        assert_eq!(record["protocol"], protocol.label(), "{record}");
        assert_eq!(record["response_bytes"], 5, "{record}");
    }
}
