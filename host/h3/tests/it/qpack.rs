//! QPACK's streams and the sections that depend on them (RFC 9204).

use std::future::Future as _;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use quinn::VarInt;
use weir_h3::qpack::Decoder;
use weir_h3::{Code, Config, Connection};

use super::client::Client;
use super::client::Outcome::{Closed, Reset, Status};
use super::run;
use super::server::{Server, bare, connect, transport};
use super::wire::*;

/// Sets the table's capacity to 4096 bytes.
const CAPACITY: [u8; 3] = [0x3f, 0xe1, 0x1f];

/// Inserts `x: dynamic`.
const INSERT: [u8; 10] = [0x41, b'x', 7, b'd', b'y', b'n', b'a', b'm', b'i', b'c'];

/// A section that needs `required` insertions and ends with the last of them.
fn referring(fields: &[(&str, &str)], required: u8) -> Vec<u8> {
    let mut section = section(fields);
    section[0] = required + 1;
    section.push(0x80);
    section
}

/// A connection on which no requests are served.
async fn unserved() -> (Connection, Client) {
    let server = Server::start(Config::default());
    let (connection, quic) =
        tokio::join!(server.accept(), async { server.connecting().await.unwrap() });
    (connection, Client::new(quic))
}

#[test]
fn a_section_waits_for_its_insertions() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut blocked =
            pair.client.send(frame(HEADERS, referring(&request("GET", "/"), 1))).await;
        let trailers = frame(HEADERS, referring(&[], 2));
        let mut later = pair.client.send([post("/echo", &[]), trailers].concat()).await;
        pair.client.assert_serves().await;
        assert_eq!(pair.log.heads.borrow().len(), 2, "one is blocked, one in its trailers");

        let mut encoder = pair.client.uni(ENCODER_STREAM, &CAPACITY).await;
        for byte in INSERT {
            encoder.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(blocked.outcome().await, Status(200));
        assert_eq!(pair.log.heads.borrow().last().unwrap().request.headers()["x"], "dynamic");
        encoder.write_all(&INSERT).await.unwrap();
        assert_eq!(later.answer().await.unwrap().trailers.unwrap().map["x"], "dynamic");

        // Both sections are acknowledged, and the insertions with them (RFC 9204 §4.4).
        let mut decoder = pair.client.server_stream(DECODER_STREAM).await;
        let mut feedback = Vec::new();
        while feedback.last() != Some(&0x84) {
            let mut byte = [0];
            decoder.read_exact(&mut byte).await.unwrap();
            feedback.extend(byte);
        }
        feedback.retain(|byte| *byte >= 0x40);
        assert_eq!(feedback, [0x80, 0x84]);
    });
}

/// A server that takes no more requests serves those that it has.
#[test]
fn insertions_come_while_no_request_is_accepted() {
    run(async {
        let (mut connection, client) = unserved().await;
        let _blocked = client.send(frame(HEADERS, referring(&request("GET", "/"), 1))).await;
        let stream = connection.accept().await.unwrap();
        let _encoder = client.uni(ENCODER_STREAM, &[&CAPACITY[..], &INSERT].concat()).await;
        let request = tokio::select! {
            request = stream.head() => request.unwrap(),
            error = connection.drive() => panic!("{error}"),
        };
        assert_eq!(request.headers()["x"], "dynamic");
    });
}

#[test]
fn a_blocked_request_that_is_cancelled_is_forgotten() {
    run(async {
        let config = Config { blocked_streams: 1, ..Config::default() };
        let pair = connect(config).await;
        for round in 0..10u8 {
            let section = referring(&request("GET", "/"), 9);
            let mut blocked = pair.client.send(frame(HEADERS, section)).await;
            pair.client.assert_serves().await;
            blocked.cancel();
            pair.log.until(|log| log.stopped.borrow_mut().pop()).await;
            pair.client.assert_serves().await;
            assert_eq!(blocked.id(), u64::from(round) * 12);
        }
        let mut decoder = pair.client.server_stream(DECODER_STREAM).await;
        let mut feedback = [0; 3];
        decoder.read_exact(&mut feedback).await.unwrap();
        assert_eq!(feedback, [0x40, 0x40 | 12, 0x40 | 24]);
    });
}

/// A waker keeps the memory of its task.
#[test]
fn a_blocked_request_is_to_be_woken_once_and_not_after_its_end() {
    struct Silent;
    impl Wake for Silent {
        fn wake(self: Arc<Self>) {}
    }
    run(async {
        let (mut connection, client) = unserved().await;
        let _blocked = client.send(frame(HEADERS, referring(&request("GET", "/"), 1))).await;
        let stream = connection.accept().await.unwrap();
        let task = Arc::new(Silent);
        let waker = Waker::from(Arc::clone(&task));
        for _ in 0..100 {
            let mut head = pin!(stream.head());
            assert!(head.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        drop(waker);
        assert!(Arc::strong_count(&task) <= 3, "itself, the stream's and the section's");
        // The connection lives on, and must not hold the waker.
        drop(stream);
        assert_eq!(Arc::strong_count(&task), 1);
    });
}

/// RFC 9204 §2.2.2.2: also when the whole stream has arrived, and only its trailers wait.
#[test]
fn blocked_trailers_that_nobody_reads_are_cancelled() {
    run(async {
        let config = Config { blocked_streams: 1, ..Config::default() };
        let pair = connect(config).await;
        for _ in 0..3 {
            let trailers = frame(HEADERS, referring(&[], 9));
            let request = [post("/peek", &[]), frame(DATA, b"x"), trailers].concat();
            assert_eq!(pair.client.outcome(request).await, Status(200));
        }
        let mut decoder = pair.client.server_stream(DECODER_STREAM).await;
        let mut feedback = [0; 3];
        decoder.read_exact(&mut feedback).await.unwrap();
        assert_eq!(feedback, [0x40, 0x44, 0x48]);
    });
}

#[test]
fn more_blocked_streams_than_allowed_end_the_connection() {
    run(async {
        let pair = connect(Config { blocked_streams: 2, ..Config::default() }).await;
        let request = frame(HEADERS, referring(&request("GET", "/"), 1));
        let mut streams = Vec::new();
        for _ in 0..3 {
            streams.push(pair.client.send(&request).await);
        }
        assert_eq!(pair.client.closed().await, Code::QPACK_DECOMPRESSION_FAILED);
    });
}

#[test]
fn sections_that_cannot_be_decoded_end_the_connection() {
    run(async {
        for (what, section) in [
            ("empty", vec![]),
            ("a prefix cut short", vec![0]),
            ("an insert count that cannot be", vec![0xff, 0xff, 0x7f, 0]),
            ("a negative base", vec![2, 0x81, 0x80]),
            ("an unknown static index", vec![0, 0, 0xff, 0x24]),
            ("a reference without a count", vec![0, 0, 0x80]),
            ("a line cut short", vec![0, 0, 0x27]),
            ("an invalid Huffman code", vec![0, 0, 0x51, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ] {
            let pair = connect(Config::default()).await;
            let end = pair.client.outcome(frame(HEADERS, section)).await;
            assert_eq!(end, Closed(Code::QPACK_DECOMPRESSION_FAILED), "{what}");
        }
        let pair = connect(Config::default()).await;
        let section = [&[0, 0, 0xff][..], &[0xff; 12]].concat();
        let end = pair.client.outcome(frame(HEADERS, section)).await;
        assert_eq!(end, Reset(Code::QPACK_DECOMPRESSION_FAILED), "an integer past 62 bits");
        pair.client.assert_serves().await;
    });
}

#[test]
fn a_table_of_no_bytes_is_not_used() {
    run(async {
        let config = Config { table_capacity: 0, blocked_streams: 0, ..Config::default() };
        let pair = connect(config).await;
        pair.client.assert_serves().await;
        let _encoder = pair.client.uni(ENCODER_STREAM, &[0x20]).await;
        pair.client.assert_serves().await;
        let _encoder = pair.client.uni(ENCODER_STREAM, &[0x21]).await;
        assert_eq!(pair.client.closed().await, Code::H3_STREAM_CREATION_ERROR);
    });
}

#[test]
fn repeated_response_fields_come_from_the_table() {
    run(async {
        let mut pair = bare(Config::default()).await;
        pair.client.open_control(&[(0x01, 4096), (0x07, 0)]).await;
        while pair.handle.settings().is_none() {
            pair.client.assert_serves().await;
        }
        let mut decoder = Decoder::new(4096, 0);
        for _ in 0..2 {
            let mut stream = pair.client.send(get("/")).await;
            stream.answer_with(&mut decoder).await.unwrap();
        }
        let mut encoder = pair.client.server_stream(ENCODER_STREAM).await;
        let insertions = encoder.read_chunk(usize::MAX, true).await.unwrap().unwrap();
        decoder.encoder_stream(&insertions.bytes).unwrap();
        assert!(decoder.insert_count() > 0);
        let feedback = decoder.take_feedback().unwrap();
        let mut ours = pair.client.uni(DECODER_STREAM, &feedback).await;
        let mut size = usize::MAX;
        while size > 40 {
            let mut stream = pair.client.send(get("/")).await;
            let (kind, section) = stream.frame().await.unwrap().unwrap();
            assert_eq!(kind, HEADERS);
            let head = decode(&mut decoder, stream.id(), &section);
            assert_eq!(head.map["x-long"], "a value that is worth an entry");
            size = section.len();
            if let Some(feedback) = decoder.take_feedback() {
                ours.write_all(&feedback).await.unwrap();
            }
        }
    });
}

/// RFC 9204 §7.3: a client that gives no credit for feedback cannot make the server keep it for
/// ever.
#[test]
fn feedback_that_the_client_does_not_take_is_bounded() {
    run(async {
        let mut limits = transport();
        limits.stream_receive_window(VarInt::from_u32(500));
        let mut pair = Server::with(Config::default(), limits).bare().await;
        pair.client.open_control(&[]).await;
        let mut requests = 0;
        let end = loop {
            if let Some(end) = pair.client.quic.close_reason() {
                break end;
            }
            let Ok((mut send, mut recv)) = pair.client.quic.open_bi().await else { continue };
            let _ = send.write_all(&get("/hang")[..9]).await;
            let _ = send.reset(VarInt::from_u32(0x10c));
            let _ = recv.stop(VarInt::from_u32(0x10c));
            requests += 1;
            assert!(requests < 200_000);
        };
        let quinn::ConnectionError::ApplicationClosed(close) = end else { panic!("{end}") };
        assert_eq!(Code::from(close.error_code), Code::H3_EXCESSIVE_LOAD, "after {requests}");
    });
}
