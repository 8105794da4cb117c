//! One worker's way to one upstream: pick an endpoint, lease a connection, exchange, and go
//! elsewhere where that is safe.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::time::Instant;
use weir_runtime::with_causes;

use super::attempt::Attempt;
use super::balance::{Choices, Chooser, NoPick, PickState};
use super::error::{Cause, SendError};
use super::lease::{Deadlines, LeaseRequest};
use super::local::LocalMembers;
use super::pool::Pool;
use super::share::Asker;
use super::{Endpoint, Upstream, h1, retry};
use crate::config;
use crate::message::body::{Body, BodyError};
use crate::message::exchange::Exchange;
use crate::message::grpc;
use crate::message::input::RequestView;
use crate::message::subject::Subject;
use crate::message::tunnel::Upgrade;
use crate::plugins::view::{Pinned, View};
use crate::telemetry::record::Record;
use crate::telemetry::trace::PICK;

/// One worker's share of an upstream: its balancer instance and its connections.
pub struct Reach {
    upstream: Arc<Upstream>,
    chooser: RefCell<Chooser>,
    members: RefCell<Rc<LocalMembers>>,
}

/// A request on its way to an upstream, with all that later steps need to know of it.
pub struct UpstreamRequest<'a> {
    /// The head, without the fields that belong to one protocol.
    pub head: &'a mut Parts,
    /// The body.
    pub body: Body,
    /// The authority of the request.
    pub authority: &'a str,
    /// The facts of the client's request.
    pub subject: &'a Subject<'a>,
    /// The progress of the request's body.
    pub exchange: Rc<Exchange>,
    /// The plugin generations that serve the request.
    pub pinned: &'a Pinned,
    /// Limits on waiting that replace those of the upstream.
    pub timeouts: Option<&'a config::RouteTimeouts>,
    /// Whether this is the client's own request, not one of a plugin. The access record names the
    /// endpoint of the client's request.
    pub is_own: bool,
}

impl Reach {
    /// Creates the part of one worker. It takes over the instances and the connections of `before`,
    /// its part in the same upstream under the configuration before.
    pub fn new(upstream: Arc<Upstream>, before: Option<&Reach>) -> Self {
        let known = before.map(|before| Rc::clone(&before.members.borrow()));
        let members = Rc::new(LocalMembers::new(&upstream, known.as_deref()));
        // Requests under the former configuration that still pick create an instance again.
        let chooser = before.map(|before| before.chooser.take()).unwrap_or_default();
        Self { upstream, chooser: RefCell::new(chooser), members: RefCell::new(members) }
    }

    /// Returns the upstream.
    pub fn upstream(&self) -> &Arc<Upstream> {
        &self.upstream
    }

    /// Closes connections that were idle for too long, and lets go of the balancer's generations
    /// that are over.
    pub fn sweep(&self, view: &View) {
        if let Some(lane) = view.lane(self.upstream.balancer) {
            self.chooser.borrow_mut().sweep(lane, &self.upstream.name);
        }
        self.members().sweep();
    }

    /// Returns the endpoints now.
    fn members(&self) -> Rc<LocalMembers> {
        let mut members = self.members.borrow_mut();
        if members.membership != self.upstream.membership() {
            *members = Rc::new(LocalMembers::new(&self.upstream, Some(&members)));
        }
        Rc::clone(&members)
    }

    /// Waits until it is known whether a request of unknown length has a body at all. HTTP/1.1 must
    /// know that before the head. Nothing else may wrap the body before this.
    ///
    /// # Errors
    /// The fault of the body's beginning.
    pub async fn settle(&self, body: Body) -> Result<Body, BodyError> {
        h1::settle(body).await
    }

    /// Sends a request to an endpoint that the balancer picks. Returns the response while its body
    /// is still streaming.
    ///
    /// If the connection to an endpoint fails, the balancer picks again, three picks in all. An
    /// idle connection may turn out to be closed. If the method is idempotent and there is no body,
    /// a new connection to the same endpoint replaces it (RFC 9110 §9.2.2, RFC 9112 §9.3.1). A
    /// connection that is known to be closed is never used.
    ///
    /// # Errors
    /// [`SendError`] when no endpoint is healthy, none can be reached, or the exchange failed.
    pub async fn send(
        &self,
        request: UpstreamRequest<'_>,
        record: &mut Record,
    ) -> Result<Response<Body>, SendError> {
        // The time that the client gives a call of gRPC.
        let limit = grpc::timeout(&request.head.headers)
            .filter(|_| grpc::is_call(&request.head.method, &request.head.headers));
        let total = request.timeouts.and_then(|timeouts| timeouts.total);
        let total = match (total.unwrap_or(self.upstream.timeouts.total), limit) {
            (Some(total), Some(limit)) => Some(total.min(limit)),
            (total, limit) => total.or(limit),
        };
        let total = total.map(|total| Instant::now() + total);
        // Pinned here, so that both kinds of waiting share the room of the future.
        let sending = pin!(self.attempts(request, record, total));
        match total {
            None => sending.await,
            Some(at) => tokio::time::timeout_at(at, sending)
                .await
                .unwrap_or_else(|_| Err(Cause::TotalTimeout.into())),
        }
    }

    async fn attempts(
        &self,
        request: UpstreamRequest<'_>,
        record: &mut Record,
        total: Option<Instant>,
    ) -> Result<Response<Body>, SendError> {
        let UpstreamRequest { head, body, authority, subject, exchange, pinned, timeouts, is_own } =
            request;
        let mut turn = PickState::default();
        loop {
            let view = RequestView { head, authority, subject };
            let members = self.members();
            let (endpoint, pool) = self.pick(&view, &mut turn, &members, pinned, record)?;
            if is_own {
                record.attempt(&self.upstream.name, &endpoint.name);
            }
            let (attempt, in_flight) = Attempt::start(self, endpoint, record);
            record.propagate(&mut head.headers);
            let is_tunnel = head.extensions.get::<Upgrade>().is_some();
            let asker = Asker { peer: subject.peer, is_tunnel };
            let lease = match pool.lease(asker).await {
                Ok(lease) => lease,
                Err(source) => {
                    attempt.failed(source.kind());
                    turn.failed(endpoint.id);
                    let endpoint = Arc::clone(&endpoint.name);
                    let error = SendError::from(Cause::Connect { endpoint, source });
                    if retry::may_go_elsewhere(&error, turn.attempt) {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "trying another endpoint"
                        );
                        continue;
                    }
                    return Err(error);
                }
            };
            let is_repeatable = retry::is_repeatable(head, &body);
            let (exchange, informed) = (&exchange, is_own.then_some(subject));
            let sending = LeaseRequest {
                head,
                authority,
                exchange,
                informed,
                asker,
                is_repeatable,
                in_flight,
            };
            let deadlines = self.deadlines(timeouts, total);
            return match lease.exchange(sending, body, deadlines).await {
                Ok(response) => {
                    // A request may go on for as long as its response does.
                    exchange.unpace();
                    pool.hear(&response);
                    attempt.answered(response.status().as_u16());
                    Ok(response)
                }
                Err(error) => {
                    attempt.failed(error.kind());
                    Err(error)
                }
            };
        }
    }

    /// Returns the bounds of a request, with those of its route before those of the upstream.
    fn deadlines(
        &self,
        route: Option<&config::RouteTimeouts>,
        total: Option<Instant>,
    ) -> Deadlines {
        let (route, upstream) = (route.copied().unwrap_or_default(), &self.upstream.timeouts);
        let first_byte = route.first_byte.unwrap_or(upstream.first_byte);
        Deadlines { first_byte, idle: route.idle.unwrap_or(upstream.idle), total }
    }

    fn pick<'a>(
        &self,
        request: &RequestView<'_>,
        turn: &mut PickState,
        members: &'a LocalMembers,
        pinned: &Pinned,
        record: &Record,
    ) -> Result<(&'a Arc<Endpoint>, &'a Rc<Pool>), SendError> {
        let span = record.span(PICK);
        let lane = pinned.lane(self.upstream.balancer).ok_or(Cause::Missing("balancer"))?;
        let choices = Choices { upstream: &self.upstream, members };
        let picked = self.chooser.borrow_mut().pick(request, turn, choices, (lane, pinned.roll));
        let name = || Arc::clone(&self.upstream.name);
        let picked = picked.map_err(|none| match none {
            NoPick::Unhealthy => Cause::NoEndpoint(name()),
            NoPick::Declined => Cause::Declined(name()),
        })?;
        let (endpoint, pool) = members.find(picked.id).ok_or(Cause::Missing("endpoint"))?;
        if picked.failure.is_some() {
            record.skipped(&lane.slot().name);
        }
        if let Some(mut span) = span {
            if let Some(failure) = &picked.failure {
                span.error(failure.kind(), &with_causes(failure));
            }
            span.attribute("weir.endpoint", endpoint.name.to_string());
            span.attribute("weir.balancer", lane.slot().name.to_string());
        }
        Ok((endpoint, pool))
    }

    /// Tells the balancer how an attempt ended.
    pub(super) fn ended(&self, endpoint: u32, status: u16, duration: Duration) {
        self.chooser.borrow_mut().ended(endpoint, status, duration);
    }
}
