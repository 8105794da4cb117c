//! The listeners: certificates, TLS versions, protocols, and the features of QUIC.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{Outcome, post};
use crate::support::raw_h3::RawH3;
use crate::support::raw_quic::{Relay, Reply, first_packets, knock};
use crate::support::{Client, Origin, Protocol, Setup, tls};

#[tokio::test]
async fn certificates_are_chosen_by_server_name() {
    let origin = Origin::start().await;
    let setup = Setup::to([&origin]);
    for name in ["one.example", "two.example"] {
        let made = rcgen::generate_simple_self_signed(vec![name.to_owned()]).unwrap();
        std::fs::write(setup.directory().join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(
            setup.directory().join(format!("{name}.key")),
            made.signing_key.serialize_pem(),
        )
        .unwrap();
    }
    let tls = "tls: { certificates: [{ cert: one.example.pem, key: one.example.key }, { cert: two.example.pem, key: two.example.key }] }";
    let weir = setup.tls(tls).start().await;
    for (asked, expected) in
        [("one.example", "one.example"), ("two.example", "two.example"), ("other", "one.example")]
    {
        let stream = tls::connect_as(weir.address(), &[b"h2"], asked).await.unwrap();
        let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
        let text = String::from_utf8_lossy(&certificate).into_owned();
        assert!(text.contains(expected), "{asked}: {text}");
    }
    for protocol in Protocol::ALL {
        assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn tcp_speaks_tls_1_2_and_1_3() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let stream = connect(weir.address(), &[version]).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
    }
}

#[tokio::test]
async fn a_client_without_alpn_speaks_http_1() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let stream = tls::connect(weir.address(), &[]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let reply =
        RawH1::exchange(&weir, "GET /who HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(reply.closed && reply.text.ends_with("origin"), "{reply:?}");
}

#[tokio::test]
async fn only_the_configured_protocols_are_served() {
    let origin = Origin::start().await;
    for only in Protocol::ALL {
        let weir =
            Setup::to([&origin]).listener(&format!("protocols: [{}]", only.label())).start().await;
        for protocol in Protocol::ALL {
            let connect = Client::try_connect(weir.address(), protocol);
            let connected = tokio::time::timeout(std::time::Duration::from_secs(2), connect).await;
            assert_eq!(
                matches!(connected, Ok(Ok(_))),
                protocol == only,
                "{protocol:?} at {only:?}"
            );
        }
    }
}

#[tokio::test]
async fn plain_text_is_http_1() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).tls("protocols: [h1]").start().await;
    let (status, body) = crate::support::weir::scrape(weir.address(), "/who").await;
    assert_eq!((status, body.as_str()), (200, "origin"));
    assert_eq!(origin.head().header("x-forwarded-proto"), "http");
}

#[tokio::test]
async fn a_quic_connection_survives_a_change_of_address_on_any_worker() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(4).start().await;
    for _ in 0..8 {
        let client = weir.client(Protocol::H3).await;
        for _ in 0..4 {
            assert_eq!(client.get("/who").await.text().await, "origin");
            client.rebind();
        }
        assert_eq!(client.get("/who").await.text().await, "origin");
    }
    assert_eq!(
        weir.metric("quic_connections_total", &[]).await,
        8.0,
        "no connection was made anew"
    );
}

#[tokio::test]
async fn every_worker_serves() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(4).start().await;
    for protocol in Protocol::ALL {
        for _ in 0..24 {
            assert_eq!(weir.get(protocol, "/who").await.0, 200, "{protocol:?}");
        }
    }
    // Each worker has upstream connections of its own.
    assert!(origin.connections() >= 3, "{}", origin.connections());
}

#[tokio::test]
async fn a_client_must_prove_its_address_when_retry_is_always() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("quic: { retry: always }").start().await;
    let [packet] = &first_packets(1).await[..] else { panic!("one packet") };
    assert_eq!(knock(&weir, packet).await, Reply::Retry);
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200, "who goes on with it is served");
}

/// Half-open handshakes cost newcomers a proof of their address: from a hundred per worker on, with
/// `retry: under-load`.
#[tokio::test]
async fn a_client_must_prove_its_address_under_load_only() {
    let origin = Origin::start().await;
    for (retry, last) in [("under-load", Reply::Retry), ("never", Reply::Initial)] {
        let listener = format!("quic: {{ retry: {retry} }}");
        let patient = "limits: { handshake_timeout: 60s }";
        let setup = Setup::to([&origin]).listener(&listener).listener(patient);
        let weir = setup.workers(1).start().await;
        let packets = first_packets(101).await;
        let (newcomer, half_open) = packets.split_last().unwrap();
        for packet in half_open {
            assert_eq!(knock(&weir, packet).await, Reply::Initial, "{retry}");
        }
        assert_eq!(knock(&weir, newcomer).await, last, "{retry}");
        assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200, "{retry}");
    }
}

#[tokio::test]
async fn packets_grow_beyond_the_least_with_mtu_discovery_only() {
    let origin = Origin::start().await;
    for (discovers, grows) in [(true, true), (false, false)] {
        let listener = format!("quic: {{ mtu_discovery: {discovers} }}");
        let weir = Setup::to([&origin]).listener(&listener).start().await;
        let relay = Relay::start(&weir).await;
        let client = Client::connect(relay.address, Protocol::H3).await;
        for _ in 0..10 {
            assert_eq!(client.get("/bytes/300000").await.count().await.unwrap(), 300_000);
        }
        // RFC 9000 §14: every path takes 1,200 bytes.
        assert_eq!(relay.largest() > 1200, grows, "{}", relay.largest());
    }
}

#[tokio::test]
async fn a_client_may_send_as_far_ahead_as_the_windows_say() {
    let origin = Origin::start().await;
    // The control stream's three bytes count for the connection.
    for (windows, stream_takes) in [
        ("stream_window: 20KiB, connection_window: 1MiB", 20 << 10),
        ("stream_window: 40KiB, connection_window: 40KiB", (40 << 10) - 3),
    ] {
        let weir = Setup::to([&origin]).listener(&format!("quic: {{ {windows} }}")).start().await;
        let raw = RawH3::connect(&weir).await;
        let mut stream = raw.open().await;
        // Nothing is acknowledged yet: the bytes taken at once fill the window.
        let taken = stream.send.write(&vec![0; 2 << 20]).await.unwrap();
        assert_eq!(taken, stream_takes, "{windows}");
        let raw = RawH3::connect(&weir).await;
        let mut next = raw.open().await;
        next.headers(&post("/count")).await;
        next.frame(0, &vec![b'x'; 200 << 10]).await;
        next.finish();
        assert_eq!(next.outcome().await, Outcome::Status(200), "{windows}");
    }
}

#[tokio::test]
async fn a_quic_connection_keeps_its_address_when_migration_is_off() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("quic: { migration: false }").start().await;
    let client = weir.client(Protocol::H3).await;
    assert_eq!(client.get("/who").await.text().await, "origin");
    client.rebind();
    let answer = tokio::time::timeout(std::time::Duration::from_secs(1), client.get("/who"));
    assert!(answer.await.is_err(), "packets from another address are nobody's");
    assert_eq!(origin.requests(), 1);
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}

#[tokio::test]
async fn rubbish_on_the_udp_port_is_ignored() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for length in [0, 1, 20, 1200, 1400] {
        for first in [0x00, 0x40, 0xc0, 0xff] {
            socket.send_to(&vec![first; length], weir.address()).await.unwrap();
        }
    }
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);
}

async fn connect(
    address: std::net::SocketAddr,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let any = tls::config(&[]);
    let provider = any.crypto_provider().clone();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    config.dangerous().set_certificate_verifier(tls::any_certificate());
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
