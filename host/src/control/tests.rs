use std::cell::Cell;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use super::*;

/// Answers with the same body each time, and counts its requests.
struct Pages {
    body: Bytes,
    answered: Rc<Cell<usize>>,
}

impl Responder for Pages {
    const NAME: &'static str = "test";

    async fn answer(&self, _request: Request<Incoming>, _client: IpAddr) -> HeldResponse {
        self.answered.set(self.answered.get() + 1);
        Response::new(Full::from(self.body.clone())).into()
    }

    fn refuse(&self, denial: &Denial) -> Response<Answer> {
        let mut response = Response::new(Answer::Whole(Full::from(denial.reason)));
        *response.status_mut() = denial.status;
        response
    }
}

/// Runs a test on the thread that serves, with a listener that answers with a body of `bytes`.
fn with(bytes: usize, test: impl AsyncFnOnce(SocketAddr, Rc<Cell<usize>>)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default());
    runtime.unwrap().block_on(async {
        let tasks = Tasks::new(CancellationToken::new(), CancellationToken::new());
        let answered = Rc::<Cell<usize>>::default();
        let body = Bytes::from(vec![b'x'; bytes]);
        let pages = Pages { body, answered: Rc::clone(&answered) };
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = Bound::tcp(std::net::TcpListener::bind(address).unwrap()).unwrap();
        let ControlAddress::Tcp(address) = bound.address().clone() else { unreachable!() };
        serve_on(bound, Names::Local, pages, &tasks).unwrap();
        test(address, answered).await;
    });
}

/// Connects from an address of this machine and sends `bytes`.
async fn connect(from: [u8; 4], to: SocketAddr, bytes: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    // A client with small buffers that reads nothing is soon full.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(to).await.unwrap();
    // The write fails if the connection is closed already. The later read shows it.
    let _ = stream.write_all(bytes.as_bytes()).await;
    stream
}

/// Reads until the other side closes.
async fn rest(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is a close as well.
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// Sends a scraper's request. It is answered long before any timeout of another connection.
async fn is_served(from: [u8; 4], address: SocketAddr) {
    let asked = async { rest(connect(from, address, GET).await).await };
    let answer = timeout(HEAD_TIME / 2, asked).await.expect("an answer in time");
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
}

const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
const HERE: [u8; 4] = [127, 0, 0, 1];

#[test]
fn silent_connections_delay_nobody() {
    with(10, async |address, answered| {
        // Nothing, a part of a field, and a part of a head.
        for bytes in ["", "GET / HTTP/1.1\r\nhost: local", "GET / HTTP/1.1\r\n"] {
            let mut silent = Vec::new();
            for _ in 0..2 * CONNECTIONS {
                silent.push(connect(HERE, address, bytes).await);
            }
            is_served(HERE, address).await;
            is_served([127, 0, 0, 2], address).await;
        }
        assert_eq!(answered.get(), 6);
    });
}

#[test]
fn several_addresses_keep_nobody_out() {
    with(10, async |address, _| {
        let mut silent = Vec::new();
        for number in 0..=u8::MAX {
            silent.push(connect([127, 0, 1, number], address, "").await);
            silent.push(connect([127, 0, 1, number], address, "GET").await);
        }
        is_served(HERE, address).await;
        is_served([127, 0, 1, 7], address).await;
    });
}

#[test]
fn a_client_with_few_connections_keeps_them_while_another_opens_many() {
    with(10, async |address, _| {
        let mut few = connect([127, 0, 0, 2], address, "GET / HTTP/1.1\r\n").await;
        let mut many = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            many.push(connect(HERE, address, "").await);
        }
        assert!(rest(many.remove(0)).await.is_empty(), "the oldest was closed");
        few.write_all(b"host: localhost\r\n\r\n").await.unwrap();
        assert!(rest(few).await.starts_with(b"HTTP/1.1 200"));
    });
}

#[test]
fn clients_that_take_no_answer_delay_nobody() {
    // More than the buffers of both sides hold.
    const LARGE: usize = 8 << 20;
    with(LARGE, async |address, answered| {
        let mut slow = Vec::new();
        for _ in 0..CONNECTIONS {
            slow.push(connect(HERE, address, GET).await);
        }
        while answered.get() < CONNECTIONS {
            yield_now().await;
        }
        let answer = timeout(ANSWER_TIME / 2, async {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(GET.as_bytes()).await.unwrap();
            rest(stream).await
        });
        assert!(answer.await.expect("an answer in time").len() > LARGE);
        let cut = rest(slow.remove(0)).await.len();
        assert!(cut < LARGE, "the oldest was closed after {cut} bytes");
    });
}

#[test]
fn a_head_has_its_time_however_it_trickles() {
    with(10, async |address, answered| {
        let start = Instant::now();
        let silent = connect(HERE, address, "").await;
        let mut trickling = connect(HERE, address, "GET / HTTP/1.1\r\nx: ").await;
        let mut ticks = interval(HEAD_TIME / 50);
        loop {
            ticks.tick().await;
            assert!(start.elapsed() < 3 * HEAD_TIME, "it is still open");
            if trickling.write_all(b"x").await.is_err() {
                break;
            }
        }
        assert!(rest(silent).await.is_empty());
        assert!(start.elapsed() >= HEAD_TIME, "{:?}", start.elapsed());
        assert_eq!(answered.get(), 0);
    });
}

#[test]
fn a_connection_has_one_request() {
    with(10, async |address, answered| {
        let kept = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: keep-alive\r\n\r\n";
        let stream = connect(HERE, address, &kept.repeat(3)).await;
        let answer = timeout(HEAD_TIME / 2, rest(stream)).await.expect("a close in time");
        assert_eq!(String::from_utf8_lossy(&answer).matches("HTTP/1.1 200 OK").count(), 1);
        assert_eq!(answered.get(), 1);
    });
}

#[test]
fn a_large_head_is_refused() {
    with(10, async |address, answered| {
        let head =
            format!("GET / HTTP/1.1\r\nhost: localhost\r\nx: {}", "x".repeat(2 * HEAD_BYTES));
        let answer = rest(connect(HERE, address, &head).await).await;
        assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
        assert_eq!(answered.get(), 0);
    });
}

#[test]
fn a_foreign_page_reaches_no_answer() {
    with(10, async |address, answered| {
        for (fields, status) in [
            ("host: evil.example\r\n", "403"),
            ("host: localhost\r\norigin: null\r\n", "403"),
            ("host: localhost\r\nsec-fetch-site: cross-site\r\n", "403"),
            ("host: localhost\r\nhost: localhost\r\n", "400"),
            ("", "400"),
        ] {
            let head = format!("GET / HTTP/1.1\r\n{fields}\r\n");
            let answer = rest(connect(HERE, address, &head).await).await;
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{fields}{answer}");
            assert!(!answer.contains("access-control-allow"), "{answer}");
            assert!(answer.contains("x-content-type-options: nosniff"), "{answer}");
            assert!(answer.contains("cross-origin-resource-policy: same-origin"), "{answer}");
        }
        assert_eq!(answered.get(), 0);
        let old = rest(connect(HERE, address, "GET / HTTP/1.0\r\n\r\n").await).await;
        assert!(old.starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&old));
    });
}
