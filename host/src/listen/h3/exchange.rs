//! One request of an HTTP/3 connection: read, served, answered, acknowledged.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use tokio::task::coop;
use tokio::time::{Instant, timeout};
use weir_h3::{Code, Error, Part, Stream};

use super::taking::Taking;
use super::{Connection, body, datagrams};
use crate::listen::Handler;
use crate::message::body::{Body, BodyError};
use crate::message::complete;
use crate::message::interim::{Inform, Interim, withholds_body};
use crate::message::peer::{Peer, Protocol};
use crate::message::tunnel::{Tunnel, Upgrade};
use crate::net::canonical;
use crate::net::linger::{PATIENCE, TOLERANCE};

/// A tunnel that has been open for this long was no waste, however it ends.
const WORTH: Duration = Duration::from_secs(1);

/// Maximum number of bytes of one DATA frame.
const PIECE: usize = 64 << 10;

/// The outcome of a request for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// The request was answered in full.
    Complete,
    /// The client cancelled the request or broke the rules. Repeating that is cheap for the client,
    /// but less cheap for the server.
    Wasted,
}

/// Serves one request. Dropping the future cancels it.
pub(super) async fn exchange<H: Handler>(
    stream: Rc<Stream>,
    connection: Rc<Connection<H>>,
) -> StreamEnd {
    let mut stopped = pin!(stream.stopped());
    let opened = Cell::new(None);
    // A cancellation by the client is checked first. It drops the handler's future and thus the
    // upstream's work.
    let end = tokio::select! {
        biased;
        _ = &mut stopped => Err(Code::H3_REQUEST_CANCELLED),
        end = serve(&stream, &connection, &opened) => end,
    };
    match end {
        Ok(reading) => {
            if !stream.is_read() {
                stream.end();
                // A component may read on after its response, as long as its limits allow.
                if let Some(reading) = reading {
                    let _ = reading.await;
                }
                linger(&stream).await;
            }
            stream.finish();
            // The request lasts until all its bytes are acknowledged, because a drain must not
            // close the connection earlier.
            if let Ok(Some(code)) = stopped.await {
                stream.abort(code);
            }
            StreamEnd::Complete
        }
        Err(code) => {
            stream.abort(code);
            // Many clients end a tunnel by a reset, and so does Weir if the origin breaks it.
            let has_lived = opened.get().is_some_and(|at: Instant| at.elapsed() >= WORTH);
            if has_lived && stream.fault().is_none() {
                StreamEnd::Complete
            } else {
                StreamEnd::Wasted
            }
        }
    }
}

/// Reads the head, calls the handler and sends the response.
///
/// Returns a signal if the request may still be read. The error is the code for the reset of the
/// stream. `opened` gets the time at which a tunnel opens.
async fn serve<H: Handler>(
    stream: &Rc<Stream>,
    connection: &Connection<H>,
    opened: &Cell<Option<Instant>>,
) -> Result<Option<body::Reading>, Code> {
    let limits = &connection.edge.limits;
    let request = match timeout(limits.header_timeout, stream.head()).await {
        Ok(Ok(request)) => as_upgrade(request),
        Ok(Err(Error::TooLarge)) => return too_large(stream, connection).await.map(|()| None),
        Ok(Err(error)) => return Err(refusal(&error)),
        Err(_) => return Err(Code::H3_REQUEST_INCOMPLETE),
    };
    let method = request.method().clone();
    let upgrade = request.extensions().get::<Upgrade>();
    let has_datagrams = upgrade.is_some_and(Upgrade::has_capsules);
    let (request, reading) = receive(request, stream, limits.header_count).await?;
    let mut request = request.map(|body| body.among(&connection.ahead));
    if has_datagrams {
        request = request.map(|body| datagrams::from_client(body, stream));
    }
    let peer = Peer {
        client: canonical(connection.handle.quic().remote_address()),
        local: connection.edge.address,
        protocol: Protocol::H3,
        version: Version::HTTP_3,
        tls: true,
        listener: connection.edge.id,
        via: None,
    };
    let interim = Interim::new(Rc::clone(stream));
    let mut response = {
        // Pinned here: a function that took the future would reserve room for it twice.
        let mut answer = pin!(connection.handler.serve(request, peer, interim));
        poll_fn(|cx| {
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() {
                // This sends interim responses. The final response shows whether the client takes
                // anything.
                let _ = stream.poll_flush(cx);
            }
            polled
        })
        .await
    };
    complete::complete(&mut response);
    if response.extensions().get::<Tunnel>().is_some() {
        opened.set(Some(Instant::now()));
        if has_datagrams {
            response = response.map(|body| datagrams::toward_client(body, stream));
        }
    }
    if let Some(code) = stream.fault() {
        return Err(code);
    }
    respond(method, response, stream, connection).await?;
    Ok(reading)
}

/// Turns an extended CONNECT (RFC 9220) into a request for a tunnel, which has the target of a GET.
fn as_upgrade(mut request: Request<()>) -> Request<()> {
    let protocol = request.extensions_mut().remove::<weir_h3::message::Protocol>();
    if let Some(protocol) = protocol
        && let Ok(protocol) = HeaderValue::from_str(protocol.as_str())
    {
        *request.method_mut() = Method::GET;
        request.extensions_mut().insert(Upgrade { protocol });
    }
    request
}

/// Adds the body to a request.
async fn receive(
    request: Request<()>,
    stream: &Rc<Stream>,
    trailers: usize,
) -> Result<(Request<Body>, Option<body::Reading>), Code> {
    let withholds = withholds_body(request.headers());
    match body::incoming(stream, trailers, withholds).await {
        Ok((body, reading)) => Ok((request.map(|()| body), reading)),
        Err(_) => Err(stream.fault().unwrap_or(Code::H3_REQUEST_CANCELLED)),
    }
}

/// Returns the code for a request that could not be read.
fn refusal(error: &Error) -> Code {
    match error {
        Error::Stream(violation) => {
            tracing::debug!(reason = violation.reason, "HTTP/3 request refused");
            violation.code
        }
        _ => Code::H3_REQUEST_CANCELLED,
    }
}

async fn too_large<H>(stream: &Stream, connection: &Connection<H>) -> Result<(), Code> {
    let mut fields = HeaderMap::new();
    complete::date(&mut fields);
    stream.put_head(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, &fields);
    Taking::new(connection).flush(stream).await
}

async fn respond<H>(
    method: Method,
    response: Response<Body>,
    stream: &Stream,
    connection: &Connection<H>,
) -> Result<(), Code> {
    let mut taking = Taking::new(connection);
    let (mut head, mut body) = response.into_parts();
    complete::strip(&mut head.headers);
    stream.put_head(head.status, &head.headers);
    while method != Method::HEAD && !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| poll_frame(&mut body, stream, cx)).await else { break };
        // The reset shows the client that the response is incomplete, and names the client's own
        // error, if there is one (RFC 9114 §4.1.2).
        let broken = |error| match error {
            BodyError::Capsules(violation) => violation.code,
            _ => stream.fault().unwrap_or(Code::H3_INTERNAL_ERROR),
        };
        match frame.map_err(broken)?.into_data() {
            Ok(mut data) => {
                while !data.is_empty() {
                    let piece = data.split_to(data.len().min(PIECE));
                    taking.send(stream.send_data(piece)).await?;
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.put_trailers(&trailers);
                }
            }
        }
    }
    taking.flush(stream).await
}

/// Returns the next frame of a body. While there is none, flushes the bytes that are already
/// queued.
fn poll_frame(
    body: &mut Body,
    stream: &Stream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    let frame = Pin::new(body).poll_frame(cx);
    if frame.is_pending() {
        // The next piece shows whether the client still takes the response.
        let _ = stream.poll_flush(cx);
    }
    frame
}

/// Reads the rest of a request after its answer, for a limited time. A client may ignore
/// STOP_SENDING until its body is written, and some browsers then never look at the response.
async fn linger(stream: &Stream) {
    let _ = timeout(PATIENCE, async {
        let mut left = TOLERANCE;
        while let Ok(Some(Part::Data(data))) = poll_fn(|cx| stream.poll_part(cx)).await
            && left > 0
        {
            left = left.saturating_sub(data.len());
            // The bytes that have already arrived may be many small frames.
            coop::consume_budget().await;
        }
    })
    .await;
}

impl Inform for Stream {
    fn inform(&self, status: StatusCode, fields: &HeaderMap) {
        self.put_interim(status, fields);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::Follower;

    fn size_of_result<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// The future contains the proxy's future once, and moves into the set of the connection's
    /// requests.
    #[test]
    fn a_request_s_future_stays_small() {
        let size = size_of_result(exchange::<Follower>);
        assert!(size <= 4720, "{size} bytes");
    }
}
