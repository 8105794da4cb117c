//! One request of an HTTP/3 connection: read, served, answered, acknowledged.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::{RequestResolver, RequestStream};
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;
use tokio::time::timeout;

use super::quic::Transport;
use super::stream::{Half, Stream};
use super::{Connection, body, fields};
use crate::listen::body::Body;
use crate::listen::{Handler, canonical};
use crate::proxy::{Peer, Protocol};

/// How long a client may take nothing of a response before it is given up; nginx's `send_timeout` is the same.
const STALLED: Duration = Duration::from_secs(60);

/// Bytes that a client must take in that time: 1 KiB/s.
const PIECE: usize = 64 << 10;

/// How a request ended, as far as the connection is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Answered in full.
    Complete,
    /// The client lost interest, or broke the rules: cheap for it to repeat, less so for us.
    Wasted,
}

/// Serves one request. Dropping the future cancels it.
pub(super) async fn exchange<H: Handler>(
    resolver: RequestResolver<Transport, Bytes>,
    stream: Rc<Stream>,
    connection: Rc<Connection<H>>,
) -> Outcome {
    let mut stopped = pin!(stream.stopped());
    // The client's cancellation comes first: it drops the handler's future and with it the upstream's work.
    let end = tokio::select! {
        biased;
        _ = &mut stopped => Err(Code::H3_REQUEST_CANCELLED),
        end = serve(resolver, &stream, &connection) => end,
    };
    match end {
        Ok(()) => {
            stream.finish();
            // Until all of it is acknowledged the request is not done: a drain must not close the connection before.
            let _ = stopped.await;
            Outcome::Complete
        }
        Err(code) => {
            stream.abort(code);
            Outcome::Wasted
        }
    }
}

/// Reads the head, has it served, sends the response. The error is the code to reset the stream with.
async fn serve<H: Handler>(
    resolver: RequestResolver<Transport, Bytes>,
    stream: &Rc<Stream>,
    connection: &Connection<H>,
) -> Result<(), Code> {
    let limits = &connection.edge.limits;
    let (request, both) = match timeout(limits.header_timeout, resolver.resolve_request()).await {
        Ok(Ok(head)) => head,
        // The crate has sent 431.
        Ok(Err(StreamError::HeaderTooBig { .. })) => return Ok(()),
        Ok(Err(StreamError::StreamError { code, .. })) => return Err(code),
        Ok(Err(_)) => return Err(Code::H3_REQUEST_CANCELLED),
        Err(_) => return Err(Code::H3_REQUEST_INCOMPLETE),
    };
    let (mut send, recv) = both.split();
    let method = request.method().clone();
    let request = receive(request, recv, stream, connection).await?;
    let peer = Peer {
        client: canonical(connection.link.connection.remote_address()),
        local: connection.edge.address,
        protocol: Protocol::H3,
        tls: true,
        listener: connection.edge.index,
    };
    let response = connection.handler.serve(request, peer).await;
    if let Some(code) = stream.fault() {
        return Err(code);
    }
    respond(method, response, &mut send, stream).await
}

/// Checks the head and adds the body.
async fn receive<H: Handler>(
    request: Request<()>,
    recv: RequestStream<Half, Bytes>,
    stream: &Rc<Stream>,
    connection: &Connection<H>,
) -> Result<Request<Body>, Code> {
    let malformed = |reason| {
        tracing::debug!(reason, "malformed HTTP/3 request");
        Code::H3_MESSAGE_ERROR
    };
    fields::request(&request).map_err(malformed)?;
    let length = fields::content_length(request.headers()).map_err(malformed)?;
    let count = connection.edge.limits.header_count;
    let body = body::incoming(recv, Rc::clone(stream), length, count)
        .await
        .map_err(|_| Code::H3_MESSAGE_ERROR)?;
    Ok(request.map(|()| body))
}

async fn respond(
    method: Method,
    response: Response<Body>,
    send: &mut RequestStream<Half, Bytes>,
    stream: &Stream,
) -> Result<(), Code> {
    let (mut head, mut body) = response.into_parts();
    fields::strip(&mut head.headers);
    let has_body = method != Method::HEAD
        && !matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    timed(send.send_response(Response::from_parts(head, ()))).await?;
    while has_body && !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        // The client must see that the response is not whole.
        let frame = frame.map_err(|_| Code::H3_INTERNAL_ERROR)?;
        match frame.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE));
                    timed(stream.send_data(piece)).await?;
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    timed(send.send_trailers(trailers)).await?;
                }
            }
        }
    }
    Ok(())
}

/// Waits for the client to take something, but not for ever.
async fn timed<E>(sending: impl Future<Output = Result<(), E>>) -> Result<(), Code> {
    match timeout(STALLED, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Code::H3_INTERNAL_ERROR),
        Err(_) => Err(Code::H3_REQUEST_CANCELLED),
    }
}
