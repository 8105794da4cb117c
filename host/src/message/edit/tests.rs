use super::*;

fn header(name: &str, value: &[u8]) -> Header {
    Header { name: name.to_owned(), value: value.to_vec() }
}

fn request(edits: Vec<Edit>) -> Result<Edits, String> {
    Edits::of_request(edits, |name| (name == "auth").then(|| "auth".into()))
}

#[test]
fn what_no_client_may_send_no_plugin_may() {
    let wrong = [
        Edit::Set(header("x-a", b"1\r\nx-b: 2")),
        Edit::Set(header("x-a", b"1\n")),
        Edit::Append(header("x-a", b"\0")),
        Edit::Set(header("x a", b"1")),
        Edit::Set(header("x:a", b"1")),
        Edit::Set(header("", b"1")),
        Edit::Set(header(":path", b"/")),
        Edit::Set(header("Content-Length", b"0")),
        Edit::Remove("transfer-encoding".to_owned()),
        Edit::Remove("Host".to_owned()),
        Edit::Append(header("connection", b"close")),
        Edit::Path("no-slash".to_owned()),
        Edit::Path("/a b".to_owned()),
        Edit::Path("/a\r\n".to_owned()),
        Edit::Path("/a#b".to_owned()),
        Edit::Path(String::new()),
        Edit::Authority("a b".to_owned()),
        Edit::Authority("user@host".to_owned()),
        Edit::Authority(String::new()),
        Edit::Upstream("other".to_owned()),
        Edit::Status(200),
    ];
    for edit in wrong {
        assert!(request(vec![edit.clone()]).is_err(), "{edit:?}");
    }
    for status in [0, 99, 100, 199, 600, 1000] {
        assert!(Edits::of_response(vec![Edit::Status(status)]).is_err(), "{status}");
    }
    assert!(Edits::of_response(vec![Edit::Path("/".to_owned())]).is_err());
}

#[test]
fn edits_apply_in_order() {
    let edits = request(vec![
        Edit::Set(header("X-A", b"1")),
        Edit::Append(header("x-a", b"2")),
        Edit::Remove("x-b".to_owned()),
        Edit::Path("/new?q".to_owned()),
        Edit::Authority("other:81".to_owned()),
        Edit::Upstream("auth".to_owned()),
        Edit::Body,
    ]);
    let edits = edits.unwrap();
    assert_eq!(edits.upstream.as_deref(), Some("auth"));
    assert!(edits.wants_body);
    let request = Request::builder()
        .uri("https://a/old")
        .header("x-b", "9")
        .header("content-length", "5")
        .body(())
        .unwrap();
    let (mut head, ()) = request.into_parts();
    let mut authority = "a".parse().unwrap();
    edits.apply_to_request(&mut head, &mut authority);
    assert_eq!(head.uri, "https://a/new?q");
    assert_eq!(authority, "other:81");
    let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(head.headers.len(), 2, "{:?}", head.headers);
}

#[test]
fn a_plugin_is_charged_for_what_it_sets_and_for_nothing_else() {
    let set = |count: usize, bytes: usize| {
        let edit = |n| Edit::Set(header(&format!("x-{n}"), &vec![b'a'; bytes]));
        request((0..count).map(edit).collect())
    };
    assert!(set(200, 10).is_ok_and(|edits| edits.adds_fields()));
    assert!(set(1, MAX_ADDED - FIELD_OVERHEAD - 3).is_ok());
    assert!(set(1, MAX_ADDED - FIELD_OVERHEAD - 2).is_err());
    assert!(set(16, 4096).is_err());
    assert!(!request(vec![Edit::Remove("x-a".to_owned())]).unwrap().adds_fields());
}

#[test]
fn a_status_without_content_ends_the_body_and_its_length() {
    use http_body::Body as _;
    let changed = |from: u16, to: u16| {
        let mut response = Response::builder()
            .status(from)
            .header("content-length", "4")
            .body(Body::full("text"))
            .unwrap();
        Edits::of_response(vec![Edit::Status(to)]).unwrap().apply_to_response(&mut response);
        assert_eq!(response.status(), to);
        let has_length = response.headers().contains_key("content-length");
        assert_eq!(has_length, !response.body().is_end_stream(), "{from} to {to}");
        has_length
    };
    for (from, to) in [(200, 204), (200, 205), (200, 304), (304, 200), (204, 200), (304, 204)] {
        assert!(!changed(from, to), "{from} to {to}");
    }
    assert!(changed(200, 404) && changed(304, 304));
}

#[test]
fn a_reply_of_a_status_without_body_has_none() {
    use http_body::Body as _;
    let told = |status| Reply { status, headers: Vec::new(), body: b"x".to_vec() };
    for status in [204, 205, 304] {
        assert!(reply(told(status)).unwrap().body().is_end_stream(), "{status}");
    }
    assert!(!reply(told(200)).unwrap().body().is_end_stream());
    assert!(reply(told(101)).is_err());
}
