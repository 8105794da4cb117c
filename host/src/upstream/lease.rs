//! [`Lease`]: the right to send one request to one endpoint, over the endpoint's protocol.
//!
//! A protocol toward origins is one variant here, a folder beside `h1`, and the part of [`Pool`]
//! that opens its connections. Nothing above `upstream` knows which it is.
//!
//! [`Pool`]: super::pool::Pool

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::Either;
use http::request::Parts;
use http::{Response, StatusCode, response};
use tokio::time::Instant;

use super::InFlight;
use super::error::{Cause, Reached, SendError};
use super::h2::H2Connection;
use super::h3::H3Lease;
use super::pool::{Connection, Pool};
use super::response::MAX_INTERIM;
use super::share::Asker;
use super::shared::{Multiplexed, SharedLease};
use super::{h1, h2, h3};
use crate::message::body::Body;
use crate::message::exchange::Exchange;
use crate::message::subject::Subject;
use crate::message::tunnel::{self, SEC_WEBSOCKET_KEY, Upgrade};

/// A connection, or a part of one, that waits for one request.
pub(super) enum Lease {
    /// A connection of HTTP/1.1, which serves no other request meanwhile.
    H1(Connection),
    /// A stream of HTTP/2. Boxed, so that requests over HTTP/1.1 do not reserve room for it.
    H2(Box<SharedLease<H2Connection>>),
    /// A stream of HTTP/3.
    H3(Box<H3Lease>),
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
    /// The client that it is for.
    pub(super) asker: Asker<'a>,
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

/// An exchange without a response.
pub(super) struct Failed {
    pub(super) error: SendError,
    /// The request's body, if nothing of it was sent.
    pub(super) untouched: Option<Body>,
}

impl Failed {
    /// The origin broke a rule.
    pub(super) fn broken(reason: &'static str) -> Self {
        Self { error: Cause::Broken(reason.into()).into(), untouched: None }
    }

    /// The origin opens no tunnels.
    pub(super) fn tunnel() -> Self {
        Self::broken("the endpoint opens no tunnels over this protocol (extended CONNECT)")
    }
}

impl LeaseRequest<'_> {
    /// Returns the protocol of the tunnel that the request asks for.
    pub(super) fn upgrade(&self) -> Option<&Upgrade> {
        self.head.extensions.get()
    }

    /// Waits until it is known whether the origin `opens` tunnels, if the request asks for one.
    ///
    /// # Errors
    /// It opens none, or does not tell in time.
    pub(super) async fn permitted(
        &self,
        opens: impl Future<Output = bool>,
        deadlines: Deadlines,
    ) -> Result<(), Failed> {
        if self.upgrade().is_none() {
            return Ok(());
        }
        tokio::select! {
            biased;
            opens = opens => if opens { Ok(()) } else { Err(Failed::tunnel()) },
            () = self.exchange.stalled(deadlines.first_byte) => {
                Err(Failed { error: Cause::FirstByteTimeout.into(), untouched: None })
            }
        }
    }

    /// Returns the failure of the request's body.
    pub(super) fn body_failed(&self) -> SendError {
        let unknown = || Cause::Broken("read request body".into());
        self.exchange.failure().map_or_else(unknown, Cause::RequestBody).into()
    }

    /// Passes an interim response on to the client. `count` is the number of those before.
    ///
    /// # Errors
    /// There are too many, or it belongs to HTTP/1.1.
    pub(super) fn inform(&self, count: &mut u32, head: response::Parts) -> Result<(), SendError> {
        *count += 1;
        if *count > MAX_INTERIM || head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Cause::Broken("unexpected interim response".into()).into());
        }
        // An interim response shows that the origin is at work.
        self.exchange.restart();
        if let Some(subject) = self.informed {
            subject.inform(head);
        }
        Ok(())
    }

    /// Turns the response to an extended CONNECT into the one that opens the tunnel. Returns false
    /// if the origin refuses: the client's bytes are for the tunnel alone.
    pub(super) fn opens(&self, head: &mut response::Parts) -> bool {
        let Some(upgrade) = self.upgrade() else { return true };
        let is_open = head.status.is_success();
        if is_open {
            let key = self.head.headers.get(SEC_WEBSOCKET_KEY);
            tunnel::opened(head, upgrade, key.and_then(tunnel::accept));
        }
        is_open
    }
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
        let is_tunnel = request.upgrade().is_some();
        match self {
            Self::H1(connection) if !is_tunnel => {
                Either::Left(h1::exchange(connection, request, body, deadlines))
            }
            other => {
                let sending = other.exchange_any(request, body, deadlines);
                Either::Right(Box::pin(sending) as Pin<Box<dyn Future<Output = _> + 'a>>)
            }
        }
    }

    /// Sends a request over any protocol. One that the origin did not process is sent again.
    async fn exchange_any(
        mut self,
        request: LeaseRequest<'_>,
        mut body: Body,
        deadlines: Deadlines,
    ) -> Result<Response<Body>, SendError> {
        let upgrade = request.upgrade().cloned();
        for retries_left in (0..=RETRIES).rev() {
            let (failed, used) = match self {
                Self::H1(connection) => {
                    return match upgrade {
                        None => h1::exchange(connection, request, body, deadlines).await,
                        Some(upgrade) => {
                            h1::open(connection, request, body, upgrade, deadlines).await
                        }
                    };
                }
                Self::H2(lease) => match h2::send(&lease, &request, body, deadlines).await {
                    Ok(received) => return Ok(h2::answer(received, *lease, request, deadlines)),
                    Err(failed) => (failed, Used::of(&lease)),
                },
                Self::H3(lease) => match h3::send(&lease, &request, body, deadlines).await {
                    Ok(received) => {
                        return Ok(h3::answer(received, lease.lease, request, deadlines));
                    }
                    Err(failed) => (failed, Used::of(&lease.lease)),
                },
            };
            let may_repeat = match failed.error.reached() {
                Reached::Never => true,
                Reached::Perhaps => request.is_repeatable && used.is_reused,
                Reached::Certainly => false,
            };
            match failed.untouched.filter(|_| may_repeat && retries_left > 0) {
                None => return Err(failed.error),
                Some(untouched) => body = untouched,
            }
            let error = &failed.error as &dyn std::error::Error;
            tracing::debug!(error, "sending a request again");
            let leased = used.pool.lease(request.asker).await;
            self = leased.map_err(|source| Cause::Connect {
                endpoint: Arc::clone(&used.pool.endpoint().name),
                source,
            })?;
        }
        Err(Cause::Missing("connection").into())
    }
}

/// The source of another lease after one that failed.
struct Used {
    pool: Rc<Pool>,
    is_reused: bool,
}

impl Used {
    fn of<C: Multiplexed>(lease: &SharedLease<C>) -> Self {
        Self { pool: Rc::clone(lease.pool()), is_reused: lease.is_reused() }
    }
}

/// The times that a request is sent again.
const RETRIES: u32 = 2;
