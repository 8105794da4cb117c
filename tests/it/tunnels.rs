//! Tunnels: upgrades over HTTP/1.1 and extended CONNECT over HTTP/2 and HTTP/3, to origins of
//! HTTP/1.1.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{DATA, Outcome, RawH2};
use crate::support::raw_h3::{self, RawH3, RawStream};
use crate::support::{Origin, Protocol, Setup, Weir, spawn, until, within};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The behaviour of an origin that is asked for a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Sends every byte back, and closes its side when the other side does.
    Echo,
    /// Says `hello` and closes.
    Greet,
    /// Answers another key.
    WrongAccept,
    /// Switches to another protocol.
    WrongProtocol,
    /// Refuses with 403 and a body.
    Refuse,
    /// Opens the tunnel and is silent.
    Silent,
}

/// An origin that opens tunnels. Each head is returned by the channel.
async fn origin(manner: Manner) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, received) = tokio::sync::mpsc::unbounded_channel();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let heads = heads.clone();
            spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.ok()?);
                }
                let head = String::from_utf8(head).unwrap();
                let field = |name: &str| {
                    let mut lines = head.lines();
                    lines.find_map(|line| line.strip_prefix(&format!("{name}: ")))
                };
                let key = field("sec-websocket-key").unwrap_or_default();
                let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
                let accept = match manner {
                    Manner::WrongAccept => "x".to_owned(),
                    _ => STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())),
                };
                let upgrade = match manner {
                    Manner::WrongProtocol => "other".to_owned(),
                    _ => field("upgrade").unwrap_or("none").to_owned(),
                };
                heads.send(head).ok()?;
                if manner == Manner::Refuse {
                    let answer = "HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno";
                    stream.write_all(answer.as_bytes()).await.ok()?;
                    return Some(());
                }
                let greeting = if manner == Manner::Greet { "hello" } else { "" };
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: {upgrade}\r\n\
                     sec-websocket-accept: {accept}\r\ncontent-type: text/plain\r\n\r\n{greeting}"
                );
                stream.write_all(answer.as_bytes()).await.ok()?;
                match manner {
                    Manner::Echo => {
                        let (mut reader, mut writer) = stream.split();
                        tokio::io::copy(&mut reader, &mut writer).await.ok()?;
                        writer.shutdown().await.ok()?;
                    }
                    Manner::Silent => {
                        let _ = stream.read(&mut [0; 1]).await;
                    }
                    _ => {}
                }
                Some(())
            });
        }
    });
    (address, received)
}

/// A client's side of a tunnel.
pub(crate) enum Side {
    H1(Box<RawH1>),
    H2(RawH2),
    H3(#[expect(dead_code, reason = "the connection ends when it is dropped")] RawH3, RawStream),
}

const CONNECT: [(&str, &str); 6] = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":authority", "localhost"),
    (":path", "/socket?a=b"),
    ("sec-websocket-version", "13"),
];

fn upgrade(protocol: &str) -> String {
    format!(
        "GET /socket?a=b HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: {protocol}\r\n\
         sec-websocket-key: {KEY}\r\nsec-websocket-version: 13\r\n\r\n"
    )
}

impl Side {
    /// Asks for a tunnel, and returns the status.
    pub(crate) async fn ask(weir: &Weir, protocol: Protocol) -> (Self, u16) {
        match protocol {
            Protocol::H1 => {
                let mut raw = RawH1::connect(weir).await;
                raw.send(&upgrade("websocket")).await;
                let head = raw.until("\r\n\r\n").await;
                let status = head[9..12].parse().unwrap();
                if status == 101 {
                    let lower = head.to_ascii_lowercase();
                    assert!(lower.contains("\r\nconnection: upgrade\r\n"), "{head}");
                    assert!(lower.contains("\r\nupgrade: websocket\r\n"), "{head}");
                    assert!(head.contains(ACCEPT), "{head}");
                    assert!(!lower.contains("content-length"), "{head}");
                }
                (Self::H1(Box::new(raw)), status)
            }
            Protocol::H2 => {
                let mut raw = RawH2::connect(weir).await;
                raw.headers(1, &CONNECT, false).await;
                let Outcome::Status(status) = raw.outcome(1).await else { panic!("no status") };
                (Self::H2(raw), status)
            }
            Protocol::H3 => {
                let raw = RawH3::connect(weir).await;
                let mut stream = raw.open().await;
                stream.headers(&CONNECT).await;
                let Outcome::Status(status) = stream.outcome().await else { panic!("no status") };
                (Self::H3(raw, stream), status)
            }
        }
    }

    pub(crate) async fn open(weir: &Weir, protocol: Protocol) -> Self {
        let (side, status) = Self::ask(weir, protocol).await;
        assert_eq!(status, if protocol == Protocol::H1 { 101 } else { 200 }, "{protocol:?}");
        side
    }

    pub(crate) async fn send(&mut self, text: &str) {
        match self {
            Self::H1(raw) => raw.send(text).await,
            Self::H2(raw) => raw.data(1, text.as_bytes(), false).await,
            Self::H3(_, stream) => stream.frame(raw_h3::DATA, text.as_bytes()).await,
        }
    }

    /// Closes the client's side only.
    pub(crate) async fn finish(&mut self) {
        match self {
            Self::H1(raw) => raw.finish().await,
            Self::H2(raw) => raw.data(1, b"", true).await,
            Self::H3(_, stream) => stream.finish(),
        }
    }

    /// Reads this text.
    pub(crate) async fn expect(&mut self, text: &str) {
        match self {
            Self::H1(raw) => assert_eq!(raw.until(text).await, text),
            _ => {
                let mut all = Vec::new();
                while all.len() < text.len() {
                    all.extend(self.next().await.expect("the tunnel is open"));
                }
                assert_eq!(String::from_utf8(all).unwrap(), text);
            }
        }
    }

    /// The next bytes of HTTP/2 or HTTP/3; `None` at the end.
    async fn next(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::H1(_) => unreachable!(),
            Self::H2(raw) => loop {
                let frame = raw.next().await.expect("the connection is open");
                if frame.kind == DATA && frame.stream == 1 {
                    let is_over = frame.payload.is_empty();
                    return (!is_over).then_some(frame.payload);
                }
                assert_ne!(frame.kind, crate::support::raw_h2::RST_STREAM, "a reset");
            },
            Self::H3(_, stream) => stream.data().await,
        }
    }

    /// Reads to the end of the origin's side.
    pub(crate) async fn end(&mut self) {
        match self {
            Self::H1(raw) => assert_eq!(raw.rest().await.text, ""),
            _ => assert_eq!(self.next().await, None),
        }
    }
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_side_closes_by_itself() {
    let (address, mut heads) = origin(Manner::Echo).await;
    let mut weir = Setup::addresses([address]).start().await;
    for protocol in Protocol::ALL {
        let mut side = Side::open(&weir, protocol).await;
        let head = within("a head", heads.recv()).await.unwrap();
        assert!(head.starts_with("GET /socket?a=b HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n"), "{head}");
        assert!(head.contains("\r\nsec-websocket-version: 13\r\n"), "{head}");
        assert!(!head.contains("content-length") && !head.contains("transfer-encoding"), "{head}");
        for text in ["one", "GET / HTTP/1.1\r\n\r\n", "three"] {
            side.send(text).await;
            side.expect(text).await;
        }
        let label = format!("protocol=\"{}\"", protocol.label());
        weir.until_metric("http_tunnels_active", &[&label], |open| open == 1.0).await;
        side.send("last").await;
        side.finish().await;
        side.expect("last").await;
        side.end().await;
        weir.until_metric("http_tunnels_active", &[&label], |open| open == 0.0).await;
        let record = weir.record().await;
        let status = if protocol == Protocol::H1 { 101 } else { 200 };
        assert_eq!(record["status"], status, "{protocol:?}");
        assert_eq!(record["request_bytes"], record["response_bytes"], "{protocol:?}");
        assert_eq!((&record["aborted"], &record["error"]), (&false.into(), &().into()));
    }
}

#[tokio::test]
async fn an_origin_may_speak_first_and_close() {
    let (address, _heads) = origin(Manner::Greet).await;
    let weir = Setup::addresses([address]).start().await;
    for protocol in Protocol::ALL {
        let mut side = Side::open(&weir, protocol).await;
        side.expect("hello").await;
        side.end().await;
    }
}

#[tokio::test]
async fn an_origin_that_answers_something_else_opens_no_tunnel() {
    for (manner, expected) in
        [(Manner::WrongAccept, 502), (Manner::WrongProtocol, 502), (Manner::Refuse, 403)]
    {
        let (address, _heads) = origin(manner).await;
        let weir = Setup::addresses([address]).start().await;
        for protocol in Protocol::ALL {
            let (_side, status) = Side::ask(&weir, protocol).await;
            assert_eq!(status, expected, "{manner:?} {protocol:?}");
        }
    }
}

#[tokio::test]
async fn only_protocols_of_the_list_are_passed_on() {
    let origin = Origin::start().await;
    let routes = "  - { name: all, upstream: app, upgrades: [other] }";
    let weir = Setup::to([&origin]).routes(routes).start().await;
    // Over HTTP/1.1 the upgrade is an offer, which nobody takes.
    let (_side, status) = Side::ask(&weir, Protocol::H1).await;
    assert_eq!(status, 200);
    assert_eq!(origin.head().header("upgrade"), "");
    for protocol in [Protocol::H2, Protocol::H3] {
        assert_eq!(Side::ask(&weir, protocol).await.1, 501, "{protocol:?}");
    }
    assert_eq!(origin.requests(), 1);

    let (address, mut heads) = self::origin(Manner::Echo).await;
    let weir = Setup::addresses([address]).routes(routes).start().await;
    let mut raw = RawH1::connect(&weir).await;
    raw.send(&upgrade("Other")).await;
    assert!(raw.until("\r\n\r\n").await.starts_with("HTTP/1.1 101"));
    assert!(heads.recv().await.unwrap().contains("upgrade: Other"));
    raw.send("x").await;
    raw.until("x").await;
}

#[tokio::test]
async fn a_silent_tunnel_ends_after_the_idle_time() {
    let (address, _heads) = origin(Manner::Silent).await;
    let weir = Setup::addresses([address]).upstream("timeouts: { idle: 200ms }").start().await;
    for protocol in Protocol::ALL {
        let _side = Side::open(&weir, protocol).await;
        weir.until_metric("http_requests_active", &[], |active| active == 0.0).await;
    }
}

#[tokio::test]
async fn a_client_that_goes_away_ends_the_tunnel() {
    let (address, _heads) = origin(Manner::Silent).await;
    let weir = Setup::addresses([address]).start().await;
    for protocol in Protocol::ALL {
        let side = Side::open(&weir, protocol).await;
        drop(side);
        until("the end", async || {
            (weir.metric("http_requests_active", &[]).await == 0.0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn filters_see_the_heads_and_not_the_bytes() {
    let (address, mut heads) = origin(Manner::Echo).await;
    let plugins = "plugins:\n  - name: swap\n    source: builtin:body-replace\n    \
                   config: { replace: [{ from: one, to: two }], requests: true }\n  - name: tag\n    \
                   source: builtin:headers\n    \
                   config: { request: { set: { x-tag: a } }, response: { set: { x-seen: b } } }";
    let routes = "  - { name: all, filters: [tag, swap], upstream: app }";
    let weir = Setup::addresses([address]).top(plugins).routes(routes).start().await;
    for protocol in Protocol::ALL {
        let mut side = Side::open(&weir, protocol).await;
        assert!(heads.recv().await.unwrap().contains("\r\nx-tag: a\r\n"), "{protocol:?}");
        side.send("one").await;
        side.expect("one").await;
    }
}
