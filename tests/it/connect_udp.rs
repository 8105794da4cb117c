//! Tunnels of UDP that Weir opens itself (CONNECT-UDP, RFC 9298), with datagrams of QUIC (RFC 9297)
//! over HTTP/3.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{self, Outcome, RawH2};
use crate::support::raw_h3::{self, RawH3, RawStream};
use crate::support::{Protocol, Setup, Weir, spawn, within};
use crate::tunnels::Side;

/// A target that sends each packet back in capitals.
async fn target() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    spawn(async move {
        let mut packet = vec![0; 65_536];
        while let Ok((length, from)) = socket.recv_from(&mut packet).await {
            let answer = packet[..length].to_ascii_uppercase();
            let _ = socket.send_to(&answer, from).await;
        }
    });
    address
}

/// Weir with a route of tunnels to these targets, and other keys of `connect_udp`.
fn setup(targets: &str, keys: &str) -> Setup {
    let unused = "127.0.0.1:1".parse().unwrap();
    Setup::addresses([unused]).routes(&format!(
        "  - name: udp\n    match: {{ path: \"/udp/{{target_host}}/{{target_port}}/\" }}\n    \
         connect_udp: {{ targets: [{targets}]{keys} }}\n  - {{ name: all, upstream: app }}"
    ))
}

fn path(host: &str, port: u16) -> String {
    format!("/udp/{host}/{port}/")
}

/// A DATAGRAM capsule with a context of one byte.
fn capsule(context: u8, packet: &[u8]) -> Vec<u8> {
    [vec![0], raw_h3::varint(packet.len() as u64 + 1), vec![context], packet.to_vec()].concat()
}

fn text(packet: &str) -> String {
    String::from_utf8(capsule(0, packet.as_bytes())).unwrap()
}

/// A QUIC datagram for a request (RFC 9297 §2.1).
fn datagram(stream: &RawStream, packet: &[u8]) -> Bytes {
    let quarter = raw_h3::varint(u64::from(stream.send.id()) / 4);
    [quarter, vec![0], packet.to_vec()].concat().into()
}

fn connect(path: &str) -> [(&str, &str); 6] {
    [
        (":method", "CONNECT"),
        (":protocol", "connect-udp"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("capsule-protocol", "?1"),
    ]
}

/// Asks for a tunnel, and returns the status.
async fn ask(weir: &Weir, protocol: Protocol, path: &str) -> (Side, u16) {
    match protocol {
        Protocol::H1 => {
            let mut raw = RawH1::connect(weir).await;
            raw.send(&format!(
                "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\n\
                 upgrade: connect-udp\r\ncapsule-protocol: ?1\r\n\r\n"
            ))
            .await;
            let head = raw.until("\r\n\r\n").await.to_ascii_lowercase();
            let status = head[9..12].parse().unwrap();
            if status == 101 {
                assert!(head.contains("\r\nupgrade: connect-udp\r\n"), "{head}");
                assert!(head.contains("\r\ncapsule-protocol: ?1\r\n"), "{head}");
                assert!(!head.contains("content-length"), "{head}");
            }
            (Side::H1(Box::new(raw)), status)
        }
        Protocol::H2 => {
            let mut raw = RawH2::connect(weir).await;
            raw.headers(1, &connect(path), false).await;
            let Outcome::Status(status) = raw.outcome(1).await else { panic!("no status") };
            (Side::H2(raw), status)
        }
        Protocol::H3 => {
            let raw = RawH3::connect(weir).await;
            let (stream, status) = ask_h3(&raw, path).await;
            (Side::H3(raw, stream), status)
        }
    }
}

async fn ask_h3(raw: &RawH3, path: &str) -> (RawStream, u16) {
    let mut stream = raw.open().await;
    stream.headers(&connect(path)).await;
    let Outcome::Status(status) = stream.outcome().await else { panic!("no status") };
    (stream, status)
}

async fn open(weir: &Weir, protocol: Protocol, path: &str) -> Side {
    let (side, status) = ask(weir, protocol, path).await;
    assert_eq!(status, if protocol == Protocol::H1 { 101 } else { 200 }, "{protocol:?}");
    side
}

#[tokio::test]
async fn packets_pass_both_ways_over_every_protocol() {
    let target = target().await;
    let mut weir = setup("\"127.0.0.1:*\"", "").start().await;
    for protocol in Protocol::ALL {
        let mut side = open(&weir, protocol, &path("127.0.0.1", target.port())).await;
        side.send(&text("hello")).await;
        side.expect(&text("HELLO")).await;
        let label = format!("protocol=\"{}\"", protocol.label());
        weir.until_metric("http_tunnels_active", &[&label], |open| open == 1.0).await;
        // A context that nobody has registered, and a capsule of another type, are passed over.
        side.send(&String::from_utf8(capsule(2, b"lost")).unwrap()).await;
        side.send("\x17\x04some").await;
        // Capsules may be cut anywhere.
        let (one, other) = (text("cut"), text("both"));
        side.send(&one[..4]).await;
        side.send(&[&one[4..], &other].concat()).await;
        side.expect(&[text("CUT"), text("BOTH")].concat()).await;
        // A packet may be empty.
        side.send(&text("")).await;
        side.expect(&text("")).await;
        // A client that has closed its side still gets the answer.
        side.send(&text("last")).await;
        side.finish().await;
        side.expect(&text("LAST")).await;
        side.end().await;
        weir.until_metric("http_tunnels_active", &[&label], |open| open == 0.0).await;
        let record = weir.record().await;
        let status = if protocol == Protocol::H1 { 101 } else { 200 };
        assert_eq!((&record["status"], &record["route"]), (&status.into(), &"udp".into()));
        assert_eq!((&record["aborted"], &record["error"]), (&false.into(), &().into()));
        assert!(record["request_bytes"].as_u64() > record["response_bytes"].as_u64(), "{record}");
    }
}

#[tokio::test]
async fn a_client_that_takes_datagrams_gets_datagrams() {
    let target = target().await;
    let weir = setup("\"127.0.0.1:*\"", "").start().await;
    let raw = RawH3::announcing(&weir, &[0x33, 1]).await;
    let (mut stream, status) = ask_h3(&raw, &path("127.0.0.1", target.port())).await;
    assert_eq!(status, 200);
    let quic = &raw.connection;
    echoed(quic, &stream, b"out of the stream").await;
    // One that is sent as a capsule is answered outside of the stream too.
    stream.frame(raw_h3::DATA, &capsule(0, b"capsule")).await;
    until_received(quic, &datagram(&stream, b"CAPSULE")).await;
    // The answer fits into no packet of QUIC, and is dropped.
    stream.frame(raw_h3::DATA, &capsule(0, &[b'x'; 10_000])).await;
    stream.frame(raw_h3::DATA, &capsule(0, b"next")).await;
    until_received(quic, &datagram(&stream, b"NEXT")).await;
    // Datagrams of requests that are no tunnels are dropped, and harm none.
    let (refused, _) = ask_h3(&raw, "/udp/127.0.0.1/0/").await;
    let mut open = raw.open().await;
    open.headers(&raw_h2::post("/udp/127.0.0.1/1/")).await;
    for _ in 0..100 {
        quic.send_datagram(datagram(&refused, b"lost")).unwrap();
        quic.send_datagram(datagram(&open, b"lost")).unwrap();
    }
    echoed(quic, &stream, b"last").await;
    stream.finish();
    assert_eq!(stream.data().await, None);
}

/// Sends a datagram, again and again if it is lost, and waits for the answer of the target.
async fn echoed(quic: &quinn::Connection, stream: &RawStream, packet: &[u8]) {
    let answer = datagram(stream, &packet.to_ascii_uppercase());
    let sending = async {
        loop {
            quic.send_datagram(datagram(stream, packet)).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = sending => {}
        () = until_received(quic, &answer) => {}
    }
}

async fn until_received(quic: &quinn::Connection, expected: &Bytes) {
    while within("a datagram", quic.read_datagram()).await.unwrap() != expected {}
}

#[tokio::test]
async fn a_client_without_datagrams_gets_large_packets_in_capsules() {
    let target = target().await;
    let weir = setup("\"127.0.0.1:*\"", "").start().await;
    let raw = RawH3::connect(&weir).await;
    let (mut stream, _) = ask_h3(&raw, &path("127.0.0.1", target.port())).await;
    stream.frame(raw_h3::DATA, &capsule(0, &[b'x'; 50_000])).await;
    let expected = capsule(0, &[b'X'; 50_000]);
    let mut all = Vec::new();
    while all.len() < expected.len() {
        all.extend(stream.data().await.expect("the tunnel is open"));
    }
    assert!(all == expected);
}

#[tokio::test]
async fn datagrams_are_announced_only_where_a_route_takes_them() {
    let weir = setup("\"127.0.0.1:*\"", "").start().await;
    assert!(RawH3::connect(&weir).await.connection.max_datagram_size().is_some());
    let weir = Setup::addresses(["127.0.0.1:1".parse().unwrap()]).start().await;
    assert!(RawH3::connect(&weir).await.connection.max_datagram_size().is_none());
}

#[tokio::test]
async fn names_of_the_list_are_looked_up_and_all_else_is_refused() {
    let target = target().await.port();
    let targets = format!("\"localhost:{target}\", \"0.0.0.0/0:*\", \"nothing.invalid:53\"");
    let mut weir = setup(&targets, "").start().await;
    for protocol in Protocol::ALL {
        let mut side = open(&weir, protocol, &path("LocalHost", target)).await;
        side.send(&text("by name")).await;
        side.expect(&text("BY NAME")).await;
        drop(side);
        weir.record().await;
        for (host, port, status, error) in [
            ("localhost", "1", 403, "client/udp_forbidden"),
            ("other.example", "53", 403, "client/udp_forbidden"),
            // All of the internet, but not this machine.
            ("127.0.0.1", &target.to_string(), 403, "client/udp_forbidden"),
            ("%3A%3Affff%3A127.0.0.1", &target.to_string(), 403, "client/udp_forbidden"),
            ("nothing.invalid", "53", 502, "upstream/udp_lookup"),
            ("localhost", "0", 400, "client/malformed"),
            ("localhost", "https", 400, "client/malformed"),
            ("a%20b", "53", 400, "client/malformed"),
        ] {
            let (_side, answer) = ask(&weir, protocol, &format!("/udp/{host}/{port}/")).await;
            assert_eq!(answer, status, "{protocol:?} {host} {port}");
            let record = weir.record().await;
            assert_eq!(record["error"], error, "{protocol:?} {host} {port}");
        }
        // A request without a tunnel.
        assert_eq!(weir.get(protocol, &path("localhost", target)).await.0, 400);
        weir.record().await;
    }
}

#[tokio::test]
async fn a_tunnel_without_packets_ends() {
    let target = target().await;
    let weir = setup("\"127.0.0.1:*\"", ", idle: 2s").start().await;
    for protocol in Protocol::ALL {
        let started = Instant::now();
        let mut side = open(&weir, protocol, &path("127.0.0.1", target.port())).await;
        let mut packets = if protocol == Protocol::H2 { 6 } else { 1 };
        while packets > 0 {
            side.send(&text("x")).await;
            side.expect(&text("X")).await;
            packets -= 1;
            if packets > 0 {
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
        let last = started.elapsed();
        side.end().await;
        // Each packet gives the tunnel another two seconds.
        assert!(started.elapsed() >= last + Duration::from_millis(1900), "{protocol:?}");
    }
}

/// The client's window is full of answers, and its own packets still leave.
#[tokio::test]
async fn a_client_that_reads_nothing_can_still_send() {
    let counted = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = counted.local_addr().unwrap().port();
    let weir = setup("\"127.0.0.1:*\"", "").start().await;
    let mut raw = RawH2::connect(&weir).await;
    raw.headers(1, &connect(&path("127.0.0.1", port)), false).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    let mut packet = vec![0; 2000];
    for count in 0..300u16 {
        let sent = [&count.to_be_bytes()[..], &[7; 1000]].concat();
        raw.data(1, &capsule(0, &sent), false).await;
        let (length, from) = within("a packet", counted.recv_from(&mut packet)).await.unwrap();
        assert_eq!(packet[..length], sent);
        counted.send_to(&packet[..length], from).await.unwrap();
    }
}

#[tokio::test]
async fn a_route_has_a_number_of_tunnels() {
    let target = target().await;
    let mut weir = setup("\"127.0.0.1:*\"", ", tunnels: 2").start().await;
    let path = path("127.0.0.1", target.port());
    let mut first = open(&weir, Protocol::H2, &path).await;
    let _second = open(&weir, Protocol::H3, &path).await;
    let (_third, status) = ask(&weir, Protocol::H1, &path).await;
    assert_eq!(status, 503);
    assert_eq!(weir.record().await["error"], "proxy/udp_full");
    first.finish().await;
    first.end().await;
    assert_eq!(weir.record().await["status"], 200);
    let third = open(&weir, Protocol::H1, &path).await;
    // A client that is gone leaves its place too.
    drop(third);
    assert_eq!(weir.record().await["status"], 101);
    open(&weir, Protocol::H1, &path).await;
}

#[tokio::test]
async fn a_target_that_is_not_there_ends_the_tunnel() {
    let nobody = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = nobody.local_addr().unwrap().port();
    drop(nobody);
    let weir = setup("\"127.0.0.1:*\"", "").start().await;
    let raw = RawH3::connect(&weir).await;
    let (mut stream, status) = ask_h3(&raw, &path("127.0.0.1", port)).await;
    assert_eq!(status, 200);
    stream.frame(raw_h3::DATA, &capsule(0, b"anyone?")).await;
    assert!(matches!(stream.outcome().await, Outcome::Reset(_)));
}

#[tokio::test]
async fn broken_capsules_end_the_tunnel() {
    let target = target().await;
    let weir = setup("\"127.0.0.1:*\"", "").start().await;
    let too_large = [vec![0], raw_h3::varint(65_536), vec![0; 100]].concat();
    let large_packet = capsule(0, &[0; 65_528]);
    for (name, bytes, code) in [
        ("too large", too_large, DATAGRAM_ERROR),
        ("a packet that is too large", large_packet, DATAGRAM_ERROR),
        ("no context", vec![0, 0], DATAGRAM_ERROR),
        ("cut", text("cut").as_bytes()[..4].to_vec(), MESSAGE_ERROR),
    ] {
        let raw = RawH3::connect(&weir).await;
        let (mut stream, _) = ask_h3(&raw, &path("127.0.0.1", target.port())).await;
        stream.frame(raw_h3::DATA, &bytes).await;
        stream.finish();
        assert_eq!(stream.outcome().await, Outcome::Reset(code), "{name}");
        let mut raw = RawH2::connect(&weir).await;
        raw.headers(1, &connect(&path("127.0.0.1", target.port())), false).await;
        assert_eq!(raw.outcome(1).await, Outcome::Status(200));
        for piece in bytes.chunks(16_000) {
            raw.data(1, piece, false).await;
        }
        raw.data(1, b"", true).await;
        assert_eq!(raw.outcome(1).await, Outcome::Reset(PROTOCOL_ERROR), "{name}");
    }
}

/// Codes of HTTP/3 (RFC 9297 §5.2, RFC 9114 §8.1).
const DATAGRAM_ERROR: u64 = 0x33;
const MESSAGE_ERROR: u64 = 0x10e;

/// Of HTTP/2 (RFC 9113 §7).
const PROTOCOL_ERROR: u64 = 1;

/// Another proxy that opens the tunnel: its route names the protocol. Datagrams of the client reach
/// it as capsules.
#[tokio::test]
async fn a_proxy_before_another_one_passes_tunnels_on() {
    let target = target().await;
    let back = setup("\"127.0.0.1:*\"", "").start().await;
    for protocol in ["h2", "h3"] {
        let upstream = format!("protocol: {protocol}\n    tls: {{ verify: false }}");
        let front = Setup::addresses([back.address()])
            .upstream(&upstream)
            .routes("  - { upstream: app, upgrades: [connect-udp] }")
            .start()
            .await;
        let path = path("127.0.0.1", target.port());
        for client in Protocol::ALL {
            let mut side = open(&front, client, &path).await;
            side.send(&text("through both")).await;
            side.expect(&text("THROUGH BOTH")).await;
        }
        let raw = RawH3::announcing(&front, &[0x33, 1]).await;
        let (stream, status) = ask_h3(&raw, &path).await;
        assert_eq!(status, 200);
        echoed(&raw.connection, &stream, b"datagram").await;
    }
}
