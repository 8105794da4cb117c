//! A server that answers by path, with a QUIC client beside it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Endpoint, TransportConfig, VarInt};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use weir_h3::{Code, Config, Connection, Error, Handle, Part, Priority, Protocol, Stream};

use super::client::Client;

/// A listening server. Each connection is served with the same configuration.
pub struct Server {
    pub endpoint: Endpoint,
    pub client: Endpoint,
    pub config: Config,
    pub log: Rc<Log>,
    /// The moment from which requests are taken.
    pub from: Cell<From>,
}

/// The moment from which a connection's requests are taken.
#[derive(Clone, Copy)]
pub enum From {
    Handshake,
    EarlyData,
}

/// One connection, both ends.
pub struct Pair {
    pub client: Client,
    pub handle: Handle,
    pub log: Rc<Log>,
    /// The reason why the server's side ended.
    pub end: JoinHandle<Error>,
    _server: Rc<Server>,
}

/// The events of the server.
#[derive(Default)]
pub struct Log {
    /// Heads in the order in which they were read.
    pub heads: RefCell<Vec<Head>>,
    /// Errors of heads and parts, by the path or the stream's id.
    pub errors: RefCell<Vec<Error>>,
    /// Priorities that streams had at their end.
    pub priorities: RefCell<HashMap<u64, Priority>>,
    /// Codes that clients stopped streams with.
    pub stopped: RefCell<Vec<Code>>,
    /// Signals a new entry.
    pub news: Notify,
    /// Lets requests to `/wait` continue.
    pub release: Notify,
}

#[derive(Debug, Clone)]
pub struct Head {
    pub id: u64,
    pub is_early: bool,
    pub protocol: Option<String>,
    pub request: Request<()>,
}

impl Server {
    pub fn start(config: Config) -> Rc<Self> {
        Self::with(config, transport())
    }

    /// Starts a server as [`Server::start`] does, with QUIC limits for the client's side.
    pub fn with(config: Config, client: TransportConfig) -> Rc<Self> {
        let certificate = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let der = certificate.cert.der().clone();

        let mut tls = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![der.clone()], key.into())
            .unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.max_early_data_size = u32::MAX;
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let mut server = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let mut transport = TransportConfig::default();
        transport
            .max_concurrent_bidi_streams(VarInt::from_u64(config.concurrent_requests).unwrap())
            .max_concurrent_uni_streams(8u32.into())
            .datagram_receive_buffer_size(config.datagrams.then_some(1 << 20));
        server.transport_config(Arc::new(transport));

        let mut roots = rustls::RootCertStore::empty();
        roots.add(der).unwrap();
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        tls.enable_early_data = true;
        let tls = QuicClientConfig::try_from(tls).unwrap();
        let mut trusting = quinn::ClientConfig::new(Arc::new(tls));
        trusting.transport_config(Arc::new(client));

        let any = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
        let mut client = Endpoint::client(any).unwrap();
        client.set_default_client_config(trusting);
        let endpoint = Endpoint::server(server, any).unwrap();
        Rc::new(Self {
            endpoint,
            client,
            config,
            log: Rc::default(),
            from: Cell::new(From::Handshake),
        })
    }

    pub fn connecting(&self) -> quinn::Connecting {
        self.client.connect(self.endpoint.local_addr().unwrap(), "localhost").unwrap()
    }

    /// Opens a connection without any stream of HTTP/3.
    pub async fn bare(self: &Rc<Self>) -> Pair {
        let serving = self.serve_next();
        let quic = self.connecting().await.unwrap();
        self.pair(quic, serving).await
    }

    /// Opens a connection with a control stream.
    pub async fn connect(self: &Rc<Self>) -> Pair {
        let mut pair = self.bare().await;
        pair.client.open_control(&[]).await;
        pair
    }

    /// Takes the next connection.
    pub async fn accept(&self) -> Connection {
        let connecting = self.endpoint.accept().await.unwrap().accept().unwrap();
        match self.from.get() {
            From::Handshake => Connection::new(connecting.await.unwrap(), self.config),
            From::EarlyData => {
                let (quic, complete) = connecting.into_0rtt().map_err(drop).unwrap();
                Connection::early(quic, complete, self.config)
            }
        }
    }

    pub async fn pair(
        self: &Rc<Self>,
        quic: quinn::Connection,
        (handle, end): (oneshot::Receiver<Handle>, JoinHandle<Error>),
    ) -> Pair {
        let handle = handle.await.unwrap();
        let log = Rc::clone(&self.log);
        Pair { client: Client::new(quic), handle, log, end, _server: Rc::clone(self) }
    }

    /// Serves the next connection, from its first packets on.
    pub fn serve_next(self: &Rc<Self>) -> (oneshot::Receiver<Handle>, JoinHandle<Error>) {
        let (sender, handle) = oneshot::channel();
        let server = Rc::clone(self);
        let end = spawn(async move {
            let mut connection = server.accept().await;
            let _ = sender.send(connection.handle());
            loop {
                match connection.accept().await {
                    Ok(stream) => drop(spawn(exchange(stream, Rc::clone(&server.log)))),
                    Err(error) => return error,
                }
            }
        });
        (handle, end)
    }
}

impl Log {
    /// Waits until `look` returns a value.
    pub async fn until<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        loop {
            let news = self.news.notified();
            if let Some(found) = look(self) {
                return found;
            }
            news.await;
        }
    }

    fn fail(&self, error: &Error) {
        self.errors.borrow_mut().push(error.clone());
        self.news.notify_waiters();
    }
}

/// Connects to a new server.
pub async fn connect(config: Config) -> Pair {
    Server::start(config).connect().await
}

/// Connects as [`connect`] does, but opens no stream of HTTP/3.
pub async fn bare(config: Config) -> Pair {
    Server::start(config).bare().await
}

/// Limits of a client that accepts the defaults.
pub fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_uni_streams(8u32.into());
    transport
}

#[allow(clippy::disallowed_methods, reason = "a test's tasks end with its runtime")]
pub fn spawn<F: Future<Output: 'static> + 'static>(future: F) -> JoinHandle<F::Output> {
    tokio::task::spawn_local(future)
}

/// Serves one request as a proxy would.
async fn exchange(stream: Rc<Stream>, log: Rc<Log>) {
    let mut stopped = std::pin::pin!(stream.stopped());
    let end = tokio::select! {
        biased;
        code = &mut stopped => {
            if let Ok(Some(code)) = code {
                log.stopped.borrow_mut().push(code);
                log.news.notify_waiters();
            }
            Err(Code::H3_REQUEST_CANCELLED)
        }
        end = answer(&stream, &log) => end,
    };
    log.priorities.borrow_mut().insert(stream.id(), stream.priority());
    if end == Err(LEFT) {
        return log.news.notify_waiters();
    }
    match end {
        Ok(()) => {
            stream.finish();
            if let Err(error) = poll_fn(|cx| stream.poll_part(cx)).await {
                log.fail(&error);
            }
        }
        Err(code) => stream.abort(code),
    }
    log.news.notify_waiters();
}

async fn answer(stream: &Stream, log: &Log) -> Result<(), Code> {
    let request = match stream.head().await {
        Ok(request) => request,
        Err(error) => {
            log.fail(&error);
            return match error {
                Error::TooLarge => {
                    stream.put_head(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &HeaderMap::new());
                    flush(stream).await
                }
                Error::Stream(violation) => Err(violation.code),
                _ => Err(Code::H3_REQUEST_CANCELLED),
            };
        }
    };
    log.heads.borrow_mut().push(Head {
        id: stream.id(),
        is_early: stream.is_early(),
        protocol: request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().into()),
        request: request.clone(),
    });
    log.news.notify_waiters();
    let mut fields = HeaderMap::new();
    fields.insert("server", HeaderValue::from_static("a-server-of-tests"));
    fields.insert("x-long", HeaderValue::from_static("a value that is worth an entry"));
    if request.method() == Method::CONNECT {
        stream.put_head(StatusCode::OK, &HeaderMap::new());
        flush(stream).await?;
        return echo(stream, log).await;
    }
    match request.uri().path() {
        "/hang" => std::future::pending().await,
        "/wait" => log.release.notified().await,
        "/ignore" => {}
        "/confirmed" => {
            stream.confirmed().await;
            assert!(!stream.is_early());
        }
        "/trailers" => while !matches!(part(stream, log).await?, Some(Part::Trailers(_))) {},
        "/peek" => drop(part(stream, log).await?),
        "/leave" => return Err(LEFT),
        "/bulk" => {
            log.release.notified().await;
            stream.put_head(StatusCode::OK, &fields);
            return send(stream, Bytes::from(vec![b'x'; 1 << 20])).await;
        }
        "/echo" => {
            stream.put_head(StatusCode::OK, &fields);
            return echo(stream, log).await;
        }
        "/hints" => {
            let mut hints = HeaderMap::new();
            hints.insert("link", HeaderValue::from_static("</style.css>; rel=preload"));
            assert!(stream.put_interim(StatusCode::EARLY_HINTS, &hints));
            flush(stream).await?;
            log.release.notified().await;
        }
        "/datagrams" => {
            stream.put_head(StatusCode::OK, &fields);
            flush(stream).await?;
            loop {
                let datagram = tokio::select! {
                    datagram = poll_fn(|cx| stream.poll_datagram(cx)) => datagram,
                    part = poll_fn(|cx| stream.poll_part(cx)) => {
                        assert!(matches!(part, Ok(None)), "{part:?}");
                        break;
                    }
                };
                if let Err(error) = stream.send_datagram(&datagram) {
                    return send(stream, Bytes::from(error.to_string())).await;
                }
            }
            return Ok(());
        }
        path => {
            while let Some(part) = part(stream, log).await? {
                drop(part);
            }
            stream.put_head(StatusCode::OK, &fields);
            let body = match path.strip_prefix("/bytes/") {
                Some(count) => Bytes::from(vec![b'x'; count.parse().unwrap()]),
                None => Bytes::copy_from_slice(path.as_bytes()),
            };
            return send(stream, body).await;
        }
    }
    stream.put_head(StatusCode::OK, &fields);
    send(stream, Bytes::copy_from_slice(request.uri().path().as_bytes())).await
}

/// Sends the body back as it comes, and the trailers.
async fn echo(stream: &Stream, log: &Log) -> Result<(), Code> {
    while let Some(part) = part(stream, log).await? {
        match part {
            Part::Data(data) => send(stream, data).await?,
            Part::Trailers(trailers) => stream.put_trailers(&trailers),
        }
    }
    flush(stream).await
}

async fn part(stream: &Stream, log: &Log) -> Result<Option<Part>, Code> {
    match poll_fn(|cx| stream.poll_part(cx)).await {
        Ok(part) => Ok(part),
        Err(error) => {
            log.fail(&error);
            Err(stream.fault().unwrap_or(Code::H3_REQUEST_CANCELLED))
        }
    }
}

async fn send(stream: &Stream, data: Bytes) -> Result<(), Code> {
    stream.send_data(data).await.map_err(|_| Code::H3_INTERNAL_ERROR)
}

async fn flush(stream: &Stream) -> Result<(), Code> {
    poll_fn(|cx| stream.poll_flush(cx)).await.map_err(|_| Code::H3_INTERNAL_ERROR)
}

/// The code for a request that is never finished: its stream is dropped.
const LEFT: Code = Code(u64::MAX);
