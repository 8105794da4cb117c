use super::*;

/// Reads a GET of https://a.test/ with `change`: a field with an empty value is removed, others are
/// added.
fn request(change: &[(&str, &str)]) -> Result<Request<()>, &'static str> {
    let fields =
        [(":method", "GET"), (":scheme", "https"), (":authority", "a.test"), (":path", "/")];
    let kept = fields.iter().filter(|(name, _)| !change.contains(&(name, "")));
    let added = change.iter().filter(|(_, value)| !value.is_empty());
    decode(kept.chain(added), false)
}

fn decode<'a>(
    fields: impl Iterator<Item = &'a (&'a str, &'a str)>,
    extended: bool,
) -> Result<Request<()>, &'static str> {
    let mut request = Request::new(());
    let last = LastAuthority::default();
    let mut section = RequestSection::new(&mut request, &last);
    for (name, value) in fields {
        let pseudo = match *name {
            ":method" => Pseudo::Method,
            ":scheme" => Pseudo::Scheme,
            ":authority" => Pseudo::Authority,
            ":path" => Pseudo::Path,
            ":protocol" => Pseudo::Protocol,
            ":status" => Pseudo::Status,
            name => {
                section.field(name.parse().unwrap(), value.parse().unwrap()).map_err(reason)?;
                continue;
            }
        };
        section.pseudo(pseudo, Bytes::copy_from_slice(value.as_bytes()).into()).map_err(reason)?;
    }
    section.finish(extended)?;
    Ok(request)
}

fn reason(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Refused(reason) => reason,
        other => panic!("{other}"),
    }
}

#[test]
fn a_request_is_put_together() {
    let request = request(&[("accept", "*/*"), ("te", "trailers"), ("host", "a.test")]).unwrap();
    assert_eq!(request.uri(), "https://a.test/");
    assert_eq!(request.version(), Version::HTTP_3);
    assert_eq!(request.headers().len(), 3);
}

/// RFC 9114 §4.3.1.
#[test]
fn pseudo_header_fields_come_once_first_and_all() {
    for (change, reason) in [
        (&[(":method", "")][..], "no :method"),
        (&[(":scheme", "")], "no :scheme"),
        (&[(":path", "")], "no :path"),
        (&[(":authority", "")], "no authority"),
        (&[(":path", "/again")], "a pseudo-header field twice"),
        (&[(":method", "POST")], "a pseudo-header field twice"),
        (&[(":status", "200")], ":status in a request"),
        (&[("x", "y"), (":path", "/late")], "a pseudo-header field after other fields"),
        (&[(":protocol", "websocket")], ":protocol without CONNECT, or unannounced"),
    ] {
        assert_eq!(request(change).unwrap_err(), reason, "{change:?}");
    }
}

#[test]
fn a_request_has_one_authority() {
    let host = |host| request(&[(":authority", ""), ("host", host)]);
    assert_eq!(host("b.test:8443").unwrap().uri(), "https://b.test:8443/");
    assert!(host("a b").is_err());
    assert!(host("u@a").is_err());
    assert_eq!(request(&[("host", "b.test")]).unwrap_err(), ":authority and Host differ");
    assert_eq!(
        request(&[("host", "a.test"), ("host", "a.test")]).unwrap_err(),
        "more than one Host"
    );
    for bad in ["", ":", ":80", "a:b", "a:80:80", "a:+80", "a:65536", "[::1", "[::1]x", "a:80x"] {
        assert!(authority(Bytes::from_static(bad.as_bytes())).is_err(), "{bad:?}");
    }
    // RFC 3986 §3.2.2: brackets hold an address.
    for bad in
        ["[]", "[zz]", "[::1]]", "[[::1]]", "[127.0.0.1]", "[::g]", "a[b]", "a[::1]", "[v1.x]"]
    {
        assert!(authority(Bytes::from_static(bad.as_bytes())).is_err(), "{bad:?}");
    }
    for bad in ["[]:443", "[zz]:443", "[1:2:3]", "[fe80::1%25eth0]"] {
        assert!(authority(Bytes::from_static(bad.as_bytes())).is_err(), "{bad:?}");
    }
    for good in ["a", "a:80", "a:", "[::1]", "[::1]:443", "a_b.test:65535", "127.0.0.1:1"] {
        assert!(authority(Bytes::from_static(good.as_bytes())).is_ok(), "{good:?}");
    }
    assert!(authority(Bytes::from_static(b"[::ffff:192.0.2.7]:8080")).is_ok());
}

/// RFC 9113 §8.3.1, RFC 9110 §4.2.3.
#[test]
fn two_authorities_are_one_if_only_the_default_port_or_the_case_differs() {
    let both = |scheme, authority, host| {
        let fields = [(":scheme", scheme), (":authority", authority), ("host", host)];
        request(&[&[(":scheme", ""), (":authority", "")][..], &fields].concat())
    };
    for (authority, host) in [
        ("a.test", "a.test:443"),
        ("a.test:443", "a.test"),
        ("a.test:", "a.test"),
        ("a.test", "a.test:"),
        ("a.test:443", "A.TEST:"),
        ("[::1]:443", "[::1]"),
    ] {
        let request = both("https", authority, host).unwrap();
        assert_eq!(request.uri().authority().unwrap().as_str(), authority, "the first counts");
    }
    assert!(both("http", "a.test:80", "a.test").is_ok());
    for (scheme, authority, host) in [
        ("https", "a.test:80", "a.test"),
        ("http", "a.test:443", "a.test"),
        ("coap", "a.test:443", "a.test"),
        ("https", "a.test:8443", "a.test"),
        ("https", "a.test", "b.test"),
        ("https", "a.test", "a.test.evil"),
    ] {
        let refused = both(scheme, authority, host);
        assert_eq!(refused.unwrap_err(), ":authority and Host differ", "{authority} {host}");
    }
    for host in ["u@a.test", "a.test:443:", "a.test:x", "[]"] {
        assert!(both("https", "a.test", host).is_err(), "{host}");
    }
}

#[test]
fn the_last_authority_stands_for_none_but_itself() {
    let last = LastAuthority::default();
    for _ in 0..2 {
        assert_eq!(last.read(b"a.test").unwrap(), "a.test");
        assert!(last.read(b"").is_err());
        assert!(last.read(b"u@a.test").is_err());
        assert!(last.read(b"a.test:").is_ok());
        for _ in 0..2 {
            assert_eq!(last.read(b"A.test").unwrap().as_str(), "A.test");
        }
        for _ in 0..2 {
            assert_eq!(last.read(b"a.test").unwrap().as_str(), "a.test");
        }
        assert_eq!(last.read(b"a.tes").unwrap(), "a.tes");
    }
    let long = "a".repeat(1000);
    assert_eq!(last.read(long.as_bytes()).unwrap(), *long);
    assert_eq!(last.0.borrow().as_ref().unwrap(), "a.tes", "too long to be kept");
}

/// RFC 9114 §4.2, §4.3: decoding leaves this check to the assembly of the request.
#[test]
fn no_pseudo_header_field_holds_a_control_character() {
    let bare = [
        (":method", "CONNECT"),
        (":scheme", "https"),
        (":authority", "a.test"),
        (":path", "/"),
        (":protocol", "p"),
    ];
    decode(bare.iter(), true).unwrap();
    for (at, (name, value)) in bare.iter().enumerate() {
        for bad in ["\r", "\n", "\0", "\x7f", " ", "\t"] {
            for bad in [format!("{value}{bad}"), format!("{bad}{value}"), format!("{value}{bad}x")]
            {
                let mut fields = bare;
                fields[at].1 = &bad;
                assert!(decode(fields.iter(), true).is_err(), "{name}: {bad:?}");
            }
        }
    }
}

/// RFC 3986 §3.1.
#[test]
fn the_scheme_is_one() {
    for bad in ["", "1http", "+http", "ht tp", "https:"] {
        assert!(parse_scheme(bad.as_bytes()).is_err(), "{bad:?}");
    }
    for good in ["http", "https", "coap+ws", "HTTPS", "x-1.2"] {
        assert!(parse_scheme(good.as_bytes()).is_ok(), "{good:?}");
    }
}

#[test]
fn the_path_is_one() {
    for bad in ["x", "*", "http://a/", "#f", "/a b", "/\u{1}"] {
        assert!(request(&[(":path", ""), (":path", bad)]).is_err(), "{bad:?}");
    }
    for (sent, taken) in [("/a#b", "/a"), ("/#", "/"), ("/a?b#c?d", "/a?b"), ("/a#b#c", "/a")] {
        let request = request(&[(":path", ""), (":path", sent)]).unwrap();
        assert_eq!(request.uri().path_and_query().unwrap(), taken, "{sent}");
    }
    for bad in ["/a#b", "/#", "#"] {
        assert!(path(bad.into(), &Method::GET).is_err(), "of a plugin: {bad}");
    }
    assert!(path("/x?y=/?".into(), &Method::GET).is_ok());
    assert!(path("*".into(), &Method::OPTIONS).is_ok());
    assert!(path(Bytes::new(), &Method::GET).is_err());
}

/// RFC 9114 §4.4, RFC 9220 §3.
#[test]
fn connect_has_an_authority_alone_unless_it_is_extended() {
    let connect = [(":method", "CONNECT"), (":authority", "a.test:443")];
    let target = [(":scheme", "https"), (":path", "/chat"), (":protocol", "websocket")];
    let plain = decode(connect.iter(), false).unwrap();
    assert_eq!(plain.uri(), "a.test:443");
    let extended = decode(connect.iter().chain(&target), true).unwrap();
    assert_eq!(extended.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
    assert_eq!(extended.uri().path(), "/chat");
    assert!(decode(connect.iter().chain(&target), false).is_err());
    assert!(decode(connect.iter().chain(&target[..2]), true).is_err());
    assert!(decode(connect.iter().chain(&target[2..]), true).is_err());
    assert!(decode(connect[..1].iter(), true).is_err());
}

/// RFC 9114 §4.2.
#[test]
fn fields_of_connections_are_malformed() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        assert_eq!(request(&[(name, "x")]).unwrap_err(), OF_A_CONNECTION, "{name}");
        let mut map = HeaderMap::new();
        map.insert(name, "x".parse().unwrap());
        assert!(section(&map).is_err());
    }
    assert_eq!(request(&[("te", "gzip")]).unwrap_err(), OTHER_TE);
}

/// RFC 9110 §8.6.
#[test]
fn content_length_is_one_number() {
    let length = |values: &[&str]| {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(CONTENT_LENGTH, value.parse().unwrap());
        }
        content_length(&fields)
    };
    assert_eq!(length(&[]), Ok(None));
    assert_eq!(length(&["12"]), Ok(Some(12)));
    for values in [
        &[""][..],
        &["+1"],
        &["-1"],
        &["1,1"],
        &["1 "],
        &["0x1"],
        &["99999999999999999999"],
        &["1", "1"],
    ] {
        assert!(length(values).is_err(), "{values:?}");
    }
    assert!(request(&[("content-length", "+1")]).is_err());
}
