//! One probe: a request by the protocol and the TLS of the upstream.

use std::future::poll_fn;
use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use prost::Message as _;

use crate::config::Health;
use crate::message::grpc::GrpcStatus;
use crate::task::Tasks;
use crate::upstream::connect::{Connector, Spoken, Transport};
use crate::upstream::h3::{failure, open};
use crate::upstream::pool::ConnectError;
use crate::upstream::{Endpoint, Upstream};

/// The reason why a probe failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error("connect")]
    Connect(#[from] ConnectError),
    #[error("exchange")]
    Exchange(#[from] hyper::Error),
    #[error("exchange")]
    H2(#[from] h2::Error),
    #[error("exchange")]
    H3(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("build request")]
    Request(#[from] http::Error),
    #[error("status {0} is not expected")]
    Status(u16),
    #[error("grpc-status {0}")]
    GrpcStatus(u8),
    #[error("the response is no message of gRPC's health checking protocol")]
    NoHealth,
    #[error("the service has status {0}, not 1 (SERVING)")]
    NotServing(i32),
    #[error("no answer in time")]
    Timeout,
}

/// Sends one request by the protocol and the TLS of the upstream.
pub(super) async fn probe(
    upstream: &Upstream,
    endpoint: &Endpoint,
    health: &Health,
    tasks: &Tasks,
) -> Result<(), ProbeError> {
    let connector = upstream.connector();
    let request = Probed { endpoint, health };
    if let Some(service) = &health.grpc {
        let connecting = connector.connect(endpoint, health.timeout, Some(Spoken::H2), None);
        let (transport, _) = connecting.await?;
        return call(transport, &request, service, tasks).await;
    }
    let status = match connector.is_h3() {
        true => match by_h3(&connector, &request, tasks).await {
            // Requests go over TCP too where QUIC does not work.
            Err(ProbeError::Connect(_)) => by_tcp(&connector, &request, tasks).await?,
            outcome => outcome?,
        },
        false => by_tcp(&connector, &request, tasks).await?,
    };
    let expected = health.expect.iter().any(|(low, high)| (*low..=*high).contains(&status));
    if expected { Ok(()) } else { Err(ProbeError::Status(status)) }
}

const USER_AGENT: &str = concat!("weir/", env!("CARGO_PKG_VERSION"), " health");

/// The request of a probe.
struct Probed<'a> {
    endpoint: &'a Endpoint,
    health: &'a Health,
}

impl Probed<'_> {
    /// Returns the path and query.
    fn path(&self) -> &str {
        self.health.path.as_deref().unwrap_or("/")
    }

    /// Returns the value of Host.
    fn authority(&self) -> &str {
        self.health.host.as_deref().unwrap_or(&self.endpoint.name)
    }

    /// Returns the head of a request of HTTP/2 or HTTP/3.
    fn head(&self, scheme: &str, path: &str) -> Result<http::request::Builder, http::Error> {
        let uri = Uri::builder().scheme(scheme).authority(self.authority());
        let uri = uri.path_and_query(path).build()?;
        Ok(Request::get(uri).header(http::header::USER_AGENT, USER_AGENT))
    }
}

/// Sends the request over TCP, and returns the status.
async fn by_tcp(
    connector: &Connector,
    request: &Probed<'_>,
    tasks: &Tasks,
) -> Result<u16, ProbeError> {
    let limit = request.health.timeout;
    let connecting = connector.connect(request.endpoint, limit, connector.spoken(), None);
    let (transport, spoken) = connecting.await?;
    match spoken {
        Spoken::H1 => by_h1(transport, request, tasks).await,
        Spoken::H2 => by_h2(transport, request, tasks).await,
    }
}

async fn by_h1(
    transport: Transport,
    request: &Probed<'_>,
    tasks: &Tasks,
) -> Result<u16, ProbeError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await?;
    tasks.spawn(async move {
        // An error of the connection is also an error of the probe, which reports it.
        let _ = connection.await;
    });
    let request = Request::get(request.path().parse::<Uri>().map_err(http::Error::from)?)
        .header(http::header::HOST, request.authority())
        .header(http::header::USER_AGENT, USER_AGENT)
        .header(http::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    // The timeout of the probe bounds this loop, and nothing is kept.
    while let Some(frame) = body.frame().await {
        frame?;
    }
    Ok(status)
}

/// Begins HTTP/2 on a new connection, and waits until it takes a request.
async fn start_h2(
    transport: Transport,
    tasks: &Tasks,
) -> Result<h2::client::SendRequest<Bytes>, h2::Error> {
    let mut builder = h2::client::Builder::new();
    let (sender, connection) = builder.enable_push(false).handshake(transport).await?;
    tasks.spawn(async move {
        let _ = connection.await;
    });
    sender.ready().await
}

fn scheme(transport: &Transport) -> &'static str {
    if transport.is_encrypted() { "https" } else { "http" }
}

async fn by_h2(
    transport: Transport,
    request: &Probed<'_>,
    tasks: &Tasks,
) -> Result<u16, ProbeError> {
    let head = request.head(scheme(&transport), request.path())?;
    let mut sender = start_h2(transport, tasks).await?;
    let (response, _) = sender.send_request(head.body(())?, true)?;
    let response = response.await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    while let Some(data) = body.data().await {
        let length = data?.len();
        body.flow_control().release_capacity(length)?;
    }
    Ok(status)
}

/// Sends the request over QUIC.
async fn by_h3(
    connector: &Connector,
    request: &Probed<'_>,
    tasks: &Tasks,
) -> Result<u16, ProbeError> {
    let limit = request.health.timeout / 2;
    let (name, config) = connector.quic(request.endpoint)?;
    let address = request.endpoint.address;
    let quic = open(address).map_err(ConnectError::from)?;
    let connecting = quic.connect_with(config, address, &name);
    let connecting = connecting.map_err(|error| ConnectError::from(io::Error::other(error)))?;
    let connected = tokio::time::timeout(limit, connecting).await;
    let connected = connected.map_err(|_| ConnectError::Timeout(limit))?;
    let connection = connected.map_err(|error| failure(error, limit))?;
    let status = exchange_h3(connection.clone(), request).await;
    connection.close(H3_NO_ERROR, b"");
    // The origin is told before the socket closes. The probe does not wait for it.
    tasks.spawn(async move { quic.wait_idle().await });
    status
}

async fn exchange_h3(
    connection: quinn::Connection,
    request: &Probed<'_>,
) -> Result<u16, ProbeError> {
    let head = request.head("https", request.path())?.body(())?;
    let connection = h3_quinn::Connection::new(connection);
    let (mut driver, mut sender) = h3::client::new(connection).await.map_err(ProbeError::h3)?;
    let exchange = async {
        let mut stream = sender.send_request(head).await.map_err(ProbeError::h3)?;
        stream.finish().await.map_err(ProbeError::h3)?;
        let response = stream.recv_response().await.map_err(ProbeError::h3)?;
        while stream.recv_data().await.map_err(ProbeError::h3)?.is_some() {}
        Ok(response.status().as_u16())
    };
    tokio::select! {
        status = exchange => status,
        error = poll_fn(|cx| driver.poll_close(cx)) => Err(ProbeError::h3(error)),
    }
}

impl ProbeError {
    fn h3(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::H3(Box::new(error))
    }
}

/// A request of gRPC's health checking protocol.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// Its response. The status 1 is SERVING.
#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Calls `grpc.health.v1.Health/Check` for a service. An empty name means the whole server.
async fn call(
    transport: Transport,
    request: &Probed<'_>,
    service: &str,
    tasks: &Tasks,
) -> Result<(), ProbeError> {
    let head = request
        .head(scheme(&transport), "/grpc.health.v1.Health/Check")?
        .method(http::Method::POST)
        .header(http::header::CONTENT_TYPE, "application/grpc")
        .header(http::header::TE, "trailers")
        .body(())?;
    let mut sender = start_h2(transport, tasks).await?;
    let (response, mut upload) = sender.send_request(head, false)?;
    upload.send_data(framed(&HealthCheckRequest { service: service.to_owned() }), true)?;
    let response = response.await?;
    if response.status() != http::StatusCode::OK {
        return Err(ProbeError::Status(response.status().as_u16()));
    }
    let (head, mut body) = response.into_parts();
    let mut message = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if message.len() + data.len() > LARGEST {
            return Err(ProbeError::NoHealth);
        }
        message.put(data);
    }
    let trailers = body.trailers().await?;
    let status = GrpcStatus::of(trailers.as_ref().unwrap_or(&head.headers));
    match status.map(GrpcStatus::code) {
        Some(0) => {}
        Some(code) => return Err(ProbeError::GrpcStatus(code)),
        None => return Err(ProbeError::NoHealth),
    }
    match unframed(message.freeze()).ok_or(ProbeError::NoHealth)?.status {
        1 => Ok(()),
        status => Err(ProbeError::NotServing(status)),
    }
}

/// Writes a message with the prefix that gRPC gives it: not compressed, and its length.
fn framed(message: &HealthCheckRequest) -> Bytes {
    let message = message.encode_to_vec();
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

/// Reads the one message of a response.
fn unframed(mut bytes: Bytes) -> Option<HealthCheckResponse> {
    let is_plain = bytes.try_get_u8().ok()? == 0;
    let length = bytes.try_get_u32().ok()?;
    let is_one = is_plain && usize::try_from(length) == Ok(bytes.len());
    HealthCheckResponse::decode(bytes).ok().filter(|_| is_one)
}

/// Bytes before a message of gRPC: one for its compression, four for its length.
const PREFIX: usize = 5;

/// Bytes of a response, at most. A message of health has two.
const LARGEST: usize = 4096;

/// H3_NO_ERROR (RFC 9114 §8.1).
const H3_NO_ERROR: quinn::VarInt = quinn::VarInt::from_u32(0x100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_before_it() {
        let request = HealthCheckRequest { service: "app".into() };
        assert_eq!(framed(&request), &b"\0\0\0\0\x05\x0a\x03app"[..]);
        assert_eq!(framed(&HealthCheckRequest::default()), &b"\0\0\0\0\0"[..]);
    }

    #[test]
    fn only_one_whole_message_is_an_answer() {
        let status = |bytes: &'static [u8]| {
            unframed(Bytes::from_static(bytes)).map(|response| response.status)
        };
        assert_eq!(status(b"\0\0\0\0\x02\x08\x01"), Some(1));
        assert_eq!(status(b"\0\0\0\0\0"), Some(0));
        for wrong in [
            &b""[..],
            b"\0\0\0\0",
            b"\x01\0\0\0\x02\x08\x01",
            b"\0\0\0\0\x03\x08\x01",
            b"\0\0\0\0\x02\x08\x01\0",
            b"\0\0\0\0\x01\x08",
        ] {
            assert_eq!(status(wrong), None, "{wrong:?}");
        }
    }
}
