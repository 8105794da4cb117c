//! One client for the three protocols. Dropping an unanswered request, or an answer with an
//! unfinished body, cancels it in the way of its protocol: a reset stream, or a closed connection.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quinn::crypto::rustls::QuicClientConfig;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Body, spawn, tls, within};

/// A protocol between client and Weir.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    H1,
    H2,
    H3,
}

impl Protocol {
    pub(crate) const ALL: [Self; 3] = [Self::H1, Self::H2, Self::H3];

    /// The value of the `protocol` label.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::H1 => "h1",
            Self::H2 => "h2",
            Self::H3 => "h3",
        }
    }

    /// The protocol in a Via field.
    pub(crate) fn via(self) -> &'static str {
        match self {
            Self::H1 => "1.1",
            Self::H2 => "2",
            Self::H3 => "3",
        }
    }
}

/// One connection to Weir.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    connection: Connection,
}

enum Connection {
    H1(Mutex<http1::SendRequest<Body>>),
    H2(http2::SendRequest<Body>),
    H3(H3Requests, quinn::Endpoint, quinn::Connection),
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Connection")
    }
}

type H3Requests = h3::client::SendRequest<h3_quinn::OpenStreams, Bytes>;
type H3Answer = h3::client::RequestStream<h3_quinn::RecvStream, Bytes>;
type H3Body = h3::client::RequestStream<h3_quinn::SendStream<Bytes>, Bytes>;

/// Weir's answer; its body is read as it arrives.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: AnswerBody,
    trailers: HeaderMap,
}

enum AnswerBody {
    Hyper(Incoming),
    H3 { stream: Box<Reading>, _requests: H3Requests, _sending: DropGuard },
}

/// Stops the other side when dropped before the end.
struct Reading {
    stream: H3Answer,
    ended: bool,
}

/// The reason why there is no complete answer.
#[derive(Debug)]
#[allow(dead_code, reason = "read through Debug when a test fails")]
pub(crate) struct Failure(pub(crate) String);

impl Client {
    /// Connects, and fails the test if that fails.
    pub(crate) async fn connect(address: SocketAddr, protocol: Protocol) -> Self {
        match within("connecting", Self::try_connect(address, protocol)).await {
            Ok(client) => client,
            Err(failure) => panic!("{protocol:?} to {address}: {failure:?}"),
        }
    }

    /// Connects.
    pub(crate) async fn try_connect(
        address: SocketAddr,
        protocol: Protocol,
    ) -> Result<Self, Failure> {
        Self::try_connect_from(address, protocol, None).await
    }

    /// Connects, from a loopback address if one is given.
    pub(crate) async fn try_connect_from(
        address: SocketAddr,
        protocol: Protocol,
        source: Option<Ipv4Addr>,
    ) -> Result<Self, Failure> {
        let connection = match protocol {
            Protocol::H1 => {
                let stream =
                    TokioIo::new(tls::connect_from(address, &[b"http/1.1"], source).await?);
                let (requests, connection) = http1::handshake(stream).await?;
                spawn(async move { drop(connection.await) });
                Connection::H1(Mutex::new(requests))
            }
            Protocol::H2 => {
                let stream = TokioIo::new(tls::connect_from(address, &[b"h2"], source).await?);
                let (requests, connection) = http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .initial_stream_window_size(1 << 20)
                    .initial_connection_window_size(4 << 20)
                    .handshake(stream)
                    .await?;
                spawn(async move { drop(connection.await) });
                Connection::H2(requests)
            }
            Protocol::H3 => {
                let (endpoint, quic) = quic_from(address, source).await?;
                let (mut driver, requests) =
                    h3::client::new(h3_quinn::Connection::new(quic.clone())).await?;
                spawn(async move {
                    drop(std::future::poll_fn(|cx| driver.poll_close(cx)).await);
                });
                Connection::H3(requests, endpoint, quic)
            }
        };
        Ok(Self { address, connection })
    }

    /// Sends a request for `path` without a body.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    /// Sends a request with a body.
    pub(crate) async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        self.send(Request::post(path).body(body.into()).unwrap()).await
    }

    /// Sends a request, and fails the test if there is no answer.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let what = format!("{} {}", request.method(), request.uri());
        match within(&what, self.try_send(request)).await {
            Ok(answer) => answer,
            Err(failure) => panic!("{what}: {failure:?}"),
        }
    }

    /// Sends a request; its URI is a path. Dropping the future cancels the request.
    pub(crate) async fn try_send(&self, mut request: Request<Body>) -> Result<Answer, Failure> {
        let address = self.address;
        let authority = match request.headers_mut().remove(http::header::HOST) {
            Some(host) => host.to_str().unwrap().to_owned(),
            None => format!("localhost:{}", address.port()),
        };
        match &self.connection {
            Connection::H1(requests) => {
                request.headers_mut().insert(http::header::HOST, authority.parse().unwrap());
                let mut requests = requests.lock().await;
                requests.ready().await?;
                let pending = requests.send_request(request);
                drop(requests);
                Ok(Answer::hyper(pending.await?))
            }
            Connection::H2(requests) => {
                let mut requests = requests.clone();
                absolute(&mut request, &authority);
                *request.version_mut() = Version::HTTP_2;
                requests.ready().await?;
                Ok(Answer::hyper(requests.send_request(request).await?))
            }
            Connection::H3(requests, ..) => {
                absolute(&mut request, &authority);
                send_h3(requests.clone(), request).await
            }
        }
    }

    /// Moves the local address of a QUIC connection to another port.
    pub(crate) fn rebind(&self) {
        let Connection::H3(_, endpoint, _) = &self.connection else { panic!("only QUIC migrates") };
        let socket = std::net::UdpSocket::bind((address_any(self.address), 0)).unwrap();
        endpoint.rebind(socket).unwrap();
    }

    /// Whether Weir has closed the connection or asked for no more requests.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.connection {
            Connection::H1(requests) => requests.try_lock().is_ok_and(|r| r.is_closed()),
            Connection::H2(requests) => requests.is_closed(),
            Connection::H3(_, _, quic) => quic.close_reason().is_some(),
        }
    }
}

impl Answer {
    fn hyper(response: http::Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let body = AnswerBody::Hyper(body);
        Self { status: head.status, headers: head.headers, body, trailers: HeaderMap::new() }
    }

    /// The value of a field; empty if it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns the next piece of the body, or `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Result<Bytes, Failure>> {
        loop {
            return match &mut self.body {
                AnswerBody::Hyper(body) => match body.frame().await? {
                    Ok(frame) => match frame.into_data() {
                        Ok(data) => Some(Ok(data)),
                        Err(frame) => {
                            self.trailers.extend(frame.into_trailers().unwrap());
                            continue;
                        }
                    },
                    Err(error) => Some(Err(error.into())),
                },
                AnswerBody::H3 { stream, .. } if stream.ended => None,
                AnswerBody::H3 { stream, .. } => match stream.stream.recv_data().await {
                    Ok(Some(mut data)) => Some(Ok(data.copy_to_bytes(data.remaining()))),
                    Ok(None) => {
                        stream.ended = true;
                        match stream.stream.recv_trailers().await {
                            Ok(fields) => self.trailers.extend(fields.unwrap_or_default()),
                            Err(error) => return Some(Err(error.into())),
                        }
                        None
                    }
                    Err(error) => {
                        stream.ended = true;
                        Some(Err(error.into()))
                    }
                },
            };
        }
    }

    /// Reads the whole body.
    pub(crate) async fn bytes(&mut self) -> Result<Bytes, Failure> {
        let mut all = Vec::new();
        while let Some(chunk) = within("the body", self.chunk()).await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all.into())
    }

    /// Reads the whole body as text, and fails the test if the body is cut short.
    pub(crate) async fn text(mut self) -> String {
        let bytes = self.bytes().await.unwrap_or_else(|e| panic!("a whole body: {e:?}"));
        String::from_utf8(bytes.into()).unwrap()
    }

    /// Reads the body and counts its bytes.
    pub(crate) async fn count(&mut self) -> Result<u64, Failure> {
        let mut count = 0;
        while let Some(chunk) = within("the body", self.chunk()).await {
            count += chunk?.len() as u64;
        }
        Ok(count)
    }

    /// The trailers, after the end of the body.
    pub(crate) fn trailers(&self) -> &HeaderMap {
        &self.trailers
    }
}

impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        Self(text)
    }
}

/// A QUIC connection that offers h3.
pub(crate) async fn quic(
    address: SocketAddr,
) -> Result<(quinn::Endpoint, quinn::Connection), Failure> {
    quic_from(address, None).await
}

async fn quic_from(
    address: SocketAddr,
    source: Option<Ipv4Addr>,
) -> Result<(quinn::Endpoint, quinn::Connection), Failure> {
    let source = source.map_or(address_any(address), IpAddr::from);
    let mut endpoint = quinn::Endpoint::client((source, 0).into())?;
    let crypto = QuicClientConfig::try_from(tls::config(&[b"h3"]))?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window((1u32 << 20).into());
    config.transport_config(Arc::new(transport));
    endpoint.set_default_client_config(config);
    let connection = endpoint.connect(address, "localhost")?.await?;
    Ok((endpoint, connection))
}

async fn send_h3(mut requests: H3Requests, request: Request<Body>) -> Result<Answer, Failure> {
    let (mut head, body) = request.into_parts();
    let announced = head.headers.contains_key(http::header::CONTENT_LENGTH);
    if let Some(length) = body.length().filter(|length| !announced && *length > 0) {
        head.headers.insert(http::header::CONTENT_LENGTH, length.into());
    }
    let stream = requests.send_request(Request::from_parts(head, ())).await?;
    let (sending, receiving) = stream.split();
    let cancel = CancellationToken::new();
    let guard = cancel.clone().drop_guard();
    spawn(send_body(sending, body, cancel));
    let mut reading = Reading { stream: receiving, ended: false };
    let mut response = reading.stream.recv_response().await?;
    while response.status().is_informational() {
        response = reading.stream.recv_response().await?;
    }
    let (head, ()) = response.into_parts();
    let body = AnswerBody::H3 { stream: Box::new(reading), _requests: requests, _sending: guard };
    Ok(Answer { status: head.status, headers: head.headers, body, trailers: HeaderMap::new() })
}

async fn send_body(mut stream: H3Body, mut body: Body, cancel: CancellationToken) {
    let sent = tokio::select! {
        biased;
        sent = send_frames(&mut stream, &mut body) => sent,
        () = cancel.cancelled() => Err(Failure("cancelled".to_owned())),
    };
    if sent.is_err() {
        stream.stop_stream(h3::error::Code::H3_REQUEST_CANCELLED);
    }
}

async fn send_frames(stream: &mut H3Body, body: &mut Body) -> Result<(), Failure> {
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => stream.send_data(data).await?,
            Err(frame) => stream.send_trailers(frame.into_trailers().unwrap()).await?,
        }
    }
    Ok(stream.finish().await?)
}

fn absolute(request: &mut Request<Body>, authority: &str) {
    let path = request.uri().path_and_query().cloned().unwrap();
    *request.uri_mut() = http::Uri::builder()
        .scheme("https")
        .authority(authority)
        .path_and_query(path)
        .build()
        .unwrap();
}

fn address_any(peer: SocketAddr) -> IpAddr {
    match peer {
        SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    }
}
