//! The listeners for metrics and the admin API: clients that stall, pages that a browser shows,
//! wrong tokens.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::tools::builtin;
use crate::support::weir::{WEIR, scrape};
use crate::support::{Origin, Setup, Weir, spawn, within};

const TOKEN: &str = "s3cret-of-this-test";

/// A Weir with its metrics, its admin API, and the plugin `security-headers`.
async fn start() -> (Origin, Weir) {
    let origin = Origin::start().await;
    let top = format!(
        "plugins: [{{ name: security-headers, source: \"file:{}\" }}]\n\
         admin: {{ address: \"127.0.0.1:0\", token: {TOKEN} }}\n",
        builtin("security-headers").display()
    );
    let setup = Setup::to([&origin]).top(&top);
    let routes = "  - { name: all, filters: [security-headers], upstream: app }";
    let weir = setup.routes(routes).start().await;
    (origin, weir)
}

/// Opens a connection from an address of this machine.
async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    within("a connection", socket.connect(to)).await.unwrap()
}

/// Sends a head, with its line ends corrected, and the body. Returns the answer.
async fn ask(to: SocketAddr, head: &str, body: &[u8]) -> String {
    let mut stream = connect([127, 0, 0, 1], to).await;
    let head = head.replace('\n', "\r\n") + "\r\n";
    within("sending", stream.write_all(head.as_bytes())).await.unwrap();
    within("sending", stream.write_all(body)).await.unwrap();
    rest(stream).await
}

async fn rest(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    within("an answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

fn status(answer: &str) -> u16 {
    answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn list(token: &str) -> String {
    format!("GET /api/plugins HTTP/1.1\nhost: localhost\nauthorization: Bearer {token}\n")
}

fn put(length: usize) -> String {
    format!(
        "PUT /api/plugins/security-headers?for=1s HTTP/1.1\nhost: localhost\n\
         authorization: Bearer {TOKEN}\ncontent-length: {length}\n"
    )
}

#[tokio::test]
async fn silent_connections_delay_no_scrape_and_no_command() {
    let (_origin, weir) = start().await;
    let mut silent = Vec::new();
    for number in 0..360_u16 {
        // Some of them stall inside a request's line.
        let from = [127, 0, 0, 1 + (number % 3) as u8];
        for to in [weir.metrics_address(), weir.admin_address()] {
            let mut stream = connect(from, to).await;
            if number % 2 == 0 {
                let _ = stream.write_all(b"GET / HTTP/1.1\r\n").await;
            }
            silent.push(stream);
        }
    }
    let (code, _) = within("a scrape", scrape(weir.metrics_address(), "/metrics")).await;
    assert_eq!(code, 200);
    assert_eq!(status(&ask(weir.admin_address(), &list(TOKEN), b"").await), 200);
    let mut command = Command::new(WEIR);
    command.args(["plugin", "list", "--token", TOKEN]);
    command.args(["--admin", &weir.admin_address().to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn an_upload_that_stalls_delays_no_other() {
    let (_origin, weir) = start().await;
    let wasm = std::fs::read(builtin("security-headers")).unwrap();
    let mut stalling = Vec::new();
    for _ in 0..3 {
        let mut stream = connect([127, 0, 0, 1], weir.admin_address()).await;
        let head = put(wasm.len()).replace('\n', "\r\n") + "\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&wasm[..wasm.len() / 2]).await.unwrap();
        stalling.push(spawn(rest(stream)));
    }
    let answer = ask(weir.admin_address(), &put(wasm.len()), &wasm).await;
    assert_eq!(status(&answer), 200, "{answer}");
    assert!(answer.contains("\"number\": 2"), "{answer}");
    assert!(stalling.iter().all(|answer| !answer.is_finished()), "it took longer than a stall may");
    for answer in stalling {
        let answer = answer.await.unwrap();
        assert_eq!(status(&answer), 408, "{answer}");
    }
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_still_sends() {
    let (_origin, weir) = start().await;
    let body = vec![0; 4 << 20];
    for (head, wanted) in [
        (put(body.len()).replace(TOKEN, "wrong"), 401),
        (put(body.len()).replace("localhost", "evil.example"), 403),
        (put(body.len()).replace("security-headers", "nobody"), 404),
        (put(body.len()).replace("for=1s", "for=1"), 400),
    ] {
        let answer = ask(weir.admin_address(), &head, &body).await;
        assert_eq!(status(&answer), wanted, "{answer}");
    }
}

#[tokio::test]
async fn pages_of_other_sites_reach_neither_listener() {
    let (_origin, weir) = start().await;
    for (to, path) in [(weir.metrics_address(), "/metrics"), (weir.admin_address(), "/api/plugins")]
    {
        let port = to.port();
        let cases = [
            (format!("{path} HTTP/1.1\nhost: localhost:{port}\n"), 200),
            (format!("{path} HTTP/1.1\nhost: 127.0.0.1:1\n"), 200),
            (format!("{path} HTTP/1.1\nhost: [::1]:{port}\n"), 200),
            (format!("{path} HTTP/1.0\n"), 200),
            (format!("http://{to}{path} HTTP/1.1\nhost: {to}\n"), 200),
            (format!("{path} HTTP/1.1\nhost: {to}\norigin: http://{to}\n"), 200),
            (format!("{path} HTTP/1.1\nhost: {to}\nsec-fetch-site: none\n"), 200),
            (format!("{path} HTTP/1.1\n"), 400),
            (format!("{path} HTTP/1.1\nhost: {to}\nhost: evil.example\n"), 400),
            (format!("http://evil.example{path} HTTP/1.1\nhost: {to}\n"), 400),
            (format!("http://evil.example{path} HTTP/1.1\nhost: evil.example\n"), 403),
            (format!("{path} HTTP/1.1\nhost: evil.example:{port}\n"), 403),
            (format!("{path} HTTP/1.1\nhost: localhost.:{port}\n"), 403),
            (format!("{path} HTTP/1.1\nhost: {to}.evil.example\n"), 403),
            (format!("{path} HTTP/1.1\nhost: {to}\norigin: null\n"), 403),
            (format!("{path} HTTP/1.1\nhost: {to}\norigin: http://{to}.evil.example\n"), 403),
            (format!("{path} HTTP/1.1\nhost: {to}\norigin: http://{to}\norigin: null\n"), 403),
            (format!("{path} HTTP/1.1\nhost: {to}\nsec-fetch-site: cross-site\n"), 403),
            (format!("{path} HTTP/1.1\nhost: {to}\nsec-fetch-site: same-site\n"), 403),
        ];
        for (head, wanted) in cases {
            let head = format!("GET {head}authorization: Bearer {TOKEN}\n");
            let answer = ask(to, &head, b"").await;
            assert_eq!(status(&answer), wanted, "{head}{answer}");
            let tells = ["quic_connections_active", "\"security-headers\""];
            assert_eq!(tells.iter().any(|text| answer.contains(text)), wanted == 200, "{head}");
        }
    }
}

#[tokio::test]
async fn paths_have_boundaries() {
    let (_origin, weir) = start().await;
    let token = format!("host: localhost\nauthorization: Bearer {TOKEN}\n");
    for path in ["/api/pluginsx", "/api/plugins/", "/api/plugins/security", "/api", "//api/plugins"]
    {
        let answer = ask(weir.admin_address(), &format!("GET {path} HTTP/1.1\n{token}"), b"").await;
        assert_eq!(status(&answer), 404, "{path}");
    }
    let answer = ask(weir.metrics_address(), "GET /metricsx HTTP/1.0\n", b"").await;
    assert_eq!(status(&answer), 404);
}

#[tokio::test]
async fn wrong_tokens_wait_and_the_right_one_does_not() {
    const WRONG: &str = "a-guess-of-this-test";
    let (_origin, mut weir) = start().await;
    let address = weir.admin_address();
    let first = Instant::now();
    assert_eq!(status(&ask(address, &list(WRONG), b"").await), 401);
    let guesses: Vec<_> =
        (0..8).map(|_| spawn(async move { ask(address, &list(WRONG), b"").await })).collect();
    weir.logged("the admin API was given a wrong token").await;
    // A missing token is no guess, and the right token never waits.
    let answer = ask(address, "GET /api/plugins HTTP/1.1\nhost: localhost\n", b"").await;
    assert!(status(&answer) == 401 && answer.contains("www-authenticate: Bearer"), "{answer}");
    for _ in 0..20 {
        assert_eq!(status(&ask(address, &list(TOKEN), b"").await), 200);
    }
    let waiting = guesses.iter().filter(|guess| !guess.is_finished()).count();
    assert!(waiting > 0, "all were answered after {:?}", first.elapsed());
    for guess in guesses {
        let answer = guess.await.unwrap();
        assert_eq!(status(&answer), 401, "{answer}");
        assert!(!answer.contains(WRONG) && !answer.contains(TOKEN), "{answer}");
    }
    // Eight answers, one per second, the last after five.
    assert!(first.elapsed().as_secs() >= 4, "{:?}", first.elapsed());
    assert!(!weir.printed().contains(WRONG) && !weir.printed().contains(TOKEN));
}

#[tokio::test]
async fn guesses_that_wait_take_no_place() {
    let (_origin, weir) = start().await;
    let address = weir.admin_address();
    let mut guesses = Vec::new();
    for _ in 0..300 {
        let mut stream = connect([127, 0, 0, 1], address).await;
        let head = list("guess").replace('\n', "\r\n") + "\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        guesses.push(stream);
    }
    assert_eq!(status(&ask(address, &list(TOKEN), b"").await), 200);
}
