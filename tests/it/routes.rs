//! The choice of a route: the first one that has all its conditions met.

use http::Request;

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
