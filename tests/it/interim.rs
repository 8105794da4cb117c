//! Interim responses (RFC 9110 §15.2): 100 from the proxy to a client that waits for it, others
//! from the origin.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{Outcome, RawH2, get, post};
use crate::support::raw_h3::{DATA, RawH3};
use crate::support::tools::{component, curl, output};
use crate::support::{Origin, Protocol, RawOrigin, Setup, Weir, spawn, within};

const CURL: [(&str, &str); 3] =
    [("--http3-only", "HTTP/3"), ("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")];

/// An origin that sends `interim` at once, and the rest after [`Gated::open`].
struct Gated {
    address: SocketAddr,
    gate: Arc<Semaphore>,
}

impl Gated {
    async fn start(interim: &'static str, last: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, gate) = (listener.local_addr().unwrap(), Arc::new(Semaphore::new(0)));
        let opened = Arc::clone(&gate);
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(answer(stream, interim, last, Arc::clone(&opened)));
            }
        });
        Self { address, gate }
    }

    /// Releases one request's final response.
    fn open(&self) {
        self.gate.add_permits(1);
    }
}

async fn answer(
    mut stream: TcpStream,
    interim: &'static str,
    last: &'static str,
    gate: Arc<Semaphore>,
) {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        stream.write_all(interim.as_bytes()).await.unwrap();
        gate.acquire().await.unwrap().forget();
        stream.write_all(last.as_bytes()).await.unwrap();
    }
}

const HINTS: &str = "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\nconnection: x-hop\r\n\
    x-hop: 1\r\n\r\n";
const TWO_HINTS: &str =
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_hint_reaches_the_client_before_the_origin_has_an_answer() {
    let origin = Gated::start(HINTS, OK).await;
    let weir = Setup::addresses([origin.address]).start().await;

    let mut h1 = RawH1::connect(&weir).await;
    h1.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let hints = h1.until("\r\n\r\n").await;
    assert!(hints.starts_with("HTTP/1.1 103 Early Hints\r\n"), "{hints}");
    assert!(hints.contains("link: </style.css>; rel=preload\r\n"), "{hints}");
    assert!(!hints.contains("x-hop") && !hints.contains("connection"), "{hints}");
    origin.open();
    let last = h1.until("\r\n\r\nok").await;
    assert!(last.starts_with("HTTP/1.1 200 OK\r\n"), "{last}");

    let mut h2 = RawH2::connect(&weir).await;
    h2.headers(1, &get("/"), true).await;
    assert_eq!(h2.outcome(1).await, Outcome::Status(103));
    origin.open();
    assert_eq!(h2.outcome(1).await, Outcome::Status(200));

    let h3 = RawH3::connect(&weir).await;
    let mut stream = h3.open().await;
    stream.headers(&get("/")).await;
    stream.finish();
    assert_eq!(stream.outcome().await, Outcome::Status(103));
    origin.open();
    assert_eq!(stream.outcome().await, Outcome::Status(200));
}

#[tokio::test]
async fn curl_sees_every_hint_in_order() {
    let early = "HTTP/1.1 104 \r\nx-draft: 1\r\n\r\n";
    for (interim, want) in [(TWO_HINTS, &["102", "103"][..]), (early, &["104"]), (HINTS, &["103"])]
    {
        let origin = RawOrigin::answering(&format!("{interim}{OK}")).await;
        let weir = Setup::addresses([origin.address()]).start().await;
        for (option, version) in CURL {
            let mut get = curl();
            get.args([option, "--dump-header", "-", &weir.url("/")]);
            let text = output(get).await;
            let heads = text.lines().filter_map(|line| line.strip_prefix(version));
            let statuses: Vec<_> =
                heads.map(|rest| rest.split_whitespace().next().unwrap()).collect();
            assert_eq!(statuses, [want, &["200"]].concat(), "{option}: {text}");
            assert!(text.ends_with("ok"), "{option}: {text}");
        }
    }
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_the_final_response_only() {
    let origin = RawOrigin::answering(&format!("{HINTS}{OK}")).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    let reply = RawH1::exchange(&weir, "GET / HTTP/1.0\r\nHost: a\r\n\r\n").await;
    assert_eq!((reply.status(), reply.text.contains("103")), (200, false), "{}", reply.text);
}

#[tokio::test]
async fn a_hint_never_comes_between_two_other_messages() {
    // Pipelined, and each with its own hint: head, hint, head, hint, at any flushing.
    let origin = RawOrigin::answering(&format!("{HINTS}{OK}")).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let last = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = RawH1::exchange(&weir, &format!("{}{last}", request.repeat(9))).await;
    let statuses: Vec<_> =
        reply.text.match_indices("HTTP/1.1 ").map(|(at, _)| &reply.text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["103", "200"].repeat(10), "{}", reply.text);
}

#[tokio::test]
async fn a_filter_s_own_requests_give_the_client_no_hints() {
    let login =
        RawOrigin::answering(&format!("{HINTS}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")).await;
    let origin = Origin::start().await;
    let upstream =
        format!("  - {{ name: login, endpoints: [{{ address: \"{}\" }}] }}\n", login.address());
    let weir = Setup::to([&origin])
        .upstream_after(&upstream)
        .top("plugins: [{ name: login-check, source: \"builtin:forward-auth\", config: { upstream: login, path: /check }, allow: { upstreams: [login] } }]")
        .routes("  - { name: all, filters: [login-check], upstream: app }")
        .start()
        .await;
    for (option, _) in CURL {
        let mut get = curl();
        get.args([option, "--dump-header", "-", &weir.url("/who")]);
        let text = output(get).await;
        assert!(!text.contains("103") && text.ends_with("origin"), "{option}: {text}");
    }
    assert!(login.requests() > 0);
}

/// Checks the answer to a client that waits for 100: the same on h1, h2 and h3, from the proxy or
/// the origin.
async fn expects(weir: &Weir, path: &str, fields: &[(&str, &str)]) {
    let extra = [&[("expect", "100-Continue")][..], fields].concat();
    let mut h1 = RawH1::connect(weir).await;
    let lines: String = extra.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let coding = if fields.is_empty() { "transfer-encoding: chunked\r\n" } else { "" };
    h1.send(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n{lines}{coding}\r\n")).await;
    assert_eq!(h1.until("\r\n\r\n").await, "HTTP/1.1 100 Continue\r\n\r\n");
    h1.send(if fields.is_empty() { "4\r\nbody\r\n0\r\n\r\n" } else { "body" }).await;
    let head = h1.until("\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");

    let mut h2 = RawH2::connect(weir).await;
    let request = [&post(path)[..], &extra].concat();
    h2.headers(1, &request, false).await;
    assert_eq!(h2.outcome(1).await, Outcome::Status(100));
    h2.data(1, b"body", true).await;
    assert_eq!(h2.outcome(1).await, Outcome::Status(200));

    let h3 = RawH3::connect(weir).await;
    let mut stream = h3.open().await;
    stream.headers(&request).await;
    assert_eq!(stream.outcome().await, Outcome::Status(100));
    stream.frame(DATA, b"body").await;
    stream.finish();
    assert_eq!(stream.outcome().await, Outcome::Status(200));
}

#[tokio::test]
async fn a_client_that_withholds_its_body_is_asked_for_it_on_every_protocol() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    expects(&weir, "/count", &[("content-length", "4")]).await;
    expects(&weir, "/count", &[]).await;
    assert!(origin.head().headers.get("expect").is_none(), "the proxy has met the expectation");
}

#[tokio::test]
async fn a_component_that_reads_a_withheld_body_gets_it_on_every_protocol() {
    let origin = Origin::start().await;
    let source = component("mischief").display().to_string();
    let weir = Setup::to([&origin])
        .top(&format!("plugins: [{{ name: c, source: \"file:{source}\" }}]"))
        .routes("  - { name: all, component: c }")
        .start()
        .await;
    expects(&weir, "/sum", &[("content-length", "4")]).await;
    expects(&weir, "/sum", &[]).await;
}

#[tokio::test]
async fn a_withheld_body_that_nobody_wants_is_not_asked_for() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin])
        .routes("  - { name: all, respond: { status: 403, body: no } }")
        .start()
        .await;
    let fields = [&post("/")[..], &[("expect", "100-continue"), ("content-length", "4")]].concat();
    let mut h1 = RawH1::connect(&weir).await;
    h1.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .await;
    assert!(h1.until("\r\n\r\n").await.starts_with("HTTP/1.1 403"));
    let mut h2 = RawH2::connect(&weir).await;
    h2.headers(1, &fields, false).await;
    assert_eq!(h2.outcome(1).await, Outcome::Status(403));
    let h3 = RawH3::connect(&weir).await;
    let mut stream = h3.open().await;
    stream.headers(&fields).await;
    assert_eq!(stream.outcome().await, Outcome::Status(403));
}

#[tokio::test]
async fn a_body_that_is_there_already_needs_no_100() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let expect = [("expect", "100-continue"), ("content-length", "4")];
    for outcome in
        [RawH2::post(&weir, &expect, &["body"]).await, RawH3::post(&weir, &expect, &["body"]).await]
    {
        // A 100 may come if the body is later than its head. Nothing else may come, and no 100
        // comes twice.
        assert!(matches!(outcome, Outcome::Status(100 | 200)), "{outcome:?}");
    }
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut request = http::Request::post("/count").header("expect", "something-else");
        request = request.header("x-a", "b");
        let answer = client.send(request.body("body".into()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), &*answer.text().await), (200, "4"), "{protocol:?}");
    }
}

#[tokio::test]
async fn curl_posts_with_an_expectation_on_every_protocol() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (option, _) in CURL {
        let mut post = curl();
        post.args([option, "--expect100-timeout", "10", "--max-time", "5"]);
        post.args(["-H", "Expect: 100-continue", "-d", "some bytes", &weir.url("/count")]);
        assert_eq!(within("curl", output(post)).await, "10", "{option}");
    }
}
