//! HTTP/1.1 on an accepted connection: hyper within the listener's limits.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::pin;
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
use crate::message::body::{Body, BodyError};
use crate::message::peer::Protocol;
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
        wants_tunnel: &Cell<bool>,
    ) -> Response<Body> {
        let version = request.version();
        let interim = interjections.open(version);
        // A client that asks for a tunnel may send the tunnel's bytes without waiting. They must
        // not be read as a request.
        let is_tunnel = request.method() == Method::CONNECT;
        if is_tunnel || request.headers().contains_key(UPGRADE) {
            wants_tunnel.set(true);
        }
        let mut response = self.answer(request.map(body), Protocol::H1, interim).await;
        interjections.close().await;
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
    let (interjections, wants_tunnel) = (Rc::default(), Cell::new(false));
    let answer = service_fn(|request| async {
        Ok::<_, Infallible>(service.answer_h1(request, &interjections, &wants_tunnel).await)
    });
    // hyper answers 431 to a head that fills its buffer, so the bound of the scanner is larger.
    let section = bytes.saturating_mul(2);
    let io = Interjecting::new(Heads::new(Lingering::new(io), section), &interjections);
    let io = TokioIo::new(io);
    let mut connection = pin!(builder.serve_connection(io, answer));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = async {
            service.tasks.draining().await;
            sleep(LAST_REQUEST).await;
        } => {
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    // After a request for a tunnel, hyper ends the connection without flushing or closing it. It
    // leaves that to the code that runs the tunnel. There are no tunnels here. A second poll ends
    // the connection as usual.
    let result = match result {
        Ok(()) if wants_tunnel.get() => connection.await,
        result => result,
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
