//! Measures the cost of HTTP/3 on top of QUIC: processor time of a server's thread for each request
//! that it answers with 1 KiB. It compares this crate, the h3 crate, and quinn's streams alone.
//! With quinn alone the same number of bytes goes each way, and nothing is parsed. The client is
//! the same for all three and runs on another thread.
//!
//! `cargo bench --package weir-h3`. Rounds of the three alternate; the median counts.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a program that measures"
)]

use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, TransportConfig};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// The proxy's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Streams,
    Weir,
    H3,
}

const KINDS: [(Kind, &str); 3] =
    [(Kind::Streams, "quinn's streams"), (Kind::Weir, "weir-h3"), (Kind::H3, "h3")];

/// Numbers of connections, and of requests at once on each.
const LOADS: [(usize, usize); 2] = [(1, 100), (32, 10)];

/// Requests of a round.
const REQUESTS: usize = 30_000;
const ROUNDS: usize = 21;

fn main() {
    for (connections, at_once) in LOADS {
        let mut times = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            for (kind, times) in KINDS.iter().zip(&mut times) {
                let time = measure(kind.0, connections, at_once);
                // The first round warms up.
                if round > 0 {
                    times.push(time);
                }
            }
        }
        let medians = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        println!("{connections} x {at_once}:");
        for ((_, name), median) in KINDS.iter().zip(medians) {
            println!("  {name:<16} {median:6.2} us a request, {:.2} x", median / medians[0]);
        }
    }
}

/// Returns the microseconds of the server's thread for each request.
fn measure(kind: Kind, connections: usize, at_once: usize) -> f64 {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let (ready, server) = mpsc::channel();
    let (stopping, stop) = oneshot::channel();
    let served = certificate.clone();
    // The name lets a profiler tell the kinds apart.
    let thread = std::thread::Builder::new().name(format!("{kind:?}"));
    let run = move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(LocalSet::new().run_until(async move {
            let endpoint = listen(served, key);
            let thread = std::fs::read_link("/proc/thread-self").unwrap();
            let _ = ready.send((endpoint.local_addr().unwrap(), thread));
            serve(kind, endpoint, stop).await;
        }));
    };
    thread.spawn(run).unwrap();
    let (address, thread) = server.recv().unwrap();
    let schedstat = std::path::Path::new("/proc").join(thread).join("schedstat");
    let nanoseconds = || {
        let stat = std::fs::read_to_string(&schedstat).unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = connect(certificate);
        let mut all = Vec::new();
        for _ in 0..connections {
            let quic = client.connect(address, "localhost").unwrap().await.unwrap();
            if kind != Kind::Streams {
                let mut control = quic.open_uni().await.unwrap();
                control.write_all(&[0x00, 0x04, 0x00]).await.unwrap();
                std::mem::forget(control);
            }
            all.push(quic);
        }
        load(&all, at_once, REQUESTS / 10).await;
        let before = nanoseconds();
        load(&all, at_once, REQUESTS).await;
        let used = nanoseconds() - before;
        client.close(0x100u32.into(), b"");
        client.wait_idle().await;
        drop(stopping);
        used as f64 / 1000.0 / REQUESTS as f64
    })
}

fn listen(certificate: CertificateDer<'static>, key: PrivatePkcs8KeyDer<'static>) -> Endpoint {
    let mut tls = rustls::ServerConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_no_client_auth()
    .with_single_cert(vec![certificate], key.into())
    .unwrap();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = Arc::new(QuicServerConfig::try_from(tls).unwrap());
    let mut config = quinn::ServerConfig::with_crypto(tls);
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(128u32.into());
    config.transport_config(Arc::new(transport));
    Endpoint::server(config, SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).unwrap()
}

fn connect(certificate: CertificateDer<'static>) -> Endpoint {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(
        rustls::crypto::ring::default_provider().into(),
    )
    .with_safe_default_protocol_versions()
    .unwrap()
    .with_root_certificates(roots)
    .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let tls = Arc::new(QuicClientConfig::try_from(tls).unwrap());
    let mut client = Endpoint::client(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)).unwrap();
    client.set_default_client_config(quinn::ClientConfig::new(tls));
    client
}

/// Sends this many requests and waits for their answers.
async fn load(connections: &[quinn::Connection], at_once: usize, requests: usize) {
    let request = request();
    let workers = connections.len() * at_once;
    let running: FuturesUnordered<_> = (0..workers)
        .map(|worker| {
            let (quic, request) = (connections[worker % connections.len()].clone(), &request);
            async move {
                for _ in 0..requests / workers {
                    let (mut send, mut recv) = quic.open_bi().await.unwrap();
                    send.write_all(request).await.unwrap();
                    send.finish().unwrap();
                    let mut read = 0;
                    while let Some(chunk) = recv.read_chunk(usize::MAX, true).await.unwrap() {
                        read += chunk.bytes.len();
                    }
                    assert!(read > 1024);
                }
            }
        })
        .collect();
    running.collect::<()>().await;
}

/// Returns a HEADERS frame as a small client sends it: indexed fields, a path, a user agent.
fn request() -> Vec<u8> {
    let mut section = vec![0, 0, 0xc0 | 17, 0xc0 | 23];
    for (index, value) in
        [(0, &b"localhost:8443"[..]), (1, b"/static"), (95, b"h2load nghttp2/1.64")]
    {
        match index {
            0..15 => section.push(0x50 | index),
            _ => section.extend([0x5f, index - 15]),
        }
        section.push(value.len() as u8);
        section.extend(value);
    }
    [&[0x01, section.len() as u8][..], &section].concat()
}

async fn serve(kind: Kind, endpoint: Endpoint, mut stop: oneshot::Receiver<()>) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming.unwrap(),
            _ = &mut stop => return,
        };
        tokio::task::spawn_local(async move {
            let Ok(quic) = incoming.await else { return };
            match kind {
                Kind::Streams => streams(quic).await,
                Kind::Weir => weir(quic).await,
                Kind::H3 => h3(quic).await,
            }
        });
    }
}

async fn streams(quic: quinn::Connection) {
    let response = Bytes::from(vec![b'x'; 70]);
    let body = body();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            accepted = quic.accept_bi() => {
                let Ok((mut send, mut recv)) = accepted else { return };
                let mut chunks = [response.clone(), body.clone()];
                running.push(async move {
                    while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX, true).await {
                        drop(chunk);
                    }
                    let _ = send.write_all_chunks(&mut chunks).await;
                    let _ = send.finish();
                });
            }
        }
    }
}

async fn weir(quic: quinn::Connection) {
    let mut connection = weir_h3::Connection::new(quic, weir_h3::Config::default());
    let fields = Rc::new(fields());
    let body = body();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            accepted = connection.accept() => {
                let Ok(stream) = accepted else { return };
                let (fields, body) = (Rc::clone(&fields), body.clone());
                running.push(async move {
                    if stream.head().await.is_err() {
                        return;
                    }
                    while let Ok(Some(part)) = poll_fn(|cx| stream.poll_part(cx)).await {
                        drop(part);
                    }
                    stream.put_head(StatusCode::OK, &fields);
                    let _ = stream.send_data(body).await;
                    stream.finish();
                });
            }
        }
    }
}

async fn h3(quic: quinn::Connection) {
    let quic = h3_quinn::Connection::new(quic);
    let Ok(mut connection) = h3::server::Connection::<_, Bytes>::new(quic).await else { return };
    let fields = Rc::new(fields());
    let body = body();
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(()) = running.next(), if !running.is_empty() => {}
            accepted = connection.accept() => {
                let Ok(Some(resolver)) = accepted else { return };
                let (fields, body) = (Rc::clone(&fields), body.clone());
                running.push(async move {
                    let Ok((_, mut stream)) = resolver.resolve_request().await else { return };
                    while let Ok(Some(data)) = stream.recv_data().await {
                        drop(data);
                    }
                    let mut response = Response::new(());
                    *response.headers_mut() = (*fields).clone();
                    let _ = stream.send_response(response).await;
                    let _ = stream.send_data(body).await;
                    let _ = stream.finish().await;
                });
            }
        }
    }
}

fn fields() -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("server", "weir"),
        ("content-type", "text/html; charset=utf-8"),
        ("content-length", "1024"),
        ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields
}

fn body() -> Bytes {
    Bytes::from(vec![b'x'; 1024])
}
