//! Heads without their bodies: HEAD and 304 describe a response as GET does, also if a filter
//! changes the body.

use http::{HeaderMap, Request};

use crate::support::{Body, Client, Protocol, RawOrigin, Setup};

const REPLACE: &str = "plugins: [{ name: b, source: builtin:body-replace, config: { replace: [{ from: xxxxx, to: y }] } }]";

/// An origin that always gives this answer, behind a filter that replaces text.
async fn replaced(answer: &str) -> (RawOrigin, Setup) {
    let origin = RawOrigin::answering(answer).await;
    let setup = Setup::addresses([origin.address()]).top(REPLACE);
    (origin, setup.routes("  - { name: all, filters: [b], upstream: app }"))
}

async fn ask(client: &Client, method: &str, known: &str) -> (u16, HeaderMap, String) {
    let request = Request::builder().method(method).uri("/page");
    let request = if known.is_empty() { request } else { request.header("if-none-match", known) };
    let answer = client.send(request.body(Body::empty()).unwrap()).await;
    (answer.status.as_u16(), answer.headers.clone(), answer.text().await)
}

/// The fields of a head that describe the body. The length is left out if HTTP/1.1 cannot know it,
/// as for a body that streams.
fn of_the_body(fields: &HeaderMap) -> Vec<(String, String)> {
    let names = ["content-length", "etag", "accept-ranges", "content-md5", "content-digest"];
    let all = names.into_iter().flat_map(|name| {
        fields.get_all(name).iter().map(move |value| (name, value.to_str().unwrap()))
    });
    all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn head_and_304_say_of_a_replaced_body_what_get_says() {
    let fields = "Content-Length: 20\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\nContent-MD5: eHg=\r\n\
        Content-Digest: sha-256=:eHg=:\r\n";
    let typed = format!("Content-Type: text/plain\r\n{fields}\r\n");
    let body = "x".repeat(20);
    let (_get, get) = replaced(&format!("HTTP/1.1 200 OK\r\n{typed}{body}")).await;
    let (_head, head) = replaced(&format!("HTTP/1.1 200 OK\r\n{typed}")).await;
    let (_same, same) = replaced(&format!("HTTP/1.1 304 Not Modified\r\n{typed}")).await;
    let (_bare, bare) = replaced(&format!("HTTP/1.1 304 Not Modified\r\n{fields}\r\n")).await;
    let (get, head, same, bare) =
        (get.start().await, head.start().await, same.start().await, bare.start().await);
    for protocol in Protocol::ALL {
        let (status, fields, text) = ask(&get.client(protocol).await, "GET", "").await;
        assert_eq!((status, text.as_str()), (200, "yyyy"), "{protocol:?}");
        let expected = of_the_body(&fields);
        assert_eq!(expected, [("etag".to_owned(), "W/\"x\"".to_owned())], "{protocol:?}");
        for (weir, method, status) in
            [(&head, "HEAD", 200), (&same, "GET", 304), (&same, "HEAD", 304), (&bare, "GET", 304)]
        {
            let (got, fields, text) = ask(&weir.client(protocol).await, method, "W/\"x\"").await;
            assert_eq!((got, text.as_str()), (status, ""), "{protocol:?} {method}");
            assert_eq!(of_the_body(&fields), expected, "{protocol:?} {method} {status}");
        }
    }
}

#[tokio::test]
async fn a_filter_s_own_answer_and_a_fixed_one_say_the_same_by_head() {
    let routes = "  - { name: fixed, filters: [b], respond: { body: xxxxxxxxxx, headers: { content-type: text/plain } } }";
    let (_origin, setup) = replaced("").await;
    let weir = setup.routes(routes).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let (_, get, text) = ask(&client, "GET", "").await;
        assert_eq!(text, "yy", "{protocol:?}");
        let (status, head, _) = ask(&client, "HEAD", "").await;
        assert_eq!((status, of_the_body(&head)), (200, of_the_body(&get)), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_not_replaced_or_empty_keeps_its_length() {
    for (kind, length) in [("image/png", 20), ("text/plain", 0)] {
        let fields =
            format!("Content-Type: {kind}\r\nContent-Length: {length}\r\nETag: \"x\"\r\n\r\n");
        let (_get, get) =
            replaced(&format!("HTTP/1.1 200 OK\r\n{fields}{}", "x".repeat(length))).await;
        let (_head, head) = replaced(&format!("HTTP/1.1 200 OK\r\n{fields}")).await;
        let (get, head) = (get.start().await, head.start().await);
        for protocol in Protocol::ALL {
            let (_, of_get, _) = ask(&get.client(protocol).await, "GET", "").await;
            let (_, of_head, _) = ask(&head.client(protocol).await, "HEAD", "").await;
            assert_eq!(of_get["content-length"], length.to_string(), "{protocol:?} {kind}");
            assert_eq!(of_the_body(&of_head), of_the_body(&of_get), "{protocol:?} {kind}");
        }
    }
}
