//! Requests and responses that succeed, and those that one side gives up.

use weir_h3::{Code, Config, Error};

use super::client::{Client, Outcome};
use super::run;
use super::server::{From, Server, connect};
use super::wire::*;

#[test]
fn bodies_and_trailers_go_both_ways() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.open(post("/echo", &[("content-length", "3000000")])).await;
        let (mut send, body) = (stream.send, vec![b'x'; 1_000_000]);
        let writing = async {
            for _ in 0..3 {
                send.write_all(&frame(DATA, &body)).await.unwrap();
            }
            send.write_all(&headers(&[("checksum", "abc"), ("x", "y")])).await.unwrap();
            send.finish().unwrap();
            send
        };
        let reading = async {
            let mut bytes = 0;
            loop {
                let (kind, payload) = RequestParts(&mut stream.recv).frame().await;
                match kind {
                    DATA => bytes += payload,
                    _ if bytes == 0 => {}
                    _ => break bytes,
                }
            }
        };
        let (_send, bytes) = tokio::join!(writing, reading);
        assert_eq!(bytes, 3_000_000);
        let request = [post("/echo", &[]), frame(DATA, b"body"), headers(&[("checksum", "abc")])];
        let answer = pair.client.answer(request.concat()).await;
        assert_eq!((answer.status(), answer.text()), (200, "body"));
        assert_eq!(answer.trailers.unwrap().map["checksum"], "abc");
    });
}

/// Reads a response while its request is still being written.
struct RequestParts<'a>(&'a mut quinn::RecvStream);

impl RequestParts<'_> {
    /// Returns the next frame's type and its number of bytes, which are discarded.
    async fn frame(&mut self) -> (u64, usize) {
        let (kind, length) = (self.varint().await, self.varint().await as usize);
        self.0.read_exact(&mut vec![0; length]).await.unwrap();
        (kind, length)
    }

    async fn varint(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact(&mut bytes[..1]).await.unwrap();
        let length = 1 << (bytes[0] >> 6);
        self.0.read_exact(&mut bytes[1..length]).await.unwrap();
        take_varint(&mut &bytes[..length]).unwrap()
    }
}

#[test]
fn an_interim_response_comes_before_the_final_one() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.send(get("/hints")).await;
        let (kind, hints) = stream.frame().await.unwrap().unwrap();
        assert_eq!(kind, HEADERS);
        let hints = decode(&mut weir_h3::qpack::Decoder::new(0, 0), stream.id(), &hints);
        assert_eq!(hints.status, Some(103));
        assert_eq!(hints.map["link"], "</style.css>; rel=preload");
        pair.log.release.notify_one();
        let answer = stream.answer().await.unwrap();
        assert_eq!((answer.status(), answer.text()), (200, "/hints"));
    });
}

#[test]
fn many_requests_share_a_connection() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut streams = Vec::new();
        for _ in 0..100 {
            streams.push(pair.client.send(get("/bytes/10000")).await);
        }
        for mut stream in streams {
            assert_eq!(stream.answer().await.unwrap().body.len(), 10_000);
        }
    });
}

/// RFC 8470: requests that may be replays are marked.
#[test]
fn requests_of_early_data_are_marked() {
    run(async {
        let server = Server::start(Config::default());
        server.from.set(From::EarlyData);
        let first = server.connect().await;
        first.client.assert_serves().await;
        assert!(!server.log.heads.borrow()[0].is_early);
        first.client.quic.close(0x100u32.into(), b"");

        let serving = server.serve_next();
        let (quic, accepted) = server.connecting().into_0rtt().map_err(drop).unwrap();
        let mut early = Client::new(quic.clone()).send(get("/confirmed")).await;
        let pair = server.pair(quic, serving).await;
        assert_eq!(early.outcome().await, Outcome::Status(200));
        assert!(accepted.await);
        pair.client.assert_serves().await;
        let heads = server.log.heads.borrow();
        let flags: Vec<_> = heads.iter().map(|head| (head.id, head.is_early)).collect();
        assert_eq!(flags, [(0, false), (0, true), (4, false)]);
    });
}

#[test]
fn a_client_that_cancels_is_heard() {
    run(async {
        let pair = connect(Config::default()).await;
        for path in ["/hang", "/echo"] {
            let mut stream = pair.client.open(get(path)).await;
            pair.log.until(|log| log.heads.borrow_mut().pop()).await;
            stream.cancel();
            let code = pair.log.until(|log| log.stopped.borrow_mut().pop()).await;
            assert_eq!(code, Code::H3_REQUEST_CANCELLED, "{path}");
        }
        pair.client.assert_serves().await;
    });
}

#[test]
fn a_request_that_is_reset_in_its_body_is_told() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.open(post("/echo", &[])).await;
        pair.log.until(|log| log.heads.borrow_mut().pop()).await;
        stream.send.reset(0x10cu32.into()).unwrap();
        let error = pair.log.until(|log| log.errors.borrow_mut().pop()).await;
        assert!(matches!(error, Error::Reset(Code::H3_REQUEST_CANCELLED)), "{error:?}");
        assert_eq!(stream.outcome().await, Outcome::Reset(Code::H3_REQUEST_CANCELLED));
        pair.client.assert_serves().await;
    });
}

/// A reader that stops at the trailers still sees the frames after them.
#[test]
fn trailers_are_handed_on_at_the_end_of_the_stream() {
    run(async {
        let request = [post("/trailers", &[]), frame(DATA, b"x"), headers(&[("x", "y")])].concat();
        let pair = connect(Config::default()).await;
        assert_eq!(pair.client.outcome(&request).await, Outcome::Status(200));
        let more = [&request[..], &frame(GREASE, b"padding")].concat();
        assert_eq!(pair.client.outcome(more).await, Outcome::Status(200));

        let mut stream = pair.client.open(&request).await;
        pair.log.until(|log| log.heads.borrow().get(2).map(|_| ())).await;
        stream.send.reset(7u32.into()).unwrap();
        let error = pair.log.until(|log| log.errors.borrow_mut().pop()).await;
        assert!(matches!(error, Error::Reset(Code(7))), "{error:?}");

        let more = [&request[..], &frame(DATA, b"more")].concat();
        let end = pair.client.outcome(more).await;
        assert_eq!(end, Outcome::Closed(Code::H3_FRAME_UNEXPECTED));
    });
}

#[test]
fn a_reset_before_the_head_is_told() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.open(&get("/")[..5]).await;
        pair.client.assert_serves().await;
        stream.send.reset(7u32.into()).unwrap();
        let error = pair.log.until(|log| log.errors.borrow_mut().pop()).await;
        assert!(matches!(error, Error::Reset(Code(7))), "{error:?}");
        pair.client.assert_serves().await;
    });
}

/// RFC 9114 §4.1: the rest of a request is not wanted after its answer, and the answer is complete.
#[test]
fn an_answer_may_come_before_the_request_has() {
    run(async {
        let pair = connect(Config::default()).await;
        let some = [post("/ignore", &[]), frame(DATA, [0; 5000])].concat();
        let cut = [post("/ignore", &[]), head(DATA, 1 << 20), vec![0; 5000]].concat();
        for request in [post("/ignore", &[]), some, cut] {
            let mut stream = pair.client.open(request).await;
            assert_eq!(stream.answer().await.unwrap().text(), "/ignore");
            assert_eq!(stream.stopped().await, Some(Code::H3_NO_ERROR));
            let late = pair.log.until(|log| log.errors.borrow_mut().pop()).await;
            assert!(matches!(late, Error::Reset(Code::H3_NO_ERROR)), "no end: {late:?}");
            pair.client.assert_serves().await;
        }
    });
}

#[test]
fn a_stream_that_is_dropped_is_cancelled() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.open(get("/leave")).await;
        assert_eq!(stream.outcome().await, Outcome::Reset(Code::H3_REQUEST_CANCELLED));
        assert_eq!(stream.stopped().await, Some(Code::H3_REQUEST_CANCELLED));
    });
}

/// Credit returns as the body is read, not as it arrives.
#[test]
fn a_body_that_nobody_reads_stops_at_the_window() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.open(post("/hang", &[])).await;
        stream.write(head(DATA, 1 << 30)).await;
        let mut taken = 0;
        let chunk = vec![0; 64 << 10];
        let limit = std::time::Duration::from_millis(300);
        while let Ok(written) = tokio::time::timeout(limit, stream.send.write(&chunk)).await {
            taken += written.unwrap();
        }
        // quinn's default window for a stream, and the bytes that the client itself holds.
        assert!(taken < 24 << 20, "{taken}");
        pair.client.assert_serves().await;
    });
}

#[test]
fn the_end_of_a_connection_is_told() {
    run(async {
        let pair = connect(Config::default()).await;
        pair.client.assert_serves().await;
        pair.client.quic.close(0x100u32.into(), b"bye");
        let error = pair.end.await.unwrap();
        assert!(matches!(error, Error::Lost(quinn::ConnectionError::ApplicationClosed(_))));

        let pair = connect(Config::default()).await;
        pair.handle.close(Code::H3_NO_ERROR, "over");
        assert_eq!(pair.client.closed().await, Code::H3_NO_ERROR);
        assert!(matches!(pair.end.await.unwrap(), Error::Lost(_)));
    });
}
