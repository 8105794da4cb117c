//! Bodies of any size in flat memory: if one side takes nothing, the other side sends nothing.

use std::time::Instant;

use crate::support::origin::chunk;
use crate::support::{Body, Client, Origin, Protocol, Setup, Weir, spawn, within};

const MIB: u64 = 1 << 20;

/// The memory that a transfer may add to the process: buffers of sockets and streams, never the
/// body.
const GROWTH: u64 = 48 * MIB;

#[tokio::test]
async fn a_gib_is_downloaded_in_flat_memory_by_h1() {
    download(Protocol::H1).await;
}

#[tokio::test]
async fn a_gib_is_downloaded_in_flat_memory_by_h2() {
    download(Protocol::H2).await;
}

#[tokio::test]
async fn a_gib_is_downloaded_in_flat_memory_by_h3() {
    download(Protocol::H3).await;
}

#[tokio::test]
async fn a_gib_is_uploaded_in_flat_memory_by_h1() {
    upload(Protocol::H1).await;
}

#[tokio::test]
async fn a_gib_is_uploaded_in_flat_memory_by_h2() {
    upload(Protocol::H2).await;
}

#[tokio::test]
async fn a_gib_is_uploaded_in_flat_memory_by_h3() {
    upload(Protocol::H3).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_origin_back() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let before = warm(&weir, &client).await;
        let mut answers = Vec::new();
        let many = if protocol == Protocol::H1 { 1 } else { 8 };
        for _ in 0..many {
            answers.push(client.get("/endless").await);
        }
        // Once the process uses no more time, everything that can move has moved.
        quiet(&weir).await;
        assert!(weir.memory() < before + GROWTH, "{protocol:?}: {} MiB", weir.memory() / MIB);
    }
}

#[tokio::test]
async fn an_origin_that_does_not_read_holds_the_client_back() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let before = warm(&weir, &client).await;
        let (sender, body) = Body::channel();
        let sending = spawn(async move {
            let mut sent = 0;
            while sent < 256 * MIB && sender.send(chunk(64 << 10)).await {
                sent += 64 << 10;
            }
            sent
        });
        let pending = client.post("/hold-read", body);
        tokio::pin!(pending);
        tokio::select! {
            _ = &mut pending => panic!("{protocol:?}: the origin holds"),
            () = quiet(&weir) => {}
        }
        assert!(!sending.is_finished(), "{protocol:?}: a held origin took everything");
        assert!(weir.memory() < before + GROWTH, "{protocol:?}: {} MiB", weir.memory() / MIB);
        origin.release();
        assert_eq!(pending.await.text().await, "origin", "{protocol:?}");
    }
}

#[tokio::test]
async fn pieces_pass_as_they_come() {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    for protocol in Protocol::ALL {
        let client = weir.client(protocol).await;
        let (sender, body) = Body::channel();
        let first = sender.send("first");
        let (mut answer, _) = tokio::join!(client.post("/echo", body), first);
        assert_eq!(
            within("the first", answer.chunk()).await.unwrap().unwrap(),
            "first",
            "{protocol:?}"
        );
        sender.send("second").await;
        assert_eq!(
            within("the second", answer.chunk()).await.unwrap().unwrap(),
            "second",
            "{protocol:?}"
        );
        drop(sender);
        // An HTTP/2 stream may end with an empty frame.
        while let Some(rest) = within("the end", answer.chunk()).await {
            assert_eq!(rest.unwrap(), "", "{protocol:?}");
        }
    }
}

async fn download(protocol: Protocol) {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let client = weir.client(protocol).await;
    let before = warm(&weir, &client).await;
    let started = Instant::now();
    let mut answer = client.get("/bytes/1073741824").await;
    assert_eq!(answer.count().await.unwrap(), 1024 * MIB);
    expect_flat(&weir, before, started);
}

async fn upload(protocol: Protocol) {
    let origin = Origin::start().await;
    let weir = Setup::to([&origin]).start().await;
    let client = weir.client(protocol).await;
    let before = warm(&weir, &client).await;
    let started = Instant::now();
    let request = http::Request::post("/count").body(Body::repeat(1024 * MIB)).unwrap();
    let answer = client.try_send(request).await.unwrap_or_else(|e| panic!("upload: {e:?}"));
    assert_eq!(answer.text().await, (1024 * MIB).to_string());
    expect_flat(&weir, before, started);
}

fn expect_flat(weir: &Weir, before: u64, started: Instant) {
    let (took, peak) = (started.elapsed(), weir.peak_memory());
    println!("1 GiB in {took:?}; memory before {} MiB, at most {} MiB", before / MIB, peak / MIB);
    assert!(peak < before + GROWTH, "memory grew from {} to {} MiB", before / MIB, peak / MIB);
}

/// Returns the memory after a first exchange of the same kind.
async fn warm(weir: &Weir, client: &Client) -> u64 {
    let mut answer = client.post("/echo", Body::repeat(4 * MIB)).await;
    assert_eq!(answer.count().await.unwrap(), 4 * MIB);
    weir.forget_peak();
    weir.memory()
}

/// Waits until the process has used no processor time for a while.
async fn quiet(weir: &Weir) {
    let mut last = (weir.ticks(), Instant::now());
    let unchanged = async || {
        let now = weir.ticks();
        if now > last.0 + 1 {
            last = (now, Instant::now());
        }
        (last.1.elapsed().as_millis() > 500).then_some(())
    };
    crate::support::until("a process at rest", unchanged).await;
}
