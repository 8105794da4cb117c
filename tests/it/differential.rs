//! The same request over HTTP/1.1, HTTP/2 and HTTP/3 is the same message at the origin.

use crate::support::raw_h1::RawH1;
use crate::support::raw_h2::{Outcome, RawH2};
use crate::support::raw_h3::{DATA, RawH3};
use crate::support::{Protocol, RawOrigin, Setup, Weir, until};

/// A request, without a protocol.
#[derive(Debug, Clone, Default)]
struct Message {
    method: &'static str,
    /// The target in the first line of HTTP/1.1; the other protocols use its path.
    target: &'static str,
    path: &'static str,
    fields: Vec<(String, String)>,
    body: Option<Vec<&'static str>>,
    trailers: Vec<(&'static str, &'static str)>,
}

/// The message at the origin: the first line, the fields, the body without its chunks, the
/// trailers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Received {
    line: String,
    fields: Vec<(String, String)>,
    body: String,
    trailers: Vec<(String, String)>,
}

#[tokio::test]
async fn requests_without_a_body_are_the_same() {
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PURGE", "M-SEARCH"] {
        same(message(method, "/a/b?c=d&e=%20f", &[("accept", "*/*")])).await;
    }
}

#[tokio::test]
async fn odd_fields_are_the_same() {
    for fields in [
        &[("x-empty", ""), ("x-spaces", "a  b"), ("x-tab", "a\tb")][..],
        &[("x-list", "a"), ("x-other", "1"), ("x-list", "b"), ("x-list", "a")],
        &[("!#$%&'*+-.^_`|~09az", "odd"), ("x-symbols", "\"(),/:;<=>?@[\\]{}~")],
        &[("x-latin", "\u{e4}\u{f6}\u{fc}")],
        &[("cookie", "a=b; c=d")],
        &[("te", "trailers")],
        &[("accept-encoding", "gzip, br"), ("accept-language", "de"), ("user-agent", "")],
        &[("authorization", "Basic eDp5"), ("cache-control", "no-cache"), ("range", "bytes=0-9")],
        &[("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=192.0.2.2"), ("via", "1.0 other")],
        &[("content-type", "text/plain"), ("expires", "0"), ("priority", "u=1, i")],
    ] {
        same(message("GET", "/", fields)).await;
    }
    let many: Vec<_> = (0..64).map(|n| (format!("x-{n}"), n.to_string())).collect();
    same(Message { fields: many, ..message("GET", "/many", &[]) }).await;
    let large = vec![("x-large".to_owned(), "v".repeat(20_000))];
    same(Message { fields: large, ..message("GET", "/large", &[]) }).await;
}

/// RFC 9113 §8.2.3, RFC 9114 §4.2.1: crumbs are joined before another version of HTTP sees them.
#[tokio::test]
async fn crumbs_of_a_cookie_are_one_field() {
    let whole = message("GET", "/", &[("x", "y"), ("cookie", "a=b; c=d; e=f")]);
    let crumbs =
        message("GET", "/", &[("x", "y"), ("cookie", "a=b"), ("cookie", "c=d"), ("cookie", "e=f")]);
    let h1 = received(Protocol::H1, &whole).await;
    for protocol in [Protocol::H2, Protocol::H3] {
        assert_eq!(received(protocol, &crumbs).await, h1, "{protocol:?}");
    }
}

#[tokio::test]
async fn targets_are_the_same() {
    let target = |method, target, path| Message { target, path, ..message(method, path, &[]) };
    for message in [
        target("GET", "https://localhost/absolute?x", "/absolute?x"),
        target("OPTIONS", "*", "*"),
        target("GET", "/?", "/?"),
        target("GET", "/%2e%2e/%41?%", "/%2e%2e/%41?%"),
        target("GET", "//double//slash", "//double//slash"),
        target("GET", "/a;b=c,d:e@f!$&'()*+=", "/a;b=c,d:e@f!$&'()*+="),
    ] {
        same(message).await;
    }
}

#[tokio::test]
async fn bodies_and_trailers_are_the_same() {
    let pieces = || Some(vec!["first ", "second ", "third"]);
    let length = [("content-length", "18")];
    // An empty body without a length is left out: timing decides whether its end is seen before the
    // request goes on.
    for body in [pieces(), Some(vec!["x"])] {
        for trailers in [&[][..], &[("checksum", "abc"), ("x-other", "")]] {
            let trailers = trailers.to_vec();
            let message = message("POST", "/post", &[("trailer", "checksum")]);
            same(Message { body: body.clone(), trailers, ..message }).await;
        }
    }
    same(Message { body: pieces(), ..message("PUT", "/put", &length) }).await;
    same(message("POST", "/none", &[("content-length", "0")])).await;
    same(Message { body: Some(vec!["in a GET"]), ..message("GET", "/", &[]) }).await;
}

fn message(method: &'static str, path: &'static str, fields: &[(&str, &str)]) -> Message {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let fields = fields.iter().map(owned).collect();
    Message { method, target: path, path, fields, ..Message::default() }
}

/// Sends the message in all three protocols and compares the results at the origin.
async fn same(message: Message) {
    let h1 = received(Protocol::H1, &message).await;
    for protocol in [Protocol::H2, Protocol::H3] {
        assert_eq!(received(protocol, &message).await, h1, "{protocol:?}: {message:?}");
    }
}

/// Sends the message and reads it at the origin.
async fn received(protocol: Protocol, message: &Message) -> Received {
    let origin = RawOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let weir = Setup::addresses([origin.address()]).workers(1).start().await;
    match protocol {
        Protocol::H1 => assert_eq!(send_h1(&weir, message).await, 200, "{message:?}"),
        Protocol::H2 => send_h2(&weir, message).await,
        Protocol::H3 => send_h3(&weir, message).await,
    }
    until("the message", async || Received::parse(&origin.text(), protocol)).await
}

async fn send_h1(weir: &Weir, message: &Message) -> u16 {
    let Message { method, target, fields, body, trailers, .. } = message;
    let mut text = format!("{method} {target} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in fields {
        text += &format!("{name}: {value}\r\n");
    }
    let is_chunked = body.is_some() && !fields.iter().any(|(name, _)| name == "content-length");
    if is_chunked {
        text += "transfer-encoding: chunked\r\n";
    }
    text += "connection: close\r\n\r\n";
    for piece in body.iter().flatten() {
        let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
        text += if is_chunked { &chunk } else { piece };
    }
    if is_chunked {
        text += "0\r\n";
        for (name, value) in trailers {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
    }
    RawH1::exchange(weir, &text).await.status()
}

/// All fields, the pseudo-header fields first.
fn section(message: &Message) -> Vec<(&str, &str)> {
    let Message { method, path, fields, .. } = message;
    let pseudo =
        [(":method", *method), (":scheme", "https"), (":authority", "localhost"), (":path", *path)];
    pseudo.into_iter().chain(fields.iter().map(|(name, value)| (&name[..], &value[..]))).collect()
}

async fn send_h2(weir: &Weir, message: &Message) {
    let mut raw = RawH2::connect(weir).await;
    raw.headers(1, &section(message), message.body.is_none()).await;
    for piece in message.body.iter().flatten() {
        raw.data(1, piece.as_bytes(), false).await;
    }
    match &message.trailers[..] {
        [] if message.body.is_none() => {}
        [] => raw.data(1, b"", true).await,
        trailers => raw.headers(1, trailers, true).await,
    }
    assert_eq!(raw.outcome(1).await, Outcome::Status(200), "{message:?}");
}

async fn send_h3(weir: &Weir, message: &Message) {
    let raw = RawH3::connect(weir).await;
    let mut stream = raw.open().await;
    stream.headers(&section(message)).await;
    for piece in message.body.iter().flatten() {
        stream.frame(DATA, piece.as_bytes()).await;
    }
    if !message.trailers.is_empty() {
        stream.headers(&message.trailers).await;
    }
    stream.finish();
    assert_eq!(stream.outcome().await, Outcome::Status(200), "{message:?}");
}

impl Received {
    /// Reads a message, or returns `None` if it is incomplete. Protocol labels are made equal.
    fn parse(text: &str, protocol: Protocol) -> Option<Self> {
        let (head, rest) = text.split_once("\r\n\r\n")?;
        let (line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
        let fields: Vec<_> = fields.lines().map(|line| field(line, protocol)).collect();
        let value = |wanted: &str| fields.iter().find(|(name, _)| name == wanted);
        let (body, trailers) = if let Some((_, coding)) = value("transfer-encoding") {
            assert_eq!(coding, "chunked");
            dechunk(rest, protocol)?
        } else {
            let length = value("content-length").map_or(0, |(_, length)| length.parse().unwrap());
            (rest.get(..length)?.to_owned(), Vec::new())
        };
        Some(Self { line: line.to_owned(), fields, body, trailers })
    }
}

fn field(line: &str, protocol: Protocol) -> (String, String) {
    let (name, value) = line.split_once(':').unwrap();
    let (name, value) = (name.to_ascii_lowercase(), value.trim());
    let via = format!("{} weir", protocol.via());
    let value = match &*name {
        "via" => value.replace(&via, "* weir"),
        // These differ for each request.
        "x-request-id" | "traceparent" => "*".to_owned(),
        _ => value.to_owned(),
    };
    (name, value)
}

/// Returns body and trailers of a chunked message.
fn dechunk(mut rest: &str, protocol: Protocol) -> Option<(String, Vec<(String, String)>)> {
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            let trailers = after.strip_suffix("\r\n")?;
            return Some((body, trailers.lines().map(|line| field(line, protocol)).collect()));
        }
        body += after.get(..size)?;
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}
