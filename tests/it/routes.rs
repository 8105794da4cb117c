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
async fn parts_of_the_path_reach_filters_as_they_were_sent() {
    let origin = Origin::start().await;
    let plugins = "plugins:
  - { name: away, source: builtin:rewrite, config: { rules: [{ regex: '^/.*', replace: /head }] } }
  - { name: parts, source: builtin:headers, config: { request: { set: { x-id: '${path:id}', x-rest: '${path:rest}' } } } }";
    let routes = r#"
  - { match: { path: ["/users/{id}", "/files/{id}/{*rest}"] }, filters: [away, parts], upstream: app }
  - { respond: { status: 404 } }"#;
    let weir = Setup::to([&origin]).top(plugins).routes(routes).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for (path, id, rest) in [
            ("/users/5?x=y", "5", ""),
            ("/users/a%2Fb", "a%2Fb", ""),
            ("/files/7/a/b%20c", "7", "a/b%20c"),
            ("/files/7", "7", ""),
        ] {
            assert_eq!(client.get(path).await.status, 200, "{protocol:?} {path}");
            let head = origin.head();
            let seen = (head.header("x-id"), head.header("x-rest"));
            assert_eq!((seen.0.as_str(), seen.1.as_str()), (id, rest), "{protocol:?} {path}");
        }
        for path in ["/users", "/users/", "/users/5/6", "/files/"] {
            assert_eq!(client.get(path).await.status, 404, "{protocol:?} {path}");
        }
    }
}

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

#[tokio::test]
async fn a_rule_may_name_several_hosts_and_paths() {
    let origin = Origin::start().await;
    let routes = r#"
  - match: { host: [a.example, "*.b.example"], path: [/one, /two/*] }
    respond: { body: both }
  - { name: rest, respond: { body: rest } }"#;
    let weir = Setup::to([&origin]).routes(routes).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        for (host, path, expected) in [
            ("a.example", "/one", "both"),
            ("x.b.example", "/two/three", "both"),
            ("a.example", "/two", "both"),
            ("a.example", "/three", "rest"),
            ("b.example", "/one", "rest"),
        ] {
            let request = Request::get(path).header("host", host).body(Body::empty()).unwrap();
            let answer = client.send(request).await.text().await;
            assert_eq!(answer, expected, "{protocol:?} {host} {path}");
        }
    }
}

#[tokio::test]
async fn upstreams_share_requests_by_weight_and_a_cookie_keeps_clients() {
    let [app, b, c] =
        [Origin::named("app").await, Origin::named("b").await, Origin::named("c").await];
    let routes = r"
  - name: all
    split: [{ upstream: app, weight: 3 }, { upstream: b }, { upstream: c, weight: 0 }]
    sticky: { cookie: lane, max_age: 1h }";
    let mut setup = Setup::to([&app]).routes(routes);
    for (name, origin) in [("b", &b), ("c", &c)] {
        let address = origin.address();
        let upstream =
            format!("  - {{ name: {name}, endpoints: [{{ address: \"{address}\" }}] }}\n");
        setup = setup.upstream_after(&upstream);
    }
    let weir = setup.start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let mut counts = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..200 {
            let answer = client.get("/who").await;
            let cookie = answer.header("set-cookie").to_owned();
            let name = answer.text().await;
            let expected =
                format!("lane={name}; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600; Secure");
            assert_eq!(cookie, expected, "{protocol:?}");
            *counts.entry(name).or_default() += 1;
        }
        let of = |name: &str| counts.get(name).copied().unwrap_or_default();
        assert!((110..190).contains(&of("app")) && of("c") == 0, "{protocol:?} {counts:?}");
        for name in ["b", "c"] {
            for _ in 0..10 {
                let request = Request::get("/who").header("cookie", format!("x=1; lane={name}"));
                let answer = client.send(request.body(Body::empty()).unwrap()).await;
                assert_eq!(answer.header("set-cookie"), "", "{protocol:?}");
                assert_eq!(answer.text().await, name, "{protocol:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_route_has_time_limits_of_its_own() {
    let origin = Origin::start().await;
    let routes = r"
  - { name: short, match: { path: /hold/100 }, upstream: app, timeouts: { first_byte: 100ms } }
  - { name: idle, match: { path: /hold-body }, upstream: app, timeouts: { idle: 100ms } }
  - { name: total, match: { path: /endless }, upstream: app, timeouts: { total: 200ms } }
  - { name: long, match: { path: /hold/long }, upstream: app, timeouts: { first_byte: 0s } }
  - { name: rest, upstream: app }";
    let upstream = "timeouts: { first_byte: 50ms, idle: 60s }";
    let weir = Setup::to([&origin]).upstream(upstream).routes(routes).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        assert_eq!(client.get("/hold/100").await.status, 504, "{protocol:?}");
        let mut held = client.get("/hold-body").await;
        assert_eq!(held.chunk().await.unwrap().unwrap(), "first", "{protocol:?}");
        assert!(held.chunk().await.unwrap().is_err(), "{protocol:?}");
        let client = weir.client(protocol).await;
        assert!(client.get("/endless").await.count().await.is_err(), "{protocol:?}");
        // The upstream's own limit ends another request, and not this one.
        let others = async {
            assert_eq!(weir.get(protocol, "/hold/rest").await.0, 504, "{protocol:?}");
            origin.release();
        };
        let client = weir.client(protocol).await;
        let (answer, ()) = tokio::join!(client.get("/hold/long"), others);
        assert_eq!(answer.status, 200, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_route_has_a_body_limit_of_its_own() {
    let origin = Origin::start().await;
    let routes = r"
  - { name: upload, match: { path: /count }, upstream: app, limits: { body: 1MiB } }
  - { name: small, match: { path: /echo }, upstream: app, limits: { body: 10B } }
  - { name: rest, upstream: app }";
    let setup = Setup::to([&origin]).listener("limits: { body: 1KiB }").routes(routes);
    let weir = setup.start().await;
    for protocol in Protocol::ALL {
        for (path, length, expected) in [
            ("/count", 500_000, 200),
            ("/count", 2_000_000, 413),
            ("/echo", 10, 200),
            ("/echo", 11, 413),
            ("/who", 1000, 200),
            ("/who", 2000, 413),
        ] {
            let client = weir.client(protocol).await;
            let answer = client.post(path, Body::repeat(length)).await;
            assert_eq!(answer.status, expected, "{protocol:?} {path} {length}");
        }
    }
}

#[tokio::test]
async fn copies_go_to_the_mirror_and_never_hold_a_request_up() {
    let (app, shadow) = (Origin::named("app").await, Origin::named("shadow").await);
    let address = shadow.address();
    let upstream = format!("  - {{ name: shadow, endpoints: [{{ address: \"{address}\" }}] }}\n");
    let routes = "  - { name: all, upstream: app, mirror: { upstream: shadow } }";
    let setup = Setup::to([&app]).upstream_after(&upstream).routes(routes);
    let weir = setup.start().await;
    let mut copies = 0;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        assert_eq!(client.get("/who?a=b").await.text().await, "app", "{protocol:?}");
        shadow.until_requests(copies + 1).await;
        assert_eq!(shadow.head().target, "/who?a=b");
        assert_eq!(client.post("/echo", "some bytes").await.text().await, "some bytes");
        shadow.until_requests(copies + 2).await;
        let head = shadow.head();
        assert_eq!((&*head.method, head.header("content-length")), ("POST", "10".to_owned()));
        assert_eq!(head.header("x-forwarded-for"), "127.0.0.1");
        // A body of unknown length.
        let (sender, body) = Body::channel();
        let send = async {
            sender.send("one").await;
            sender.send("two").await;
            drop(sender);
        };
        let (answer, ()) = tokio::join!(client.post("/echo", body), send);
        assert_eq!(answer.text().await, "onetwo", "{protocol:?}");
        shadow.until_requests(copies + 3).await;
        copies += 3;
        // One that is too large, and the mirror answers nothing.
        let answer = client.post("/count", Body::repeat(100_000)).await;
        assert_eq!(answer.text().await, "100000", "{protocol:?}");
        let mut held = client.get("/hold-body").await;
        assert_eq!(held.chunk().await.unwrap().unwrap(), "first");
        app.release();
        assert_eq!(held.chunk().await.unwrap().unwrap(), "last", "{protocol:?}");
        shadow.until_requests(copies + 1).await;
        copies += 1;
    }
    assert_eq!(shadow.requests(), copies);
    assert_eq!(app.requests(), 15);
}

#[tokio::test]
async fn a_share_of_requests_is_copied_and_a_mirror_that_is_gone_harms_nothing() {
    let app = Origin::named("app").await;
    let shadow = Origin::named("shadow").await;
    let (gone, _port) = crate::support::weir::refusing_address();
    let address = shadow.address();
    let upstreams = format!(
        "  - {{ name: shadow, endpoints: [{{ address: \"{address}\" }}] }}\n  \
         - {{ name: gone, endpoints: [{{ address: \"{gone}\" }}] }}\n"
    );
    let routes = r"
  - { match: { path: /gone }, upstream: app, mirror: { upstream: gone } }
  - { upstream: app, mirror: { upstream: shadow, share: 25% } }";
    let setup = Setup::to([&app]).upstream_after(&upstreams).routes(routes);
    let weir = setup.start().await;
    let client = weir.client(Protocol::H2).await;
    for _ in 0..200 {
        assert_eq!(client.get("/gone").await.text().await, "app");
        assert_eq!(client.get("/who").await.text().await, "app");
    }
    shadow.until_requests(20).await;
    assert!((20..=90).contains(&shadow.requests()), "{}", shadow.requests());
}
