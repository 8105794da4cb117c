//! The client's true address: fields of trusted proxies, and the PROXY protocol.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Body, Origin, Protocol, Setup, Weir, tls, within};

/// A filter that tells the client's address to the origin as plugins see it.
const SEEN: &str = "plugins:\n  - name: seen\n    source: builtin:headers\n    \
                    config: { request: { set: { x-seen: \"${client.address}\" } } }";

const IDENTITY: [&str; 9] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-client-cert",
    "x-real-ip",
    "true-client-ip",
    "x-client-ip",
    "forwarded",
];

#[tokio::test]
async fn fields_about_the_client_are_removed_unless_a_trusted_proxy_sends_them() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("trusted_proxies: [192.0.2.0/24]").start().await;
    for protocol in Protocol::ALL {
        let mut request = http::Request::get("/who");
        for name in IDENTITY {
            request = request.header(name, "203.0.113.7");
        }
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(weir.client(protocol).await.send(request).await.status, 200);
        let head = origin.head();
        for name in IDENTITY {
            assert!(!head.header(name).contains("203.0.113.7"), "{protocol:?} {name}: {head:?}");
        }
        assert_eq!(head.header("x-forwarded-for"), "127.0.0.1", "{protocol:?}");
    }
}

#[tokio::test]
async fn records_plugins_and_origins_see_the_client_behind_a_trusted_proxy() {
    let origin = Origin::start().await;
    let routes = "  - { name: all, filters: [seen], upstream: app }";
    let setup = Setup::to([&origin]).listener("trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]");
    let mut weir = setup.top(SEEN).routes(routes).start().await;
    for protocol in Protocol::ALL {
        let request = http::Request::get("/who")
            .header("x-forwarded-for", "6.6.6.6, 203.0.113.7, 10.1.1.1")
            .header("x-forwarded-proto", "http")
            .header("x-forwarded-host", "shop.example")
            .body(Body::empty())
            .unwrap();
        assert_eq!(weir.client(protocol).await.send(request).await.text().await, "origin");
        let head = origin.head();
        let way = "6.6.6.6, 203.0.113.7, 10.1.1.1, 127.0.0.1";
        assert_eq!(head.header("x-forwarded-for"), way, "{protocol:?}");
        assert_eq!(head.header("x-forwarded-proto"), "http", "{protocol:?}");
        assert_eq!(head.header("x-forwarded-host"), "shop.example", "{protocol:?}");
        assert_eq!(head.header("x-seen"), "203.0.113.7", "{protocol:?}");
        let record = weir.record().await;
        assert_eq!(record["client"], "203.0.113.7:0", "{protocol:?}");
        assert_eq!(record["scheme"], "http", "{protocol:?}");
    }
}

#[tokio::test]
async fn trailers_cannot_name_the_client_either() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let mut trailers: http::HeaderMap =
            IDENTITY.iter().map(|name| (name.parse().unwrap(), 7.into())).collect();
        trailers.insert("x-sum", 9.into());
        let names = format!("x-sum, {}", IDENTITY.join(", "));
        let request =
            http::Request::post("/echo").header("te", "trailers").header("trailer", names);
        let body = Body::from("text").with_trailers(trailers);
        let mut answer = weir.client(protocol).await.send(request.body(body).unwrap()).await;
        assert_eq!(answer.bytes().await.unwrap(), "text", "{protocol:?}");
        let left: Vec<_> = answer.trailers().keys().map(http::HeaderName::as_str).collect();
        assert_eq!(left, ["x-sum"], "{protocol:?}");
    }
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\r\n";

/// The preamble of version 2 for the same client.
fn v2() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    bytes.extend([203, 0, 113, 7, 198, 51, 100, 1, 0x13, 0x88, 1, 187]);
    bytes
}

async fn start(origin: &Origin, from: &str) -> Weir {
    let listener = format!("proxy_protocol: {{ from: [{from}] }}");
    Setup::to([origin])
        .listener(&listener)
        .listener("limits: { handshake_timeout: 300ms }")
        .start()
        .await
}

/// Sends a preamble in pieces, then a request over TLS. Returns the response, or nothing.
async fn get(weir: &Weir, pieces: &[&[u8]]) -> String {
    let mut stream = TcpStream::connect(weir.address()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in pieces {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let Ok(mut stream) = tls::over(stream, &[b"http/1.1"]).await else { return String::new() };
    let request = b"GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    let _ = within("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_preamble_names_the_client() {
    let origin = Origin::start().await;
    let mut weir = start(&origin, "127.0.0.0/8").await;
    let v2 = v2();
    let (a, b) = v2.split_at(14);
    for pieces in [&[V1][..], &[&V1[..3], &V1[3..20], &V1[20..]], &[&v2], &[a, b]] {
        assert!(get(&weir, pieces).await.starts_with("HTTP/1.1 200"), "{pieces:?}");
        assert_eq!(origin.head().header("x-forwarded-for"), "203.0.113.7");
        assert_eq!(weir.record().await["client"], "203.0.113.7:5000");
    }
    // A health check of the load balancer has no client.
    assert!(get(&weir, &[b"PROXY UNKNOWN\r\n"]).await.starts_with("HTTP/1.1 200"));
    assert_eq!(origin.head().header("x-forwarded-for"), "127.0.0.1");
}

#[tokio::test]
async fn a_preamble_is_required_from_the_listed_networks_and_refused_from_others() {
    let origin = Origin::start().await;
    let weir = start(&origin, "127.0.0.0/8").await;
    let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 300]].concat();
    for pieces in [&[][..], &[&V1[..30]], &[V1, V1], &[&long]] {
        assert_eq!(get(&weir, pieces).await, "", "{pieces:?}");
    }
    assert_eq!(origin.requests(), 0);
    // HTTP/3 has no preamble.
    assert_eq!(weir.get(Protocol::H3, "/who").await.0, 200);

    let others = start(&origin, "192.0.2.0/24").await;
    assert!(get(&others, &[]).await.starts_with("HTTP/1.1 200"));
    assert_eq!(get(&others, &[V1]).await, "");
}

/// An origin that tells the bytes before a request's head, and answers it.
async fn preambled() -> (std::net::SocketAddr, tokio::sync::mpsc::UnboundedReceiver<Vec<u8>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (told, received) = tokio::sync::mpsc::unbounded_channel();
    crate::support::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            crate::support::spawn(async move {
                let mut read = Vec::new();
                // Version 2 begins with an empty line too.
                while !(read.ends_with(b"\r\n\r\n") && read.len() > 100) {
                    read.push(stream.read_u8().await.ok()?);
                }
                let get = read.windows(4).position(|bytes| bytes == b"GET ")?;
                told.send(read[..get].to_vec()).ok()?;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                stream.write_all(answer).await.ok()?;
                let _ = stream.read(&mut [0; 1]).await;
                Some(())
            });
        }
    });
    (address, received)
}

#[tokio::test]
async fn origins_learn_the_client_by_a_preamble() {
    for version in ["v1", "v2"] {
        let (address, mut received) = preambled().await;
        let upstream = format!("proxy_protocol: {version}");
        let setup = Setup::addresses([address]).upstream(&upstream);
        let weir = setup.listener("trusted_proxies: [127.0.0.0/8]").start().await;
        for protocol in Protocol::ALL {
            // Two clients of one connection: each has a connection to the origin.
            let client = weir.client(protocol).await;
            for last in [7, 8] {
                let request = http::Request::get("/")
                    .header("x-forwarded-for", format!("203.0.113.{last}"))
                    .header("x-padding", "x".repeat(100));
                let answer = client.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.text().await, "ok", "{version} {protocol:?}");
                let preamble = within("a preamble", received.recv()).await.unwrap();
                if version == "v1" {
                    let line = String::from_utf8(preamble).unwrap();
                    let start = format!("PROXY TCP4 203.0.113.{last} 127.0.0.1 ");
                    assert!(line.starts_with(&start) && line.ends_with("\r\n"), "{line}");
                } else {
                    assert_eq!(preamble.len(), 28);
                    assert_eq!(preamble[..12], *b"\r\n\r\n\0\r\nQUIT\n");
                    assert_eq!(preamble[12..20], [0x21, 0x11, 0, 12, 203, 0, 113, last]);
                }
            }
        }
    }
}

#[tokio::test]
async fn two_proxies_pass_the_client_on_by_the_preamble_before_tls() {
    let origin = Origin::start().await;
    let back = start(&origin, "127.0.0.0/8").await;
    for version in ["v1", "v2"] {
        let upstream = format!("proxy_protocol: {version}\n    tls: {{ verify: false }}");
        let setup = Setup::addresses([back.address()]).upstream(&upstream);
        let front = setup.listener("trusted_proxies: [127.0.0.0/8]").start().await;
        for protocol in Protocol::ALL {
            let request = http::Request::get("/who").header("x-forwarded-for", "203.0.113.9");
            let request = request.body(Body::empty()).unwrap();
            let answer = front.client(protocol).await.send(request).await;
            assert_eq!(answer.text().await, "origin", "{version} {protocol:?}");
            assert_eq!(
                origin.head().header("x-forwarded-for"),
                "203.0.113.9",
                "{version} {protocol:?}"
            );
        }
    }
}
