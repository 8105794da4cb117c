use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::h1_and_h2::{h2, h2_get, tls};
use super::*;

const REQUEST: &[u8] = b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n";

/// The patience with clients in these tests.
const STALLED: Duration = Duration::from_millis(300);

fn cancelled(server: &Server) -> usize {
    server.log.cancelled.load(Ordering::Relaxed)
}

#[test]
fn an_h1_client_that_reads_nothing_is_cut_off_and_its_body_cancelled() {
    run(async {
        let server = Server::start_impatient(&listener(), STALLED);
        let mut stream = tls(server.address, "http/1.1").await;
        stream.write_all(REQUEST).await.unwrap();
        until(|| cancelled(&server) == 1).await;

        let protocols = Protocols { h3: false, h2: false, h1: true };
        let plain = Listener { tls: None, protocols, ..listener() };
        let server = Server::start_impatient(&plain, STALLED);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        until(|| cancelled(&server) == 1).await;
    });
}

#[test]
fn an_h1_client_that_reads_slowly_is_served() {
    run(async {
        let server = Server::start_impatient(&listener(), STALLED);
        let mut stream = tls(server.address, "http/1.1").await;
        stream.write_all(REQUEST).await.unwrap();
        let mut piece = vec![0; 256 << 10];
        let started = Instant::now();
        while started.elapsed() < STALLED * 4 {
            stream.read_exact(&mut piece).await.unwrap();
            tokio::time::sleep(STALLED / 20).await;
        }
        assert_eq!(cancelled(&server), 0);
    });
}

#[test]
fn an_h2_stream_that_its_client_holds_up_is_reset_and_the_others_go_on() {
    run(async {
        let server = Server::start_impatient(&listener(), STALLED);
        let mut sender = h2(server.address).await;
        let held = sender.send_request(h2_get("/endless")).await.unwrap();
        assert_eq!(held.status(), 200);
        until(|| cancelled(&server) == 1).await;
        assert_eq!(sender.send_request(h2_get("/x")).await.unwrap().status(), 200);
        assert!(held.into_body().collect().await.is_err(), "what was cut off does not look whole");
    });
}

#[test]
fn an_h2_stream_that_waits_for_its_origin_is_not_reset() {
    run(async {
        let server = Server::start_impatient(&listener(), STALLED);
        let mut sender = h2(server.address).await;
        let slow = sender.send_request(h2_get("/slow"));
        let later = async {
            tokio::time::sleep(STALLED * 3).await;
            server.log.release.cancel();
        };
        let (slow, ()) = tokio::join!(slow, later);
        assert_eq!(slow.unwrap().status(), 200);
    });
}

#[test]
fn an_h2_connection_whose_last_bytes_nobody_takes_is_closed() {
    run(async {
        let mut config = listener();
        config.limits.header_timeout = STALLED;
        let server = Server::start_impatient(&config, STALLED);
        let mut sender = h2(server.address).await;
        // The response is one frame, larger than the client's windows. HTTP/2 takes it whole, and
        // the task of the stream ends.
        let held = sender.send_request(h2_get("/big/20000000")).await.unwrap();
        assert_eq!(held.status(), 200);
        assert_eq!(server.edge.connections(), 1);
        until(|| server.edge.connections() == 0).await;
    });
}
