//! The target of a request: one authority, compared after normalising, or the listener's own (RFC
//! 9110 §4.2.3, RFC 9112 §3.3, RFC 9113 §8.3.1).

use http::Request;

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{Outcome, RawH2};
use crate::support::raw_h3::RawH3;
use crate::support::{Body, Origin, Protocol, Setup};

fn fields<'a>(scheme: &'a str, authority: &'a str, host: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut fields =
        vec![(":method", "GET"), (":scheme", scheme), (":path", "/who"), (":authority", authority)];
    if authority.is_empty() {
        fields.pop();
    }
    fields.push(("host", host));
    fields
}

#[tokio::test]
async fn authority_and_host_are_compared_after_normalising() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let same = [
        ("localhost:443", "localhost"),
        ("localhost", "localhost:443"),
        ("localhost:", "localhost"),
        ("localhost", "localhost:"),
        ("localhost", "LOCALHOST:443"),
        ("[::1]:443", "[::1]"),
        ("[::1]", "[::1]:443"),
        ("localhost:8443", "localhost:8443"),
    ];
    for (authority, host) in same {
        let fields = fields("https", authority, host);
        let mut served = origin.requests();
        let outcomes = [RawH2::request(&weir, &fields).await, RawH3::request(&weir, &fields).await];
        for outcome in outcomes {
            assert_eq!(outcome, Outcome::Status(200), "{authority} and {host}");
            served += 1;
        }
        assert_eq!(origin.requests(), served);
        assert_eq!(origin.head().header("host"), authority, "the first counts");
    }
    let requests = origin.requests();
    for (scheme, authority, host) in [
        ("https", "localhost:80", "localhost"),
        ("http", "localhost:443", "localhost"),
        ("https", "localhost:8443", "localhost"),
        ("https", "localhost", "example.com"),
        ("https", "localhost", ""),
        ("https", "localhost", "u@localhost"),
    ] {
        let fields = fields(scheme, authority, host);
        assert!(RawH2::request(&weir, &fields).await.is_refusal(), "h2 {authority} and {host}");
        assert!(RawH3::request(&weir, &fields).await.is_refusal(), "h3 {authority} and {host}");
    }
    assert_eq!(origin.requests(), requests);
}

#[tokio::test]
async fn an_absolute_target_takes_the_place_of_host() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for host in ["localhost", "localhost:443", "example.com"] {
        let request = format!(
            "GET https://localhost:443/who HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(RawH1::exchange(&weir, &request).await.status(), 200, "{host}");
        let head = origin.head();
        assert_eq!((head.header("host").as_str(), head.target.as_str()), ("localhost:443", "/who"));
    }
}

#[tokio::test]
async fn brackets_hold_an_ipv6_address() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for host in ["[]", "[zz]", "[]:443", "[zz]:443", "[127.0.0.1]", "a[b]", "[::1]x"] {
        for target in ["/who".to_owned(), format!("https://{host}/who")] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let reply = RawH1::exchange(&weir, &request).await;
            assert_eq!((reply.status(), reply.closed), (400, true), "h1 {host}");
        }
        for (authority, host) in [(host, host), ("", host)] {
            let fields = fields("https", authority, host);
            assert!(RawH2::request(&weir, &fields).await.is_refusal(), "h2 {host}");
            assert!(RawH3::request(&weir, &fields).await.is_refusal(), "h3 {host}");
        }
    }
    assert_eq!(origin.requests(), 0);
    for protocol in Protocol::ALL {
        let request = Request::get("/who").header("host", "[2001:db8::1]:8443");
        let answer = weir.client(protocol).await.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{protocol:?}");
        assert_eq!(origin.head().header("host"), "[2001:db8::1]:8443", "{protocol:?}");
    }
}

#[tokio::test]
async fn http_1_0_without_host_is_served_by_the_address_that_it_came_to() {
    let origin = Origin::start().await;
    let plugin = "plugins: [{ name: h, source: builtin:headers, config: { request: { set: { x-seen: '${authority}' } } } }]";
    let weir = Setup::to([&origin])
        .top(plugin)
        .routes("  - { name: all, filters: [h], upstream: app }")
        .start()
        .await;
    let address = weir.address().to_string();
    for host in ["", "Host:\r\n", "Host: \t\r\n"] {
        let reply = RawH1::exchange(&weir, &format!("GET /who HTTP/1.0\r\n{host}\r\n")).await;
        assert_eq!((reply.status(), reply.closed), (200, true), "{host:?}: {reply:?}");
        let head = origin.head();
        for name in ["host", "x-seen", "x-forwarded-host"] {
            assert_eq!(head.header(name), address, "{host:?}: {name}");
        }
    }
    let reply = RawH1::exchange(&weir, "GET /who HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    assert_eq!((reply.status(), origin.head().header("host").as_str()), (200, "a.example"));
    // HTTP/1.1 requires Host (RFC 9112 §3.2).
    let requests = origin.requests();
    for host in ["", "Host:\r\n"] {
        let request = format!("GET /who HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        assert_eq!(RawH1::exchange(&weir, &request).await.status(), 400, "{host:?}");
    }
    assert_eq!(origin.requests(), requests);
}

#[tokio::test]
async fn a_default_host_is_routed_by_and_seen_by_all() {
    let origin = Origin::start().await;
    let plugin = "plugins: [{ name: h, source: builtin:headers, config: { request: { set: { x-seen: '${authority}' } } } }]";
    let weir = Setup::to([&origin])
        .listener("default_host: \"shop.example:8443\"")
        .top(plugin)
        .routes("  - { name: shop, match: { host: shop.example }, filters: [h], upstream: app }")
        .start()
        .await;
    let reply = RawH1::exchange(&weir, "GET /who HTTP/1.0\r\n\r\n").await;
    assert_eq!(reply.status(), 200, "{reply:?}");
    let head = origin.head();
    for name in ["host", "x-seen", "x-forwarded-host"] {
        assert_eq!(head.header(name), "shop.example:8443", "{name}");
    }
    let reply = RawH1::exchange(&weir, "GET /who HTTP/1.0\r\nHost: a.example\r\n\r\n").await;
    assert_eq!(reply.status(), 404, "a host that is named is not replaced");
}

#[tokio::test]
async fn a_fragment_goes_no_further_by_any_protocol() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (sent, target) in [("/a#b", "/a"), ("/a?b#c?d", "/a?b"), ("/#", "/")] {
        let request = format!("GET {sent} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(RawH1::exchange(&weir, &request).await.status(), 200, "{sent}");
        assert_eq!(origin.head().target, target, "h1 {sent}");
        let fields =
            [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", sent)];
        assert_eq!(RawH2::request(&weir, &fields).await, Outcome::Status(200), "{sent}");
        assert_eq!(origin.head().target, target, "h2 {sent}");
        assert_eq!(RawH3::request(&weir, &fields).await, Outcome::Status(200), "{sent}");
        assert_eq!(origin.head().target, target, "h3 {sent}");
    }
}
