//! Control streams, settings and the other unidirectional streams (RFC 9114 §6.2, §7.2; RFC 9204
//! §4.2). Each violation has its code, and everything else is accepted.

use weir_h3::{Code, Config};

use super::client::Outcome;
use super::run;
use super::server::{Server, bare, connect, transport};
use super::wire::*;

/// The end of a client's unidirectional stream.
enum Then {
    /// Leaves it open.
    Open,
    /// Ends it.
    Finish,
    /// Resets it.
    Reset,
}

use Then::{Finish, Open, Reset};

/// Opens these unidirectional streams, and returns the code that the connection ends with.
async fn end_of(streams: &[(u64, Vec<u8>, Then)]) -> Code {
    let mut pair = bare(Config::default()).await;
    for (kind, bytes, then) in streams {
        let mut stream = pair.client.uni(*kind, bytes).await;
        match then {
            Open => {}
            Finish => stream.finish().unwrap(),
            Reset => {
                // A reset discards written bytes unless they have arrived.
                let _ = stream.set_priority(1);
                pair.handle_sees(&stream).await;
                stream.reset(0u32.into()).unwrap();
            }
        }
        pair.client.streams.push(stream);
    }
    let code = pair.client.closed().await;
    // The server's side reports the reason as well.
    let error = pair.end.await.unwrap();
    let weir_h3::Error::Connection(violation) = error else { panic!("{error:?}") };
    assert_eq!(violation.code, code);
    code
}

impl super::server::Pair {
    /// Waits until earlier bytes are acknowledged, by a later request that is answered.
    async fn handle_sees(&self, _: &quinn::SendStream) {
        self.client.assert_serves().await;
    }
}

fn settings(payload: &[u8]) -> Vec<u8> {
    frame(SETTINGS, payload)
}

/// A control stream that continues with `after` after empty settings.
fn control(after: impl AsRef<[u8]>) -> (u64, Vec<u8>, Then) {
    (CONTROL_STREAM, [&settings(&[])[..], after.as_ref()].concat(), Open)
}

#[test]
fn a_control_stream_begins_with_settings() {
    run(async {
        for first in [GOAWAY, MAX_PUSH_ID, CANCEL_PUSH, DATA, HEADERS, PUSH_PROMISE, GREASE] {
            let end = end_of(&[(CONTROL_STREAM, frame(first, [0]), Open)]).await;
            assert_eq!(end, Code::H3_MISSING_SETTINGS, "{first:#x}");
        }
    });
}

#[test]
fn settings_come_once_and_keep_the_rules() {
    run(async {
        for (payload, code) in [
            // RFC 9114 §7.2.4.1: settings of HTTP/2.
            (&[0x02, 0][..], Code::H3_SETTINGS_ERROR),
            (&[0x03, 0], Code::H3_SETTINGS_ERROR),
            (&[0x04, 0], Code::H3_SETTINGS_ERROR),
            (&[0x05, 0], Code::H3_SETTINGS_ERROR),
            // RFC 9114 §7.2.4: the same id twice, known or not.
            (&[0x06, 1, 0x06, 1], Code::H3_SETTINGS_ERROR),
            (&[0x21, 1, 0x21, 2], Code::H3_SETTINGS_ERROR),
            // RFC 9220 §3, RFC 9297 §2.1.1: neither 0 nor 1.
            (&[0x08, 2], Code::H3_SETTINGS_ERROR),
            (&[0x33, 2], Code::H3_SETTINGS_ERROR),
            // RFC 9114 §7.1: an id without a value, a value cut short.
            (&[0x06], Code::H3_FRAME_ERROR),
            (&[0x06, 0x40], Code::H3_FRAME_ERROR),
        ] {
            let end = end_of(&[(CONTROL_STREAM, settings(payload), Open)]).await;
            assert_eq!(end, code, "{payload:?}");
        }
        let end = end_of(&[control(settings(&[]))]).await;
        assert_eq!(end, Code::H3_FRAME_UNEXPECTED);
        let many: Vec<u8> = (0x100..0x200).flat_map(|id| [varint(id), vec![0]].concat()).collect();
        let end = end_of(&[(CONTROL_STREAM, settings(&many), Open)]).await;
        assert_eq!(end, Code::H3_EXCESSIVE_LOAD);
        let end = end_of(&[(CONTROL_STREAM, head(SETTINGS, 1 << 40), Open)]).await;
        assert_eq!(end, Code::H3_EXCESSIVE_LOAD);
    });
}

#[test]
fn frames_that_have_no_place_on_a_control_stream_end_the_connection() {
    run(async {
        for kind in [&[DATA, HEADERS, PUSH_PROMISE][..], &HTTP2].concat() {
            for payload in [&[][..], b"xyz"] {
                let end = end_of(&[control(frame(kind, payload))]).await;
                assert_eq!(end, Code::H3_FRAME_UNEXPECTED, "{kind:#x}");
            }
        }
    });
}

#[test]
fn ids_are_checked() {
    let priority = |id, value: &str| [&varint(id)[..], value.as_bytes()].concat();
    run(async {
        for (what, frames, code) in [
            ("a push that was never promised", frame(CANCEL_PUSH, [0]), Code::H3_ID_ERROR),
            (
                "a smaller push limit",
                [frame(MAX_PUSH_ID, [9]), frame(MAX_PUSH_ID, [8])].concat(),
                Code::H3_ID_ERROR,
            ),
            (
                "a larger GOAWAY",
                [frame(GOAWAY, [4]), frame(GOAWAY, [8])].concat(),
                Code::H3_ID_ERROR,
            ),
            (
                "the priority of a stream of the server",
                frame(PRIORITY_REQUEST, priority(1, "u=1")),
                Code::H3_ID_ERROR,
            ),
            (
                "the priority of a unidirectional stream",
                frame(PRIORITY_REQUEST, priority(2, "u=1")),
                Code::H3_ID_ERROR,
            ),
            (
                "the priority of a stream that may not be opened",
                frame(PRIORITY_REQUEST, priority(4 * 128, "u=1")),
                Code::H3_ID_ERROR,
            ),
            ("the priority of a push", frame(PRIORITY_PUSH, priority(0, "u=1")), Code::H3_ID_ERROR),
            ("an empty GOAWAY", frame(GOAWAY, []), Code::H3_FRAME_ERROR),
            ("a long GOAWAY", frame(GOAWAY, [0, 0]), Code::H3_FRAME_ERROR),
            ("a GOAWAY cut short", frame(GOAWAY, [0x40]), Code::H3_FRAME_ERROR),
            ("an empty MAX_PUSH_ID", frame(MAX_PUSH_ID, []), Code::H3_FRAME_ERROR),
            ("a long MAX_PUSH_ID", frame(MAX_PUSH_ID, [0, 0]), Code::H3_FRAME_ERROR),
            ("an empty CANCEL_PUSH", frame(CANCEL_PUSH, []), Code::H3_FRAME_ERROR),
            ("a long CANCEL_PUSH", frame(CANCEL_PUSH, [0, 0]), Code::H3_FRAME_ERROR),
            ("a priority of nothing", frame(PRIORITY_REQUEST, []), Code::H3_FRAME_ERROR),
            (
                "a priority longer than any",
                head(PRIORITY_REQUEST, 1 << 20),
                Code::H3_EXCESSIVE_LOAD,
            ),
        ] {
            assert_eq!(end_of(&[control(frames)]).await, code, "{what}");
        }
    });
}

#[test]
fn streams_that_come_once_come_once() {
    run(async {
        for kind in [CONTROL_STREAM, ENCODER_STREAM, DECODER_STREAM] {
            let bytes = if kind == CONTROL_STREAM { settings(&[]) } else { vec![] };
            let end = end_of(&[(kind, bytes.clone(), Open), (kind, bytes, Open)]).await;
            assert_eq!(end, Code::H3_STREAM_CREATION_ERROR, "{kind}");
        }
    });
}

#[test]
fn a_client_pushes_nothing() {
    run(async {
        let end = end_of(&[control([]), (PUSH_STREAM, vec![0], Open)]).await;
        assert_eq!(end, Code::H3_STREAM_CREATION_ERROR);
    });
}

#[test]
fn critical_streams_stay_open() {
    run(async {
        for kind in [CONTROL_STREAM, ENCODER_STREAM, DECODER_STREAM] {
            let bytes = if kind == CONTROL_STREAM { settings(&[]) } else { vec![] };
            let end = end_of(&[(kind, bytes.clone(), Finish)]).await;
            assert_eq!(end, Code::H3_CLOSED_CRITICAL_STREAM, "{kind} ends");
            let end = end_of(&[(kind, bytes, Reset)]).await;
            assert_eq!(end, Code::H3_CLOSED_CRITICAL_STREAM, "{kind} is reset");
        }
        let half = vec![0x04, 5, 1];
        let end = end_of(&[(CONTROL_STREAM, half, Finish)]).await;
        assert_eq!(end, Code::H3_CLOSED_CRITICAL_STREAM, "within SETTINGS");
    });
}

#[test]
fn a_client_must_not_stop_the_control_stream() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut control = pair.client.server_stream(CONTROL_STREAM).await;
        control.stop(0u32.into()).unwrap();
        assert_eq!(pair.client.closed().await, Code::H3_CLOSED_CRITICAL_STREAM);
    });
}

#[test]
fn a_client_lets_three_streams_be_opened() {
    run(async {
        let mut limits = transport();
        limits.max_concurrent_uni_streams(0u32.into());
        let pair = Server::with(Config::default(), limits).bare().await;
        assert_eq!(pair.client.closed().await, Code::H3_STREAM_CREATION_ERROR);
    });
}

#[test]
fn wrong_instructions_of_qpack_end_the_connection() {
    run(async {
        for (what, kind, bytes, code) in [
            (
                "a capacity past the limit",
                ENCODER_STREAM,
                &[0x3f, 0xe2, 0x1f][..],
                Code::QPACK_ENCODER_STREAM_ERROR,
            ),
            (
                "a copy of what is not there",
                ENCODER_STREAM,
                &[0x3f, 0xe1, 0x1f, 0x00],
                Code::QPACK_ENCODER_STREAM_ERROR,
            ),
            (
                "an entry without a table",
                ENCODER_STREAM,
                &[0x41, b'x', 1, b'y'],
                Code::QPACK_ENCODER_STREAM_ERROR,
            ),
            (
                "an entry larger than the table",
                ENCODER_STREAM,
                &[0x3f, 0x02, 0x41, b'x', 0x7f, 0x7f],
                Code::QPACK_ENCODER_STREAM_ERROR,
            ),
            (
                "an acknowledgment of no section",
                DECODER_STREAM,
                &[0x80],
                Code::QPACK_DECODER_STREAM_ERROR,
            ),
            (
                "an increment past what was sent",
                DECODER_STREAM,
                &[0x01],
                Code::QPACK_DECODER_STREAM_ERROR,
            ),
            ("an increment of nothing", DECODER_STREAM, &[0x00], Code::QPACK_DECODER_STREAM_ERROR),
            (
                "an integer past 62 bits",
                DECODER_STREAM,
                &[0xff; 12],
                Code::QPACK_DECODER_STREAM_ERROR,
            ),
        ] {
            let end = end_of(&[control([]), (kind, bytes.to_vec(), Open)]).await;
            assert_eq!(end, code, "{what}");
        }
    });
}

/// RFC 9114 §9, §7.2.8, §6.2.3, §7.2.4.1.
#[test]
fn what_is_unknown_is_ignored() {
    run(async {
        let mut pair = bare(Config::default()).await;
        pair.client.open_control(&[(0x21, 5), (0x4000_0021, 7), (0x06, 1 << 30), (0x40, 0)]).await;
        let control = pair.client.control.as_mut().unwrap();
        for unknown in [GREASE, 0x21, 0x40, 0xf_0702, 0x3fff_ffff_ffff_fffd] {
            control.write_all(&frame(unknown, b"whatever")).await.unwrap();
            control.write_all(&frame(unknown, [])).await.unwrap();
        }
        control.write_all(&frame(GREASE, vec![0; 100_000])).await.unwrap();
        for unknown in [0x21, GREASE, 0x54, 0x3fff_ffff_ffff_fffd] {
            let stream = pair.client.uni(unknown, b"whatever").await;
            assert_eq!(
                stream.stopped().await.unwrap().map(Code::from),
                Some(Code::H3_STREAM_CREATION_ERROR)
            );
        }
        let request = [
            frame(GREASE, b"before"),
            get("/"),
            frame(0x21, b"between"),
            frame(DATA, b"x"),
            frame(0x40, b""),
            headers(&[("trailer", "x")]),
            frame(GREASE, b"after"),
        ]
        .concat();
        assert_eq!(pair.client.outcome(request).await, Outcome::Status(200));
        pair.client.say(MAX_PUSH_ID, &[3]).await;
        pair.client.say(GOAWAY, &[8]).await;
        pair.client.say(GOAWAY, &[8]).await;
        pair.client.assert_serves().await;
        assert!(pair.handle.is_client_going());
        assert_eq!(pair.handle.settings().unwrap().field_section, Some(1 << 30));
    });
}

/// RFC 9114 §6.2.
#[test]
fn a_stream_may_end_before_its_type() {
    run(async {
        let pair = connect(Config::default()).await;
        for bytes in [&[][..], &[0x40]] {
            let mut stream = pair.client.quic.open_uni().await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.finish().unwrap();
            let mut stream = pair.client.quic.open_uni().await.unwrap();
            stream.write_all(&[0xc0]).await.unwrap();
            pair.client.assert_serves().await;
            stream.reset(7u32.into()).unwrap();
        }
        pair.client.assert_serves().await;
    });
}

#[test]
fn a_type_may_come_byte_by_byte() {
    run(async {
        let pair = bare(Config::default()).await;
        let mut stream = pair.client.quic.open_uni().await.unwrap();
        // The type of the control stream in eight bytes, then a frame that may not come first.
        for byte in [&[0xc0, 0, 0, 0, 0, 0, 0, 0][..], &frame(GOAWAY, [0])].concat() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(pair.client.closed().await, Code::H3_MISSING_SETTINGS);
    });
}

/// RFC 9114 §6.2.1: requests do not wait for the client's settings, and the server's settings do
/// not wait for requests.
#[test]
fn requests_are_served_before_the_control_stream_comes() {
    run(async {
        let mut pair = bare(Config::default()).await;
        pair.client.assert_serves().await;
        assert!(pair.handle.settings().is_none());
        pair.client.open_control(&[]).await;
        pair.client.assert_serves().await;
    });
}

#[test]
fn the_server_says_its_settings_first() {
    run(async {
        let config = Config { extended_connect: true, datagrams: true, ..Config::default() };
        let pair = bare(config).await;
        let mut control = pair.client.server_stream(CONTROL_STREAM).await;
        let mut bytes = vec![0; 2];
        control.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes[0], SETTINGS as u8);
        let mut payload = vec![0; bytes[1].into()];
        control.read_exact(&mut payload).await.unwrap();
        let mut rest = &payload[..];
        let mut settings = Vec::new();
        while let (Some(id), Some(value)) = (take_varint(&mut rest), take_varint(&mut rest)) {
            settings.push((id, value));
        }
        settings.sort_unstable();
        assert_eq!(settings, [(1, 4096), (6, 65_536), (7, 16), (8, 1), (0x33, 1)]);
    });
}
