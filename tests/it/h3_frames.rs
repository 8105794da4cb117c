//! HTTP/3 of the whole binary: a violation gets its code, a flood does not grow the memory, and a
//! browser is served.

use std::process::Command;

use serde_json::Value;

use crate::support::raw_h2::{Outcome, get};
use crate::support::raw_h3::{HEADERS, RawH3, varint};
use crate::support::tools::{browser, h3i, output, python};
use crate::support::{Origin, RawOrigin, Setup, fields, tls, within};

/// The client uses aioquic and pylsqpack, which share no code with this project.
#[tokio::test]
async fn an_independent_client_s_violations_get_their_codes() {
    violations(python("illegal.py"), 70).await;
}

/// The client uses h3i, which is made of quiche.
#[tokio::test]
async fn violations_by_quiche_get_their_codes() {
    violations(h3i(), 100).await;
}

/// Runs a client that reports the outcome and the expectation of each case.
async fn violations(mut client: Command, least: usize) {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    client.arg(weir.address().port().to_string());
    let mut cases = 0;
    for line in output(client).await.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["end"], line["expected"], "{}", line["case"]);
        cases += 1;
    }
    assert!(cases > least, "{cases}");
}

#[tokio::test]
async fn a_gib_of_headers_moves_the_memory_by_less_than_a_mib() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).workers(1).start().await;
    let flood = async || {
        let raw = RawH3::connect(&weir).await;
        let mut warm = raw.open().await;
        warm.headers(&get("/who")).await;
        warm.finish();
        assert_eq!(warm.outcome().await, Outcome::Status(200));
        let (before, all_before) = (weir.memory_in_pages(), weir.memory());
        let mut stream = raw.open().await;
        let mut sent = 0;
        stream.send.write_all(&[varint(HEADERS), varint(1 << 30)].concat()).await.unwrap();
        while let Ok(taken) = within("a write", stream.send.write(&[0; 64 << 10])).await {
            sent += taken;
        }
        assert_eq!(stream.outcome().await, Outcome::Reset(0x107), "H3_EXCESSIVE_LOAD");
        let mut again = raw.open().await;
        again.headers(&get("/who")).await;
        again.finish();
        assert_eq!(again.outcome().await, Outcome::Status(200));
        let grown = weir.memory_in_pages().saturating_sub(before);
        let all = weir.memory().saturating_sub(all_before);
        assert!(all < 5 << 20, "{all} bytes, huge pages among them");
        println!("{sent} bytes sent, {grown} bytes grown");
        grown
    };
    // The first run maps pages that any traffic would map.
    flood().await;
    assert!(flood().await < 1 << 20);
}

/// One request is allowed, and it waits for QPACK's table: the stream that fills the table must
/// still be read.
#[tokio::test]
async fn a_blocked_request_is_unblocked_when_no_other_may_run() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).listener("quic: { max_concurrent_streams: 1 }").start().await;
    let raw = RawH3::connect(&weir).await;
    let mut section = fields::qpack(&get("/who"));
    section[0] = 2; // one insertion is needed …
    section.push(0x80); // … and referred to
    let mut stream = raw.open().await;
    stream.frame(HEADERS, &section).await;
    stream.finish();
    // The type of the stream, the table's capacity of 4096 bytes, and a field.
    let mut encoder = raw.connection.open_uni().await.unwrap();
    encoder.write_all(b"\x02\x3f\xe1\x1f\x41x\x01y").await.unwrap();
    assert_eq!(stream.outcome().await, Outcome::Status(200));
    assert_eq!(origin.head().header("x"), "y");
}

/// Chromium uses the dynamic table, priorities and GREASE, and speaks QUIC only to servers that it
/// trusts.
#[tokio::test]
async fn a_browser_is_served_by_quic() {
    let page = "<body><p id=out></p><script>(async () => {\n\
        const all = Array.from({ length: 30 }, (_, n) => fetch('/sub?' + n, { headers: { 'x-long': 'v'.repeat(50) } }));\n\
        const sizes = await Promise.all(all.map(async one => (await (await one).text()).length));\n\
        // The origin answers without reading them.\n\
        for (let n = 0; n < 10; n++)\n\
            sizes.push((await (await fetch('/post', { method: 'POST', body: 'x'.repeat(100000) })).text()).length);\n\
        const used = performance.getEntries().map(entry => entry.nextHopProtocol).filter(Boolean);\n\
        out.textContent = ['done', sizes.length, ...new Set(used)].join(' ');\n\
        })()</script></body>";
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\n\r\n{page}",
        page.len()
    );
    let origin = RawOrigin::answering(&answer).await;
    let certificate = tls::Certificate::new();
    let weir = Setup::addresses([origin.address()]).tls(&certificate.config()).start().await;
    let profile = tempfile::TempDir::new().unwrap();
    let place = format!("localhost:{}", weir.address().port());
    let mut chromium: Command = browser();
    chromium
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--origin-to-force-quic-on={place}"))
        .arg(format!("--ignore-certificate-errors-spki-list={}", certificate.fingerprint()))
        .args(["--virtual-time-budget=10000", "--dump-dom"])
        .arg(format!("https://{place}/"));
    let dom = output(chromium).await;
    assert!(dom.contains(">done 40 h3<"), "{dom}");
    assert!(origin.requests() >= 41, "{}", origin.requests());
}
