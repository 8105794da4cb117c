//! HTTP datagrams (RFC 9297 §2.1).

use bytes::Bytes;
use weir_h3::{Code, Config};

use super::client::Outcome::Status;
use super::run;
use super::server::{Pair, Server, connect};
use super::wire::*;

/// SETTINGS_H3_DATAGRAM.
const DATAGRAMS: (u64, u64) = (0x33, 1);

async fn taking_datagrams(settings: &[(u64, u64)]) -> Pair {
    let config = Config { datagrams: true, extended_connect: true, ..Config::default() };
    let mut pair = Server::start(config).bare().await;
    pair.client.open_control(settings).await;
    // Once later requests are served, the settings have arrived.
    while pair.handle.settings().is_none() {
        pair.client.assert_serves().await;
    }
    pair
}

fn datagram(id: u64, payload: &[u8]) -> Bytes {
    [&varint(id / 4)[..], payload].concat().into()
}

#[test]
fn datagrams_go_both_ways() {
    run(async {
        let pair = taking_datagrams(&[DATAGRAMS]).await;
        let mut streams = Vec::new();
        for _ in 0..2 {
            let mut stream = pair.client.open(get("/datagrams")).await;
            assert_eq!(stream.frame().await.unwrap().unwrap().0, HEADERS);
            streams.push(stream);
        }
        for payload in [&b"one"[..], b"", &[7; 1000]] {
            for stream in &streams {
                pair.client.quic.send_datagram(datagram(stream.id(), payload)).unwrap();
                let echo = pair.client.quic.read_datagram().await.unwrap();
                assert_eq!(echo, datagram(stream.id(), payload));
            }
        }
        for mut stream in streams {
            stream.finish();
            assert!(stream.frame().await.unwrap().is_none());
        }
    });
}

#[test]
fn datagrams_without_a_request_are_dropped() {
    run(async {
        let pair = taking_datagrams(&[DATAGRAMS]).await;
        let finished = pair.client.send(get("/")).await.id();
        pair.client.assert_serves().await;
        for id in [finished, finished + 40, finished + 4 * 100] {
            pair.client.quic.send_datagram(datagram(id, b"lost")).unwrap();
        }
        pair.client.assert_serves().await;
        // More than a request's queue holds: the rest is dropped, without other effects.
        let waiting = pair.client.open(get("/hang")).await;
        for _ in 0..1000 {
            pair.client.quic.send_datagram_wait(datagram(waiting.id(), &[0; 100])).await.unwrap();
        }
        pair.client.assert_serves().await;
    });
}

#[test]
fn datagrams_that_cannot_be_end_the_connection() {
    run(async {
        let limit = datagram(4 * 200, b"x");
        let beyond = Bytes::copy_from_slice(&(1u64 << 60 | 0b11 << 62).to_be_bytes());
        for (what, datagram, code) in [
            ("empty", Bytes::new(), Code::H3_DATAGRAM_ERROR),
            ("cut short", Bytes::from_static(&[0x40]), Code::H3_DATAGRAM_ERROR),
            ("of a stream that cannot be", beyond, Code::H3_DATAGRAM_ERROR),
            ("of a stream past the limit", limit, Code::H3_ID_ERROR),
        ] {
            let pair = taking_datagrams(&[DATAGRAMS]).await;
            pair.client.quic.send_datagram(datagram).unwrap();
            assert_eq!(pair.client.closed().await, code, "{what}");
        }
    });
}

#[test]
fn a_client_gets_datagrams_only_if_it_takes_them() {
    run(async {
        for settings in [&[][..], &[(0x33, 0)]] {
            let pair = taking_datagrams(settings).await;
            let mut stream = pair.client.open(get("/datagrams")).await;
            assert_eq!(stream.frame().await.unwrap().unwrap().0, HEADERS);
            pair.client.quic.send_datagram(datagram(stream.id(), b"x")).unwrap();
            let (_, text) = stream.frame().await.unwrap().unwrap();
            assert_eq!(text, "the peer takes no datagrams");
        }
    });
}

#[test]
fn datagrams_are_not_offered_unless_configured() {
    run(async {
        let pair = connect(Config::default()).await;
        assert_eq!(pair.client.outcome(get("/")).await, Status(200));
        let refused = pair.client.quic.send_datagram(datagram(0, b"x"));
        assert_eq!(refused, Err(quinn::SendDatagramError::UnsupportedByPeer));
    });
}
