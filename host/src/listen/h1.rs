//! HTTP/1.1 on an accepted connection: hyper within the listener's limits.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use http::header::{CONNECTION, CONTENT_LENGTH, UPGRADE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;

use super::Handler;
use super::heads::Heads;
use super::interject::{Interjecting, Interjections};
use super::service::Service;
use super::tunnel::{Inlet, Opened};
use crate::message::body::{Body, BodyError};
use crate::message::peer::Protocol;
use crate::message::tunnel::{self, Tunnel};
use crate::net::linger::Lingering;

/// Time for which an idle HTTP/1.1 connection stays open after the drain has begun. The client may
/// be sending a request at this moment. It gets an answer with `Connection: close` instead of a
/// reset.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// The smallest buffer that hyper accepts, in bytes.
const LEAST_BUFFER: usize = 8192;

impl<H: Handler> Service<H> {
    /// Answers a request of HTTP/1.1, and marks the response if the connection ends with it.
    async fn answer_h1(
        &self,
        request: Request<hyper::body::Incoming>,
        interjections: &Rc<Interjections>,
        tunnels: &Tunnels,
    ) -> Response<Body> {
        let version = request.version();
        let interim = interjections.open(version);
        // A client that asks for a tunnel may send the tunnel's bytes without waiting. They must
        // not be read as a request.
        let is_tunnel = request.method() == Method::CONNECT;
        if is_tunnel || request.headers().contains_key(UPGRADE) {
            tunnels.is_wanted.set(true);
        }
        let (request, inlet) = asking(request);
        let mut response = self.answer(request, Protocol::H1, interim).await;
        interjections.close().await;
        let opened = response.extensions_mut().remove::<Tunnel>();
        if let (Some(inlet), Some(tunnel)) = (inlet, opened) {
            let output = std::mem::take(response.body_mut());
            tunnels.opened.set(Some(Opened { inlet, output }));
            interjections.keep();
            *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
            response.headers_mut().insert(UPGRADE, tunnel.protocol);
            return response;
        }
        // After one malformed request, the following bytes may have another meaning to the client
        // too (RFC 9112 §9.6).
        let is_suspect = is_tunnel || response.status() == StatusCode::BAD_REQUEST;
        let is_cut = version == Version::HTTP_10 && ends_with_connection(&response);
        if self.tasks.is_draining() || is_suspect || is_cut {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            // Otherwise hyper adds `keep-alive` for a client of HTTP/1.0 that asked for it.
            *response.version_mut() = version;
        }
        response
    }
}

/// The tunnel that the present request of a connection asks for.
#[derive(Default)]
struct Tunnels {
    is_wanted: Cell<bool>,
    opened: Cell<Option<Opened>>,
}

/// Returns a request with the body of its tunnel, if it asks for one.
fn asking(request: Request<hyper::body::Incoming>) -> (Request<Body>, Option<Inlet>) {
    let is_able = request.method() == Method::GET && request.version() == Version::HTTP_11;
    let Some(upgrade) = tunnel::requested(request.headers()).filter(|_| is_able) else {
        return (request.map(body), None);
    };
    let (inlet, body) = Inlet::new();
    let mut request = request.map(|_| body);
    request.extensions_mut().insert(upgrade);
    (request, Some(inlet))
}

/// Serves a connection as HTTP/1.1 until it closes.
pub(super) async fn serve_h1<H: Handler>(
    io: impl AsyncRead + AsyncWrite + Unpin,
    service: Service<H>,
) {
    let limits = &service.edge.limits;
    let bytes = limits.header_bytes.max(LEAST_BUFFER);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The timeout runs from the end of the last response, so it bounds idle connections too.
        .header_read_timeout(limits.header_timeout)
        .max_headers(limits.header_count)
        .max_buf_size(bytes)
        // The bound of the buffer holds only if a read ends within a head. The limit of a head must
        // not depend on how the head is cut into segments.
        .max_header_size(bytes);
    let (interjections, tunnels) = (Rc::default(), Tunnels::default());
    let answer = service_fn(|request| async {
        Ok::<_, Infallible>(service.answer_h1(request, &interjections, &tunnels).await)
    });
    // hyper answers 431 to a head that fills its buffer, so the bound of the scanner is larger.
    let section = bytes.saturating_mul(2);
    let io = Interjecting::new(Heads::new(Lingering::new(io), section), &interjections);
    let io = TokioIo::new(io);
    let mut connection = builder.serve_connection(io, answer);
    let result = tokio::select! {
        result = &mut connection => result,
        () = async {
            service.tasks.draining().await;
            sleep(LAST_REQUEST).await;
        } => {
            Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    // After a request for a tunnel, hyper ends the connection without flushing or closing it. It
    // leaves that to the code that runs the tunnel.
    let result = match (result, tunnels.opened.take()) {
        (Ok(()), Some(opened)) => {
            let parts = connection.into_parts();
            let (io, head) = parts.io.into_inner().into_parts();
            if let Err(error) = opened.run(io.into_inner(), &head, parts.read_buf).await {
                service.report(&error);
            }
            return;
        }
        // No tunnel was opened. A second poll ends the connection as usual.
        (Ok(()), None) if tunnels.is_wanted.get() => connection.await,
        (result, _) => result,
    };
    if let Err(error) = result {
        service.report(&error);
    }
}

/// The body of a request as hyper reads it, with its errors as those of a client.
fn body(incoming: hyper::body::Incoming) -> Body {
    if incoming.is_end_stream() {
        return Body::empty();
    }
    Body::stream(incoming.map_err(BodyError::client))
}

/// Returns whether an HTTP/1.0 client can recognize the end of the response only by the end of the
/// connection (RFC 9112 §6.3). HTTP/1.0 has no chunks.
fn ends_with_connection(response: &Response<Body>) -> bool {
    let is_told = response.headers().contains_key(CONTENT_LENGTH);
    !is_told && response.body().size_hint().exact().is_none()
}
