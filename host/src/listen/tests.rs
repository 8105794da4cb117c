//! Listeners on loopback with real clients: h3 by quinn and h3-quinn, h2 and h1 by hyper over TLS.

use std::future::{pending, poll_fn};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use bytes::{Buf, Bytes};
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::TokioIo;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Listener, ListenerId, ListenerLimits, Protocols, Quic, Retry, Tls};
use crate::message::body::BodyError;
use crate::telemetry::metrics::{self, Metrics};
use std::time::{Duration, Instant};

/// Returns a listener on a free port of loopback, with the defaults of the configuration.
pub(crate) fn listener() -> Listener {
    Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        protocols: Protocols { h3: true, h2: true, h1: true },
        tls: Some(Tls::SelfSigned { names: vec!["localhost".into()] }),
        quic: Quic {
            max_concurrent_streams: 128,
            idle_timeout: Duration::from_secs(30),
            keep_alive: Some(Duration::from_secs(10)),
            stream_window: 1 << 20,
            connection_window: 8 << 20,
            mtu_discovery: true,
            retry: Retry::UnderLoad,
            migration: true,
        },
        datagrams: false,
        default_host: None,
        redirect: None,
        trusted_proxies: Vec::new(),
        proxy_protocol: Vec::new(),
        limits: ListenerLimits {
            connections: 1000,
            header_bytes: 64 << 10,
            header_count: 128,
            underscores_in_headers: false,
            body: 1 << 30,
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            ..ListenerLimits::default()
        },
    }
}

/// The events inside the workers.
#[derive(Default)]
struct Log {
    cancelled: AtomicUsize,
    begun: AtomicUsize,
    /// Threads of the workers that served requests.
    threads: Mutex<std::collections::HashSet<thread::ThreadId>>,
    release: CancellationToken,
    /// Bytes of a body that was read after the response, set after a clean end.
    read_late: AtomicUsize,
}

/// Answers by path:
///
/// - `/hang` never answers, and `/slow` answers when released.
/// - `/echo` answers with the request's body, and `/mirror` with that body as it arrives.
/// - `/big/N` answers with N bytes, `/cut` with a body that fails, `/endless` with a body that does
///   not end.
/// - `/ignore` answers at once without reading, and `/late` answers at once and reads when
///   released.
/// - Any other path answers with itself.
struct Answering(Arc<Log>);

impl Handler for Answering {
    async fn serve(&self, request: Request<Body>, peer: Peer, _: Interim) -> Response<Body> {
        let log = &self.0;
        log.begun.fetch_add(1, Ordering::Relaxed);
        log.threads.lock().unwrap().insert(thread::current().id());
        let guard = Cancelled(log, false);
        let path = request.uri().path().to_owned();
        let mut response = Response::new(match path.as_str() {
            "/hang" => pending().await,
            "/slow" => {
                log.release.cancelled().await;
                Body::full("slow")
            }
            "/echo" => match request.into_body().collect().await {
                Ok(body) => Body::full(body.to_bytes()),
                Err(error) => Body::full(format!("error: {error}")),
            },
            "/mirror" => request.into_body(),
            "/endless" => Body::stream(Endless(Arc::clone(log))),
            "/cut" => Body::stream(Cut(Some(Bytes::from_static(b"half")))),
            "/ignore" => Body::full("ignored"),
            "/late" => {
                let (log, body) = (Arc::clone(log), request.into_body());
                #[allow(clippy::disallowed_methods, reason = "ends with the test's runtime")]
                tokio::task::spawn_local(async move {
                    log.release.cancelled().await;
                    let read = body.collect().await.unwrap().to_bytes().len();
                    log.read_late.store(read, Ordering::Relaxed);
                });
                Body::full("early")
            }
            "/local" => Body::full(peer.local.to_string()),
            "/protocol" => Body::full(peer.protocol.label()),
            path => match path.strip_prefix("/big/") {
                Some(size) => Body::full(vec![b'x'; size.parse().unwrap()]),
                None => Body::full(path.to_owned()),
            },
        });
        response.headers_mut().insert("server", HeaderValue::from_static("test"));
        guard.done();
        response
    }
}

struct Cancelled<'a>(&'a Log, bool);

impl Cancelled<'_> {
    fn done(mut self) {
        self.1 = true;
    }
}

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Cut(Option<Bytes>);

impl http_body::Body for Cut {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let next = self.0.take().map(http_body::Frame::data).ok_or(BodyError::Aborted);
        std::task::Poll::Ready(Some(next))
    }
}

/// A body without an end. Dropping it counts as a cancellation.
struct Endless(Arc<Log>);

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let next = http_body::Frame::data(Bytes::from_static(&[b'x'; 16 << 10]));
        std::task::Poll::Ready(Some(Ok(next)))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.cancelled.fetch_add(1, Ordering::Relaxed);
    }
}

/// Workers that serve one listener.
struct Server {
    address: SocketAddr,
    log: Arc<Log>,
    edge: Arc<Edge>,
    listening: Arc<Listening>,
    counters: metrics::QuicCounters,
    drain: CancellationToken,
    close: CancellationToken,
    workers: Vec<JoinHandle<()>>,
}

impl Server {
    fn start(config: &Listener, workers: usize) -> Self {
        Self::with(config, bind(config, workers, false).unwrap())
    }

    /// Does the same as `start`, but the kernel distributes packets by address, as without a
    /// program.
    fn start_unsteered(config: &Listener, workers: usize) -> Self {
        let sockets = bind(config, workers, false).unwrap();
        kernel::tests::detach(sockets[0].udp.as_ref().unwrap());
        Self::with(config, sockets)
    }

    /// Does the same as `start`, but cuts clients that take nothing off after `stalled`.
    fn start_impatient(config: &Listener, stalled: Duration) -> Self {
        Self::on(config, bind(config, 1, false).unwrap(), stalled)
    }

    fn with(config: &Listener, sockets: Vec<Sockets>) -> Self {
        Self::on(config, sockets, Duration::MAX)
    }

    fn on(config: &Listener, sockets: Vec<Sockets>, stalled: Duration) -> Self {
        let address = sockets[0].address();
        let metrics = Metrics::new();
        let counters = metrics.quic.clone();
        let common = Common { metrics: &metrics, keys: &Keys::new().unwrap() };
        let mut edge = Edge::new(ListenerId::new(0), config, address, common).unwrap();
        edge.pace.most = stalled.min(edge.pace.most);
        let listening = Arc::new(Listening::new(edge, Vec::new()));
        let (drain, close) = (CancellationToken::new(), CancellationToken::new());
        let log = Arc::new(Log::default());
        let shared = listening.edge();
        let workers = sockets
            .into_iter()
            .map(|sockets| {
                let tasks = Tasks::new(drain.clone(), close.clone());
                let (listening, log) = (Arc::clone(&listening), Arc::clone(&log));
                thread::spawn(move || {
                    runtime().block_on(async move {
                        let (handler, endpoints) = (Rc::new(Answering(log)), Endpoints::default());
                        serve(sockets, &listening, &endpoints, &handler, &tasks).unwrap();
                        tasks.draining().await;
                        tasks.finished().await;
                    });
                })
            })
            .collect();
        Self { address, log, edge: shared, listening, counters, drain, close, workers }
    }

    /// Drains and waits until every worker has ended.
    async fn drained(mut self) {
        self.drain.cancel();
        let workers = std::mem::take(&mut self.workers);
        let ended = tokio::task::spawn_blocking(move || {
            for worker in workers {
                worker.join().unwrap();
            }
        });
        tokio::time::timeout(Duration::from_secs(20), ended).await.expect("drain ends").unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain.cancel();
        self.close.cancel();
    }
}

fn runtime() -> tokio::runtime::LocalRuntime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap()
}

/// Runs a test on its own runtime, within a bound.
fn run(test: impl Future<Output = ()>) {
    runtime().block_on(async {
        tokio::time::timeout(Duration::from_secs(60), test).await.expect("test ends");
    });
}

/// Trusts every certificate of a server.
#[derive(Debug)]
struct Trusting(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &rustls::pki_types::CertificateDer<'_>,
        dss: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client_tls(alpn: &str) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.into()];
    config
}

fn quic_client() -> quinn::Endpoint {
    let mut endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let tls = QuicClientConfig::try_from(client_tls("h3")).unwrap();
    endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(tls)));
    endpoint
}

type Requests = ::h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
type Exchange = ::h3::client::RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// An HTTP/3 connection. Its driver returns the closing error.
struct H3 {
    connection: quinn::Connection,
    requests: Requests,
    _driver: tokio::task::JoinHandle<()>,
}

impl H3 {
    async fn connect(endpoint: &quinn::Endpoint, address: SocketAddr) -> Self {
        let connection = endpoint.connect(address, "localhost").unwrap().await.unwrap();
        let (mut driver, requests) =
            ::h3::client::new(h3_quinn::Connection::new(connection.clone())).await.unwrap();
        #[allow(clippy::disallowed_methods, reason = "the client's side of a test")]
        let driver = tokio::task::spawn_local(async move {
            let _ = poll_fn(|cx| driver.poll_close(cx)).await;
        });
        Self { connection, requests, _driver: driver }
    }

    async fn open(&mut self, request: Request<()>) -> Exchange {
        self.requests.send_request(request).await.unwrap()
    }

    async fn get(&mut self, path: &str) -> (StatusCode, Bytes) {
        let mut exchange = self.open(get(path)).await;
        exchange.finish().await.unwrap();
        answer(&mut exchange).await.unwrap()
    }
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("https://localhost{path}")).body(()).unwrap()
}

async fn answer(exchange: &mut Exchange) -> Result<(StatusCode, Bytes), ::h3::error::StreamError> {
    let response = exchange.recv_response().await?;
    let mut body = Vec::new();
    while let Some(data) = exchange.recv_data().await? {
        body.extend_from_slice(data.chunk());
    }
    Ok((response.status(), body.into()))
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

mod h1_and_h2;
mod h3_requests;
mod stalled;
mod steering;
mod upgrade;
