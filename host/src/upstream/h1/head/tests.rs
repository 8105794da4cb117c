use super::*;

fn read(text: &str, method: &Method) -> Result<Option<ResponseHead>, HeadError> {
    read_from(&mut BytesMut::from(text), method)
}

/// Returns the final head and skips interim ones.
fn read_from(buffer: &mut BytesMut, method: &Method) -> Result<Option<ResponseHead>, HeadError> {
    loop {
        match parse(buffer, method, false, &UpstreamLimits::default())? {
            None => return Ok(None),
            Some(Head::Interim(_)) => {}
            Some(Head::Final(head)) => return Ok(Some(head)),
        }
    }
}

fn request(method: &str, fields: &[(&'static str, &'static str)]) -> Parts {
    let mut request = http::Request::builder().method(method).uri("/a?b=c");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

#[test]
fn a_request_says_how_long_its_body_is() {
    let text =
        |parts: &Parts, body| String::from_utf8(encode(parts, "shop:81", body).to_vec()).unwrap();
    assert_eq!(
        text(&request("GET", &[("x", "y"), ("host", "other")]), false),
        "GET /a?b=c HTTP/1.1\r\nhost: shop:81\r\nx: y\r\n\r\n"
    );
    assert!(text(&request("POST", &[]), false).contains("content-length: 0\r\n"));
    assert!(text(&request("POST", &[]), true).contains("transfer-encoding: chunked\r\n"));
    let sized = text(&request("POST", &[("content-length", "5")]), true);
    assert!(!sized.contains("chunked") && sized.contains("content-length: 5\r\n"));
}

#[test]
fn te_is_an_option_of_the_connection_and_trailers_need_chunks() {
    let mut head = request("POST", &[("te", "trailers"), ("content-length", "5")]);
    prepare(&mut head);
    assert_eq!((&head.headers["connection"], is_chunked(&head)), (&"te".parse().unwrap(), false));
    let mut head = request("POST", &[("trailer", "x-sum"), ("content-length", "5")]);
    prepare(&mut head);
    assert!(is_chunked(&head) && !head.headers.contains_key("connection"));
}

#[test]
fn an_interim_response_comes_before_the_final_one() {
    let text = "HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let mut buffer = BytesMut::from(text);
    let Ok(Some(Head::Interim(hints))) =
        parse(&mut buffer, &Method::GET, false, &UpstreamLimits::default())
    else {
        panic!()
    };
    assert_eq!(
        (hints.status, &hints.headers["link"]),
        (StatusCode::EARLY_HINTS, &"x".parse().unwrap())
    );
    let Ok(Some(Head::Final(ok))) =
        parse(&mut buffer, &Method::GET, false, &UpstreamLimits::default())
    else {
        panic!()
    };
    assert_eq!(ok.head.status, StatusCode::OK);
    assert!(ok.head.headers.is_empty());
    assert!(read("HTTP/1.1 101 Switching\r\n\r\n", &Method::GET).is_err());
}

#[test]
fn ambiguous_framing_is_refused() {
    for fields in [
        "content-length: 1\r\ntransfer-encoding: chunked\r\n",
        "content-length: 1\r\ncontent-length: 2\r\n",
        "content-length: +1\r\n",
        "content-length: 1, 1\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "x: a\r\n b\r\n",
    ] {
        assert!(
            read(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"), &Method::GET).is_err(),
            "{fields}"
        );
    }
    assert!(read("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &Method::GET).is_err());
}

#[test]
fn a_head_may_come_in_pieces() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nserver: x\r\n\r\nabc";
    for cut in 0..text.len() - 3 {
        let mut buffer = BytesMut::from(&text[..cut]);
        assert!(read_from(&mut buffer, &Method::GET).unwrap().is_none(), "{cut}");
    }
    let mut buffer = BytesMut::from(text);
    let head = read_from(&mut buffer, &Method::GET).unwrap().unwrap();
    assert_eq!((&buffer[..], head.head.headers["server"].as_bytes()), (&b"abc"[..], &b"x"[..]));
    assert!(head.keep_alive);
}

#[test]
fn the_connection_is_kept_as_the_origin_says() {
    let kept = |text: &str| read(text, &Method::GET).unwrap().unwrap().keep_alive;
    assert!(!kept("HTTP/1.1 200 OK\r\nconnection: Close\r\n\r\n"));
    assert!(!kept("HTTP/1.0 200 OK\r\n\r\n"));
    assert!(kept("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n\r\n"));
}

#[test]
fn a_head_without_end_is_refused() {
    let long =
        format!("HTTP/1.1 200 OK\r\nx: {}", "a".repeat(UpstreamLimits::default().header_bytes));
    assert!(matches!(read(&long, &Method::GET), Err(HeadError::TooLarge(_))));
}

fn limits(header_bytes: usize, header_count: usize) -> UpstreamLimits {
    UpstreamLimits { header_bytes, header_count, ..UpstreamLimits::default() }
}

/// Returns the result of a head that arrives in pieces of `size` bytes.
fn read_in_pieces(text: &str, size: usize, limits: &UpstreamLimits) -> Result<usize, String> {
    let mut buffer = BytesMut::new();
    for piece in text.as_bytes().chunks(size) {
        buffer.extend_from_slice(piece);
        while let Some(head) =
            parse(&mut buffer, &Method::GET, false, limits).map_err(|error| error.to_string())?
        {
            if let Head::Final(head) = head {
                return Ok(head.head.headers.len());
            }
        }
    }
    panic!("no head of {text:?}");
}

#[test]
fn a_bound_is_the_same_however_a_head_is_cut() {
    let bounds = limits(100, 3);
    let of_length = |length: usize| {
        let frame = "HTTP/1.1 200 OK\r\nx: \r\n\r\n";
        frame.replace("x: ", &format!("x: {}", "a".repeat(length - frame.len())))
    };
    let of_count = |count: usize| format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(count));
    let too_large = "head is larger than 100 bytes (limits.header_bytes of the upstream)";
    let too_many = "head has more than 3 fields (limits.header_count of the upstream)";
    for size in [1, 7, 64, 99, 100, 101, 200] {
        for body in ["", "a body of some length, or the next response"] {
            let read = |text: String| read_in_pieces(&(text + body), size, &bounds);
            assert_eq!(read(of_length(100)), Ok(1), "{size}");
            assert_eq!(read(of_length(101)), Err(too_large.to_owned()), "{size}");
            assert_eq!(read(of_count(3)), Ok(3), "{size}");
            assert_eq!(read(of_count(4)), Err(too_many.to_owned()), "{size}");
        }
    }
    let many = limits(1 << 16, 1000);
    assert_eq!(read_in_pieces(&of_count(1000), 4096, &many), Ok(1000));
    assert!(read_in_pieces(&of_count(1001), 4096, &many).is_err());
}

#[test]
fn an_interim_response_is_held_to_the_bounds_of_its_own() {
    let bounds = limits(100, 3);
    let interim = format!("HTTP/1.1 103 Early Hints\r\nlink: {}\r\n\r\n", "a".repeat(60));
    let last = "HTTP/1.1 200 OK\r\n\r\n";
    for size in [1, 50, 1000] {
        assert_eq!(read_in_pieces(&format!("{interim}{interim}{last}"), size, &bounds), Ok(0));
        let long = interim.replace("link: ", "link: aaaaaaaaaa");
        assert!(read_in_pieces(&format!("{long}{last}"), size, &bounds).is_err(), "{size}");
    }
}
