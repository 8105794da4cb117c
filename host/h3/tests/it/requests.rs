//! Frames of request streams (RFC 9114 §4.1, §7): their order, their kinds, and the places where a
//! stream may end.

use weir_h3::{Code, Config};

use super::client::Outcome::{self, Closed, Reset, Status};
use super::run;
use super::server::connect;
use super::wire::*;

async fn outcome(request: &[Vec<u8>]) -> Outcome {
    connect(Config::default()).await.client.outcome(request.concat()).await
}

#[test]
fn frames_come_in_their_order() {
    let trailers = || headers(&[("x", "y")]);
    let data = || frame(DATA, b"abc");
    run(async {
        for (what, request) in [
            ("DATA first", vec![data(), get("/")]),
            ("empty DATA first", vec![frame(DATA, [])]),
            ("DATA after the trailers", vec![get("/"), trailers(), data()]),
            ("HEADERS after the trailers", vec![get("/"), data(), trailers(), trailers()]),
            ("an unknown frame, then DATA", vec![frame(GREASE, []), data()]),
        ] {
            assert_eq!(outcome(&request).await, Closed(Code::H3_FRAME_UNEXPECTED), "{what}");
        }
    });
}

#[test]
fn frames_that_have_no_place_in_a_request_end_the_connection() {
    let others =
        [CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID, PRIORITY_REQUEST, PRIORITY_PUSH];
    run(async {
        for kind in [&others[..], &HTTP2].concat() {
            for before in [vec![], get("/"), [get("/"), headers(&[("x", "y")])].concat()] {
                let end = outcome(&[before, frame(kind, [0])]).await;
                assert_eq!(end, Closed(Code::H3_FRAME_UNEXPECTED), "{kind:#x}");
            }
        }
    });
}

#[test]
fn a_stream_may_not_end_within_a_frame() {
    let whole = get("/");
    run(async {
        for (what, request) in [
            ("in a type", vec![vec![0x40]]),
            ("after a type", vec![vec![0x01]]),
            ("in a length", vec![vec![0x01, 0x40]]),
            ("in the head", vec![whole[..whole.len() - 1].to_vec()]),
            ("in DATA", vec![get("/"), head(DATA, 10), b"short".to_vec()]),
            ("in the trailers", vec![get("/"), head(HEADERS, 10), b"short".to_vec()]),
            ("in an unknown frame", vec![get("/"), head(GREASE, 10), b"short".to_vec()]),
            ("in a type after the body", vec![get("/"), frame(DATA, b"x"), vec![0x80]]),
        ] {
            assert_eq!(outcome(&request).await, Closed(Code::H3_FRAME_ERROR), "{what}");
        }
    });
}

#[test]
fn a_request_has_a_head() {
    run(async {
        let pair = connect(Config::default()).await;
        for request in [vec![], frame(GREASE, b"nothing else")] {
            let end = pair.client.outcome(request).await;
            assert_eq!(end, Reset(Code::H3_REQUEST_INCOMPLETE));
        }
        pair.client.assert_serves().await;
    });
}

/// RFC 9114 §4.4: once the method has completed, known frames other than DATA are errors.
#[test]
fn connect_has_data_alone() {
    let connect_to = || headers(&[(":method", "CONNECT"), (":authority", "a.test:443")]);
    run(async {
        assert_eq!(outcome(&[connect_to(), frame(DATA, b"x")]).await, Status(200));
        assert_eq!(outcome(&[connect_to(), frame(GREASE, b"x")]).await, Status(200));
        let end = outcome(&[connect_to(), headers(&[("x", "y")])]).await;
        assert_eq!(end, Closed(Code::H3_FRAME_UNEXPECTED));
        let end = outcome(&[connect_to(), frame(DATA, b"x"), headers(&[("x", "y")])]).await;
        assert_eq!(end, Closed(Code::H3_FRAME_UNEXPECTED));
    });
}

#[test]
fn frames_are_taken_in_any_pieces() {
    run(async {
        let pair = connect(Config::default()).await;
        let request = [
            post("/echo", &[("content-length", "6")]),
            frame(GREASE, b"zz"),
            frame(DATA, b"abc"),
            frame(DATA, []),
            frame(DATA, b"def"),
            headers(&[("checksum", "x")]),
        ]
        .concat();
        for size in [1, 2, 3, 7, 50] {
            let mut stream = pair.client.open([]).await;
            for piece in request.chunks(size) {
                stream.write(piece).await;
                tokio::task::yield_now().await;
            }
            stream.finish();
            let answer = stream.answer().await.unwrap();
            assert_eq!(answer.text(), "abcdef", "pieces of {size}");
            assert_eq!(answer.trailers.unwrap().map["checksum"], "x");
        }
    });
}

#[test]
fn lengths_may_take_more_bytes_than_they_need() {
    run(async {
        let section = section(&request("GET", "/"));
        // RFC 9000 §16: any of the four forms is allowed.
        let mut frame = vec![0xc0, 0, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, section.len() as u8];
        frame.extend(section);
        assert_eq!(outcome(&[frame]).await, Status(200));
    });
}

#[test]
fn a_large_section_is_answered_with_431_and_a_larger_one_reset() {
    run(async {
        let config = Config { section_bytes: 1000, section_fields: 20, ..Config::default() };
        let pair = connect(config).await;
        let value = |length| "v".repeat(length);
        assert_eq!(pair.client.outcome(post("/", &[("x", &value(700))])).await, Status(200));
        assert_eq!(pair.client.outcome(post("/", &[("x", &value(1000))])).await, Status(431));
        assert_eq!(pair.client.outcome(post("/", &[("x", "y"); 17])).await, Status(431));
        assert_eq!(pair.client.outcome(post("/", &[("x", "y"); 16])).await, Status(200));
        let end = pair.client.outcome(post("/", &[("x", &value(40_000))])).await;
        assert_eq!(end, Reset(Code::H3_EXCESSIVE_LOAD));
        // The same limits apply to trailers.
        let trailers = |length| [post("/", &[]), headers(&[("x", &value(length)[..])])].concat();
        assert_eq!(pair.client.outcome(trailers(900)).await, Status(200));
        assert_eq!(pair.client.outcome(trailers(1000)).await, Reset(Code::H3_EXCESSIVE_LOAD));
        assert_eq!(pair.client.outcome(trailers(40_000)).await, Reset(Code::H3_EXCESSIVE_LOAD));
        pair.client.assert_serves().await;
    });
}
