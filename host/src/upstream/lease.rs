//! [`Lease`]: the right to send one request to one endpoint, over the endpoint's protocol.
//!
//! A protocol toward origins is one variant here, a folder beside `h1`, and the part of [`Pool`]
//! that opens its connections. Nothing above `upstream` knows which it is.
//!
//! [`Pool`]: super::pool::Pool

use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::Either;
use http::Response;
use http::request::Parts;
use tokio::time::Instant;

use super::InFlight;
use super::error::SendError;
use super::h2::H2Lease;
use super::pool::Connection;
use super::{h1, h2};
use crate::message::body::Body;
use crate::message::exchange::Exchange;
use crate::message::subject::Subject;
use crate::message::tunnel::Upgrade;

/// A connection, or a part of one, that waits for one request.
pub(super) enum Lease {
    /// A connection of HTTP/1.1, which serves no other request meanwhile.
    H1(Connection),
    /// A stream of HTTP/2. Boxed, so that requests over HTTP/1.1 do not reserve room for it.
    H2(Box<H2Lease>),
}

/// A request for one endpoint, without its body.
pub(super) struct LeaseRequest<'a> {
    /// The head, without the fields that belong to the origin's protocol.
    pub(super) head: &'a mut Parts,
    /// The authority that the request is for.
    pub(super) authority: &'a str,
    /// How far the request's body has come.
    pub(super) exchange: &'a Rc<Exchange>,
    /// The client's request, if its client gets the interim responses.
    pub(super) informed: Option<&'a Subject<'a>>,
    /// Whether it may be sent again when the origin closed an idle connection.
    pub(super) is_repeatable: bool,
    /// The endpoint's load, held until the response's last byte.
    pub(super) in_flight: InFlight,
}

/// Bounds on waiting for the origin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// Longest time to the head of the response.
    pub(super) first_byte: Option<Duration>,
    /// Longest time without a byte of the body.
    pub(super) idle: Option<Duration>,
    /// The end of the whole exchange.
    pub(super) total: Option<Instant>,
}

impl Lease {
    /// Sends a request and returns the response, its body still streaming. The response's body
    /// sends the rest of the request's, and gives the connection back when both have ended.
    ///
    /// # Errors
    /// [`SendError`]; the connection is of no further use. Dropping the future closes it as well.
    #[allow(
        clippy::manual_async_fn,
        reason = "an async function would have room for its arguments once more"
    )]
    pub(super) fn exchange<'a>(
        self,
        request: LeaseRequest<'a>,
        body: Body,
        deadlines: Deadlines,
    ) -> impl Future<Output = Result<Response<Body>, SendError>> + use<'a> {
        let upgrade = request.head.extensions.get::<Upgrade>().cloned();
        let boxed: Pin<Box<dyn Future<Output = Result<Response<Body>, SendError>> + 'a>> =
            match (self, upgrade) {
                (Self::H1(connection), None) => {
                    return Either::Left(h1::exchange(connection, request, body, deadlines));
                }
                (Self::H1(connection), Some(upgrade)) => {
                    Box::pin(h1::open(connection, request, body, upgrade, deadlines))
                }
                (Self::H2(lease), _) => Box::pin(h2::exchange(*lease, request, body, deadlines)),
            };
        Either::Right(boxed)
    }
}
