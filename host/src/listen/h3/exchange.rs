//! One request of an HTTP/3 connection: read, served, answered, acknowledged.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame};
use tokio::task::coop;
use tokio::time::timeout;
use weir_h3::{Code, Error, Part, Stream};

use super::taking::Taking;
use super::{Connection, body};
use crate::listen::Handler;
use crate::message::body::{Body, BodyError};
use crate::message::complete;
use crate::message::interim::{Inform, Interim, withholds_body};
use crate::message::peer::{Peer, Protocol};
use crate::net::canonical;
use crate::net::linger::{PATIENCE, TOLERANCE};

/// Bytes of one DATA frame.
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
    stream: Rc<Stream>,
    connection: Rc<Connection<H>>,
) -> Outcome {
    let mut stopped = pin!(stream.stopped());
    // The client's cancellation comes first: it drops the handler's future and with it the upstream's work.
    let end = tokio::select! {
        biased;
        _ = &mut stopped => Err(Code::H3_REQUEST_CANCELLED),
        end = serve(&stream, &connection) => end,
    };
    match end {
        Ok(reading) => {
            if !stream.is_read() {
                stream.end();
                // A component may read on after its response, for as long as its limits let it.
                if let Some(reading) = reading {
                    let _ = reading.await;
                }
                linger(&stream).await;
            }
            stream.finish();
            // Until all of it is acknowledged the request is not done: a drain must not close the connection before.
            if let Ok(Some(code)) = stopped.await {
                stream.abort(code);
            }
            Outcome::Complete
        }
        Err(code) => {
            stream.abort(code);
            Outcome::Wasted
        }
    }
}

/// Reads the head, has it served, sends the response. Returns who may read the request still; the error is the code to
/// reset the stream with.
async fn serve<H: Handler>(
    stream: &Rc<Stream>,
    connection: &Connection<H>,
) -> Result<Option<body::Reading>, Code> {
    let limits = &connection.edge.limits;
    let request = match timeout(limits.header_timeout, stream.head()).await {
        Ok(Ok(request)) => request,
        Ok(Err(Error::TooLarge)) => return too_large(stream, connection).await.map(|()| None),
        Ok(Err(error)) => return Err(refusal(&error)),
        Err(_) => return Err(Code::H3_REQUEST_INCOMPLETE),
    };
    let method = request.method().clone();
    let (request, reading) = receive(request, stream, limits.header_count).await?;
    let request = request.map(|body| body.among(&connection.ahead));
    let peer = Peer {
        client: canonical(connection.handle.quic().remote_address()),
        local: connection.edge.address,
        protocol: Protocol::H3,
        version: Version::HTTP_3,
        tls: true,
        listener: connection.edge.id,
    };
    let interim = Interim::new(Rc::clone(stream));
    let mut response = {
        // Pinned where it is made: a function that took it would have room for it twice.
        let mut answer = pin!(connection.handler.serve(request, peer, interim));
        poll_fn(|cx| {
            let polled = answer.as_mut().poll(cx);
            if polled.is_pending() {
                // Interim responses. Whether the client takes anything shows with the final one.
                let _ = stream.poll_flush(cx);
            }
            polled
        })
        .await
    };
    complete::complete(&mut response);
    if let Some(code) = stream.fault() {
        return Err(code);
    }
    respond(method, response, stream, connection).await?;
    Ok(reading)
}

/// Adds the body.
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

/// The code for a request that could not be read.
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
        // The client must see that the response is not whole, and whose fault it is if that is its own (RFC 9114 §4.1.2).
        let broken = |_| stream.fault().unwrap_or(Code::H3_INTERNAL_ERROR);
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

/// The next frame of a body; while there is none, what was sent before is not held back.
fn poll_frame(
    body: &mut Body,
    stream: &Stream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
    let frame = Pin::new(body).poll_frame(cx);
    if frame.is_pending() {
        // Whether the client still takes it shows with the next piece.
        let _ = stream.poll_flush(cx);
    }
    frame
}

/// Reads on for a while what is left of a request that is answered already. A client may ignore STOP_SENDING until its body is
/// written, and some browsers then never look at the response.
async fn linger(stream: &Stream) {
    let _ = timeout(PATIENCE, async {
        let mut left = TOLERANCE;
        while let Ok(Some(Part::Data(data))) = poll_fn(|cx| stream.poll_part(cx)).await
            && left > 0
        {
            left = left.saturating_sub(data.len());
            // What is here already may be many small frames.
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
    use crate::proxy::Proxy;

    fn size_of_result<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// It holds the proxy's future once, and is moved to the connection's requests.
    #[test]
    fn a_request_s_future_stays_small() {
        let size = size_of_result(exchange::<Proxy>);
        assert!(size <= 4600, "{size} bytes");
    }
}
