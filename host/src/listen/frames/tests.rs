use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::telemetry::metrics::Metrics;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

/// Returns the server's end of a connection, the client's end, and the metrics.
fn connection() -> (Frames<DuplexStream>, DuplexStream, Metrics) {
    let (near, far) = duplex(1 << 20);
    let metrics = Metrics::new();
    (Frames::new(near, Rc::default(), metrics.cut.clone()), far, metrics)
}

/// Returns whether the server reads all bytes of a client, which then closes.
async fn is_taken(frames: &mut Frames<DuplexStream>, mut far: DuplexStream, sent: &[u8]) -> bool {
    let sending = async {
        // The write fails if the connection is refused.
        let _ = far.write_all(sent).await;
        let _ = far.shutdown().await;
        far
    };
    let mut all = Vec::new();
    let (read, _far) = tokio::join!(frames.read_to_end(&mut all), sending);
    assert!(read.is_err() || all == sent, "what gets through is unchanged");
    read.is_ok()
}

#[test]
fn frames_are_found_however_they_are_cut() {
    let sent = [
        vec![b'P'; PREFACE],
        frame(4, 0, &[]),
        frame(HEADERS, 5, b"head"),
        frame(DATA, PADDED, &[3, b'x', 0, 0, 0]),
        frame(DATA, PADDED, &[]),
        frame(GOAWAY, 0, &[0, 0, 0, 7, 0, 0, 0, 0xb, b'd']),
        frame(0x77, 0xff, &[7; 100]),
    ]
    .concat();
    for size in 1..=sent.len() {
        let mut walker = Walker { preface: PREFACE, ..Walker::default() };
        let mut found = Vec::new();
        for piece in sent.chunks(size) {
            walker.follow(piece, |frame| found.push((frame.kind, frame.length)));
        }
        let all = [(4, 0), (HEADERS, 4), (DATA, 5), (DATA, 0), (GOAWAY, 9), (0x77, 100)];
        assert_eq!(found, all, "pieces of {size}");
        assert!(walker.is_between_frames());
    }
    let mut walker = Walker::default();
    walker.follow(&frame(DATA, PADDED, &[3, b'x', 0, 0, 0]), |frame| assert_eq!(frame.content, 1));
    walker.follow(&frame(GOAWAY, 0, &[0, 0, 0, 0, 0, 0, 0, 0xb]), |frame| {
        assert_eq!(frame.code, ENHANCE_YOUR_CALM);
    });
}

#[tokio::test]
async fn frames_of_no_use_end_their_connection_and_it_is_counted() {
    for (what, useless) in [
        ("SETTINGS", frame(4, 0, &[])),
        ("PING", frame(6, 0, &[0; 8])),
        ("PRIORITY", frame(2, 0, &[0; 5])),
        ("WINDOW_UPDATE", frame(8, 0, &[0, 0, 0, 1])),
        ("RST_STREAM", frame(3, 0, &[0; 4])),
        ("PRIORITY_UPDATE", frame(0x10, 0, &[0; 8])),
        ("an unknown type", frame(0xfe, 0, b"anything")),
        ("empty DATA", frame(DATA, 0, &[])),
        ("DATA that is padding", frame(DATA, PADDED, &[9; 10])),
        ("empty CONTINUATION", frame(CONTINUATION, 0, &[])),
    ] {
        let (mut frames, far, metrics) = connection();
        let some = [vec![0; PREFACE], useless.repeat(900)].concat();
        assert!(is_taken(&mut frames, far, &some).await, "{what}");
        let (mut frames, mut far, _) = connection();
        let sent = [vec![0; PREFACE], useless.repeat(5000)].concat();
        far.write_all(&sent).await.unwrap();
        let mut all = Vec::new();
        assert!(frames.read_to_end(&mut all).await.is_err(), "{what}");
        assert!(all.len() < sent.len(), "{what}");
        drop(frames);
        let mut end = Vec::new();
        far.read_to_end(&mut end).await.unwrap();
        assert_eq!(end, [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xb], "{what}");
        drop(metrics);
    }
    let (mut frames, far, metrics) = connection();
    let sent = [vec![0; PREFACE], frame(6, 0, &[0; 8]).repeat(5000)].concat();
    assert!(!is_taken(&mut frames, far, &sent).await);
    assert!(metrics.encode().contains(r#"http_clients_cut_total{protocol="h2",reason="flood"} 1"#));
}

#[tokio::test]
async fn what_is_of_use_is_never_too_much() {
    let (mut frames, far, _) = connection();
    let upload = [frame(HEADERS, 4, b"head"), frame(DATA, 0, b"x").repeat(20_000)].concat();
    let requests = [frame(HEADERS, 5, b"head"), frame(2, 0, &[0; 5]), frame(3, 0, &[0; 4])];
    let sent = [vec![0; PREFACE], upload, requests.concat().repeat(5000)].concat();
    assert!(is_taken(&mut frames, far, &sent).await);
}

#[tokio::test]
async fn a_client_that_reads_may_open_its_windows() {
    let (mut frames, mut far, _) = connection();
    let mut space = vec![0; 1 << 20];
    far.write_all(&[0; PREFACE]).await.unwrap();
    frames.read_exact(&mut space[..PREFACE]).await.unwrap();
    for _ in 0..3000 {
        // This is an event of an event stream. The client then opens both windows, and a ping
        // measures the path.
        frames.write_all(&frame(DATA, 0, b"event")).await.unwrap();
        let length = far.read(&mut space).await.unwrap();
        assert_eq!(length, HEAD + 5);
        let answer = [frame(8, 0, &[0; 4]).repeat(2), frame(6, 0, &[0; 8])].concat();
        far.write_all(&answer).await.unwrap();
        frames.read_exact(&mut space[..answer.len()]).await.unwrap();
    }
    assert_eq!(frames.moved.get(), 15_000);
}

#[tokio::test]
async fn that_h2_ends_a_connection_is_counted() {
    let (mut frames, _far, metrics) = connection();
    frames.write_all(&frame(GOAWAY, 0, &[0; 8])).await.unwrap();
    frames.write_all(&frame(GOAWAY, 0, &[0, 0, 0, 0, 0, 0, 0, 0xb])).await.unwrap();
    assert!(metrics.encode().contains(r#"http_clients_cut_total{protocol="h2",reason="flood"} 1"#));
}

#[tokio::test]
async fn a_client_that_reads_late_and_in_small_pieces_may_open_its_windows_then() {
    let (mut frames, far, metrics) = connection();
    // 8 MiB are in flight before the client reads any. It then opens two windows for each 4 KiB.
    let response = frame(DATA, 0, &[b'x'; 16 << 10]);
    for _ in 0..512 {
        frames.wrote(&response);
    }
    let window = frame(WINDOW_UPDATE, 0, &[0, 0, 16, 0]);
    let sent = [vec![b'P'; PREFACE], window.repeat(4096)].concat();
    assert!(is_taken(&mut frames, far, &sent).await);
    // Credit that is used up does not count again.
    let (mut again, far, _) = connection();
    again.earned = 100;
    assert!(!is_taken(&mut again, far, &sent).await);
    drop(metrics);
}
