//! The choice of a route: the first one that has all its conditions met.

use http::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Body, Origin, Protocol, Setup};

#[tokio::test]
async fn the_first_route_that_matches_wins() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).routes(ROUTES).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for (method, host, path, tenant, expected) in [
            ("GET", "a.example.com", "/api", "", "wildcard"),
            ("GET", "a.b.example.com", "/api/deep?x", "", "wildcard"),
            ("GET", "example.com", "/api", "", "rest"),
            ("GET", "A.EXAMPLE.com:8443", "/apix", "", "rest"),
            ("POST", "x", "/exact", "", "post"),
            ("GET", "x", "/exact", "", "rest"),
            ("GET", "x", "/tenant", "acme", "tenant"),
            ("GET", "x", "/tenant", "other", "rest"),
        ] {
            let request = Request::builder().method(method).uri(path).header("host", host);
            let request = request.header("x-tenant", tenant).body(Body::empty()).unwrap();
            let answer = client.send(request).await.text().await;
            assert_eq!(answer, expected, "{protocol:?} {method} {host} {path} {tenant}");
        }
    }
}

#[tokio::test]
async fn no_route_is_a_404_that_is_counted_as_such() {
    let origin = Origin::start().await;
    let routes = "  - { name: one, match: { path: /one }, upstream: app }";
    let weir = Setup::to([&origin]).routes(routes).start().await;
    assert_eq!(weir.get(Protocol::H2, "/two").await.0, 404);
    assert_eq!(weir.get(Protocol::H2, "/one").await.0, 200);
    weir.until_metric("http_requests_total", &["status=\"404\"", "route=\"none\""], |n| n == 1.0)
        .await;
    weir.until_metric("http_requests_total", &["status=\"200\"", "route=\"one\""], |n| n == 1.0)
        .await;
}

const ROUTES: &str = r#"
  - { name: wildcard, match: { host: "*.example.com", path: /api/* }, respond: { body: wildcard } }
  - { name: post, match: { path: /exact, methods: [POST, PUT] }, respond: { body: post } }
  - { name: tenant, match: { headers: { x-tenant: acme } }, respond: { body: tenant } }
  - { name: rest, respond: { body: rest } }"#;

#[tokio::test]
async fn a_listener_redirects_to_https_with_host_and_path() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).tls("redirect: \"https:8443\"").start().await;
    for (target, host, location) in [
        ("/a?b=c", "shop.example", "https://shop.example:8443/a?b=c"),
        ("/", "shop.example:8080", "https://shop.example:8443/"),
        ("/x", "[::1]:80", "https://[::1]:8443/x"),
    ] {
        for method in ["GET", "POST"] {
            let mut stream = TcpStream::connect(weir.address()).await.unwrap();
            let request = format!(
                "{method} {target} HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 308"), "{answer}");
            assert!(answer.contains(&format!("\r\nlocation: {location}\r\n")), "{answer}");
        }
    }
    assert_eq!(origin.requests(), 0);
}
