use http::Version;
use hyper::client::conn::{http1, http2};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

pub(super) async fn tls(address: SocketAddr, alpn: &str) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(client_tls(alpn))).connect(name, stream).await.unwrap()
}

#[derive(Clone)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    #[allow(clippy::disallowed_methods, reason = "the client's side of a test")]
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

#[allow(clippy::disallowed_methods, reason = "the client's side of a test")]
pub(super) async fn h2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    let io = TokioIo::new(tls(address, "h2").await);
    let (sender, connection) = http2::handshake(Local, io).await.unwrap();
    tokio::task::spawn_local(async { drop(connection.await) });
    sender
}

#[allow(clippy::disallowed_methods, reason = "the client's side of a test")]
async fn h1(address: SocketAddr) -> http1::SendRequest<Empty<Bytes>> {
    let io = TokioIo::new(tls(address, "http/1.1").await);
    let (sender, connection) = http1::handshake(io).await.unwrap();
    tokio::task::spawn_local(async { drop(connection.await) });
    sender
}

pub(super) fn h2_get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://localhost{path}")).body(Full::default()).unwrap()
}

fn h1_get(path: &str) -> Request<Empty<Bytes>> {
    Request::get(path).header("host", "localhost").body(Empty::new()).unwrap()
}

async fn text(response: Response<hyper::body::Incoming>) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[test]
fn both_are_chosen_by_alpn_and_tell_of_h3() {
    run(async {
        let server = Server::start(&listener(), 2);
        let want = format!("h3=\":{}\"; ma=86400", server.address.port());
        let response = h2(server.address).await.send_request(h2_get("/protocol")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.headers()["alt-svc"], want);
        assert_eq!(text(response).await, "h2");
        let response = h1(server.address).await.send_request(h1_get("/protocol")).await.unwrap();
        assert_eq!(response.version(), Version::HTTP_11);
        assert_eq!(response.headers()["alt-svc"], want);
        assert_eq!(text(response).await, "h1");
    });
}

#[test]
fn plain_text_is_h1_without_alt_svc() {
    run(async {
        let protocols = Protocols { h3: false, h2: false, h1: true };
        let server = Server::start(&Listener { tls: None, protocols, ..listener() }, 1);
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The client sends two requests at once, and gets the answers in order.
        let request = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2);
        assert!(answer.find("\r\n\r\n/a") < answer.find("\r\n\r\n/b"));
        assert!(!answer.contains("alt-svc"));
    });
}

#[test]
fn the_address_that_a_client_connected_to_is_told_also_by_a_listener_on_all() {
    run(async {
        let protocols = Protocols { h3: false, h2: false, h1: true };
        let address = "0.0.0.0:0".parse().unwrap();
        let server = Server::start(&Listener { address, tls: None, protocols, ..listener() }, 1);
        let own = SocketAddr::from(([127, 0, 0, 1], server.address.port()));
        let mut stream = TcpStream::connect(own).await.unwrap();
        stream.write_all(b"GET /local HTTP/1.0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with(&format!("\r\n\r\n{own}")), "{answer}");
    });
}

#[test]
fn a_head_that_hyper_cannot_hold_is_answered() {
    run(async {
        let server = Server::start(&listener(), 1);
        let many = (0..200).fold(Request::get("/"), |r, n| r.header(format!("x-{n}"), "v"));
        let request = many.header("host", "x").body(Empty::new()).unwrap();
        let response = h1(server.address).await.send_request(request).await.unwrap();
        assert_eq!(response.status(), 431);
        assert_eq!(server.log.begun.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_client_that_leaves_cancels_its_request() {
    run(async {
        let server = Server::start(&listener(), 1);
        let mut sender = h2(server.address).await;
        {
            let mut response = std::pin::pin!(sender.send_request(h2_get("/hang")));
            tokio::select! {
                _ = &mut response => panic!("answered"),
                () = until(|| server.log.begun.load(Ordering::Relaxed) == 1) => {}
            }
        }
        until(|| server.log.cancelled.load(Ordering::Relaxed) == 1).await;

        let mut stream = tls(server.address, "http/1.1").await;
        stream.write_all(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        until(|| server.log.begun.load(Ordering::Relaxed) == 2).await;
        drop(stream);
        until(|| server.log.cancelled.load(Ordering::Relaxed) == 2).await;
    });
}

#[test]
fn more_connections_than_allowed_are_closed() {
    run(async {
        let mut config = listener();
        config.limits.connections = 2;
        let server = Server::start(&config, 1);
        let first = tls(server.address, "h2").await;
        let endpoint = quic_client();
        let _second = H3::connect(&endpoint, server.address).await;

        let mut third = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(third.read(&mut [0; 1]).await.unwrap_or(0), 0);
        assert!(quic_client().connect(server.address, "localhost").unwrap().await.is_err());

        drop(first);
        tokio::time::sleep(Duration::from_millis(50)).await;
        let _again = tls(server.address, "h2").await;
    });
}

#[test]
fn an_idle_connection_and_a_slow_head_are_closed() {
    run(async {
        let mut config = listener();
        config.limits.header_timeout = Duration::from_millis(300);
        config.limits.handshake_timeout = Duration::from_millis(300);
        let server = Server::start(&config, 1);
        let mut buffer = Vec::new();

        let mut silent = TcpStream::connect(server.address).await.unwrap();
        silent.read_to_end(&mut buffer).await.unwrap();

        let mut slow = tls(server.address, "http/1.1").await;
        slow.write_all(b"GET / HTTP/1.1\r\nHo").await.unwrap();
        let _ = slow.read_to_end(&mut buffer).await;

        let mut idle = tls(server.address, "http/1.1").await;
        idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let _ = idle.read_to_end(&mut buffer).await;

        let mut sender = h2(server.address).await;
        assert_eq!(sender.send_request(h2_get("/x")).await.unwrap().status(), 200);
        until(|| sender.is_closed()).await;
    });
}

#[test]
fn a_drain_finishes_h1_and_h2_requests() {
    run(async {
        let server = Server::start(&listener(), 2);
        let (mut one, mut two) = (h1(server.address).await, h2(server.address).await);
        let mut idle = h1(server.address).await;
        idle.send_request(h1_get("/x")).await.map(text).unwrap().await;
        let slow_one = one.send_request(h1_get("/slow"));
        let slow_two = two.send_request(h2_get("/slow"));
        let drained = async {
            until(|| server.log.begun.load(Ordering::Relaxed) == 3).await;
            server.drain.cancel();
            // An idle connection serves one more request.
            let response = idle.send_request(h1_get("/last")).await.unwrap();
            assert_eq!(response.headers()["connection"], "close");
            assert_eq!(response.headers()["alt-svc"], "clear");
            assert_eq!(text(response).await, "/last");
            tokio::time::sleep(Duration::from_secs(1)).await;
            server.log.release.cancel();
            server.drained().await;
        };
        let (one, two, ()) = tokio::join!(slow_one, slow_two, drained);
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.headers()["connection"], "close");
        assert_eq!(text(one).await, "slow");
        assert_eq!(text(two).await, "slow");
    });
}

#[test]
fn connections_in_the_queue_at_the_drain_are_served() {
    run(async {
        let protocols = Protocols { h3: false, h2: false, h1: true };
        let server = Server::start(&Listener { tls: None, protocols, ..listener() }, 2);
        let (results, mut ended) = mpsc::unbounded_channel();
        let address = server.address;
        let load = move || {
            let mut served = 0;
            loop {
                // The closed listener refuses connections. Before, it serves every established
                // connection.
                let Ok(mut stream) = std::net::TcpStream::connect(address) else {
                    return Ok(served);
                };
                let request = b"GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
                let mut answer = String::new();
                let result = io::Write::write_all(&mut stream, request)
                    .and_then(|()| io::Read::read_to_string(&mut stream, &mut answer));
                if result.is_err() || !answer.ends_with("/x") {
                    return Err(format!("{result:?} {answer}"));
                }
                served += 1;
            }
        };
        for _ in 0..4 {
            let (load, results) = (load, results.clone());
            thread::spawn(move || results.send(load()));
        }
        drop(results);
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.drained().await;
        while let Some(result) = ended.recv().await {
            assert!(result.unwrap() > 0);
        }
    });
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    run(async {
        let protocols = Protocols { h3: false, h2: false, h1: true };
        let server = Server::start(&Listener { tls: None, protocols, ..listener() }, 1);
        for _ in 0..20 {
            let mut stream = TcpStream::connect(server.address).await.unwrap();
            let head = b"POST /ignore HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            stream.write_all(&vec![b'x'; 3_000_000]).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.ends_with("ignored"), "{answer}");
        }
    });
}
