//! One exchange over a connection of HTTP/1.1. An idle connection that turns out closed is replaced
//! by a fresh one.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::request::Parts;
use http_body::Body as _;

use super::body::H1Exchange;
use super::{H1Error, ResponseStart, head};
use crate::message::body::Body;
use crate::message::exchange::Exchange;
use crate::message::subject::Subject;
use crate::upstream::error::{Cause, Reached, SendError};
use crate::upstream::lease::{Deadlines, LeaseRequest};
use crate::upstream::pool::Connection;

/// Sends a request and returns the response, its body still streaming.
///
/// # Errors
/// [`SendError`].
pub(in crate::upstream) fn exchange<'a>(
    mut connection: Connection,
    request: LeaseRequest<'a>,
    body: Body,
    deadlines: Deadlines,
) -> impl Future<Output = Result<Response<Body>, SendError>> + use<'a> {
    let LeaseRequest { head, authority, exchange, informed, is_repeatable, in_flight, .. } =
        request;
    head::prepare(head);
    let encoded = head::encode(head, authority, !body.is_end_stream());
    let first_byte = deadlines.first_byte;
    let request = EncodedRequest { head, encoded, exchange, informed, first_byte };
    let is_repeatable = is_repeatable && connection.is_reused();
    // Not an `async fn`: a future has room for each argument, and for the variable that it is moved
    // to.
    async move {
        let received = match request.send(&mut connection, body).await {
            Err(error) if is_repeatable && error.reached() == Reached::Perhaps => {
                let endpoint = Arc::clone(connection.endpoint());
                let fresh = connection.replace().await;
                connection = fresh.map_err(|source| Cause::Connect { endpoint, source })?;
                request.send(&mut connection, Body::empty()).await?
            }
            received => received?,
        };
        let ResponseStart { head, decoder, keep_alive, upload } = received;
        let (exchange, _in_flight) = (Rc::clone(request.exchange), in_flight);
        let exchange = H1Exchange { connection, decoder, keep_alive, upload, _in_flight, exchange };
        Ok(Response::from_parts(head, exchange.into_body(deadlines)))
    }
}

/// A request with its encoded head.
pub(super) struct EncodedRequest<'a> {
    pub(super) head: &'a Parts,
    pub(super) encoded: Bytes,
    pub(super) exchange: &'a Rc<Exchange>,
    pub(super) informed: Option<&'a Subject<'a>>,
    pub(super) first_byte: Option<Duration>,
}

impl EncodedRequest<'_> {
    pub(super) async fn send(
        &self,
        connection: &mut Connection,
        body: Body,
    ) -> Result<ResponseStart, SendError> {
        self.exchange.restart();
        let inform = |head| {
            // An interim response shows that the origin is at work: the time for its final head
            // begins anew, a few times at most.
            self.exchange.restart();
            if let Some(subject) = self.informed {
                subject.inform(head);
            }
        };
        let (wire, limits) = connection.bounded();
        let answer = wire.exchange(self.head, body, self.encoded.clone(), limits, &inform);
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|error| self.error(error)),
            () = self.exchange.stalled(self.first_byte) => Err(Cause::FirstByteTimeout.into()),
        }
    }

    /// The request's body, if that failed, or the origin.
    fn error(&self, error: H1Error) -> SendError {
        match (self.exchange.failure(), error) {
            (Some(failure), _) => Cause::RequestBody(failure).into(),
            (None, error @ H1Error::Closed) => Cause::Closed(Box::new(error)).into(),
            (None, error) => Cause::Broken(Box::new(error)).into(),
        }
    }
}
