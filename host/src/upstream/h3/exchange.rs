//! One exchange over a connection of HTTP/3.

use std::borrow::Cow;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, Method, Response};
use http_body::Body as _;
use weir_h3::qpack::Pseudo;
use weir_h3::{Code, Error, Stream};

use super::body::H3Exchange;
use super::connection::{H3Connection, H3Lease};
use super::upload::H3Upload;
use crate::message::body::Body;
use crate::message::tunnel::{SEC_WEBSOCKET_KEY, Upgrade};
use crate::upstream::error::{Cause, SendError};
use crate::upstream::lease::{Deadlines, Failed, LeaseRequest};
use crate::upstream::response::into_body;
use crate::upstream::shared::SharedLease;

/// A response with the rest of the exchange.
pub(in crate::upstream) struct Received {
    head: http::response::Parts,
    stream: Rc<Stream>,
    upload: H3Upload,
}

/// Sends a request. Returns the head of the response.
///
/// # Errors
/// [`Failed`].
pub(in crate::upstream) async fn send(
    H3Lease { lease, stream }: &H3Lease,
    request: &LeaseRequest<'_>,
    body: Body,
    deadlines: Deadlines,
) -> Result<Received, Failed> {
    request.exchange.restart();
    let upgrade = request.upgrade();
    request.permitted(lease.connection().opens_tunnels(), deadlines).await?;
    put_head(stream, request, upgrade);
    let is_over = upgrade.is_none() && body.is_end_stream();
    let mut upload = H3Upload::new(Rc::clone(stream), (!is_over).then_some(body));
    let method = if upgrade.is_some() { &Method::CONNECT } else { &request.head.method };
    let mut waiting = Waiting { stream, lease, request, method, interim: 0 };
    let received = tokio::select! {
        biased;
        received = poll_fn(|cx| waiting.poll(cx, &mut upload)) => received,
        () = request.exchange.stalled(deadlines.first_byte) => Err(Cause::FirstByteTimeout.into()),
    };
    let mut head = match received {
        Ok(received) => received.into_parts().0,
        Err(error) => return Err(Failed { error, untouched: upload.into_untouched() }),
    };
    lease.connection().answered(lease.pool());
    if !request.opens(&mut head) {
        upload.cut();
    }
    Ok(Received { head, stream: Rc::clone(stream), upload })
}

/// Makes the response and its body of the rest of the exchange.
pub(in crate::upstream) fn answer(
    Received { head, stream, upload }: Received,
    lease: SharedLease<H3Connection>,
    request: LeaseRequest<'_>,
    deadlines: Deadlines,
) -> Response<Body> {
    let LeaseRequest { exchange, in_flight, .. } = request;
    let exchange = Rc::clone(exchange);
    let mut rest = H3Exchange { stream, upload, ahead: None, lease, in_flight };
    // Nobody waits for a wake-up yet: the body is polled again before anything counts on one.
    rest.look_ahead(&mut Context::from_waker(std::task::Waker::noop()));
    Response::from_parts(head, into_body(rest, exchange, deadlines))
}

/// Queues the head of the request. HTTP/3 has the authority in a field of its own, and no fields of
/// the connection. A tunnel is an extended CONNECT (RFC 9220 §3).
fn put_head(stream: &Stream, request: &LeaseRequest<'_>, upgrade: Option<&Upgrade>) {
    let head = &request.head;
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let mut fields = Cow::Borrowed(&head.headers);
    // The names of protocols are compared as they are (RFC 8441 §4).
    let protocol = upgrade.map(|upgrade| upgrade.name().to_ascii_lowercase());
    let mut pseudo = Vec::with_capacity(6);
    match &protocol {
        None => pseudo.push((Pseudo::Method, head.method.as_str().as_bytes())),
        Some(protocol) => {
            pseudo.push((Pseudo::Method, Method::CONNECT.as_str().as_bytes()));
            pseudo.push((Pseudo::Protocol, protocol.as_bytes()));
            HeaderMap::remove(fields.to_mut(), SEC_WEBSOCKET_KEY);
        }
    }
    pseudo.push((Pseudo::Scheme, b"https"));
    pseudo.push((Pseudo::Authority, request.authority.as_bytes()));
    pseudo.push((Pseudo::Path, path.as_bytes()));
    stream.put_request(&pseudo, &fields);
}

/// A request that waits for its response.
struct Waiting<'a> {
    stream: &'a Stream,
    lease: &'a SharedLease<H3Connection>,
    request: &'a LeaseRequest<'a>,
    /// The method that the origin sees.
    method: &'a Method,
    interim: u32,
}

impl Waiting<'_> {
    /// Sends the request's body until the response's head has come.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut H3Upload,
    ) -> Poll<Result<Response<()>, SendError>> {
        if self.request.upgrade().is_some() {
            // The client's bytes wait until the tunnel is open.
            upload.poll_head(cx);
        } else if upload.poll(cx).is_err() {
            return Poll::Ready(Err(self.request.body_failed()));
        }
        loop {
            let head = match ready!(self.stream.poll_response(self.method, cx)) {
                Ok(head) => head,
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            };
            if !head.status().is_informational() {
                return Poll::Ready(Ok(head));
            }
            if let Err(error) = self.request.inform(&mut self.interim, head.into_parts().0) {
                return Poll::Ready(Err(error));
            }
        }
    }

    /// Tells the failure of the request's body, or how far the request came.
    fn failed(&self, error: Error) -> SendError {
        if let Some(failure) = self.request.exchange.failure() {
            return Cause::RequestBody(failure).into();
        }
        // The code for the origin, if it broke a rule. Otherwise the drop resets the stream.
        if let Error::Stream(violation) = &error {
            self.stream.abort(violation.code);
        }
        let is_new = self.interim == 0;
        match error {
            Error::Reset(Code::H3_REQUEST_REJECTED) => Cause::Refused(Box::new(error)).into(),
            // The origin serves the request over TCP only (RFC 9114 §8.1).
            Error::Reset(Code::H3_VERSION_FALLBACK) => {
                self.lease.pool().h3().alternative().fail();
                Cause::Refused(Box::new(error)).into()
            }
            Error::Lost(_) if is_new => Cause::Closed(Box::new(error)).into(),
            error => Cause::Broken(Box::new(error)).into(),
        }
    }
}
