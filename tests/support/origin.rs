//! An origin in the test's process, of any protocol. The path of the request selects its answer:
//!
//! | path | answer |
//! |---|---|
//! | `/who` (and any other) | its name |
//! | `/head` | the request's head as JSON, see [`Head`] |
//! | `/echo` | the request's body and trailers, as they come |
//! | `/count` | the number of bytes in the request's body, once it has ended |
//! | `/bytes/N` | N bytes with a content-length |
//! | `/chunked/N` | N bytes without |
//! | `/pattern/N` | N bytes that tell their places, see [`super::body::Pattern`] |
//! | `/status/N` | the status N and no body |
//! | `/trailers` | a body, then the trailer `x-sum: 7` |
//! | `/grpc/N` | a message of gRPC, then the trailer `grpc-status: N` |
//! | `/hold` | nothing, until [`Origin::release`] |
//! | `/hold-body` | the head and `first`, and after [`Origin::release`] `last` |
//! | `/hold-read` | its name, once released; the request's body is not read before |
//! | `/events` | `event 0`, and a further line after each [`Origin::release`] |
//! | `/endless` | bytes until nobody reads them |
//! | `/health` | 200 or 503, see [`Origin::set_healthy`] |

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::{Body, h3_origin, spawn, tls, until};

/// An origin; stops when dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    address: SocketAddr,
    speaks: Speaks,
    state: Arc<State>,
    stop: CancellationToken,
}

/// A protocol between Weir and an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    H1,
    H1Tls,
    /// Over TLS, by ALPN, with HTTP/1.1 as the other choice.
    H2,
    /// Without TLS, by prior knowledge.
    H2c,
    /// Over QUIC alone.
    H3,
    /// As [`Speaks::H2`], with Alt-Svc for HTTP/3 at the same port.
    H2AndH3,
}

impl Speaks {
    /// One of each protocol.
    pub(crate) const ALL: [Self; 5] = [Self::H1, Self::H1Tls, Self::H2, Self::H2c, Self::H3];

    fn alpn(self) -> Option<&'static [&'static [u8]]> {
        match self {
            Self::H1 | Self::H2c => None,
            Self::H1Tls => Some(&[b"http/1.1"]),
            Self::H2 | Self::H2AndH3 => Some(&[b"h2", b"http/1.1"]),
            Self::H3 => Some(&[b"h3"]),
        }
    }

    /// Whether several requests share a connection.
    pub(crate) fn is_shared(self) -> bool {
        !matches!(self, Self::H1 | Self::H1Tls)
    }

    fn has_quic(self) -> bool {
        matches!(self, Self::H3 | Self::H2AndH3)
    }
}

/// The head of a request as it reached an origin.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    /// In the order of arrival, names as written.
    pub(crate) headers: HeaderMap,
}

#[derive(Debug)]
pub(super) struct State {
    name: String,
    /// The value of Alt-Svc in responses over TCP.
    alt_svc: Option<String>,
    heads: Mutex<Vec<Head>>,
    connections: AtomicUsize,
    cancelled: AtomicUsize,
    healthy: AtomicBool,
    probes: AtomicUsize,
    released: watch::Sender<u64>,
}

impl State {
    /// Counts a connection.
    pub(super) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
    }
}

impl Origin {
    /// Starts an origin on a free port.
    pub(crate) async fn start() -> Self {
        Self::named("origin").await
    }

    /// Starts an origin that answers `/who` with `name`.
    pub(crate) async fn named(name: &str) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), name).await
    }

    /// Starts an origin at an address.
    pub(crate) async fn at(address: SocketAddr, name: &str) -> Self {
        Self::listen(address, name, Speaks::H1).await
    }

    /// Starts an origin of this protocol.
    pub(crate) async fn speaking(speaks: Speaks) -> Self {
        Self::listen("127.0.0.1:0".parse().unwrap(), "origin", speaks).await
    }

    /// Starts an origin that asks for this certificate.
    pub(crate) async fn asking(speaks: Speaks, client: &tls::Certificate) -> Self {
        let tls = AUTHORITY.server(speaks.alpn().unwrap(), Some(client));
        let address = "127.0.0.1:0".parse().unwrap();
        Self::listen_by((address, "origin"), speaks, Some(tls), None).await
    }

    /// Starts an origin with this value of Alt-Svc in its responses over TCP.
    pub(crate) async fn telling(speaks: Speaks, alt_svc: String) -> Self {
        let tls = AUTHORITY.server(speaks.alpn().unwrap(), None);
        let address = "127.0.0.1:0".parse().unwrap();
        Self::listen_by((address, "origin"), speaks, Some(tls), Some(alt_svc)).await
    }

    async fn listen(address: SocketAddr, name: &str, speaks: Speaks) -> Self {
        let tls = speaks.alpn().map(|alpn| AUTHORITY.server(alpn, None));
        Self::listen_by((address, name), speaks, tls, None).await
    }

    async fn listen_by(
        (address, name): (SocketAddr, &str),
        speaks: Speaks,
        tls: Option<rustls::ServerConfig>,
        alt_svc: Option<String>,
    ) -> Self {
        let (listener, quic) = bind(address, speaks, tls.as_ref()).await;
        let address = listener.local_addr().unwrap();
        let here = || format!("h3=\":{}\"", address.port());
        let alt_svc = alt_svc.or_else(|| (speaks == Speaks::H2AndH3).then(here));
        let state = Arc::new(State {
            name: name.to_owned(),
            alt_svc,
            heads: Mutex::default(),
            connections: AtomicUsize::new(0),
            cancelled: AtomicUsize::new(0),
            healthy: AtomicBool::new(true),
            probes: AtomicUsize::new(0),
            released: watch::Sender::new(0),
        });
        let stop = CancellationToken::new();
        if let Some(quic) = quic {
            spawn(h3_origin::accept(quic, state.clone(), stop.clone()));
        }
        if speaks != Speaks::H3 {
            let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
            spawn(accept(listener, (acceptor, speaks), state.clone(), stop.clone()));
        }
        Self { address, speaks, state, stop }
    }

    /// Starts origins named `a`, `b`, `c` and further letters.
    pub(crate) async fn several<const N: usize>() -> [Self; N] {
        let mut origins = Vec::new();
        for name in (b'a'..).take(N) {
            origins.push(Self::named(&char::from(name).to_string()).await);
        }
        origins.try_into().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// The keys of an upstream for origins of its protocol.
    pub(crate) fn upstream(&self) -> Option<String> {
        let ca = || format!("ca: {}", AUTHORITY.cert());
        match self.speaks {
            Speaks::H1 => None,
            Speaks::H1Tls | Speaks::H2 | Speaks::H2AndH3 => Some(format!("tls: {{ {} }}", ca())),
            Speaks::H3 => Some(format!("protocol: h3\n    tls: {{ {} }}", ca())),
            Speaks::H2c => Some("protocol: h2".to_owned()),
        }
    }

    /// The heads of all requests so far, without health probes.
    pub(crate) fn heads(&self) -> Vec<Head> {
        self.state.heads.lock().unwrap().clone()
    }

    /// The head of the last request.
    pub(crate) fn head(&self) -> Head {
        self.last_head().unwrap_or_else(|| panic!("no request reached the origin"))
    }

    /// The head of the last request, if there was one.
    pub(crate) fn last_head(&self) -> Option<Head> {
        self.heads().pop()
    }

    /// Requests so far, without health probes.
    pub(crate) fn requests(&self) -> usize {
        self.heads().len()
    }

    /// Connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Health probes so far.
    pub(crate) fn probes(&self) -> usize {
        self.state.probes.load(Ordering::SeqCst)
    }

    /// Exchanges that the other side gave up before their end.
    pub(crate) fn cancelled(&self) -> usize {
        self.state.cancelled.load(Ordering::SeqCst)
    }

    /// Waits until this many requests have arrived.
    pub(crate) async fn until_requests(&self, count: usize) {
        let found = async || (self.requests() >= count).then_some(());
        until(format!("request {count} at the origin"), found).await;
    }

    /// Waits until this many exchanges were given up.
    pub(crate) async fn until_cancelled(&self, count: usize) {
        let found = async || (self.cancelled() >= count).then_some(());
        until(format!("cancellation {count} at the origin"), found).await;
    }

    /// Releases everything that is held.
    pub(crate) fn release(&self) {
        self.state.released.send_modify(|count| *count += 1);
    }

    /// Sets the answer to probes from now on.
    pub(crate) fn set_healthy(&self, healthy: bool) {
        self.state.healthy.store(healthy, Ordering::SeqCst);
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Head {
    /// All values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    /// All values of a field as one list.
    pub(crate) fn header(&self, name: &str) -> String {
        self.all(name).join(", ")
    }
}

/// Counts an exchange as cancelled when it is dropped before [`Exchange::done`].
struct Exchange(Option<Arc<State>>);

impl Exchange {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if let Some(state) = &self.0 {
            state.cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// The certificate of all origins of a process.
pub(crate) static AUTHORITY: LazyLock<tls::Certificate> = LazyLock::new(tls::Certificate::new);

/// Opens sockets for TCP and, if it is spoken, for QUIC at the same port.
async fn bind(
    address: SocketAddr,
    speaks: Speaks,
    tls: Option<&rustls::ServerConfig>,
) -> (TcpListener, Option<quinn::Endpoint>) {
    // Another process may have the port for UDP.
    for _ in 0..20 {
        let listener = TcpListener::bind(address).await.unwrap();
        let Some(tls) = tls.filter(|_| speaks.has_quic()) else { return (listener, None) };
        let mut tls = tls.clone();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        if let Ok(quic) = h3_origin::open(listener.local_addr().unwrap(), tls) {
            return (listener, Some(quic));
        }
    }
    panic!("no port is free for both TCP and UDP");
}

async fn accept(
    listener: TcpListener,
    (acceptor, speaks): (Option<TlsAcceptor>, Speaks),
    state: Arc<State>,
    stop: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        spawn(connection(stream, (acceptor.clone(), speaks), state.clone(), stop.clone()));
    }
}

async fn connection(
    stream: TcpStream,
    (acceptor, speaks): (Option<TlsAcceptor>, Speaks),
    state: Arc<State>,
    stop: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let serving = async {
        match acceptor {
            None => serve(stream, speaks == Speaks::H2c, state).await,
            Some(acceptor) => {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                serve(stream, is_h2, state).await;
            }
        }
    };
    tokio::select! {
        () = serving => {}
        () = stop.cancelled() => {}
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + 'static + Send,
    is_h2: bool,
    state: Arc<State>,
) {
    state.connected();
    let service = service_fn(|request: Request<Incoming>| {
        let state = state.clone();
        async move {
            let alt_svc = state.alt_svc.clone();
            let request = request.map(|body| body.map_err(io::Error::other).boxed_unsync());
            let mut response = answer(request, state).await?;
            if let Some(alt_svc) = alt_svc {
                response.headers_mut().insert("alt-svc", alt_svc.parse().unwrap());
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(stream);
    if is_h2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = server.serve_connection(io, service).await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let _ = server.serve_connection(io, service).await;
    }
}

/// The body of a request.
type Received = UnsyncBoxBody<Bytes, io::Error>;

pub(super) async fn answer(
    request: Request<Received>,
    state: Arc<State>,
) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    if path == "/health" {
        state.probes.fetch_add(1, Ordering::SeqCst);
        let healthy = state.healthy.load(Ordering::SeqCst);
        return Ok(status(if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }));
    }
    if path == "/grpc.health.v1.Health/Check" {
        state.probes.fetch_add(1, Ordering::SeqCst);
        let message = request.into_body().collect().await.unwrap().to_bytes();
        // Of the service `app`, or of the whole server.
        let is_known = [&b"\0\0\0\0\x05\x0a\x03app"[..], b"\0\0\0\0\0"].contains(&&message[..]);
        let healthy = state.healthy.load(Ordering::SeqCst);
        let code = if is_known { 0 } else { 5 };
        let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.into())]);
        let answer = if healthy { "\0\0\0\0\x02\x08\x01" } else { "\0\0\0\0\x02\x08\x02" };
        let response = Response::builder().header("content-type", "application/grpc");
        return Ok(response.body(Body::from(answer).with_trailers(trailers)).unwrap());
    }
    let mut released = state.released.subscribe();
    state.heads.lock().unwrap().push(Head {
        method: request.method().to_string(),
        target: request.uri().path_and_query().map_or(String::new(), ToString::to_string),
        headers: request.headers().clone(),
    });
    let exchange = Exchange(Some(state.clone()));
    let (kind, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    let number = argument.parse::<u64>().unwrap_or(0);
    Ok(match kind {
        "echo" => {
            let length = http_body::Body::size_hint(request.body()).exact();
            let (sender, body) = Body::channel();
            let announced = request.headers().get("trailer").cloned();
            let content_type = request.headers().get("content-type").cloned();
            spawn(copy(request.into_body(), Some(sender), exchange));
            let mut response = Response::new(body.announcing(length));
            // Trailers that are not announced are not forwarded over HTTP/1.1 (RFC 9110 §6.6.2).
            if let Some(announced) = announced {
                response.headers_mut().insert("trailer", announced);
            }
            if let Some(content_type) = content_type {
                response.headers_mut().insert("content-type", content_type);
            }
            response
        }
        // An authorization service: a request with `Bearer good` comes from ann.
        "auth" => {
            let is_good =
                request.headers().get("authorization").is_some_and(|v| v == "Bearer good");
            let mut response =
                status(if is_good { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED });
            let (name, value) =
                if is_good { ("x-user", "ann") } else { ("www-authenticate", "Bearer") };
            response.headers_mut().insert(name, value.parse().unwrap());
            finish(exchange, response)
        }
        "count" => {
            let counted = copy(request.into_body(), None, exchange).await;
            Response::new(counted.to_string().into())
        }
        "bytes" => finish(exchange, Response::new(Body::repeat(number))),
        "chunked" => finish(exchange, Response::new(Body::repeat(number).announcing(None))),
        "pattern" => finish(exchange, Response::new(Body::pattern(number))),
        "status" => {
            finish(exchange, status(StatusCode::from_u16(number.try_into().unwrap()).unwrap()))
        }
        "trailers" => {
            let trailers = HeaderMap::from_iter([("x-sum".parse().unwrap(), 7.into())]);
            let response = Response::builder().header("trailer", "x-sum");
            let body = Body::from("a body").with_trailers(trailers);
            finish(exchange, response.body(body).unwrap())
        }
        // A call of gRPC: a message, then the status N.
        "grpc" => {
            drain(request).await;
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), number.into())]);
            let response = Response::builder().header("content-type", "application/grpc");
            let body = Body::from("\0\0\0\0\x01x").with_trailers(trailers);
            finish(exchange, response.body(body).unwrap())
        }
        "hold" => {
            drain(request).await;
            let _ = released.changed().await;
            finish(exchange, Response::new(state.name.clone().into()))
        }
        "hold-read" => {
            let _ = released.changed().await;
            copy(request.into_body(), None, exchange).await;
            Response::new(state.name.clone().into())
        }
        "hold-body" => {
            let (sender, body) = Body::channel();
            spawn(async move {
                sender.send("first").await;
                tokio::select! {
                    _ = released.changed() => {}
                    () = sender.closed() => return,
                }
                if sender.send("last").await {
                    exchange.done();
                }
            });
            Response::new(body)
        }
        "events" => {
            let (sender, body) = Body::channel();
            spawn(async move {
                let _exchange = exchange;
                let mut count = 0;
                while sender.send(format!("event {count}\n")).await {
                    count += 1;
                    tokio::select! {
                        _ = released.changed() => {}
                        () = sender.closed() => return,
                    }
                }
            });
            Response::new(body)
        }
        "endless" => {
            let (sender, body) = Body::channel();
            spawn(async move {
                let _exchange = exchange;
                while sender.send(vec![b'x'; 16 << 10]).await {}
            });
            Response::new(body)
        }
        _ => {
            drain(request).await;
            finish(exchange, Response::new(state.name.clone().into()))
        }
    })
}

fn finish(exchange: Exchange, response: Response<Body>) -> Response<Body> {
    exchange.done();
    response
}

fn status(status: StatusCode) -> Response<Body> {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

async fn drain(request: Request<Received>) {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
}

/// Reads a body to its end, counts its bytes, and passes it to `to` if that is given.
async fn copy(mut body: Received, to: Option<super::body::Sender>, exchange: Exchange) -> u64 {
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            if let Some(to) = to {
                to.abort().await;
            }
            return count;
        };
        match frame.into_data() {
            Ok(data) => {
                count += data.len() as u64;
                if let Some(to) = &to
                    && !to.send(data).await
                {
                    return count;
                }
            }
            Err(frame) => {
                if let (Some(to), Ok(trailers)) = (&to, frame.into_trailers()) {
                    to.trailers(trailers).await;
                }
            }
        }
    }
    exchange.done();
    count
}

/// Bytes for chunks of bodies.
pub(crate) fn chunk(length: usize) -> Bytes {
    Bytes::from(vec![b'x'; length])
}
