use ::h3::error::Code;

use super::*;

#[test]
fn requests_and_bodies_go_both_ways() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        assert_eq!(h3.get("/protocol").await.1, "h3");
        assert_eq!(h3.get("/big/3000000").await.1.len(), 3_000_000);

        let mut exchange = h3.open(post("/echo", None)).await;
        for _ in 0..100 {
            exchange.send_data(Bytes::from(vec![b'y'; 30_000])).await.unwrap();
        }
        exchange.finish().await.unwrap();
        let (_, body) = answer(&mut exchange).await.unwrap();
        assert_eq!(body.len(), 3_000_000);
        assert!(server.counters.bytes_received.get() > 3_000_000);
        assert!(server.counters.bytes_sent.get() > 6_000_000);
    });
}

#[test]
fn many_requests_run_at_once() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut open = Vec::new();
        for _ in 0..100 {
            let mut exchange = h3.open(get("/slow")).await;
            exchange.finish().await.unwrap();
            open.push(exchange);
        }
        until(|| server.log.begun.load(Ordering::Relaxed) == 100).await;
        server.log.release.cancel();
        for mut exchange in open {
            assert_eq!(answer(&mut exchange).await.unwrap().1, "slow");
        }
    });
}

#[test]
fn a_cancelled_request_drops_the_handlers_future() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut exchange = h3.open(get("/hang")).await;
        exchange.finish().await.unwrap();
        until(|| server.log.begun.load(Ordering::Relaxed) == 1).await;
        exchange.stop_sending(Code::H3_REQUEST_CANCELLED);
        until(|| server.log.cancelled.load(Ordering::Relaxed) == 1).await;
        assert_eq!(h3.get("/next").await.1, "/next");
    });
}

#[test]
fn a_closed_connection_drops_its_requests() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut exchange = h3.open(get("/hang")).await;
        exchange.finish().await.unwrap();
        until(|| server.log.begun.load(Ordering::Relaxed) == 1).await;
        h3.connection.close(0u32.into(), b"");
        until(|| server.log.cancelled.load(Ordering::Relaxed) == 1).await;
        until(|| server.counters.connections_active.get() == 0).await;
    });
}

#[test]
fn a_response_that_breaks_off_is_no_clean_end() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut exchange = h3.open(get("/cut")).await;
        exchange.finish().await.unwrap();
        let error = answer(&mut exchange).await.unwrap_err();
        assert!(error.to_string().contains("H3_INTERNAL_ERROR"), "{error}");
        assert_eq!(h3.get("/next").await.1, "/next");
    });
}

/// RFC 9000 §3.5: the response ends with a reset while it is not fully sent, even if the handler
/// produces no more.
#[test]
fn a_response_that_is_stopped_while_it_is_sent_is_reset() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&head("GET", "/big/1000000")).await.unwrap();
        send.finish().unwrap();
        recv.read_chunk(1, true).await.unwrap().unwrap();
        recv.stop(0x10cu32.into()).unwrap();
        let connection = h3.connection.clone();
        until(|| connection.stats().frame_rx.reset_stream == 1).await;
        assert_eq!(h3.get("/next").await.1, "/next");
    });
}

#[test]
fn who_answers_early_may_read_on() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut exchange = h3.open(post("/late", None)).await;
        exchange.send_data(Bytes::from(vec![b'y'; 300_000])).await.unwrap();
        let (_, body) = answer(&mut exchange).await.unwrap();
        assert_eq!(body, "early");
        assert_eq!(h3.get("/next").await.1, "/next");
        server.log.release.cancel();
        exchange.send_data(Bytes::from(vec![b'y'; 300_000])).await.unwrap();
        exchange.finish().await.unwrap();
        until(|| server.log.read_late.load(Ordering::Relaxed) == 600_000).await;
    });
}

#[test]
fn an_unread_request_is_stopped_without_error_after_the_response() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let h3 = H3::connect(&endpoint, server.address).await;
        let (mut send, mut recv) = raw(&h3, &[0xff; 100]).await;
        let response = recv.read_to_end(10_000).await.unwrap();
        assert!(response.ends_with(b"ignored"));
        let stopped = send.stopped().await.unwrap();
        assert_eq!(stopped.unwrap().into_inner(), Code::H3_NO_ERROR.value());
        let _ = send.reset(0u32.into());
    });

    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let h3 = H3::connect(&endpoint, server.address).await;
        // A client with little left of its body may finish it before it looks at the response.
        let (mut send, mut recv) = raw(&h3, &[0xff; 100]).await;
        let response = recv.read_to_end(10_000).await.unwrap();
        assert!(response.ends_with(b"ignored"));
        send.write_all(&vec![0xff; (1 << 20) - 100]).await.unwrap();
        send.finish().unwrap();
        assert_eq!(send.stopped().await.unwrap(), None, "all of it is taken");
    });

    /// Sends a POST to /ignore and the beginning of a DATA frame of 1 MiB.
    async fn raw(h3: &H3, data: &[u8]) -> (quinn::SendStream, quinn::RecvStream) {
        let (mut send, recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&head("POST", "/ignore")).await.unwrap();
        send.write_all(&[0, 0x80, 0x10, 0, 0]).await.unwrap();
        send.write_all(data).await.unwrap();
        (send, recv)
    }
}

#[test]
fn frames_that_would_be_buffered_without_end_are_cut() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        // HEADERS of 1 GiB
        send.write_all(&[&[1][..], &(1u32 << 31 | 1 << 30 >> 1).to_be_bytes()].concat())
            .await
            .unwrap();
        let stopped = send.stopped().await.unwrap().unwrap();
        assert_eq!(stopped.into_inner(), Code::H3_EXCESSIVE_LOAD.value());
        let quinn::ReadToEndError::Read(quinn::ReadError::Reset(code)) =
            recv.read_to_end(10).await.unwrap_err()
        else {
            panic!("not reset");
        };
        assert_eq!(code.into_inner(), Code::H3_EXCESSIVE_LOAD.value());
        assert_eq!(server.log.begun.load(Ordering::Relaxed), 0);
        assert_eq!(h3.get("/next").await.1, "/next");
    });
}

fn is_431(response: &[u8]) -> bool {
    response.windows(3).any(|window| window == b"431")
}

#[test]
fn a_large_section_is_refused_with_a_status() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let value = "v".repeat(66_000);
        let mut lines = head_lines("GET", "/");
        lines.push(("x-large".into(), value));
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&encode(&lines)).await.unwrap();
        send.finish().unwrap();
        let response = recv.read_to_end(10_000).await.unwrap();
        // The response is one HEADERS frame with only :status and Date.
        assert_eq!(
            (response[0], usize::from(response[1] & 0x3f) << 8 | usize::from(response[2])),
            (1, response.len() - 3)
        );
        assert!(is_431(&response), "{response:x?}");
        assert_eq!(server.log.begun.load(Ordering::Relaxed), 0);

        // The server reads and discards the following body, and the connection stays open.
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&encode(&lines)).await.unwrap();
        send.write_all(&[0, 4, b'b', b'o', b'd', b'y']).await.unwrap();
        send.finish().unwrap();
        assert!(is_431(&recv.read_to_end(10_000).await.unwrap()));
        assert_eq!(h3.get("/next").await.1, "/next");
    });
}

#[test]
fn malformed_messages_are_stream_errors() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let extra = |name: &str, value: &str| {
            let mut lines = head_lines("GET", "/");
            lines.push((name.into(), value.into()));
            lines
        };
        let cases = [
            extra("connection", "close"),
            extra("transfer-encoding", "chunked"),
            extra("te", "gzip"),
            extra("Upper", "case"),
            extra("host", "other.test"),
            extra("content-length", "5"),
            extra("content-length", "+0"),
            extra(":status", "200").into_iter().filter(|line| line.0 != ":method").collect(),
            head_lines("GET", "/").into_iter().filter(|line| line.0 != ":authority").collect(),
            head_lines("GET", "/").into_iter().filter(|line| line.0 != ":scheme").collect(),
            head_lines("CONNECT", "/"),
        ];
        for lines in cases {
            let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
            send.write_all(&encode(&lines)).await.unwrap();
            send.finish().unwrap();
            assert_eq!(reset(&mut recv).await, Code::H3_MESSAGE_ERROR.value(), "{lines:?}");
        }
        assert_eq!(server.log.begun.load(Ordering::Relaxed), 0);
        assert_eq!(h3.get("/next").await.1, "/next");
    });
}

/// RFC 9114 §4.1.2 applies before and after the beginning of the response.
#[test]
fn a_body_that_grows_too_long_behind_the_response_s_head_is_malformed_still() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let h3 = H3::connect(&endpoint, server.address).await;
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        let mut lines = head_lines("POST", "/mirror");
        lines.push(("content-length".into(), "5".into()));
        send.write_all(&encode(&lines)).await.unwrap();
        send.write_all(&[0, 3, b'a', b'b', b'c']).await.unwrap();
        let mut kind = [0];
        recv.read_exact(&mut kind).await.unwrap();
        assert_eq!(kind, [1], "HEADERS");
        send.write_all(&[0, 3, b'd', b'e', b'f']).await.unwrap();
        assert_eq!(reset(&mut recv).await, Code::H3_MESSAGE_ERROR.value());
    });
}

/// Returns the code in the reset of a stream.
async fn reset(recv: &mut quinn::RecvStream) -> u64 {
    let error = recv.read_to_end(10_000).await.err();
    let Some(quinn::ReadToEndError::Read(quinn::ReadError::Reset(code))) = error else {
        panic!("{error:?}");
    };
    code.into_inner()
}

#[test]
fn odd_frames_are_survived() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let h3 = H3::connect(&endpoint, server.address).await;
        // The client sends an unknown frame first, then empty DATA frames, one byte at a time.
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        let mut input = vec![0x21, 3, 1, 2, 3];
        input.extend(head("POST", "/echo"));
        input.extend([0, 0]);
        for byte in b"abc" {
            input.extend([0, 1, *byte, 0x21, 0, 0, 0]);
        }
        send.write_all(&input).await.unwrap();
        send.finish().unwrap();
        assert!(recv.read_to_end(10_000).await.unwrap().ends_with(b"abc"));

        // The end of the stream within a DATA frame ends the connection (RFC 9114 §7.1).
        let (mut send, _recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&head("POST", "/echo")).await.unwrap();
        send.write_all(&[0, 10, 1]).await.unwrap();
        until(|| server.log.begun.load(Ordering::Relaxed) == 2).await;
        send.finish().unwrap();
        let quinn::ConnectionError::ApplicationClosed(close) = h3.connection.closed().await else {
            panic!("not closed by the application");
        };
        assert_eq!(close.error_code.into_inner(), Code::H3_FRAME_ERROR.value());
    });
}

#[test]
fn a_body_must_match_its_length() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        for (declared, sent) in [(10, 5), (5, 10)] {
            let mut exchange = h3.open(post("/echo", Some(declared))).await;
            until(|| server.log.begun.load(Ordering::Relaxed) > 0).await;
            exchange.send_data(Bytes::from(vec![b'z'; sent])).await.unwrap();
            let _ = exchange.finish().await;
            let error = answer(&mut exchange).await.unwrap_err();
            assert!(error.to_string().contains("H3_MESSAGE_ERROR"), "{error}");
        }
        let mut exchange = h3.open(post("/echo", Some(3))).await;
        exchange.send_data(Bytes::from_static(b"123")).await.unwrap();
        exchange.finish().await.unwrap();
        assert_eq!(answer(&mut exchange).await.unwrap().1, "123");
    });
}

#[test]
fn a_client_that_only_resets_is_closed() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let h3 = H3::connect(&endpoint, server.address).await;
        let attack = async {
            loop {
                let Ok((mut send, mut recv)) = h3.connection.open_bi().await else { return };
                if send.write_all(&head("GET", "/hang")).await.is_err() {
                    return;
                }
                let _ = send.reset(0x10cu32.into());
                let _ = recv.stop(0x10cu32.into());
            }
        };
        attack.await;
        let quinn::ConnectionError::ApplicationClosed(close) = h3.connection.closed().await else {
            panic!("not closed by the application");
        };
        assert_eq!(close.error_code.into_inner(), Code::H3_EXCESSIVE_LOAD.value());
        assert!(server.log.begun.load(Ordering::Relaxed) < 1000);
    });
}

#[test]
fn a_drain_finishes_what_was_accepted() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut slow = h3.open(get("/slow")).await;
        slow.finish().await.unwrap();
        let mut idle = H3::connect(&endpoint, server.address).await;
        assert_eq!(idle.get("/x").await.1, "/x");
        until(|| server.log.begun.load(Ordering::Relaxed) == 2).await;

        server.drain.cancel();
        // The server serves a request that crosses the first GOAWAY on the way.
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&head("GET", "/crossing")).await.unwrap();
        send.finish().unwrap();
        assert!(recv.read_to_end(10_000).await.unwrap().ends_with(b"/crossing"));

        let quinn::ConnectionError::ApplicationClosed(close) = idle.connection.closed().await
        else {
            panic!("not closed by the application");
        };
        assert_eq!(close.error_code.into_inner(), Code::H3_NO_ERROR.value());

        // After the second GOAWAY the server refuses a request without reading it.
        let (mut send, mut recv) = h3.connection.open_bi().await.unwrap();
        send.write_all(&head("GET", "/late")).await.unwrap();
        let error = recv.read_to_end(10_000).await.unwrap_err();
        let quinn::ReadToEndError::Read(quinn::ReadError::Reset(code)) = error else {
            panic!("{error}");
        };
        assert_eq!(code.into_inner(), Code::H3_REQUEST_REJECTED.value());

        // New connections are refused at once.
        let refused = quic_client().connect(server.address, "localhost").unwrap().await;
        assert!(refused.is_err());

        server.log.release.cancel();
        assert_eq!(answer(&mut slow).await.unwrap().1, "slow");
        assert_eq!(server.log.begun.load(Ordering::Relaxed), 3);
        server.drained().await;
    });
}

#[test]
fn new_connections_are_refused_for_workers_that_have_ended() {
    run(async {
        for server in [Server::start(&listener(), 3), Server::start_unsteered(&listener(), 3)] {
            let endpoint = quic_client();
            let mut h3 = H3::connect(&endpoint, server.address).await;
            let mut slow = h3.open(get("/slow")).await;
            slow.finish().await.unwrap();
            until(|| server.log.begun.load(Ordering::Relaxed) == 1).await;
            server.drain.cancel();
            until(|| server.workers.iter().filter(|worker| worker.is_finished()).count() == 2)
                .await;
            for _ in 0..12 {
                let late = quic_client();
                let attempt = late.connect(server.address, "localhost").unwrap();
                let refused = tokio::time::timeout(Duration::from_secs(5), attempt).await;
                assert!(refused.expect("answered").is_err());
            }
            server.log.release.cancel();
            assert_eq!(answer(&mut slow).await.unwrap().1, "slow");
            server.drained().await;
        }
    });
}

#[test]
fn a_large_response_survives_the_drain() {
    run(async {
        let server = Server::start(&listener(), 1);
        let endpoint = quic_client();
        let mut h3 = H3::connect(&endpoint, server.address).await;
        let mut exchange = h3.open(get("/big/5000000")).await;
        exchange.finish().await.unwrap();
        let head = exchange.recv_response().await.unwrap();
        assert_eq!(head.status(), 200);
        let drained = server.drained();
        let read = async {
            let mut length = 0;
            while let Some(data) = exchange.recv_data().await.unwrap() {
                length += data.remaining();
            }
            length
        };
        let (length, ()) = tokio::join!(read, drained);
        assert_eq!(length, 5_000_000);
    });
}

fn post(path: &str, length: Option<u64>) -> Request<()> {
    let mut request = Request::post(format!("https://localhost{path}"));
    if let Some(length) = length {
        request = request.header("content-length", length);
    }
    request.body(()).unwrap()
}

fn head_lines(method: &str, path: &str) -> Vec<(String, String)> {
    [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

fn head(method: &str, path: &str) -> Vec<u8> {
    encode(&head_lines(method, path))
}

/// Encodes a HEADERS frame with literal names (RFC 9204 §4.5.6).
fn encode(lines: &[(String, String)]) -> Vec<u8> {
    let mut section = vec![0, 0];
    for (name, value) in lines {
        prefixed(&mut section, 0x20, 3, name.len());
        section.extend(name.as_bytes());
        prefixed(&mut section, 0, 7, value.len());
        section.extend(value.as_bytes());
    }
    let length = 0x8000_0000 | u32::try_from(section.len()).unwrap();
    [&[1][..], &length.to_be_bytes(), &section].concat()
}

/// Encodes an integer with a prefix of `bits` bits (RFC 7541 §5.1).
fn prefixed(out: &mut Vec<u8>, flags: u8, bits: u32, value: usize) {
    let most = (1 << bits) - 1;
    if value < most {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | most as u8);
    let mut rest = value - most;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
