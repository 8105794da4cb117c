//! Malformed requests (RFC 9114 §4.1.2): each ends its stream with H3_MESSAGE_ERROR, and the
//! connection continues.

use weir_h3::{Code, Config};

use super::client::Outcome::{Reset, Status};
use super::run;
use super::server::connect;
use super::wire::*;

type Fields<'a> = Vec<(&'a str, &'a str)>;

/// A GET of `https://a.test/` without the field `without` and with the fields `with`.
fn changed<'a>(without: &str, with: &[(&'a str, &'a str)]) -> Fields<'a> {
    let kept = request("GET", "/").into_iter().filter(|(name, _)| *name != without);
    kept.chain(with.iter().copied()).collect()
}

#[test]
fn malformed_heads_are_refused() {
    let mut cases: Vec<(String, Fields<'_>)> = Vec::new();
    let mut case = |what: &str, fields| cases.push((what.to_owned(), fields));
    for name in [":method", ":scheme", ":path", ":authority"] {
        case(&format!("no {name}"), changed(name, &[]));
        case(&format!("an empty {name}"), changed(name, &[(name, "")]));
    }
    for (name, value) in [
        (":method", "GET"),
        (":method", "POST"),
        (":scheme", "https"),
        (":path", "/"),
        (":authority", "a.test"),
    ] {
        case(&format!("{name} twice"), changed("", &[(name, value)]));
    }
    for (name, value) in request("GET", "/") {
        let fields = changed(name, &[("accept", "*/*"), (name, value)]);
        case(&format!("{name} after a field"), fields);
    }
    for name in [":status", ":protocol", ":version", ":", ":host", ":Path", ":path "] {
        case(&format!("{name} in a request"), changed("", &[(name, "200")]));
    }
    for (name, value) in [
        ("connection", "close"),
        ("connection", ""),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
        ("te", ""),
    ] {
        case(&format!("{name}: {value}"), changed("", &[(name, value)]));
    }
    for name in ["Accept", "aCcept", "a b", "a:b", "", "a\r", "a\0", "a\x7f", "\u{e4}", "a\"", "a("]
    {
        case(&format!("the name {name:?}"), changed("", &[(name, "x")]));
    }
    for value in ["a\r\nb: c", "a\nb", "a\rb", "a\0b", "\x01", "\x7f"] {
        case(&format!("the value {value:?}"), changed("", &[("x", value)]));
    }
    for method in ["", "G T", "GET\r\n", "GET /x HTTP/1.1\r\n", "(", "\u{e4}"] {
        case(&format!("the method {method:?}"), changed(":method", &[(":method", method)]));
    }
    for path in
        ["", "x", "x/", "*", "/a b", "#", "a#b", "/\r\n", "/\0", "//\x7f", "http://a.test/", "?x"]
    {
        case(&format!("the path {path:?}"), changed(":path", &[(":path", path)]));
    }
    for scheme in ["", "ht tp", "https:", "\u{e4}"] {
        case(&format!("the scheme {scheme:?}"), changed(":scheme", &[(":scheme", scheme)]));
    }
    for authority in [
        "",
        "u@a.test",
        "u:p@a.test",
        "a b",
        "a/b",
        "a.test\r\n",
        "a?b",
        "a#b",
        "[::1",
        "[]",
        "[zz]",
    ] {
        let fields = changed(":authority", &[(":authority", authority)]);
        case(&format!("the authority {authority:?}"), fields);
        let fields = changed(":authority", &[("host", authority)]);
        case(&format!("the host {authority:?}"), fields);
    }
    case("a port of letters", changed(":authority", &[(":authority", "a.test:x")]));
    case("another host", changed("", &[("host", "b.test")]));
    case("another port", changed("", &[("host", "a.test:80")]));
    case("an empty host", changed("", &[("host", "")]));
    case("two hosts", changed(":authority", &[("host", "a.test"), ("host", "a.test")]));
    for length in ["", "+1", "-1", "1,1", "1 ", "0x1", "1.0", "99999999999999999999999"] {
        let what = format!("the content-length {length:?}");
        case(&what, changed("", &[("content-length", length)]));
    }
    let twice = [("content-length", "0"), ("content-length", "0")];
    case("two equal content-lengths", changed("", &twice));
    case("CONNECT with a path", changed(":method", &[(":method", "CONNECT")]));
    case("CONNECT without an authority", vec![(":method", "CONNECT")]);
    let scheme = [(":method", "CONNECT"), (":authority", "a.test:1"), (":scheme", "https")];
    case("CONNECT with a scheme", scheme.to_vec());
    run(async {
        let pair = connect(Config::default()).await;
        let mut others = Vec::new();
        for (what, fields) in &cases {
            let end = pair.client.outcome(headers(fields)).await;
            if end != Reset(Code::H3_MESSAGE_ERROR) {
                others.push((what, end));
            }
        }
        assert!(others.is_empty(), "{others:#?}");
        assert!(pair.log.heads.borrow().is_empty(), "none came through");
        pair.client.assert_serves().await;
    });
}

#[test]
fn odd_but_proper_heads_are_taken() {
    run(async {
        let pair = connect(Config::default()).await;
        for fields in [
            changed("", &[("host", "a.test")]),
            changed("", &[("host", "A.test:443")]),
            changed("", &[("host", "a.test:")]),
            changed(":path", &[(":path", "/a#b")]),
            changed(":authority", &[("host", "a.test:8443")]),
            changed(":authority", &[(":authority", "[::1]:8443")]),
            changed(":scheme", &[(":scheme", "http")]),
            changed(":method", &[(":method", "PURGE")]),
            changed(":method", &[(":method", "!#$%&'*+-.^_`|~09az")]),
            changed(
                "",
                &[("te", "trailers"), ("x-empty", ""), ("cookie", "a=b"), ("cookie", "c=d")],
            ),
            changed("", &[("content-length", "000")]),
            changed("", &[("x", "\u{e4} \t obs-text"), ("!#$%&'*+-.^_`|~09az", "x")]),
            vec![(":path", "*"), (":method", "OPTIONS"), (":authority", "a"), (":scheme", "https")],
        ] {
            assert_eq!(pair.client.outcome(headers(&fields)).await, Status(200), "{fields:?}");
        }
        assert_eq!(pair.log.heads.borrow().len(), 13);
    });
}

/// RFC 9114 §4.1.2.
#[test]
fn a_body_is_as_long_as_it_says() {
    let said = |length| post("/echo", &[("content-length", length)]);
    let trailers = headers(&[("x", "y")]);
    run(async {
        let pair = connect(Config::default()).await;
        for (what, request) in [
            ("longer", vec![said("2"), frame(DATA, b"abc")]),
            ("longer in two pieces", vec![said("2"), frame(DATA, b"ab"), frame(DATA, b"c")]),
            ("shorter", vec![said("4"), frame(DATA, b"abc")]),
            ("shorter with trailers", vec![said("4"), frame(DATA, b"abc"), trailers.clone()]),
            ("missing", vec![said("1")]),
            ("missing before trailers", vec![said("1"), trailers.clone()]),
            ("empty and too little", vec![said("1"), frame(DATA, b"")]),
            ("there at all", vec![said("0"), frame(DATA, b"x")]),
        ] {
            let mut stream = pair.client.send(request.concat()).await;
            let end = stream.outcome().await;
            assert_eq!(end, Reset(Code::H3_MESSAGE_ERROR), "{what}");
        }
        for (what, request) in [
            ("exact", vec![said("3"), frame(DATA, b"abc")]),
            ("exact with trailers", vec![said("3"), frame(DATA, b"abc"), trailers.clone()]),
            ("empty", vec![said("0")]),
            ("empty pieces", vec![said("0"), frame(DATA, b""), trailers.clone()]),
        ] {
            assert_eq!(pair.client.outcome(request.concat()).await, Status(200), "{what}");
        }
    });
}

#[test]
fn a_body_that_is_too_long_is_told_before_its_end() {
    run(async {
        let pair = connect(Config::default()).await;
        let request = [post("/echo", &[("content-length", "2")]), frame(DATA, b"abc")].concat();
        let mut stream = pair.client.open(request).await;
        assert_eq!(stream.outcome().await, Reset(Code::H3_MESSAGE_ERROR));
        assert_eq!(stream.stopped().await, Some(Code::H3_MESSAGE_ERROR));
    });
}

/// RFC 9114 §4.3, §4.2.
#[test]
fn malformed_trailers_are_refused() {
    run(async {
        let pair = connect(Config::default()).await;
        for field in [
            (":path", "/"),
            (":status", "200"),
            (":unknown", "x"),
            ("Upper", "x"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("te", "gzip"),
            ("x", "a\nb"),
        ] {
            let request = [post("/echo", &[]), frame(DATA, b"abc"), headers(&[field])].concat();
            let end = pair.client.outcome(request).await;
            assert_eq!(end, Reset(Code::H3_MESSAGE_ERROR), "{field:?}");
        }
        pair.client.assert_serves().await;
    });
}

/// RFC 9220 §3, RFC 8441 §4.
#[test]
fn extended_connect_is_taken_where_it_was_announced() {
    let fields = |protocol| {
        let mut fields = request("CONNECT", "/chat");
        fields.push((":protocol", protocol));
        fields
    };
    run(async {
        let pair = connect(Config::default()).await;
        let end = pair.client.outcome(headers(&fields("websocket"))).await;
        assert_eq!(end, Reset(Code::H3_MESSAGE_ERROR));
        let pair = connect(Config { extended_connect: true, ..Config::default() }).await;
        for protocol in ["websocket", "connect-udp", "webtransport", "WebSocket"] {
            let request = [headers(&fields(protocol)), frame(DATA, b"ping")].concat();
            let answer = pair.client.answer(request).await;
            assert_eq!((answer.status(), answer.text()), (200, "ping"));
            let heads = pair.log.heads.borrow();
            let head = heads.last().unwrap();
            assert_eq!(head.protocol.as_deref(), Some(protocol));
            assert_eq!(head.request.uri(), "https://a.test/chat");
        }
        for (what, fields) in [
            ("an empty token", fields("")),
            ("no token", fields("web socket")),
            ("twice", [fields("websocket"), vec![(":protocol", "websocket")]].concat()),
            ("GET", changed("", &[(":protocol", "websocket")])),
            (
                "without a path",
                fields("websocket").into_iter().filter(|(name, _)| *name != ":path").collect(),
            ),
            (
                "without a scheme",
                fields("websocket").into_iter().filter(|(name, _)| *name != ":scheme").collect(),
            ),
        ] {
            let end = pair.client.outcome(headers(&fields)).await;
            assert_eq!(end, Reset(Code::H3_MESSAGE_ERROR), "{what}");
        }
        // Plain CONNECT is unchanged.
        let plain = headers(&[(":method", "CONNECT"), (":authority", "a.test:443")]);
        let answer = pair.client.answer([plain, frame(DATA, b"through")].concat()).await;
        assert_eq!(answer.text(), "through");
        assert_eq!(pair.log.heads.borrow().last().unwrap().request.uri(), "a.test:443");
    });
}
