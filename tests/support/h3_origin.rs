//! The HTTP/3 of an [`Origin`](super::origin::Origin), by the crates h3 and h3-quinn.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use h3::server::RequestStream;
use http::Request;
use http_body_util::BodyExt as _;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, ServerConfig, TokioRuntime};
use tokio_util::sync::CancellationToken;

use super::origin::{State, answer};
use super::{Body, spawn};

/// Opens a socket for QUIC.
pub(super) fn open(address: SocketAddr, tls: rustls::ServerConfig) -> io::Result<Endpoint> {
    let tls = QuicServerConfig::try_from(tls).unwrap();
    let server = ServerConfig::with_crypto(Arc::new(tls));
    let socket = UdpSocket::bind(address)?;
    Endpoint::new(EndpointConfig::default(), Some(server), socket, Arc::new(TokioRuntime))
}

/// Serves connections until `stop`.
pub(super) async fn accept(endpoint: Endpoint, state: Arc<State>, stop: CancellationToken) {
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            () = stop.cancelled() => break,
        };
        let Some(incoming) = incoming else { break };
        let state = state.clone();
        spawn(async move {
            let Ok(quic) = incoming.await else { return };
            state.connected();
            // The connection is over when this fails.
            let _ = serve(quic, state).await;
        });
    }
    endpoint.close(0_u8.into(), b"");
}

async fn serve(
    quic: quinn::Connection,
    state: Arc<State>,
) -> Result<(), h3::error::ConnectionError> {
    let quic = h3_quinn::Connection::new(quic);
    let mut connection = h3::server::Connection::<_, Bytes>::new(quic).await?;
    while let Some(resolver) = connection.accept().await? {
        let state = state.clone();
        spawn(async move {
            let Ok((request, stream)) = resolver.resolve_request().await else { return };
            // A request that breaks off is counted by its exchange.
            let _ = exchange(request, stream, state).await;
        });
    }
    Ok(())
}

async fn exchange(
    request: Request<()>,
    stream: RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>,
    state: Arc<State>,
) -> Result<(), h3::error::StreamError> {
    let (mut send, mut receive) = stream.split();
    let length = request.headers().get("content-length");
    let length = length.and_then(|length| length.to_str().unwrap().parse().ok());
    let (sender, body) = Body::channel();
    let body = body.announcing(length);
    spawn(async move {
        loop {
            match receive.recv_data().await {
                Ok(Some(mut data)) => {
                    if !sender.send(data.copy_to_bytes(data.remaining())).await {
                        // The rest is not wanted, and the response is complete without it.
                        receive.stop_sending(h3::error::Code::H3_NO_ERROR);
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return sender.abort().await,
            }
        }
        match receive.recv_trailers().await {
            Ok(Some(trailers)) => sender.trailers(trailers).await,
            Ok(None) => {}
            Err(_) => sender.abort().await,
        }
    });
    let (parts, ()) = request.into_parts();
    let method = parts.method.clone();
    let request = Request::from_parts(parts, body.boxed_unsync());
    let Ok(response) = answer(request, state).await;
    let (mut parts, mut body) = response.into_parts();
    if let Some(length) = body.length().filter(|_| !parts.status.is_informational())
        && !matches!(parts.status.as_u16(), 204 | 304)
    {
        parts.headers.insert("content-length", length.into());
    }
    send.send_response(http::Response::from_parts(parts, ())).await?;
    while method != http::Method::HEAD
        && let Some(frame) = body.frame().await
    {
        let Ok(frame) = frame else {
            send.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) => send.send_data(data).await?,
            Err(frame) => send.send_trailers(frame.into_trailers().unwrap_or_default()).await?,
        }
    }
    send.finish().await
}
