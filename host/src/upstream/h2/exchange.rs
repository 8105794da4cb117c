//! One exchange over a connection of HTTP/2.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{self, HeaderMap};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::Body as _;

use super::body::H2Exchange;
use super::connection::H2Connection;
use super::upload::H2Upload;
use crate::message::body::Body;
use crate::message::tunnel::{SEC_WEBSOCKET_KEY, Upgrade};
use crate::upstream::error::{Cause, SendError};
use crate::upstream::lease::{Deadlines, Failed, LeaseRequest};
use crate::upstream::response::into_body;
use crate::upstream::shared::SharedLease;

/// A response with the rest of the exchange.
pub(in crate::upstream) struct Received {
    head: http::response::Parts,
    stream: RecvStream,
    upload: H2Upload,
}

/// Sends a request. Returns the head of the response.
///
/// # Errors
/// [`Failed`].
pub(in crate::upstream) async fn send(
    lease: &SharedLease<H2Connection>,
    request: &LeaseRequest<'_>,
    body: Body,
    deadlines: Deadlines,
) -> Result<Received, Failed> {
    request.exchange.restart();
    let upgrade = request.upgrade();
    request.permitted(lease.connection().opens_tunnels(), deadlines).await?;
    let is_over = upgrade.is_none() && body.is_end_stream();
    let head = head(request, upgrade, lease.pool().connector().is_encrypted());
    let (response, stream) = match lease.connection().send(head, is_over) {
        Ok(sent) => sent,
        Err(error) => {
            let error = Cause::Refused(Box::new(error)).into();
            return Err(Failed { error, untouched: Some(body) });
        }
    };
    let mut upload = H2Upload::new(stream, (!is_over).then_some(body));
    let limits = lease.limits();
    let mut waiting = Waiting { response, request, interim: 0 };
    let received = tokio::select! {
        biased;
        received = poll_fn(|cx| waiting.poll(cx, &mut upload)) => received,
        () = request.exchange.stalled(deadlines.first_byte) => Err(Cause::FirstByteTimeout.into()),
    };
    let (head, stream) = match received {
        Ok(received) => received.into_parts(),
        Err(error) => return Err(Failed { error, untouched: upload.into_untouched() }),
    };
    let mut head = match check(head, limits.header_count) {
        Ok(head) => head,
        Err(reason) => return Err(Failed::broken(reason)),
    };
    if !request.opens(&mut head) {
        upload.cut();
    }
    Ok(Received { head, stream, upload })
}

/// Makes the response and its body of the rest of the exchange.
pub(in crate::upstream) fn answer(
    Received { head, stream, upload }: Received,
    lease: SharedLease<H2Connection>,
    request: LeaseRequest<'_>,
    deadlines: Deadlines,
) -> Response<Body> {
    let length = head.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let LeaseRequest { exchange, in_flight, .. } = request;
    let exchange = Rc::clone(exchange);
    let rest = H2Exchange { stream, upload, length, is_data_over: false, lease, in_flight };
    Response::from_parts(head, into_body(rest, exchange, deadlines))
}

/// Returns the head of the request. HTTP/2 has the authority in a field of its own, and no fields
/// of the connection. A tunnel is an extended CONNECT (RFC 8441 §4).
fn head(request: &LeaseRequest<'_>, upgrade: Option<&Upgrade>, is_encrypted: bool) -> Request<()> {
    let mut head = Request::new(());
    *head.method_mut() = request.head.method.clone();
    *head.version_mut() = Version::HTTP_2;
    *head.headers_mut() = request.head.headers.clone();
    head.headers_mut().remove(header::HOST);
    let path = request.head.uri.path_and_query().cloned();
    let path = path.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let scheme = if is_encrypted { "https" } else { "http" };
    let uri = Uri::builder().scheme(scheme).authority(request.authority).path_and_query(path);
    // The authority was checked with the client's request, and after each filter.
    *head.uri_mut() = uri.build().unwrap_or_default();
    if let Some(upgrade) = upgrade {
        *head.method_mut() = Method::CONNECT;
        head.headers_mut().remove(SEC_WEBSOCKET_KEY);
        // The names of protocols are compared as they are.
        let protocol = upgrade.name().to_ascii_lowercase();
        head.extensions_mut().insert(h2::ext::Protocol::from(&*protocol));
    }
    head
}

/// Applies the rules of responses that h2 leaves to its user.
fn check(
    mut head: http::response::Parts,
    most: usize,
) -> Result<http::response::Parts, &'static str> {
    within(&head.headers, most)?;
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("status 101 has no meaning in HTTP/2");
    }
    // Of several equal lengths only one is passed on (RFC 9110 §8.6).
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next().cloned() {
        if lengths.any(|other| *other != length) {
            return Err("different content-lengths");
        }
        if !length.as_bytes().iter().all(u8::is_ascii_digit) {
            return Err("content-length is not a number");
        }
        head.headers.insert(header::CONTENT_LENGTH, length);
    }
    Ok(head)
}

/// Holds a section of fields to the limit of their number.
pub(super) fn within(fields: &HeaderMap, most: usize) -> Result<(), &'static str> {
    if fields.len() > most {
        return Err("too many fields (limits.header_count of the upstream)");
    }
    Ok(())
}

/// A request that waits for its response.
struct Waiting<'a> {
    response: ResponseFuture,
    request: &'a LeaseRequest<'a>,
    interim: u32,
}

impl Waiting<'_> {
    /// Sends the request's body until the response's head has come.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        upload: &mut H2Upload,
    ) -> Poll<Result<Response<RecvStream>, SendError>> {
        // The client's bytes of a tunnel wait until it is open.
        if self.request.upgrade().is_none() && upload.poll(cx).is_err() {
            return Poll::Ready(Err(self.request.body_failed()));
        }
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            let head = match interim {
                Ok(interim) => interim.into_parts().0,
                Err(error) => return Poll::Ready(Err(self.failed(error))),
            };
            if let Err(error) = self.request.inform(&mut self.interim, head) {
                return Poll::Ready(Err(error));
            }
        }
        let response = ready!(std::pin::Pin::new(&mut self.response).poll(cx));
        Poll::Ready(response.map_err(|error| self.failed(error)))
    }

    /// Tells the failure of the request's body, or how far the request came.
    fn failed(&self, error: h2::Error) -> SendError {
        if let Some(failure) = self.request.exchange.failure() {
            return Cause::RequestBody(failure).into();
        }
        let is_refused = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
        // h2 fails the streams above the last one that the origin has processed with its GOAWAY.
        let is_left = error.is_go_away();
        let is_lost = error.is_io() && self.interim == 0;
        let error = Box::new(error);
        match () {
            () if error.is_remote() && (is_refused || is_left) => Cause::Refused(error).into(),
            () if is_lost => Cause::Closed(error).into(),
            () => Cause::Broken(error).into(),
        }
    }
}
