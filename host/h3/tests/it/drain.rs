//! The end of a connection by GOAWAY (RFC 9114 §5.2).

use quinn::RecvStream;
use weir_h3::{Code, Config};

use super::client::Outcome::{Reset, Status};
use super::run;
use super::server::connect;
use super::wire::*;

/// Reads the server's control stream until the next GOAWAY.
async fn goaway(control: &mut RecvStream) -> u64 {
    loop {
        let (mut kind, mut length) = ([0], [0]);
        control.read_exact(&mut kind).await.unwrap();
        control.read_exact(&mut length).await.unwrap();
        let mut payload = vec![0; length[0].into()];
        control.read_exact(&mut payload).await.unwrap();
        if u64::from(kind[0]) == GOAWAY {
            return take_varint(&mut &payload[..]).unwrap();
        }
    }
}

#[test]
fn a_drain_is_announced_and_then_refuses() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut control = pair.client.server_stream(CONTROL_STREAM).await;
        pair.client.assert_serves().await;
        let mut waiting = pair.client.send(get("/wait")).await;
        pair.log.until(|log| log.heads.borrow().get(1).map(|_| ())).await;

        pair.handle.announce_end();
        assert_eq!(goaway(&mut control).await, (1 << 62) - 4);
        pair.client.assert_serves().await;

        pair.handle.refuse_rest();
        assert_eq!(goaway(&mut control).await, 12);
        let mut late = pair.client.open(get("/")).await;
        assert_eq!(late.outcome().await, Reset(Code::H3_REQUEST_REJECTED));
        assert_eq!(late.stopped().await, Some(Code::H3_REQUEST_REJECTED));

        pair.log.release.notify_one();
        assert_eq!(waiting.outcome().await, Status(200));
        assert_eq!(pair.log.heads.borrow().len(), 3, "the late one was not looked at");
        pair.handle.close(Code::H3_NO_ERROR, "");
        assert_eq!(pair.client.closed().await, Code::H3_NO_ERROR);
    });
}

/// RFC 9114 §5.2: an id must not be larger than one before.
#[test]
fn promises_are_not_taken_back() {
    run(async {
        let pair = connect(Config::default()).await;
        let mut control = pair.client.server_stream(CONTROL_STREAM).await;
        pair.client.assert_serves().await;
        for _ in 0..1000 {
            pair.handle.refuse_rest();
            pair.handle.announce_end();
        }
        assert_eq!(goaway(&mut control).await, 4);
        assert_eq!(pair.client.outcome(get("/")).await, Reset(Code::H3_REQUEST_REJECTED));
        pair.handle.close(Code::H3_NO_ERROR, "");
        let mut byte = [0];
        assert!(control.read_exact(&mut byte).await.is_err(), "one GOAWAY was enough");
    });
}

/// Refused streams give the client room for others; the ids of those are no violation.
#[test]
fn refused_requests_do_not_count_against_later_ids() {
    run(async {
        let mut pair = connect(Config { concurrent_requests: 4, ..Config::default() }).await;
        let mut waiting = pair.client.send(get("/wait")).await;
        pair.log.until(|log| log.heads.borrow().first().map(|_| ())).await;
        pair.handle.refuse_rest();
        for _ in 0..20 {
            assert_eq!(pair.client.outcome(get("/")).await, Reset(Code::H3_REQUEST_REJECTED));
        }
        pair.client.say(PRIORITY_REQUEST, &[&varint(22 * 4)[..], b"u=1"].concat()).await;
        assert_eq!(pair.client.outcome(get("/")).await, Reset(Code::H3_REQUEST_REJECTED));
        pair.log.release.notify_one();
        assert_eq!(waiting.outcome().await, Status(200));
    });
}
