//! Floods of allowed frames: the memory of the server is bounded, and a useless flood ends the
//! connection.

use quinn::VarInt;
use weir_h3::{Code, Config};

use super::client::Outcome::{Closed, Reset, Status};
use super::run;
use super::server::{bare, connect};
use super::wire::*;

/// Resident memory of this process, server and client together.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// The most memory that a flood may cost this process. It covers the flow-control windows of one
/// connection on both sides, and other tests in the same process.
const ROOM: usize = 64 << 20;

#[test]
fn a_gib_of_headers_is_refused_at_its_length() {
    run(async {
        let pair = connect(Config::default()).await;
        let before = resident();
        let mut stream = pair.client.open(head(HEADERS, 1 << 30)).await;
        let (chunk, mut taken) = (vec![0; 1 << 20], 0);
        while let Ok(written) = stream.send.write(&chunk).await {
            taken += written;
        }
        assert_eq!(stream.stopped().await, Some(Code::H3_EXCESSIVE_LOAD));
        assert_eq!(stream.outcome().await, Reset(Code::H3_EXCESSIVE_LOAD));
        assert!(taken < 64 << 20, "{taken}");
        assert!(resident() < before + ROOM);
        pair.client.assert_serves().await;
    });
}

#[test]
fn a_gib_in_an_unknown_frame_is_thrown_away() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut stream = pair.client.open([get("/"), head(GREASE, 200 << 20)].concat()).await;
        let (chunk, before) = (vec![0; 1 << 20], resident());
        for _ in 0..200 {
            stream.send.write_all(&chunk).await.unwrap();
        }
        stream.finish();
        assert_eq!(stream.outcome().await, Status(200));
        assert!(resident() < before + ROOM);
    });
}

#[test]
fn ten_thousand_resets_leave_nothing_behind() {
    run(async {
        let pair = connect(Config::default()).await;
        let before = resident();
        for cut in 0..10_000 {
            let (mut send, mut recv) = pair.client.quic.open_bi().await.unwrap();
            let request = get("/hang");
            let _ = send.write_all(&request[..cut % (request.len() + 1)]).await;
            let _ = send.reset(VarInt::from_u32(0x10c));
            let _ = recv.stop(VarInt::from_u32(0x10c));
        }
        pair.client.assert_serves().await;
        assert!(resident() < before + ROOM);
    });
}

#[test]
fn frames_without_use_are_not_read_for_ever() {
    run(async {
        for (what, useless) in [
            ("empty DATA", frame(DATA, [])),
            ("unknown", frame(GREASE, b"padding")),
            ("empty and unknown", frame(0x21, [])),
            ("both", [frame(DATA, []), frame(GREASE, [])].concat()),
        ] {
            let pair = connect(Config::default()).await;
            let request = [post("/echo", &[]), useless.repeat(10_000)].concat();
            let end = pair.client.outcome(request).await;
            assert_eq!(end, Closed(Code::H3_EXCESSIVE_LOAD), "{what}");
        }
        // The same before the head; but useful frames in between reset the count.
        let pair = connect(Config::default()).await;
        let end = pair.client.outcome(frame(GREASE, []).repeat(10_000)).await;
        assert_eq!(end, Closed(Code::H3_EXCESSIVE_LOAD));
        let pair = connect(Config::default()).await;
        let some = [frame(DATA, []).repeat(900), frame(DATA, b"x")].concat();
        let request = [post("/echo", &[]), some.repeat(11)].concat();
        assert_eq!(pair.client.answer(request).await.text(), "x".repeat(11));
    });
}

#[test]
fn half_sent_headers_are_bounded_together() {
    run(async {
        let config = Config { buffered: 100_000, ..Config::default() };
        let half = [head(HEADERS, 60_000), vec![0; 30_000]].concat();
        let pair = connect(config).await;
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(pair.client.open(&half).await);
        }
        assert_eq!(pair.client.closed().await, Code::H3_EXCESSIVE_LOAD);

        // Requests that are cancelled, refused or completed hold no bytes.
        let pair = connect(config).await;
        for _ in 0..20 {
            let mut stream = pair.client.open(&half).await;
            let whole = post("/", &[("x", &"y".repeat(30_000))]);
            let mut other = pair.client.open(&whole[..20_000]).await;
            other.write(&whole[20_000..]).await;
            other.finish();
            assert_eq!(other.outcome().await, Status(200));
            stream.cancel();
            pair.log.until(|log| log.stopped.borrow_mut().pop()).await;
        }
        pair.client.assert_serves().await;
    });
}

/// Sections that wait for the table are held, and count.
#[test]
fn blocked_sections_are_bounded_together() {
    run(async {
        let pair = connect(Config { buffered: 100_000, ..Config::default() }).await;
        let large = "y".repeat(30_000);
        let mut section = section(request("GET", "/").iter().chain(&[("x", &large[..])]));
        section[0] = 2;
        section.push(0x80);
        let mut streams = Vec::new();
        for _ in 0..4 {
            streams.push(pair.client.send(frame(HEADERS, &section)).await);
        }
        assert_eq!(pair.client.closed().await, Code::H3_EXCESSIVE_LOAD);
    });
}

#[test]
fn the_table_may_be_churned() {
    run(async {
        let pair = connect(Config::default()).await;
        let before = resident();
        let mut encoder = pair.client.uni(ENCODER_STREAM, &[0x3f, 0xe1, 0x1f]).await;
        let insert = [&[0x43, b'a', b'b', b'c', 50][..], &[b'v'; 50]].concat();
        for _ in 0..200 {
            encoder.write_all(&[insert.repeat(100), vec![0; 900]].concat()).await.unwrap();
        }
        pair.client.assert_serves().await;
        assert!(resident() < before + ROOM);
        // Half an instruction is held, up to the size that the table could take.
        encoder.write_all(&[0x43, b'a', b'b', b'c', 0x7f, 0xff, 0x7f]).await.unwrap();
        assert_eq!(pair.client.closed().await, Code::QPACK_ENCODER_STREAM_ERROR);
    });
}

#[test]
fn unknown_streams_without_end_are_stopped() {
    run(async {
        let pair = connect(Config::default()).await;
        let before = resident();
        for _ in 0..900 {
            let mut stream = pair.client.uni(GREASE, b"some").await;
            // When the server wants no more of a stream, it makes room for another.
            let _ = stream.finish();
        }
        pair.client.assert_serves().await;
        assert!(resident() < before + ROOM);
        // Streams of some type each, then streams without a type.
        for kind in [&b"\x40"[..], b""] {
            let pair = connect(Config::default()).await;
            let mut opened = 0;
            while let Ok(mut stream) = pair.client.quic.open_uni().await {
                let _ = stream.write_all(kind).await;
                let _ = stream.finish();
                opened += 1;
                assert!(opened < 10_000, "{kind:?}");
            }
            assert_eq!(pair.client.closed().await, Code::H3_EXCESSIVE_LOAD);
        }
    });
}

#[test]
fn frames_of_the_control_stream_are_counted_against_requests() {
    run(async {
        for (what, word) in [
            ("unknown", frame(GREASE, b"")),
            ("priorities", frame(PRIORITY_REQUEST, [&varint(0)[..], b"u=1"].concat())),
            ("push ids", frame(MAX_PUSH_ID, varint(1))),
        ] {
            let mut pair = bare(Config::default()).await;
            pair.client.open_control(&[]).await;
            let words = word.repeat(900);
            pair.client.write_control(&words).await;
            pair.client.assert_serves().await;
            for _ in 0..10 {
                pair.client.write_control(&words).await;
            }
            assert_eq!(pair.client.closed().await, Code::H3_EXCESSIVE_LOAD, "{what}");
        }
    });
}

#[test]
fn priorities_of_requests_to_come_are_as_many_as_these() {
    run(async {
        let mut pair = bare(Config::default()).await;
        pair.client.open_control(&[]).await;
        for round in 0..7 {
            for id in 0..128 {
                let value = format!("u={}", round % 8);
                let update = [&varint(id * 4)[..], value.as_bytes()].concat();
                pair.client.say(PRIORITY_REQUEST, &update).await;
            }
        }
        pair.client.assert_serves().await;
    });
}
