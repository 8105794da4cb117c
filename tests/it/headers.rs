//! Header fields on their way through: those that Weir removes, adds and keeps (RFC 9110 §7.6, RFC
//! 7239).

use http::Request;

use crate::support::raw_h1::RawH1;
use crate::support::{Body, Client, Origin, Protocol, RawOrigin, Setup};

#[tokio::test]
async fn the_origin_learns_who_asked_for_what_and_how() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        send(&weir.client(protocol).await, &[("host", "shop.example:8443")]).await;
        let head = origin.head();
        assert_eq!(head.header("host"), "shop.example:8443", "{protocol:?}");
        assert_eq!(head.header("x-forwarded-for"), "127.0.0.1", "{protocol:?}");
        assert_eq!(head.header("x-forwarded-proto"), "https", "{protocol:?}");
        assert_eq!(head.header("x-forwarded-host"), "shop.example:8443", "{protocol:?}");
        let forwarded = head.header("forwarded").replace('"', "");
        assert_eq!(forwarded, "for=127.0.0.1;host=shop.example:8443;proto=https", "{protocol:?}");
        assert_eq!(head.header("via"), format!("{} weir", protocol.via()), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_field_with_an_underscore_passes_only_where_it_may() {
    let origin = Origin::start().await;
    let sent = [("x_forwarded_for", "6.6.6.6"), ("x-own", "1")];
    for (limits, passes) in [("{}", false), ("{ underscores_in_headers: true }", true)] {
        let weir = Setup::to([&origin]).listener(&format!("limits: {limits}")).start().await;
        for protocol in Protocol::ALL {
            send(&weir.client(protocol).await, &sent).await;
            let head = origin.head();
            assert_eq!(head.headers.get("x_forwarded_for").is_some(), passes, "{protocol:?}");
            assert_eq!(head.header("x-own"), "1", "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn forwarding_fields_of_trusted_proxies_are_kept_in_front() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("trusted_proxies: [127.0.0.0/8]").start().await;
    for protocol in Protocol::ALL {
        let fields = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
            ("forwarded", "for=192.0.2.1"),
            ("via", "1.0 fred, 1.1 p.example"),
        ];
        send(&weir.client(protocol).await, &fields).await;
        let head = origin.head();
        assert_eq!(
            head.header("x-forwarded-for"),
            "192.0.2.1, 192.0.2.2, 127.0.0.1",
            "{protocol:?}"
        );
        assert!(
            head.header("forwarded").starts_with("for=192.0.2.1, for=127.0.0.1;"),
            "{protocol:?}"
        );
        let via = format!("1.0 fred, 1.1 p.example, {} weir", protocol.via());
        assert_eq!(head.header("via"), via, "{protocol:?}");
    }
}

#[tokio::test]
async fn a_client_cannot_claim_another_scheme_or_host() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let fields = [("x-forwarded-proto", "http"), ("x-forwarded-host", "evil.example")];
        send(&weir.client(protocol).await, &[&fields[..], &[("host", "a.example")]].concat()).await;
        assert_eq!(origin.head().header("x-forwarded-proto"), "https", "{protocol:?}");
        assert_eq!(origin.head().header("x-forwarded-host"), "a.example", "{protocol:?}");
    }
}

#[tokio::test]
async fn connection_fields_of_the_client_stay_behind() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let fields = [
        ("connection", "keep-alive, x-mine, X-Other"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic YTpi"),
        ("x-mine", "1"),
        ("x-other", "1"),
        ("x-kept", "1"),
    ];
    send(&weir.client(Protocol::H1).await, &fields).await;
    let head = origin.head();
    for name in ["keep-alive", "proxy-connection", "proxy-authorization", "x-mine", "x-other"] {
        assert_eq!(head.header(name), "", "{name}");
    }
    assert_eq!(head.header("x-kept"), "1");
}

#[tokio::test]
async fn a_client_cannot_have_forwarding_fields_removed_by_naming_them_in_connection() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let named =
        "close, x-forwarded-for, forwarded, via, x-forwarded-proto, x-forwarded-host, host, cookie";
    let fields = [("connection", named), ("x-forwarded-for", "192.0.2.9"), ("cookie", "a=b")];
    send(&weir.client(Protocol::H1).await, &fields).await;
    let head = origin.head();
    assert!(head.header("x-forwarded-for").ends_with("127.0.0.1"), "{head:?}");
    for name in ["forwarded", "via", "x-forwarded-proto", "x-forwarded-host", "host"] {
        assert_ne!(head.header(name), "", "{name}");
    }
}

#[tokio::test]
async fn connection_fields_of_the_origin_stay_behind() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: keep-alive, x-mine\r\nKeep-Alive: timeout=5\r\n\
        X-Mine: 1\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Kept: 1\r\nContent-Length: 2\r\n\r\nok";
    let origin = RawOrigin::answering(answer).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/").await;
        assert_eq!(answer.header("x-kept"), "1", "{protocol:?}");
        for name in ["keep-alive", "x-mine", "upgrade", "transfer-encoding"] {
            assert_eq!(answer.header(name), "", "{protocol:?}: {name}");
        }
        assert_eq!(answer.text().await, "ok");
    }
}

#[tokio::test]
async fn answers_carry_a_via() {
    let answer = "HTTP/1.1 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 0\r\n\r\n";
    let origin = RawOrigin::answering(answer).await;
    let weir = Setup::addresses([origin.address()]).start().await;
    for protocol in Protocol::ALL {
        let answer = weir.client(protocol).await.get("/").await;
        assert_eq!(answer.header("via"), "1.1 inner, 1.1 weir", "{protocol:?}");
    }
}

#[tokio::test]
async fn an_empty_list_becomes_no_empty_member() {
    let answer = "HTTP/1.1 200 OK\r\nVia:\r\nVia: \t\r\nVia: ,\r\nContent-Length: 0\r\n\r\n";
    let raw = RawOrigin::answering(answer).await;
    let (origin, after) = (Origin::start().await, Setup::addresses([raw.address()]).start().await);
    let weir = Setup::to([&origin]).listener("trusted_proxies: [127.0.0.1]").start().await;
    for protocol in Protocol::ALL {
        for empty in [&[""][..], &[" "], &[","], &["", " , ", ""]] {
            let names = ["x-forwarded-for", "forwarded", "via"];
            let fields =
                names.iter().flat_map(|name| empty.iter().map(move |value| (*name, *value)));
            send(&weir.client(protocol).await, &fields.collect::<Vec<_>>()).await;
            let head = origin.head();
            assert_eq!(head.all("x-forwarded-for"), ["127.0.0.1"], "{protocol:?} {empty:?}");
            assert!(head.header("forwarded").starts_with("for=127.0.0.1;"), "{protocol:?}");
            assert_eq!(head.all("via"), [format!("{} weir", protocol.via())], "{protocol:?}");
        }
        let answer = after.client(protocol).await.get("/").await;
        let via: Vec<_> = answer.headers.get_all("via").iter().collect();
        assert_eq!(via, ["1.1 weir"], "{protocol:?}");
    }
}

#[tokio::test]
async fn via_tells_the_version_that_was_received() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for (version, via) in [("1.0", "1.0 weir"), ("1.1", "1.1 weir")] {
        let request = format!("GET /who HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(RawH1::exchange(&weir, &request).await.status(), 200);
        assert_eq!(origin.head().header("via"), via);
    }
    for version in ["1.0", "1.1"] {
        let answer = format!("HTTP/{version} 200 OK\r\nContent-Length: 2\r\n\r\nok");
        let old = RawOrigin::answering(&answer).await;
        let weir = Setup::addresses([old.address()]).start().await;
        for protocol in Protocol::ALL {
            let answer = weir.client(protocol).await.get("/").await;
            assert_eq!(answer.header("via"), format!("{version} weir"), "{protocol:?}");
        }
        let reply =
            RawH1::exchange(&weir, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert!(reply.await.text.starts_with("HTTP/1.1 200"), "the client's own version");
    }
}

#[tokio::test]
async fn tcp_answers_offer_http_3_on_the_same_port() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let answer = weir.client(protocol).await.get("/").await;
        let expected = format!("h3=\":{}\"", weir.address().port());
        assert!(answer.header("alt-svc").starts_with(&expected), "{:?}", answer.headers);
    }
    let answer = weir.client(Protocol::H3).await.get("/").await;
    assert_eq!(answer.header("alt-svc"), "");
}

#[tokio::test]
async fn no_http_3_is_offered_where_none_is_served() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("protocols: [h2, h1]").start().await;
    for protocol in [Protocol::H1, Protocol::H2] {
        let answer = weir.client(protocol).await.get("/").await;
        assert_eq!(answer.header("alt-svc"), "", "{protocol:?}");
    }
}

#[tokio::test]
async fn repeated_fields_and_cookies_arrive() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let fields = [("x-list", "1"), ("x-list", "2"), ("cookie", "a=b; c=d")];
        send(&weir.client(protocol).await, &fields).await;
        assert_eq!(origin.head().all("x-list"), ["1", "2"], "{protocol:?}");
        assert_eq!(origin.head().all("cookie"), ["a=b; c=d"], "{protocol:?}");
    }
}

#[tokio::test]
async fn several_cookie_fields_become_one_toward_http_1() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in [Protocol::H2, Protocol::H3] {
        send(&weir.client(protocol).await, &[("cookie", "a=b"), ("cookie", "c=d")]).await;
        // RFC 9113 §8.2.3, RFC 9114 §4.2.1: joined by "; " before they are forwarded.
        assert_eq!(origin.head().all("cookie"), ["a=b; c=d"], "{protocol:?}");
    }
}

#[tokio::test]
async fn te_says_trailers_or_nothing() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        send(&client, &[("te", "trailers")]).await;
        assert_eq!(origin.head().header("te"), "trailers", "{protocol:?}");
        send(&client, &[]).await;
        assert_eq!(origin.head().header("te"), "", "{protocol:?}");
    }
}

#[tokio::test]
async fn fixed_answers_and_errors_need_no_origin_but_tell_their_request() {
    let routes =
        "  - { match: { path: /fixed }, respond: { status: 418, body: tea, headers: { x-a: b } } }";
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).routes(routes).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let fixed = client.get("/fixed").await;
        assert_eq!((fixed.status.as_u16(), fixed.header("x-a")), (418, "b"), "{protocol:?}");
        assert_eq!(fixed.text().await, "tea");
        let none = client.get("/elsewhere").await;
        assert_eq!(none.status, 404, "{protocol:?}");
        assert_eq!(none.header("x-request-id").len(), 16, "{:?}", none.headers);
    }
}

async fn send(client: &Client, fields: &[(&str, &str)]) {
    let request =
        fields.iter().fold(Request::get("/who"), |r, (name, value)| r.header(*name, *value));
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.text().await, "origin");
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_whoever_makes_it() {
    let origin = Origin::start().await;
    let routes = "  - { name: fixed, match: { path: /fixed }, respond: { body: some text } }
  - { name: limited, match: { path: /limited }, filters: [one], upstream: app }
  - { name: app, match: { path: /who }, upstream: app }";
    for protocol in Protocol::ALL {
        let one = "plugins: [{ name: one, source: builtin:rate-limit, config: { requests: 1, per: 1h } }]";
        let weir = Setup::to([&origin]).top(one).routes(routes).workers(1).start().await;
        let client = weir.client(protocol).await;
        client.get("/limited").await.text().await;
        for (path, status) in [("/nothing", 404), ("/fixed", 200), ("/limited", 429), ("/who", 200)]
        {
            let head = Request::head(path).body(Body::empty()).unwrap();
            let mut answer = client.send(head).await;
            assert_eq!(answer.status, status, "{protocol:?} {path}");
            let length: usize = answer.header("content-length").parse().unwrap();
            let body = answer.bytes().await;
            assert_eq!(body.expect("no byte is too many"), "", "{protocol:?} {path}");
            let got = client.get(path).await.text().await;
            assert_eq!(got.len(), length, "{protocol:?} {path}: {got}");
        }
    }
}
